//! Hashes of strings and files for `T.util`, as lower-case hexadecimal text.
//!
//! A plugin is spared a process for every hash. Meant for workers: a file is read in full before the call returns.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use data_encoding::HEXLOWER;
use md5::Md5;
use mlua::{Lua, LuaString, Table};
use sha2::{Digest, Sha256};

use super::strings::path_of;

const CHUNK: usize = 64 << 10;

/// A table of the functions that `t_util.lua` puts behind its argument checks.
pub(super) fn functions(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    add::<Sha256>(lua, &table, "sha256")?;
    add::<Md5>(lua, &table, "md5")?;
    Ok(table)
}

fn add<D: Digest + 'static>(lua: &Lua, table: &Table, name: &str) -> mlua::Result<()> {
    table.set(name, lua.create_function(|_, bytes: LuaString| Ok(HEXLOWER.encode(&D::digest(bytes.as_bytes()))))?)?;
    let of_file = lua.create_function(|_, name: LuaString| {
        let name = name.as_bytes();
        Ok(match hash_file::<D>(path_of(&name)) {
            Ok(hex) => (Some(hex), None),
            Err(error) => (None, Some(format!("{}: {error}", String::from_utf8_lossy(&name)))),
        })
    })?;
    table.set(format!("{name}_file"), of_file)
}

/// Hashes what a regular file holds; anything else could keep the caller for ever.
fn hash_file<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut digest = D::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(HEXLOWER.encode(&digest.finalize())),
            Ok(len) => digest.update(&chunk[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::hash_file;
    use md5::Md5;
    use sha2::{Digest, Sha256};

    #[test]
    fn a_file_has_the_hash_of_its_bytes_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for len in [0, 1, super::CHUNK - 1, super::CHUNK, super::CHUNK + 1, 3 * super::CHUNK + 7] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            let hex = |hash: &[u8]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            assert_eq!(hash_file::<Sha256>(&path).unwrap(), hex(&Sha256::digest(&bytes)), "{len}");
            assert_eq!(hash_file::<Md5>(&path).unwrap(), hex(&Md5::digest(&bytes)), "{len}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [pipe.as_path(), dir.path(), "/dev/zero".as_ref()] {
            assert_eq!(hash_file::<Md5>(path).unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{path:?}");
        }
    }
}
