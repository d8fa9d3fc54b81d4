//! `T.env`: configuration values by path, with the defaults every plugin may rely on.

use std::collections::BTreeMap;
use std::path::Path;

use mlua::{Lua, Table};

use super::modules;

/// Why an override is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no equals sign.
    #[error("configuration override '{text}' lacks '='; write it as App>DBRoot=/some/dir")]
    NoValue {
        /// The text given.
        text: String,
    },
    /// The part before the equals sign has an empty element.
    #[error("configuration override '{text}': '{path}' is not a path of element names joined by '>'")]
    BadPath {
        /// The text given.
        text: String,
        /// The part before the equals sign.
        path: String,
    },
}

/// Default values; `{...}` stands for the value of another path, `{}` for the data directory of the process.
const DEFAULTS: &[(&str, &str)] = &[
    ("App>DBRoot", "{}/context0"),
    ("App>DataDirectory", "{}/share"),
    ("App>RunStateDirectory", "{}/run"),
    ("App>User", "millstream"),
    ("App>TempFolder", "/tmp"),
    ("App>ProbeID", "probe0"),
    ("App>ProbeDesc", "millstream"),
    ("App>PluginsLibDirectory", "{}/plugins"),
    ("App>PluginsConfDirectory", "{App>DBRoot}/config"),
    ("App>PluginsDataDirectory", "{App>DataDirectory}/plugins"),
    ("App>PidFile", "{App>RunStateDirectory}/millstream.pid"),
    ("App>TrisulMode", "TAP"),
    ("Logging>Logdir", "{}/log"),
    ("Logging>Loglevel", "DEBUG"),
    ("Ring>Enabled", "True"),
    ("Ring>DefaultMode", "FULL"),
    ("Reassembly>TCPFlowTrack>Enabled", "True"),
    ("Reassembly>TCPReassembly>Enabled", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableSSLRecordExtraction", "False"),
    ("Reassembly>TCPReassembly>Applications>EnableURILog", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableHostMeter", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableContentTypeMeter", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableSSLCertLog", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableHTTPFTS", "True"),
    ("Reassembly>TCPReassembly>Applications>EnableSSLFTS", "True"),
    ("Reassembly>FileExtraction>Enabled", "False"),
    ("Reassembly>FileExtraction>RamFsDir", "{App>RunStateDirectory}/ramfs"),
    ("Reassembly>FileExtraction>AutoDelete", "True"),
    ("Reassembly>FileExtraction>ChunkSizeMB", "5"),
    ("Reassembly>FileExtraction>MaxMiB", "512"),
    ("Tuning>InflightTokens", "2"),
    ("Tuning>StreamingWindowMSecs", "60000"),
    ("Edges>Enabled", "True"),
];

/// Paths whose values are directories, which carry no trailing slash.
const DIRECTORIES: &[&str] = &[
    "App>DBRoot",
    "App>DataDirectory",
    "App>RunStateDirectory",
    "App>TempFolder",
    "App>PluginsLibDirectory",
    "App>PluginsConfDirectory",
    "App>PluginsDataDirectory",
    "Logging>Logdir",
    "Reassembly>FileExtraction>RamFsDir",
];

/// Configuration values by path.
///
/// A default that lies below another directory follows it: overriding `App>DataDirectory` moves
/// `App>PluginsDataDirectory` too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigPaths {
    base: String,
    defaults: bool,
    values: BTreeMap<String, String>,
}

/// The path with the blanks around its names removed; `None` if a name is empty. `//App/DBRoot` is `App>DBRoot`.
fn normal_path(path: &str) -> Option<String> {
    let path = path.trim();
    let (path, separator) = if path.starts_with('/') { (path.trim_start_matches('/'), '/') } else { (path, '>') };
    let names: Vec<&str> = path.split(separator).map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) { None } else { Some(names.join(">")) }
}

fn without_trailing_slash(path: &str) -> &str {
    let cut = path.trim_end_matches('/');
    if cut.is_empty() && path.starts_with('/') { "/" } else { cut }
}

impl ConfigPaths {
    /// No values at all, as of a domain that is not configured.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The default values, with directories below `data_dir`.
    #[must_use]
    pub fn with_defaults(data_dir: &Path) -> Self {
        let base = data_dir.to_string_lossy();
        let base = without_trailing_slash(&base);
        // The root directory is spelled "" here, because every use appends a slash.
        Self { base: base.trim_end_matches('/').to_owned(), defaults: true, values: BTreeMap::new() }
    }

    /// Applies `App>DBRoot=/some/dir`; a later override of the same path wins. The value may hold further `=` signs.
    ///
    /// # Errors
    /// When the text has no `=`, or the part before it is no path.
    pub fn apply(&mut self, text: &str) -> Result<(), ConfigError> {
        let Some((path, value)) = text.split_once('=') else {
            return Err(ConfigError::NoValue { text: text.to_owned() });
        };
        if normal_path(path).is_none() {
            return Err(ConfigError::BadPath { text: text.to_owned(), path: path.trim().to_owned() });
        }
        self.set(path, value);
        Ok(())
    }

    /// Sets one value; a path with an empty name is ignored, because no query could reach it.
    pub fn set(&mut self, path: &str, value: &str) {
        if let Some(path) = normal_path(path) {
            self.values.insert(path, value.trim().to_owned());
        }
    }

    /// True if the path has a value that is no default.
    #[must_use]
    pub fn is_set(&self, path: &str) -> bool {
        normal_path(path).is_some_and(|path| self.values.contains_key(&path))
    }

    /// The value, `""` for an unknown path.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        normal_path(path).map(|path| self.lookup(&path)).unwrap_or_default()
    }

    fn lookup(&self, path: &str) -> String {
        let found = match self.values.get(path) {
            Some(value) => value.clone(),
            None => DEFAULTS
                .iter()
                .find(|(name, _)| self.defaults && *name == path)
                .map(|(_, template)| self.expand(template))
                .unwrap_or_default(),
        };
        if DIRECTORIES.contains(&path) { without_trailing_slash(&found).to_owned() } else { found }
    }

    /// Fills in the one placeholder that a template may start with. Templates refer to earlier entries of the table
    /// only, so this ends.
    fn expand(&self, template: &str) -> String {
        let Some((name, rest)) = template.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            return template.to_owned();
        };
        let head = if name.is_empty() { self.base.clone() } else { self.lookup(name) };
        format!("{}{rest}", head.trim_end_matches('/'))
    }

    /// Every path that has a value, with its value, in order of path.
    #[must_use]
    pub fn all(&self) -> Vec<(String, String)> {
        let mut paths: Vec<String> = self.values.keys().cloned().collect();
        if self.defaults {
            paths.extend(DEFAULTS.iter().map(|(path, _)| (*path).to_owned()));
        }
        paths.sort_unstable();
        paths.dedup();
        paths
            .into_iter()
            .map(|path| {
                let value = self.lookup(&path);
                (path, value)
            })
            .collect()
    }
}

/// The two configurations plugins can ask, with the names of their files.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Full name of the main configuration file.
    pub configfile: String,
    /// Full name of the domain configuration file, `""` if there is none.
    pub domain_configfile: String,
    /// Values of the main configuration.
    pub config: ConfigPaths,
    /// Values of the domain configuration.
    pub domain: ConfigPaths,
}

/// Installs the members of `T.env` into `env`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, env: &Table, environment: &Environment) -> mlua::Result<()> {
    env.raw_set("configfile", environment.configfile.as_str())?;
    env.raw_set("domain_configfile", environment.domain_configfile.as_str())?;
    let config = lua.create_table_from(environment.config.all())?;
    let domain = lua.create_table_from(environment.domain.all())?;
    let text = include_str!("modules/host/t_env.lua");
    modules::run_host_chunk(lua, "millstream.env", text, (env, modules::arguments(lua)?, config, domain)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{ConfigError, ConfigPaths, DEFAULTS};

    #[test]
    fn every_default_has_a_value_and_its_templates_look_back() {
        let paths = ConfigPaths::with_defaults(Path::new("/var/lib/millstream/"));
        for (position, (path, template)) in DEFAULTS.iter().enumerate() {
            let value = paths.get(path);
            assert!(!value.is_empty() && !value.ends_with('/') && !value.contains('{'), "{path} = {value}");
            if let Some((name, _)) = template.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                let earlier = DEFAULTS[..position].iter().any(|(earlier, _)| *earlier == name);
                assert!(name.is_empty() || earlier, "{path} refers to {name}");
            }
        }
        assert_eq!(paths.get("App>DBRoot"), "/var/lib/millstream/context0");
        assert_eq!(paths.get(" App >  DBRoot "), "/var/lib/millstream/context0");
        assert_eq!(paths.get("//App/DBRoot"), "/var/lib/millstream/context0");
        assert_eq!(paths.get("/App/ DBRoot "), "/var/lib/millstream/context0");
        assert_eq!(paths.get("App/DBRoot"), "");
        assert_eq!(paths.get("app>dbroot"), "");
        assert_eq!(paths.get("No>Such>Path"), "");
        assert_eq!(ConfigPaths::empty().get("App>DBRoot"), "");
    }

    #[test]
    fn overrides_win_and_move_what_lies_below() {
        let mut paths = ConfigPaths::with_defaults(Path::new("/"));
        assert_eq!(paths.get("App>DataDirectory"), "/share");
        paths.apply("App > DataDirectory =  /srv/data// ").unwrap();
        paths.apply("//My/Own=a=b").unwrap();
        assert_eq!(paths.get("App>DataDirectory"), "/srv/data");
        assert_eq!(paths.get("App>PluginsDataDirectory"), "/srv/data/plugins");
        assert_eq!(paths.get("My>Own"), "a=b");
        paths.apply("My>Own=").unwrap();
        assert_eq!(paths.get("My>Own"), "");
        assert!(paths.all().contains(&("App>DataDirectory".to_owned(), "/srv/data".to_owned())));
    }

    #[test]
    fn overrides_that_cannot_work_say_why() {
        let mut paths = ConfigPaths::empty();
        let text = paths.apply("App>DBRoot").unwrap_err().to_string();
        assert_eq!(text, "configuration override 'App>DBRoot' lacks '='; write it as App>DBRoot=/some/dir");
        for bad in ["=x", "App>=x", ">DBRoot=x", "App>>DBRoot=x", "//=x", "//App//DBRoot=x"] {
            assert!(matches!(paths.apply(bad), Err(ConfigError::BadPath { .. })), "{bad}");
        }
    }
}
