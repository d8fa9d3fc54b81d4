//! Whether two paths name one file, so that nothing is written over what is still needed.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether two paths name one file, be it by a link, or a file that both would make. What is no file (a device, a pipe) holds
/// nothing that could be lost.
#[must_use]
pub fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => is_one(&a, &b),
        (Err(_), Err(_)) => place(a).is_some_and(|place_of_a| Some(place_of_a) == place(b)),
        _ => false,
    }
}

/// Whether a file is the one that standard input comes from.
#[must_use]
pub fn is_standard_input(file: &Path) -> bool {
    let input = io::stdin().as_fd().try_clone_to_owned().and_then(|input| File::from(input).metadata());
    matches!((input, fs::metadata(file)), (Ok(input), Ok(file)) if is_one(&input, &file))
}

fn is_one(a: &Metadata, b: &Metadata) -> bool {
    a.is_file() && (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Where a file that does not exist yet would be.
fn place(path: &Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::is_same;

    #[test]
    fn one_file_has_many_names() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a"), "a").unwrap();
        fs::write(path("b"), "a").unwrap();
        fs::hard_link(path("a"), path("hard")).unwrap();
        std::os::unix::fs::symlink(path("a"), path("soft")).unwrap();
        for name in ["a", "hard", "soft", "./a"] {
            assert!(is_same(&path("a"), &path(name)), "{name}");
        }
        assert!(!is_same(&path("a"), &path("b")) && !is_same(&path("a"), &path("new")));
        assert!(is_same(&path("new"), &path("./new")) && !is_same(&path("new"), &path("newer")));
        assert!(!is_same(&path("none/new"), &path("none/new")), "neither can be made");
        assert!(!is_same(Path::new("/dev/null"), Path::new("/dev/null")));
        assert!(!is_same(folder.path(), folder.path()));
    }
}
