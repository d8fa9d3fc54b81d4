//! The keys there are: one for each option of `run`.

use clap::builder::ValueRange;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::app::check::nearest;
use crate::app::cli::Cli;

/// Sections whose names are not the headings of the help.
const SECTIONS: [(&str, &str); 2] = [("Packet store", "packets"), ("", "general")];
/// Options that say where settings come from, and so are none.
const NO_SETTINGS: [&str; 4] = ["help", "version", "config", "unset"];
/// The section of values that scripts ask for by path.
pub const PATHS: &str = "trisul";
/// The option that sets such a value.
pub const SET: &str = "set";

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// True or false.
    Flag,
    /// A text or a number.
    Text,
    /// Several of these.
    List,
}

/// A setting.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its section of the file.
    pub section: String,
    /// Its name in there.
    pub name: String,
    /// The option of the command line, without dashes.
    pub option: String,
    /// The option's name within the program.
    pub id: String,
    /// What a value looks like.
    pub shape: Shape,
    /// What holds when nobody says otherwise.
    pub default: Option<String>,
    /// Placeholder of a value in the help.
    pub placeholder: String,
    /// The words that can be chosen from, if these are all.
    pub choices: Vec<String>,
    /// What the help says.
    pub help: String,
    /// Options that exclude this one.
    conflicts: Vec<String>,
}

impl Key {
    /// `section.name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The variable of the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("MILLSTREAM_{}_{}", self.section, self.name).to_uppercase()
    }

    /// Whether two settings cannot hold at a time.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        self.conflicts.contains(&other.id) || other.conflicts.contains(&self.id)
    }

    fn of(arg: &Arg, run: &Command) -> Option<Self> {
        let option = arg.get_long()?.to_owned();
        if NO_SETTINGS.contains(&arg.get_id().as_str()) {
            return None;
        }
        let heading = arg.get_help_heading().unwrap_or_default();
        let section = SECTIONS
            .iter()
            .find(|(from, _)| *from == heading)
            .map_or_else(|| heading.to_lowercase().replace(' ', "_"), |(_, to)| (*to).to_owned());
        let name = match option.strip_prefix(&section) {
            Some("") => "path",
            Some(rest) => rest.strip_prefix('-').unwrap_or(&option),
            None => &option,
        };
        let many = arg.get_num_args().is_some_and(|range: ValueRange| range.max_values() > 1);
        let shape = match arg.get_action() {
            ArgAction::SetTrue => Shape::Flag,
            ArgAction::Append => Shape::List,
            _ if many => Shape::List,
            _ => Shape::Text,
        };
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        Some(Self {
            name: name.replace('-', "_"),
            section,
            id: arg.get_id().to_string(),
            shape,
            default: default.filter(|_| shape != Shape::Flag),
            placeholder: arg
                .get_value_names()
                .and_then(|names| names.first())
                .map(ToString::to_string)
                .unwrap_or_default(),
            choices: arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
            help,
            conflicts: run.get_arg_conflicts_with(arg).iter().map(|other| other.get_id().to_string()).collect(),
            option,
        })
    }
}

/// All keys.
#[derive(Clone, Debug)]
pub struct Schema {
    /// In the order of the help.
    pub keys: Vec<Key>,
}

/// What the argument parser says of a single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It can be used.
    Good,
    /// It has no effect without one of these options.
    Needs(Vec<String>),
    /// It cannot be used.
    Bad(String),
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// Those of the options there are.
    #[must_use]
    pub fn new() -> Self {
        let mut command = Cli::command();
        command.build();
        let keys =
            command.find_subcommand("run").map(|run| run.get_arguments().filter_map(|arg| Key::of(arg, run)).collect());
        let mut schema = Self { keys: keys.unwrap_or_default() };
        // Options of the same heading may stand apart.
        let order: Vec<String> = schema.sections();
        schema.keys.sort_by_key(|key| order.iter().position(|section| *section == key.section));
        schema
    }

    /// Names of the sections.
    #[must_use]
    pub fn sections(&self) -> Vec<String> {
        let mut sections: Vec<String> = Vec::new();
        for key in &self.keys {
            if !sections.contains(&key.section) {
                sections.push(key.section.clone());
            }
        }
        sections
    }

    /// What to say of a name that is none of this section.
    #[must_use]
    pub fn unknown(&self, section: &str, name: &str) -> String {
        let names = || self.keys.iter().filter(|key| key.section == section).map(|key| key.name.as_str());
        if let Some(meant) = nearest(name, names()) {
            return format!("{name}: no such setting in [{section}]; did you mean {meant}?");
        }
        let elsewhere = self.keys.iter().find(|key| key.name == name || key.option.replace('-', "_") == name);
        if let Some(key) = elsewhere {
            return format!("{name}: no such setting in [{section}]; did you mean {} in [{}]?", key.name, key.section);
        }
        format!("{name}: no such setting in [{section}]; there are {}", names().collect::<Vec<_>>().join(", "))
    }

    /// What to say of a section that is none.
    #[must_use]
    pub fn unknown_section(&self, name: &str) -> String {
        let sections = self.sections();
        let all = || sections.iter().map(String::as_str).chain([PATHS]);
        if let Some(meant) = nearest(name, all()) {
            return format!("{name}: no such section; did you mean [{meant}]?");
        }
        if let Some(key) = self.keys.iter().find(|key| key.name == name || key.option == name) {
            return format!("{name}: a setting belongs into a section; write it below [{}]", key.section);
        }
        let all: Vec<String> = all().map(|section| format!("[{section}]")).collect();
        format!("{name}: no such section; there are {}", all.join(", "))
    }

    /// What the argument parser says of one value of a key.
    #[must_use]
    pub fn judge(&self, key: &Key, value: &str) -> Opinion {
        let typed = argument(key, value);
        let Err(error) = Cli::command().try_get_matches_from(["millstream", "run", &typed]) else {
            return Opinion::Good;
        };
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        };
        match error.kind() {
            ErrorKind::MissingRequiredArgument => {
                let option = |usage: &String| {
                    usage.trim_start_matches('-').split([' ', '=', '[', '<']).next().unwrap_or_default().to_owned()
                };
                Opinion::Needs(context(ContextKind::InvalidArg).iter().map(option).collect())
            }
            ErrorKind::InvalidValue => {
                let choices = context(ContextKind::ValidValue);
                let meant = nearest(value, choices.iter().map(String::as_str));
                let meant = meant.map_or_else(String::new, |meant| format!("; did you mean \"{meant}\"?"));
                Opinion::Bad(format!("\"{value}\" is none of {}{meant}", choices.join(", ")))
            }
            _ => {
                let reason = std::error::Error::source(&error).map_or_else(
                    || error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
                    ToString::to_string,
                );
                Opinion::Bad(format!("\"{value}\": {reason}"))
            }
        }
    }
}

/// A setting as it is typed.
#[must_use]
pub fn argument(key: &Key, value: &str) -> String {
    match key.shape {
        Shape::Flag => format!("--{}", key.option),
        Shape::Text | Shape::List => format!("--{}={value}", key.option),
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Opinion, Schema, Shape};

    fn find<'a>(schema: &'a Schema, section: &str, name: &str) -> &'a Key {
        let found = schema.keys.iter().find(|key| key.section == section && key.name == name);
        found.unwrap_or_else(|| panic!("[{section}] {name}"))
    }

    #[test]
    fn every_option_of_run_has_a_key_of_its_own() {
        let schema = Schema::new();
        let find = |section, name| find(&schema, section, name);
        assert_eq!(find("input", "read").shape, Shape::List);
        assert_eq!(find("input", "no_promisc").shape, Shape::Flag);
        assert_eq!(find("input", "buffer").default.as_deref(), Some("16"));
        assert_eq!(find("store", "path").option, "store");
        assert_eq!(find("store", "size").option, "store-size");
        assert_eq!(find("packets", "file_size").variable(), "MILLSTREAM_PACKETS_FILE_SIZE");
        assert_eq!(find("limits", "plugin_memory").option, "plugin-memory");
        assert_eq!(find("general", "log").default.as_deref(), Some("notice"));
        let mut paths: Vec<String> = schema.keys.iter().map(Key::path).collect();
        paths.sort();
        let all = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), all, "{paths:?}");
        assert!(find("input", "read").excludes(find("input", "interface")));
        assert!(find("input", "interface").excludes(find("input", "read")));
    }

    #[test]
    fn single_values_are_judged_as_the_command_line_does() {
        let schema = Schema::new();
        let judge = |section, name, value: &str| schema.judge(find(&schema, section, name), value);
        assert_eq!(judge("input", "snaplen", "96"), Opinion::Good);
        assert!(matches!(judge("input", "snaplen", "many"), Opinion::Bad(_)));
        assert_eq!(judge("store", "size", "10g"), Opinion::Needs(vec!["store".to_owned()]));
        let bad = Opinion::Bad("\"1\": a size of at least 64k such as 500m or 10g is needed".to_owned());
        assert_eq!(judge("store", "size", "1"), bad);
        let bad = Opinion::Bad(
            "\"fill\" is none of full, headers, 10k, 100k, 1m, 10m, none; did you mean \"full\"?".to_owned(),
        );
        assert_eq!(judge("packets", "mode", "fill"), bad);
        assert_eq!(judge("plugins", "args", "-x --y"), Opinion::Good);
        assert_eq!(["1", "2047"].map(|value| judge("input", "buffer", value)), [Opinion::Good, Opinion::Good]);
        for value in ["0", "2048"] {
            assert_eq!(
                judge("input", "buffer", value),
                Opinion::Bad(format!("\"{value}\": {value} is not in 1..=2047"))
            );
        }
        assert_eq!(judge("work", "engines", "0"), Opinion::Bad("\"0\": 0 is not in 1..=64".to_owned()));
    }
}
