//! Which layer a setting is taken from: built-in default, file, environment, command line, the later the stronger.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory};

use super::environment::{self, PREFIX};
use super::fault::{Fault, Place};
use super::file::{self, Document, Given};
use super::schema::{Key, SET, Schema, Shape, argument};
use crate::app::cli::Cli;

/// The variable that names a file.
pub const FILE_VARIABLE: &str = "MILLSTREAM_CONFIG";

/// The option that takes a setting back.
const UNSET: &str = "unset";

/// Where a value was taken from, the weakest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file or a variable.
    Given(Place),
    /// A variable that the argument parser reads itself.
    Variable(String),
    /// The command line.
    Typed,
}

impl Origin {
    fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Given(Place::File { .. }) => 1,
            Self::Given(_) | Self::Variable(_) => 2,
            Self::Typed => 3,
        }
    }
}

/// A setting as it holds.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Which one.
    pub key: Key,
    /// Its values; none if it is not set.
    pub values: Vec<String>,
    /// Where from.
    pub origin: Origin,
    /// Why what a file or a variable says does not hold.
    pub remark: Option<String>,
    needs: Vec<String>,
}

impl Effective {
    /// Whether it is more than a default or a `false`.
    fn holds(&self) -> bool {
        self.origin != Origin::Default && (self.key.shape != Shape::Flag || self.values.iter().any(|v| v == "true"))
    }

    fn drop(&mut self, remark: String) {
        self.values = self.key.default.iter().cloned().collect();
        self.origin = Origin::Default;
        self.remark = Some(remark);
        self.needs.clear();
    }
}

/// All layers put together.
#[derive(Debug)]
pub struct Layered {
    /// Every setting.
    pub settings: Vec<Effective>,
    /// Values that scripts ask for by path, from the file, the weakest of those.
    pub paths: Vec<(String, String, Option<Place>)>,
    /// The same as texts of the option, from file and variable.
    sets: Vec<String>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The command line with everything in it, ready to be parsed.
    pub arguments: Vec<OsString>,
}

/// The command line with what file and environment say, ready to be parsed.
///
/// # Errors
/// Everything that is wrong with file and environment.
pub fn complete(arguments: Vec<OsString>, variables: &[(OsString, OsString)]) -> Result<Vec<OsString>, Vec<Fault>> {
    if is_only_layer(&arguments, variables) {
        return Ok(arguments);
    }
    Ok(layer(&arguments, variables)?.map_or(arguments, |layered| layered.arguments))
}

/// Whether nothing but the command line can say anything, which is known long before it is parsed.
fn is_only_layer(arguments: &[OsString], variables: &[(OsString, OsString)]) -> bool {
    let begins = |text: &OsString, with: &str| text.as_encoded_bytes().starts_with(with.as_bytes());
    !variables.iter().any(|(name, _)| begins(name, PREFIX))
        && !arguments.iter().any(|argument| begins(argument, "--config") || begins(argument, "--unset"))
}

/// Puts the layers together for a command line of `run`, or of a command with its options; `None` if it is that of another.
///
/// # Errors
/// Everything that is wrong with file and environment.
pub fn layer(arguments: &[OsString], variables: &[(OsString, OsString)]) -> Result<Option<Layered>, Vec<Fault>> {
    let mut command = Cli::command().ignore_errors(true);
    // What is wrong with the command line is said when everything is in it.
    let Ok(matches) = command.try_get_matches_from_mut(arguments) else { return Ok(None) };
    let Some((name, typed)) = matches.subcommand().filter(|(name, _)| takes_settings(&command, name)) else {
        return Ok(None);
    };
    let Some(position) = arguments.iter().skip(1).position(|argument| argument == name).map(|at| at + 2) else {
        return Ok(None);
    };
    let schema = Schema::new();
    let file = chosen_file(typed, variables);
    let document = match &file {
        Some(file) => file::read(file, &schema)?,
        None => Document::default(),
    };
    let given = environment::read(variables.iter().cloned(), &schema)?;
    let sets = sets(&schema, typed, document.given.iter().chain(&given));
    let mut settings = merge(&schema, typed, document.given, given)?;
    unset(typed, &schema, &mut settings)?;
    settle(&mut settings);
    for setting in settings.iter_mut().filter(|setting| setting.key.option == SET && setting.origin == Origin::Typed) {
        setting.values.splice(..0, sets.iter().cloned());
    }
    let mut layered = Layered {
        settings,
        sets,
        paths: document.paths,
        file: file.map(|file| file::full_name(&file)),
        arguments: arguments.to_vec(),
    };
    let added = layered.added(typed);
    layered.arguments.splice(position..position, added);
    Ok(Some(layered))
}

/// Whether a command has the option that takes settings back, and so all the others that can be set.
fn takes_settings(command: &Command, name: &str) -> bool {
    command.find_subcommand(name).is_some_and(|known| known.get_arguments().any(|arg| arg.get_id() == UNSET))
}

/// The file that was named: by an argument, else by the variable. Without either there is none: a file that happens to lie
/// about must not change results.
fn chosen_file(typed: &ArgMatches, variables: &[(OsString, OsString)]) -> Option<PathBuf> {
    let named = typed.get_one::<PathBuf>("config").cloned();
    let variable = || variables.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, value)| PathBuf::from(value));
    named.or_else(variable).filter(|path| !path.as_os_str().is_empty())
}

/// What the layers below the command line say of the option that sets values by path: they are added up.
fn sets<'a>(schema: &Schema, typed: &ArgMatches, given: impl Iterator<Item = &'a Given>) -> Vec<String> {
    let is_set = |key: &Key| key.option == SET;
    let taken_back = |key: &Key| typed.get_many::<String>(UNSET).into_iter().flatten().any(|path| *path == key.path());
    let given = given.filter(|given| is_set(&schema.keys[given.key]) && !taken_back(&schema.keys[given.key]));
    given.flat_map(|given| given.values.clone()).collect()
}

fn merge(
    schema: &Schema,
    typed: &ArgMatches,
    from_file: Vec<Given>,
    from_environment: Vec<Given>,
) -> Result<Vec<Effective>, Vec<Fault>> {
    let mut settings: Vec<Effective> = schema
        .keys
        .iter()
        .map(|key| Effective {
            key: key.clone(),
            values: key.default.iter().cloned().collect(),
            origin: Origin::Default,
            remark: None,
            needs: Vec::new(),
        })
        .collect();
    let mut faults = Vec::new();
    for layer in [from_file, from_environment] {
        // Two settings of one layer that exclude each other: nobody can say which is meant.
        let holds = |given: &&Given| schema.keys[given.key].shape != Shape::Flag || given.values[..] == ["true"];
        let there: Vec<&Given> = layer.iter().filter(holds).collect();
        for (index, given) in there.iter().enumerate() {
            let key = &schema.keys[given.key];
            if let Some(other) = there[..index].iter().find(|other| schema.keys[other.key].excludes(key)) {
                let message =
                    format!("{} cannot be set together with {}; remove one", key.path(), schema.keys[other.key].path());
                faults.push(Fault::new(given.place.clone(), message));
            }
        }
        for given in layer {
            let setting = &mut settings[given.key];
            setting.values = given.values;
            setting.origin = Origin::Given(given.place);
            setting.needs = given.needs;
        }
    }
    for setting in &mut settings {
        let origin = match typed.try_contains_id(&setting.key.id).ok().and_then(|_| typed.value_source(&setting.key.id))
        {
            Some(ValueSource::CommandLine) => Origin::Typed,
            Some(ValueSource::EnvVariable) => {
                Origin::Variable(format!("MILLSTREAM_{}", setting.key.option.to_uppercase().replace('-', "_")))
            }
            _ => continue,
        };
        let raw = typed.try_get_raw(&setting.key.id).ok().flatten();
        setting.values =
            raw.map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect()).unwrap_or_default();
        if setting.key.shape == Shape::Flag {
            setting.values = vec!["true".to_owned()];
        }
        setting.origin = origin;
        setting.needs.clear();
    }
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

/// Takes back what file and environment say of keys that `--unset` names.
fn unset(typed: &ArgMatches, schema: &Schema, settings: &mut [Effective]) -> Result<(), Vec<Fault>> {
    for path in typed.get_many::<String>(UNSET).into_iter().flatten() {
        let (section, name) = path.split_once('.').unwrap_or(("", path));
        let Some(setting) = settings.iter_mut().find(|setting| setting.key.path() == *path) else {
            let known = schema.sections().iter().any(|known| known == section);
            let message = if known {
                schema.unknown(section, name)
            } else {
                "write the setting as section.key, such as input.filter".to_owned()
            };
            return Err(vec![Fault::new(Place::Argument(format!("--unset {path}")), message)]);
        };
        if setting.origin != Origin::Typed {
            setting.drop("--unset".to_owned());
        }
    }
    Ok(())
}

/// Leaves out what a stronger layer excludes, and what has no effect without a setting that is not there.
fn settle(settings: &mut [Effective]) {
    for index in 0..settings.len() {
        let stronger = settings.iter().find(|other| {
            other.holds()
                && other.origin.rank() > settings[index].origin.rank()
                && other.key.excludes(&settings[index].key)
        });
        if let Some(other) = stronger
            && settings[index].holds()
        {
            let remark = format!("left out because of --{}", other.key.option);
            settings[index].drop(remark);
        }
    }
    for index in 0..settings.len() {
        let there = |option: &String| settings.iter().any(|other| other.holds() && other.key.option == *option);
        let missing = settings[index].needs.iter().find(|option| !there(option)).cloned();
        if let Some(option) = missing {
            settings[index].drop(format!("has no effect without --{option}"));
        }
    }
}

impl Layered {
    /// Arguments that say what file and environment say. Those of a list that was typed as well are left out, but for
    /// values by path, where the later one wins.
    fn added(&self, typed: &ArgMatches) -> Vec<OsString> {
        let mut added: Vec<OsString> = Vec::new();
        if let Some(file) = &self.file
            && typed.get_one::<PathBuf>("config").is_none()
        {
            let mut argument = OsString::from("--config=");
            argument.push(file);
            added.push(argument);
        }
        added.extend(self.paths.iter().map(|(path, value, _)| format!("--{SET}={path}={value}").into()));
        added.extend(self.sets.iter().map(|text| format!("--{SET}={text}").into()));
        let given = |setting: &&Effective| matches!(setting.origin, Origin::Given(_)) && setting.key.option != SET;
        for setting in self.settings.iter().filter(given).filter(|setting| setting.holds()) {
            added.extend(setting.values.iter().map(|value| OsString::from(argument(&setting.key, value))));
        }
        added
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{complete, is_only_layer};

    fn typed(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn other_layers_are_asked_where_they_can_say_something() {
        let arguments = typed(&["millstream", "run", "-r", "a.pcap", "--set", "App>DBRoot=/config"]);
        let other = [(OsString::from("HOME"), OsString::from("MILLSTREAM_HOME"))];
        assert!(is_only_layer(&arguments, &other));
        assert_eq!(complete(arguments.clone(), &other).unwrap(), arguments);
        let variable = [(OsString::from("MILLSTREAM_ANYTHING"), OsString::new())];
        assert!(!is_only_layer(&arguments, &variable));
        for option in ["--config=a.toml", "--config", "--unset"] {
            assert!(!is_only_layer(&typed(&["millstream", "run", option, "x"]), &[]), "{option}");
        }
    }

    #[test]
    fn commands_with_the_options_of_run_take_its_settings() {
        let variables = [(OsString::from("MILLSTREAM_INPUT_COUNT"), OsString::from("7"))];
        for (command, expected) in [("run", true), ("profile", true), ("demo", false), ("packets", false)] {
            let arguments = typed(&["millstream", "--log", "error", command, "x"]);
            let completed = complete(arguments, &variables).unwrap();
            assert_eq!(completed.contains(&OsString::from("--count=7")), expected, "{command}");
            let expected = OsString::from(if expected { "--count=7" } else { "x" });
            assert_eq!(completed[4], expected, "{command}");
        }
    }

    #[test]
    fn a_wrong_name_to_leave_out_is_said_without_another_layer() {
        let arguments = typed(&["millstream", "run", "-r", "a.pcap", "--unset", "input.nosuch"]);
        assert!(complete(arguments, &[]).is_err());
    }
}
