//! Where cases lie: in `tests/NAME/` beside the plugin `NAME.lua`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Folders deeper than this are not searched; a cycle of links ends here.
const MAX_DEPTH: usize = 16;
/// The folder beside plugins that holds cases.
const TESTS: &str = "tests";

/// A case that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Name of the plugin, without `.lua`.
    pub plugin: String,
    /// The file.
    pub file: PathBuf,
}

impl Found {
    /// What it is called: `plugin/case`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.plugin, self.file.file_stem().unwrap_or_default().to_string_lossy())
    }

    /// A file that belongs to it.
    #[must_use]
    pub fn beside(&self, extension: &str) -> PathBuf {
        self.file.with_extension(extension)
    }
}

/// The cases of the plugins of a folder, and its plugins without any.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// The cases, by name.
    pub cases: Vec<Found>,
    /// File names of plugins without cases.
    pub untested: Vec<String>,
}

/// What is tested: folders with plugins and their cases.
#[derive(Clone, Debug, Default)]
pub struct Cases(pub BTreeMap<PathBuf, Folder>);

impl Cases {
    /// Searches directories; takes plugins and cases that are named themselves.
    ///
    /// # Errors
    /// When a path does not exist or is none of these.
    pub fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut cases = Self::default();
        for path in paths {
            let full = fs::canonicalize(path).with_context(|| path.display().to_string())?;
            let extension = full.extension().and_then(|extension| extension.to_str());
            match (full.is_dir(), extension) {
                (true, _) if is_tests(&full) => cases.take_folder(parent(&full)),
                (true, _) if is_tests(parent(&full)) => cases.take_named(parent(parent(&full)), &name_of(&full)),
                (true, _) => cases.search(&full, 0),
                (false, Some("lua")) => {
                    let name = full.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    cases.take_named(parent(&full), &name);
                }
                (false, Some("toml")) if is_tests(parent(parent(&full))) => {
                    let plugin = name_of(parent(&full));
                    cases.folder(parent(parent(parent(&full)))).cases.push(Found { plugin, file: full.clone() });
                }
                _ => bail!("{}: neither a directory, a plugin, nor a case tests/NAME/CASE.toml", path.display()),
            }
        }
        for folder in cases.0.values_mut() {
            folder.cases.sort();
            folder.cases.dedup();
            folder.untested.sort();
            folder.untested.dedup();
        }
        Ok(cases)
    }

    /// Leaves the cases whose names have one of these texts in them, if there are any.
    pub fn keep(&mut self, filters: &[String]) {
        if filters.is_empty() {
            return;
        }
        for folder in self.0.values_mut() {
            folder.cases.retain(|case| filters.iter().any(|filter| case.name().contains(filter.as_str())));
            folder.untested.clear();
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(|folder| folder.cases.len()).sum()
    }

    fn folder(&mut self, root: &Path) -> &mut Folder {
        self.0.entry(root.to_path_buf()).or_default()
    }

    fn search(&mut self, directory: &Path, depth: usize) {
        self.take_folder(directory);
        if depth >= MAX_DEPTH {
            return;
        }
        for folder in entries(directory).into_iter().filter(|path| path.is_dir()) {
            let name = name_of(&folder);
            if !name.starts_with('.') && !matches!(name.as_str(), TESTS | "helpers" | "target") {
                self.search(&folder, depth + 1);
            }
        }
    }

    /// Takes every case of a folder with plugins.
    fn take_folder(&mut self, root: &Path) {
        for folder in entries(&root.join(TESTS)).iter().filter(|path| path.is_dir()) {
            self.take_named(root, &name_of(folder));
        }
        for plugin in entries(root).iter().filter(|path| is_plugin(path)) {
            let stem = plugin.file_stem().unwrap_or_default().to_string_lossy();
            if !self.folder(root).cases.iter().any(|case| *case.plugin == *stem) {
                let name = name_of(plugin);
                self.folder(root).untested.push(name);
            }
        }
    }

    /// Takes the cases of one plugin.
    fn take_named(&mut self, root: &Path, plugin: &str) {
        let files = entries(&root.join(TESTS).join(plugin));
        let cases = files.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "toml"));
        let cases: Vec<Found> = cases.map(|file| Found { plugin: plugin.to_owned(), file }).collect();
        if !cases.is_empty() {
            self.folder(root).cases.extend(cases);
        }
    }
}

fn is_plugin(path: &Path) -> bool {
    let is_script = path.extension().is_some_and(|ext| ext == "lua") && path.is_file();
    is_script && fs::read(path).is_ok_and(|text| memchr::memmem::find(&text, b"TrisulPlugin").is_some())
}

fn is_tests(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == TESTS)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a folder, in order; nothing if it is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).map(|entries| entries.filter_map(Result::ok).map(|e| e.path()).collect());
    let mut paths: Vec<PathBuf> = listed.unwrap_or_default();
    paths.sort();
    paths
}
