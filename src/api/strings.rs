//! Strings as buffers: the extra functions of the `string` library, and the parts the Buffer object shares with them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, Table};

use super::constants::{LogFn, LogLevel};
use super::modules;
use crate::time::Stopwatch;

const LINE: usize = 16;

/// Bytes as lines of offset, sixteen hex columns and printable characters; empty for no bytes.
#[must_use]
pub fn hexdump(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len().div_ceil(LINE) * 79);
    for (line, chunk) in bytes.chunks(LINE).enumerate() {
        out.push_str(&format!("{:08x}  ", line * LINE));
        for column in 0..LINE {
            out.push(' ');
            match chunk.get(column) {
                Some(byte) => {
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
                None => out.push_str("  "),
            }
        }
        out.push_str("    ");
        out.extend(chunk.iter().map(|byte| if (0x20..=0x7e).contains(byte) { char::from(*byte) } else { '.' }));
        out.push('\n');
    }
    out
}

/// Appends all bytes to the file, creating it if needed.
///
/// # Errors
/// Whatever the system reports.
pub fn append_to_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
}

/// Writes all bytes at a position of the file, creating it if needed; never truncates, leaves a hole past the end.
///
/// # Errors
/// Whatever the system reports; a position that is negative or not a number is refused as invalid input.
pub fn write_to_file(path: &Path, position: f64, bytes: &[u8]) -> io::Result<()> {
    // 2^63 is the end of file positions; the comparison also refuses NaN.
    if !(0.0..9_223_372_036_854_775_808.0).contains(&position) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("file position {position} is out of range")));
    }
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.seek(SeekFrom::Start(position as u64))?;
    file.write_all(bytes)
}

/// A file name as a plugin gives it: any bytes.
#[must_use]
pub fn path_of(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

/// Reports failed file operations, each file name at most once a minute.
pub struct FileFailures {
    log: LogFn,
    reported: RefCell<HashMap<Vec<u8>, Stopwatch>>,
}

impl FileFailures {
    const QUIET: Duration = Duration::from_secs(60);
    /// File names may come from traffic, so their number is bounded; past it the memory starts anew.
    const MAX_NAMES: usize = 1024;

    /// Reports go to `log`.
    #[must_use]
    pub fn new(log: LogFn) -> Rc<Self> {
        Rc::new(Self { log, reported: RefCell::new(HashMap::new()) })
    }

    /// Logs an ERROR unless the same file name was reported within the last minute.
    pub fn report(&self, operation: &str, name: &[u8], error: &io::Error) {
        {
            let mut reported = self.reported.borrow_mut();
            if reported.get(name).is_some_and(|at| at.elapsed() < Self::QUIET) {
                return;
            }
            if reported.len() >= Self::MAX_NAMES {
                reported.clear();
            }
            reported.insert(name.to_vec(), Stopwatch::start());
        }
        (self.log)(LogLevel::Error, format!("{operation}: {}: {error}", String::from_utf8_lossy(name)).as_bytes());
    }
}

/// Adds the functions to `library`, the table `string` of the VM.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, library: &Table, failures: &Rc<FileFailures>) -> mlua::Result<()> {
    let dump = lua.create_function(|_, bytes: mlua::LuaString| Ok(hexdump(&bytes.as_bytes())))?;
    let on_append = Rc::clone(failures);
    let append = lua.create_function(move |_, (bytes, name): (mlua::LuaString, mlua::LuaString)| {
        let name = name.as_bytes();
        if let Err(error) = append_to_file(path_of(&name), &bytes.as_bytes()) {
            on_append.report("appendtofile", &name, &error);
        }
        Ok(())
    })?;
    let on_write = Rc::clone(failures);
    let write = lua.create_function(move |_, (bytes, name, position): (mlua::LuaString, mlua::LuaString, f64)| {
        let name = name.as_bytes();
        if let Err(error) = write_to_file(path_of(&name), position, &bytes.as_bytes()) {
            on_write.report("writetofile", &name, &error);
        }
        Ok(())
    })?;
    let arguments = modules::arguments(lua)?;
    let text = include_str!("modules/host/strings.lua");
    modules::run_host_chunk(lua, "millstream.string", text, (library, arguments, dump, append, write)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::rc::Rc;

    use proptest::prelude::{any, prop, proptest};

    use super::{FileFailures, append_to_file, hexdump, write_to_file};

    #[test]
    fn dump_of_a_full_and_a_short_line() {
        let bytes = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03millrace\n";
        let expected = "00000000   16 03 01 00 2f 01 00 00 2b 03 03 6d 69 6c 6c 72    ..../...+..millr\n\
                        00000010   61 63 65 0a                                        ace.\n";
        assert_eq!(hexdump(bytes), expected);
        assert_eq!(hexdump(b""), "");
    }

    proptest! {
        #[test]
        fn dump_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = hexdump(&bytes);
            let mut back = Vec::new();
            for (number, line) in text.lines().enumerate() {
                assert_eq!(usize::from_str_radix(&line[..8], 16).unwrap(), number * 16);
                let columns = &line[11..58];
                back.extend(columns.split_whitespace().map(|pair| u8::from_str_radix(pair, 16).unwrap()));
                assert_eq!(line.len(), 62 + (bytes.len() - number * 16).min(16));
            }
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn files_grow_and_keep_what_they_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        append_to_file(&path, b"abc").unwrap();
        append_to_file(&path, b"def").unwrap();
        write_to_file(&path, 1.0, b"XY").unwrap();
        write_to_file(&path, 8.0, b"!").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"aXYdef\0\0!");
        for position in [-1.0, f64::NAN, 1e300] {
            assert_eq!(write_to_file(&path, position, b"x").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_failing_file_is_reported_once_and_names_are_bounded() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        let failures = FileFailures::new(Rc::new(move |_, text| {
            sink.borrow_mut().push(String::from_utf8_lossy(text).into_owned())
        }));
        let error = io::Error::other("disk on fire");
        for _ in 0..3 {
            failures.report("appendtofile", b"/x", &error);
        }
        assert_eq!(*seen.borrow(), ["appendtofile: /x: disk on fire"]);
        for number in 0..5000 {
            failures.report("appendtofile", format!("/{number}").as_bytes(), &error);
        }
        assert!(failures.reported.borrow().len() <= FileFailures::MAX_NAMES);
    }
}
