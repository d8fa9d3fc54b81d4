//! Where control sockets lie.

use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// How a socket's file ends.
const END: &str = "sock";

/// Directories with the sockets of runs, those of this user first.
#[must_use]
pub fn directories() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    let own = own.map(|path| Path::new(&path).join("millstream"));
    own.into_iter().chain([PathBuf::from("/run/millstream")]).collect()
}

/// Where the socket of this process goes if nobody names a place; `None` if no directory can be made for it.
#[must_use]
pub fn default_socket() -> Option<PathBuf> {
    let name = format!("{}.{END}", std::process::id());
    directories().into_iter().find(|directory| make(directory)).map(|directory| directory.join(name))
}

/// Makes a directory that only its owner may enter.
fn make(directory: &Path) -> bool {
    let made = std::fs::DirBuilder::new().mode(0o700).create(directory).is_ok() || directory.is_dir();
    // One that was there already may be somebody else's.
    let probe = directory.join(format!(".{}", std::process::id()));
    made && std::fs::File::create(&probe).is_ok() && std::fs::remove_file(&probe).is_ok()
}

/// Sockets of these directories on which a run answers, by name.
#[must_use]
pub fn running(directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = directories
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == END) && UnixStream::connect(path).is_ok())
        .collect();
    found.sort();
    found.dedup();
    found
}
