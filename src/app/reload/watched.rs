//! Which files there are and whether they have changed, without reading them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::api::modules::FileMark;

/// Directories deeper than this are not searched; a link cycle ends here.
const MAX_DEPTH: usize = 32;
/// Most files that are looked at.
const MAX_FILES: usize = 100_000;

/// Files with their marks.
pub type Marks = BTreeMap<PathBuf, Option<FileMark>>;

/// The Lua files below some paths, libraries among them.
#[must_use]
pub fn survey<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Marks {
    let mut marks = Marks::new();
    for path in paths {
        if path.is_dir() {
            search(path, 0, &mut marks);
        } else {
            marks.insert(path.clone(), FileMark::of(path));
        }
    }
    marks
}

fn search(directory: &Path, depth: usize, marks: &mut Marks) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(b".") || marks.len() >= MAX_FILES {
            continue;
        }
        if name.ends_with(b".lua") {
            let mark = FileMark::of(&path);
            if mark.is_some() {
                marks.insert(path, mark);
            }
        } else if depth < MAX_DEPTH && path.is_dir() {
            search(&path, depth + 1, marks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::survey;
    use crate::api::modules::FileMark;
    use std::fs;

    #[test]
    fn new_changed_and_deleted_files_are_seen_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/helpers")).unwrap();
        for name in ["b.lua", "a/helpers/h.lua", "a/x.txt", ".hidden.lua"] {
            fs::write(at(name), "1").unwrap();
        }
        let paths = [dir.path().to_path_buf()];
        let look = || survey(paths.iter());
        let first = look();
        assert_eq!(first.keys().cloned().collect::<Vec<_>>(), [at("a/helpers/h.lua"), at("b.lua")]);
        assert_eq!(look(), first);
        fs::write(at("b.lua"), "22").unwrap();
        assert_ne!(look(), first);
        fs::write(at("new.lua"), "1").unwrap();
        assert_eq!(look().len(), 3);
        fs::remove_file(at("b.lua")).unwrap();
        assert!(FileMark::of(&at("b.lua")).is_none());
        assert_eq!(look().len(), 2);
    }

    #[test]
    fn a_file_that_another_took_the_place_of_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("x.lua"), dir.path().join("y"));
        fs::write(&old, "1").unwrap();
        let before = FileMark::of(&old);
        fs::write(&new, "2").unwrap();
        fs::rename(&new, &old).unwrap();
        assert_ne!(FileMark::of(&old), before);
    }
}
