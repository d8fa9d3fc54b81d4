//! A case as it is written: which capture, what the run is told, what is compared.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::metrics::Level;

/// What is compared.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Totals by group, key and meter.
    Counters,
    /// Labels and attributes of keys.
    Keys,
    /// Alerts.
    Alerts,
    /// Resources.
    Resources,
    /// Documents.
    Documents,
    /// Tags of flows.
    Tags,
    /// What scripts say about flows.
    Flows,
    /// Edges.
    Edges,
    /// How much of which flow is stored.
    Policies,
    /// Flows in the ranking of a tracker.
    Trackers,
    /// What the votes of the flush threw away.
    Vetoes,
    /// Messages posted.
    Messages,
    /// Lines printed.
    Prints,
    /// Lines logged; compared only when named.
    Logs,
    /// Errors.
    Faults,
}

impl Part {
    /// All, in the order in which they stand in a snapshot.
    pub const ALL: [Self; 15] = [
        Self::Counters,
        Self::Keys,
        Self::Alerts,
        Self::Resources,
        Self::Documents,
        Self::Tags,
        Self::Flows,
        Self::Edges,
        Self::Policies,
        Self::Trackers,
        Self::Vetoes,
        Self::Messages,
        Self::Prints,
        Self::Logs,
        Self::Faults,
    ];

    /// Its name in cases and snapshots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Keys => "keys",
            Self::Alerts => "alerts",
            Self::Resources => "resources",
            Self::Documents => "documents",
            Self::Tags => "tags",
            Self::Flows => "flows",
            Self::Edges => "edges",
            Self::Policies => "policies",
            Self::Trackers => "trackers",
            Self::Vetoes => "vetoes",
            Self::Messages => "messages",
            Self::Prints => "prints",
            Self::Logs => "logs",
            Self::Faults => "faults",
        }
    }
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

/// A setting's value.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Flag(bool),
    Whole(i64),
}

/// What a file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    about: String,
    capture: Option<Texts>,
    plugins: Vec<String>,
    args: String,
    set: BTreeMap<String, Scalar>,
    homenet: Vec<String>,
    filter: Option<String>,
    count: Option<u64>,
    builtin: Vec<String>,
    compare: Vec<Part>,
    groups: Vec<String>,
}

/// A case, read.
#[derive(Clone, Debug)]
pub struct Case {
    spec: Spec,
    captures: Vec<PathBuf>,
    plugins: Vec<String>,
}

impl Case {
    /// Reads a case of a plugin. Captures are named from where the case lies, plugins from where the plugin lies.
    ///
    /// # Errors
    /// When it cannot be read or says what nobody understands.
    pub fn read(file: &Path, plugin: &str) -> anyhow::Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let spec: Spec = toml::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let captures = match &spec.capture {
            None => Vec::new(),
            Some(Texts::One(name)) => vec![folder.join(name)],
            Some(Texts::Several(names)) => names.iter().map(|name| folder.join(name)).collect(),
        };
        if let Some(missing) = captures.iter().find(|path| !path.exists()) {
            bail!("{}: capture {} does not exist", file.display(), missing.display());
        }
        let own = [format!("{plugin}.lua"), plugin.to_owned()];
        let plugins = if spec.plugins.is_empty() {
            let root = folder.parent().and_then(Path::parent).unwrap_or(folder);
            let Some(found) = own.iter().find(|name| root.join(name).exists()) else {
                bail!("{}: there is no {}.lua in {}", file.display(), plugin, root.display());
            };
            vec![found.clone()]
        } else {
            spec.plugins.clone()
        };
        Ok(Self { spec, captures, plugins })
    }

    /// What it is about.
    #[must_use]
    pub fn about(&self) -> &str {
        &self.spec.about
    }

    /// Whether a part is compared.
    #[must_use]
    pub fn compares(&self, part: Part) -> bool {
        if self.spec.compare.is_empty() { part != Part::Logs } else { self.spec.compare.contains(&part) }
    }

    /// Whether counters of a group are compared: those named, else all that scripts define, and where nothing else is
    /// counted those they count in as well.
    #[must_use]
    pub fn compares_group(&self, name: &str, guid: &str, level: Option<Level>) -> bool {
        if self.spec.groups.is_empty() {
            return level == Some(Level::Script) || self.spec.builtin.is_empty();
        }
        self.spec.groups.iter().any(|wanted| wanted.eq_ignore_ascii_case(name) || wanted.eq_ignore_ascii_case(guid))
    }

    /// What a setting is set to by the case.
    #[must_use]
    pub fn setting(&self, path: &str) -> Option<String> {
        self.spec.set.get(path).map(Scalar::text)
    }

    /// The run as it would be typed, with further settings.
    #[must_use]
    pub fn typed(&self, settings: &[(String, String)]) -> Vec<OsString> {
        let mut typed: Vec<OsString> = ["millstream", "run", "--quiet"].map(OsString::from).to_vec();
        let mut option = |name: &str, value: &str| typed.push(format!("--{name}={value}").into());
        option("args", &self.spec.args);
        for (path, value) in &self.spec.set {
            option("set", &format!("{path}={}", value.text()));
        }
        for (path, value) in settings {
            option("set", &format!("{path}={value}"));
        }
        self.spec.homenet.iter().for_each(|net| option("homenet", net));
        self.spec.filter.iter().for_each(|filter| option("filter", filter));
        self.spec.count.iter().for_each(|count| option("count", &count.to_string()));
        self.spec.builtin.iter().for_each(|group| option("builtin", group));
        for (name, paths) in [("-r", &self.captures), ("-p", &self.plugins.iter().map(PathBuf::from).collect())] {
            for path in paths {
                typed.extend([name.into(), path.into()]);
            }
        }
        typed
    }
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(number) => number.to_string(),
        }
    }
}
