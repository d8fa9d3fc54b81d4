//! `millstream new`: a plugin to start from, made from the commented samples of the project.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Outcome;
use super::cli::NewArgs;
use super::demo;
use super::guid::FreshGuids;
use super::screen::{Screen, columns, program};
use crate::decode;
use crate::guid::Guid;
use crate::metrics;
use crate::plugin::PluginKind;
use crate::shell::typed;

/// Length of a GUID's text.
const GUID_LENGTH: usize = 38;

/// A sample that plugins are made from.
struct Skeleton {
    /// The TYPE to type.
    kind: &'static str,
    /// Its file below `samples/`, without `.lua`.
    sample: &'static str,
    text: &'static str,
}

macro_rules! skeleton {
    ($kind:literal, $sample:literal) => {
        Skeleton { kind: $kind, sample: $sample, text: include_str!(concat!("../../samples/", $sample, ".lua")) }
    };
}

const SKELETONS: [Skeleton; 31] = [
    skeleton!("simplecounter", "simplecounter"),
    skeleton!("countergroup", "countergroup"),
    skeleton!("alertgroup", "alertgroup"),
    skeleton!("resourcegroup", "resourcegroup"),
    skeleton!("protocol_handler", "protocol_handler"),
    skeleton!("reassembly_handler", "reassembly_handler"),
    skeleton!("filex_monitor", "filex_monitor"),
    skeleton!("flowmonitor", "flowmonitor"),
    skeleton!("messagemonitor", "messagemonitor"),
    skeleton!("packet_storage", "packet_storage"),
    skeleton!("inputfilter", "inputfilter-step"),
    skeleton!("inputfilter-step_alert", "inputfilter-step_alert"),
    skeleton!("engine_monitor", "engine_monitor"),
    skeleton!("cg_monitor", "cg_monitor"),
    skeleton!("sg_monitor", "sg_monitor"),
    skeleton!("alert_monitor", "alert_monitor"),
    skeleton!("resource_monitor", "resource_monitor"),
    skeleton!("fts_monitor", "fts_monitor"),
    skeleton!("flowtracker", "flowtracker"),
    skeleton!("async", "async"),
    skeleton!("async-options", "async-options"),
    skeleton!("async-defer", "async-defer"),
    skeleton!("async-tasks", "async-tasks"),
    skeleton!("async-block", "async-block"),
    skeleton!("gears-top-talkers", "gears-top-talkers"),
    skeleton!("gears-alerts", "gears-alerts"),
    skeleton!("gears-store", "gears-store"),
    skeleton!("functions", "async-functions"),
    skeleton!("onload-onunload", "onload-onunload"),
    skeleton!("onmessage", "onmessage"),
    skeleton!("channellistener", "channellistener"),
];

impl Skeleton {
    fn named(kind: &str) -> Option<&'static Self> {
        let wanted: &str = match PluginKind::from_name(kind) {
            Some(block) => block.name(),
            None => kind,
        };
        SKELETONS.iter().find(|skeleton| skeleton.kind == wanted || skeleton.sample == wanted)
    }

    /// What it is about: the first line of the file, behind the name.
    fn purpose(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or_default();
        first.split_once(": ").map_or(first, |(_, purpose)| purpose)
    }
}

/// Writes the file and says what to type next.
///
/// # Errors
/// For a type there is no sample of, a name that cannot be a file's, or a file that exists.
pub fn write(args: &NewArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let Some(kind) = &args.kind else {
        writeln!(screen, "Types of scripts, to be used as in: millstream new simplecounter my-counter\n\n{}", types())?;
        return Ok(Outcome::Good);
    };
    let Some(skeleton) = Skeleton::named(kind) else { bail!(unknown(kind)) };
    let Some(name) = &args.name else { bail!("the new plugin needs a name, as in: millstream new {kind} my-plugin") };
    let path = path_for(name);
    let name = plugin_name(&path)?;
    let mut fresh = FreshGuids::open()?;
    let capture = demo::capture().unwrap_or_else(|| PathBuf::from("capture.pcap"));
    let text = fill(skeleton, &name, &path, &capture, &mut || fresh.next())?;
    create(&path, &text)?;
    let (file, program, run) = (typed(&path), program(), run_line(&text));
    let run = run.strip_prefix("millstream ").unwrap_or(run);
    writeln!(screen, "{}\n\nTry it:\n  {program} check {file}", path.display())?;
    if !run.starts_with("check") {
        writeln!(screen, "  {program} {run}")?;
    }
    writeln!(screen, "Give it a test: {}", test_hint(&path, &program))?;
    Ok(Outcome::Good)
}

/// How a first case is made for a plugin.
fn test_hint(path: &Path, program: &str) -> String {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_stem().unwrap_or_default();
    let case = folder.join("tests").join(name).join("first.toml");
    format!("write capture = \"...\" into {} and type: {program} test {} --update", case.display(), typed(path))
}

/// The types that can be asked for, a line each.
fn types() -> String {
    let rows: Vec<Vec<String>> =
        SKELETONS.iter().map(|s| vec![format!("  {}", s.kind), s.purpose().to_owned()]).collect();
    columns(&rows).join("\n")
}

fn unknown(kind: &str) -> String {
    let block = match PluginKind::from_name(kind) {
        Some(_) => format!("there is no sample of {kind} yet"),
        None => format!("'{kind}' is no type of script"),
    };
    format!("{block}; these are there:\n{}", types())
}

/// The file for what was typed as NAME: a path that ends in `.lua`, or a name that gets the ending.
fn path_for(name: &str) -> PathBuf {
    if name.ends_with(".lua") { PathBuf::from(name) } else { PathBuf::from(format!("{name}.lua")) }
}

fn plugin_name(path: &Path) -> anyhow::Result<String> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '+');
    // The whole path ends up in a comment, which a line break would end.
    let breaks = path.to_string_lossy().contains(char::is_control);
    if breaks || stem.is_empty() || stem.starts_with('.') || !stem.chars().all(fits) {
        bail!(
            "'{}' cannot be the name of a plugin; use letters, digits, - and _, as in: millstream new simplecounter \
             my-counter",
            path.display()
        );
    }
    Ok(stem)
}

fn create(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = path.display();
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    match opened {
        Ok(mut opened) => opened.write_all(text.as_bytes()).with_context(|| format!("{file}: cannot be written")),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            bail!(
                "{file} exists already and is left as it is; choose another name, or remove it first: rm {}",
                typed(path)
            )
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("."));
            bail!("{file}: there is no directory {}; make it first: mkdir -p {}", folder.display(), typed(folder))
        }
        Err(e) => Err(e).with_context(|| format!("{file}: cannot be created")),
    }
}

impl Skeleton {
    fn sample_path(&self) -> String {
        format!("samples/{}.lua", self.sample)
    }
}

/// The command in the heading of a plugin that tries it.
fn run_line(text: &str) -> &str {
    let line = text.lines().find(|line| line.starts_with("-- Run it:")).unwrap_or_default();
    line.trim_start_matches("-- Run it:").trim()
}

/// The sample's text with a name, a path and identifiers of its own, and with a capture that is there.
fn fill(
    skeleton: &Skeleton,
    name: &str,
    path: &Path,
    capture: &Path,
    fresh: &mut dyn FnMut() -> anyhow::Result<Guid>,
) -> anyhow::Result<String> {
    let mut text = skeleton
        .text
        .replace(&skeleton.sample_path(), &typed(path))
        .replace(demo::CAPTURE, &typed(capture))
        .replace(&format!("\"sample-{}\"", skeleton.sample), &format!("\"{name}\""))
        .replace("\"Sample: ", &format!("\"{name}: "));
    let (groups, protocols) = (metrics::Registry::new(), decode::Registry::new());
    let is_known = |guid: Guid| {
        protocols.id(guid).is_some() || metrics::GroupKind::ALL.iter().any(|kind| groups.find(*kind, guid).is_some())
    };
    for guid in guids(skeleton.text).into_iter().filter(|guid| !is_known(*guid)) {
        text = text.replace(&guid.to_string(), &fresh()?.to_string());
    }
    Ok(text)
}

/// The different identifiers in a text.
fn guids(text: &str) -> Vec<Guid> {
    let mut found: Vec<Guid> = text
        .match_indices('{')
        .filter_map(|(at, _)| text.as_bytes().get(at..at + GUID_LENGTH))
        .filter_map(|bytes| Guid::parse(bytes).ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::{GUID_LENGTH, SKELETONS, Skeleton, fill, guids, path_for, plugin_name, run_line, unknown};
    use crate::guid::Guid;
    use crate::plugin::PluginKind;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn there_is_a_skeleton_of_every_sample() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let files: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        // A configuration file and a unit are there as well.
        let files: BTreeSet<String> = files.into_iter().filter(|name| name.ends_with(".lua")).collect();
        let known: BTreeSet<String> = SKELETONS.iter().map(|s| format!("{}.lua", s.sample)).collect();
        assert_eq!(files, known);
    }

    #[test]
    fn there_is_a_skeleton_of_every_type_of_script() {
        for kind in PluginKind::all() {
            let skeleton = Skeleton::named(kind.name());
            assert!(skeleton.is_some_and(|skeleton| skeleton.text.contains(kind.name())), "{}", kind.name());
        }
        assert_eq!(Skeleton::named("channel_listener").map(|s| s.kind), Some("channellistener"));
        assert_eq!(Skeleton::named("async-functions").map(|s| s.kind), Some("functions"));
    }

    #[test]
    fn nothing_of_the_sample_is_left_but_what_is_always_there() {
        for skeleton in &SKELETONS {
            let mut number = 0;
            let mut fresh = || {
                number += 1;
                Ok(Guid::from_random(number))
            };
            let (path, capture) = (Path::new("dir/my-plugin.lua"), Path::new("my.pcap"));
            let text = fill(skeleton, "my-plugin", path, capture, &mut fresh).unwrap();
            assert!(text.contains("name = \"my-plugin\""), "{}: {text}", skeleton.kind);
            assert!(text.contains("dir/my-plugin.lua"), "{}", skeleton.kind);
            assert!(run_line(&text).starts_with("millstream "), "{}", skeleton.kind);
            assert!(!text.contains("sample-") && !text.contains("\"Sample"), "{}: {text}", skeleton.kind);
            assert_eq!(guids(&text).len(), guids(skeleton.text).len());
            // In a comment before the definition, each definition has an identifier that is not the sample's.
            let kept: Vec<Guid> = guids(&text).into_iter().filter(|g| guids(skeleton.text).contains(g)).collect();
            assert_eq!(kept.len() + number as usize, guids(&text).len(), "{}", skeleton.kind);
        }
        assert_eq!(Guid::from_random(1).to_string().len(), GUID_LENGTH);
    }

    #[test]
    fn what_is_told_to_be_typed_can_be() {
        let (path, capture) = (Path::new("my dir/it's.lua"), Path::new("my captures/a.pcap"));
        let skeleton = Skeleton::named("simplecounter").unwrap();
        let text = fill(skeleton, "it's", path, capture, &mut || Ok(Guid::from_random(1))).unwrap();
        assert_eq!(run_line(&text), "millstream run -r 'my captures/a.pcap' -p 'my dir/it'\\''s.lua'");
    }

    #[test]
    fn what_a_sample_is_about_is_a_whole_sentence() {
        for skeleton in &SKELETONS {
            assert!(skeleton.purpose().ends_with('.'), "{}: {}", skeleton.kind, skeleton.purpose());
        }
    }

    #[test]
    fn types_are_known_by_block_by_sample_and_by_their_other_spelling() {
        for kind in ["inputfilter", "input_filter", "inputfilter-step"] {
            assert_eq!(Skeleton::named(kind).map(|s| s.kind), Some("inputfilter"));
        }
        assert!(Skeleton::named("simple").is_none());
        assert!(unknown("cg_monitor").starts_with("there is no sample of cg_monitor yet"));
        assert!(unknown("x").contains("  simplecounter           look at every packet"), "{}", unknown("x"));
    }

    #[test]
    fn names_get_the_ending_and_must_fit_into_lua_text() {
        assert_eq!(path_for("a"), Path::new("a.lua"));
        assert_eq!(path_for("d/a.lua"), Path::new("d/a.lua"));
        assert_eq!(plugin_name(Path::new("d/my-a.lua")).unwrap(), "my-a");
        for name in ["a\"b.lua", ".lua", "a\nb.lua", ""] {
            assert!(plugin_name(Path::new(name)).is_err(), "{name}");
        }
    }
}
