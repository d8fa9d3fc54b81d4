//! Which library files the VMs of a script have asked for, so that a change of one can be noticed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlua::{Lua, LuaString, Table};

use crate::api::record::ScriptId;
use crate::lua::own_text;

/// Puts itself in front of the searcher for Lua files. The file is told of first: one that does not compile is one whose
/// change matters.
const FILE_SEARCHER: &str = "
local loaders, found, searchpath, package = package.loaders, ..., package.searchpath, package
local original = loaders[2]
loaders[2] = function(name)
  local path = searchpath(name, package.path)
  if path then found(path) end
  return original(name)
end";

/// Most files that are remembered of a script.
const MAX_FILES: usize = 4_096;

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMark {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

impl FileMark {
    /// The mark of a file; `None` if there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { modified, size: metadata.len(), inode: metadata.ino() })
    }
}

/// The library files of all scripts. Clones are the same list; VMs on any thread add to it, which happens as often as
/// files are read.
#[derive(Clone, Debug, Default)]
pub struct Libraries(Arc<Mutex<Scripts>>);

/// The files of each script, as they were when they were first read.
type Scripts = BTreeMap<ScriptId, BTreeMap<PathBuf, Option<FileMark>>>;

impl Libraries {
    fn lock(&self) -> MutexGuard<'_, Scripts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A VM of a script reads a file.
    pub fn note(&self, script: ScriptId, path: PathBuf) {
        let mark = FileMark::of(&path);
        let mut scripts = self.lock();
        let files = scripts.entry(script).or_default();
        if files.len() < MAX_FILES {
            files.entry(path).or_insert(mark);
        }
    }

    /// The files that VMs of a script have read, as they were when that was first done.
    #[must_use]
    pub fn of(&self, script: ScriptId) -> Vec<(PathBuf, Option<FileMark>)> {
        self.lock().get(&script).into_iter().flatten().map(|(path, mark)| (path.clone(), *mark)).collect()
    }

    /// Makes `require` of a VM tell which files it reads for a script.
    ///
    /// # Errors
    /// When the VM is out of memory or has no searchers.
    pub fn watch(&self, lua: &Lua, script: ScriptId) -> mlua::Result<()> {
        let libraries = self.clone();
        let found = lua.create_function(move |_, path: LuaString| {
            libraries.note(script, PathBuf::from(path.to_string_lossy()));
            Ok(())
        })?;
        // A script that has no searchers has no files.
        lua.globals().get::<Table>("package")?.get::<Table>("loaders")?;
        own_text(lua, "=[libraries]", FILE_SEARCHER)?.call(found)
    }
}

#[cfg(test)]
mod tests {
    use super::Libraries;
    use crate::api::ScriptId;
    use std::fs;

    #[test]
    fn files_are_known_once_they_were_asked_for_even_if_they_do_not_compile() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good.lua"), "return 1").unwrap();
        fs::write(dir.path().join("bad.lua"), "return return").unwrap();
        let lua = mlua::Lua::new();
        let libraries = Libraries::default();
        libraries.watch(&lua, ScriptId(3)).unwrap();
        let path = format!("package.path = '{}/?.lua'", dir.path().display());
        lua.load(path).exec().unwrap();
        let answer: i64 = lua.load("return require('good')").eval().unwrap();
        assert_eq!(answer, 1);
        assert!(lua.load("require('bad')").exec().is_err());
        assert!(lua.load("require('absent')").exec().is_err());
        let known: Vec<_> = libraries.of(ScriptId(3)).into_iter().map(|(path, _)| path).collect();
        assert_eq!(known, ["bad.lua", "good.lua"].map(|name| dir.path().join(name)));
        assert!(libraries.of(ScriptId(0)).is_empty());
    }
}
