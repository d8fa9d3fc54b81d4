//! Which files are plugins: search paths, order, and the test that keeps libraries from being run.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use crate::shell::typed;

/// The word a plugin's source text must contain; a file without it is a library.
const MARK: &[u8] = b"TrisulPlugin";
/// Directories deeper than this below a search path are not searched; a link cycle ends here.
const MAX_DEPTH: usize = 32;
/// Largest plugin file that is read.
const MAX_SOURCE_BYTES: u64 = 16 << 20;

/// One plugin file found, with its source text.
#[derive(Clone, Debug)]
pub struct Script {
    /// The path as given or found.
    pub path: PathBuf,
    /// Source text.
    pub source: Vec<u8>,
}

impl Script {
    /// File name without directory, as it appears in messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().map_or_else(|| self.path.display().to_string(), |n| n.to_string_lossy().into_owned())
    }

    /// What its functions say about where they are from.
    #[must_use]
    pub fn chunk_name(&self) -> String {
        format!("@{}", self.path.display())
    }

    /// Directory of the file.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        }
    }
}

/// A file that was passed over, and why.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// The file or directory.
    pub path: PathBuf,
    /// Why it is not loaded.
    pub reason: SkipReason,
}

/// Why a file is not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// No plugin table in it.
    #[error("does not mention TrisulPlugin: a library, not a plugin")]
    Library,
    /// Compiled Lua.
    #[error("is bytecode; plugins are loaded from source text only")]
    Bytecode,
    /// Cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Others may change it while we run as root.
    #[error("is writable by other users, which is refused when running as root; try: chmod o-w {}", typed(.0))]
    WritableByOthers(PathBuf),
    /// Larger than a script can be.
    #[error("is {0} bytes long; plugins may have at most {MAX_SOURCE_BYTES}")]
    TooLong(u64),
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Plugins in the order in which they are attached.
    pub scripts: Vec<Script>,
    /// Files passed over.
    pub skipped: Vec<Skipped>,
    /// Directories that somebody named and that hold no plugin.
    pub barren: Vec<PathBuf>,
}

/// A path given on the command line does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin path {path} does not exist{hint}")]
pub struct NoSuchPath {
    path: String,
    hint: String,
}

/// Searches files and directories in the order given.
///
/// `given` are paths somebody named (they must exist; a file is taken whatever its name); `standard` are the directories
/// of the configuration, silently absent.
///
/// # Errors
/// [`NoSuchPath`] with the nearest existing name, if a given path does not exist.
pub fn discover(given: &[PathBuf], standard: &[PathBuf]) -> Result<Found, NoSuchPath> {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    for path in given {
        if !path.exists() {
            return Err(NoSuchPath { path: path.display().to_string(), hint: hint_for(path) });
        }
        if path.is_dir() {
            let before = (found.scripts.len(), found.skipped.len());
            search(path, 0, &mut seen, &mut found);
            // Of what is a plugin and not loaded is told why.
            let mut others = found.skipped[before.1..].iter().filter(|skipped| skipped.reason != SkipReason::Library);
            let is_barren = found.scripts.len() == before.0 && others.next().is_none();
            if is_barren && !holds_one(path, &found.scripts) {
                found.barren.push(path.clone());
            }
        } else {
            take(path, &mut seen, &mut found);
        }
    }
    for path in standard.iter().filter(|path| path.is_dir()) {
        search(path, 0, &mut seen, &mut found);
    }
    Ok(found)
}

/// Whether a script that was found earlier lies below a directory.
fn holds_one(directory: &Path, scripts: &[Script]) -> bool {
    let Ok(directory) = directory.canonicalize() else { return false };
    scripts.iter().any(|script| script.path.canonicalize().is_ok_and(|path| path.starts_with(&directory)))
}

fn hint_for(path: &Path) -> String {
    if path.extension().is_none() && path.with_extension("lua").exists() {
        return format!("; did you mean {}?", path.with_extension("lua").display());
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && parent.is_dir()) {
        Some(parent) => format!("; try: ls {}", typed(parent)),
        None => "; try: millstream list".to_owned(),
    }
}

fn search(directory: &Path, depth: usize, seen: &mut HashSet<(u64, u64)>, found: &mut Found) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) => {
            let reason = SkipReason::Unreadable(e.to_string());
            found.skipped.push(Skipped { path: directory.to_path_buf(), reason });
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort_unstable_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if name != "helpers" && depth < MAX_DEPTH {
                search(&path, depth + 1, seen, found);
            }
        } else if name.ends_with(".lua") && path.is_file() {
            take(&path, seen, found);
        }
    }
}

fn take(path: &Path, seen: &mut HashSet<(u64, u64)>, found: &mut Found) {
    let mut skip = |reason| found.skipped.push(Skipped { path: path.to_path_buf(), reason });
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) => return skip(SkipReason::Unreadable(e.to_string())),
    };
    if !seen.insert((metadata.dev(), metadata.ino())) {
        return;
    }
    if metadata.len() > MAX_SOURCE_BYTES {
        return skip(SkipReason::TooLong(metadata.len()));
    }
    if metadata.mode() & 0o002 != 0 && runs_as_root() {
        return skip(SkipReason::WritableByOthers(path.to_path_buf()));
    }
    let source = match fs::read(path) {
        Ok(source) => source,
        Err(e) => return skip(SkipReason::Unreadable(e.to_string())),
    };
    if source.first() == Some(&0x1B) {
        return skip(SkipReason::Bytecode);
    }
    if memmem::find(&source, MARK).is_none() {
        return skip(SkipReason::Library);
    }
    found.scripts.push(Script { path: path.to_path_buf(), source });
}

/// True if the files this process makes belong to root.
fn runs_as_root() -> bool {
    // The owner of the process's own entry is its effective user.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Entries for `package.path` of a script: its directory first, then the search directories.
#[must_use]
pub fn package_path(script_directory: &Path, search: &[PathBuf]) -> Vec<String> {
    let own = script_directory.display();
    let mut entries = vec![format!("{own}/?.lua"), format!("{own}/helpers/?.lua")];
    for directory in search.iter().filter(|path| path.is_dir()) {
        let directory = directory.display();
        entries.push(format!("{directory}/helpers/?.lua"));
        entries.push(format!("{directory}/?.lua"));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::{SkipReason, discover, package_path};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    const PLUGIN: &str = "TrisulPlugin = { id = { name = 'x' } }";

    #[test]
    fn order_is_byte_order_and_helpers_hidden_files_and_libraries_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("b/helpers")).unwrap();
        fs::create_dir_all(at(".git")).unwrap();
        for name in ["b/z.lua", "a.lua", "B.lua", "b/helpers/h.lua", ".git/g.lua", ".x.lua", "a.txt"] {
            fs::write(at(name), PLUGIN).unwrap();
        }
        fs::write(at("lib.lua"), "return {}").unwrap();
        fs::write(at("c.lua"), b"\x1bLJ TrisulPlugin").unwrap();
        symlink(at("a.lua"), at("link.lua")).unwrap();
        let found = discover(&[dir.path().to_path_buf()], &[]).unwrap();
        let names: Vec<_> = found.scripts.iter().map(super::Script::name).collect();
        assert_eq!(names, ["B.lua", "a.lua", "z.lua"]);
        let reasons: Vec<_> = found.skipped.iter().map(|s| s.reason.clone()).collect();
        assert_eq!(reasons, [SkipReason::Bytecode, SkipReason::Library]);
    }

    #[test]
    fn a_missing_path_says_what_to_type() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dns.lua"), PLUGIN).unwrap();
        let error = discover(&[dir.path().join("dns")], &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean"), "{error}");
        let spaced = dir.path().join("my plugins");
        fs::create_dir(&spaced).unwrap();
        let error = discover(&[spaced.join("dns.lua")], &[]).unwrap_err().to_string();
        assert!(error.ends_with(&format!("; try: ls '{}'", spaced.display())), "{error}");
        let refused = SkipReason::WritableByOthers(PathBuf::from("my plugins/dns.lua")).to_string();
        assert!(refused.ends_with("; try: chmod o-w 'my plugins/dns.lua'"), "{refused}");
        assert!(discover(&[], &[PathBuf::from("/no/such/dir")]).unwrap().scripts.is_empty());
    }

    #[test]
    fn a_directory_without_a_plugin_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["none", "libraries", "one"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("libraries/lib.lua"), "return {}").unwrap();
        fs::write(at("one/plugin.lua"), PLUGIN).unwrap();
        let given = [at("none"), at("libraries"), at("one/plugin.lua"), at("one"), at("none/../one")];
        assert_eq!(discover(&given, &[at("none")]).unwrap().barren, given[..2]);
    }

    #[test]
    fn root_refuses_what_others_may_write() {
        if !super::runs_as_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.lua");
        fs::write(&path, PLUGIN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let found = discover(&[path], &[]).unwrap();
        assert!(matches!(found.skipped[0].reason, SkipReason::WritableByOthers(_)));
    }

    #[test]
    fn the_script_directory_comes_first_in_the_package_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = package_path(&PathBuf::from("app"), &[dir.path().to_path_buf()]);
        assert_eq!(&path[..2], ["app/?.lua", "app/helpers/?.lua"]);
        assert!(path[2].ends_with("/helpers/?.lua"));
    }
}
