//! Where lines go: a file, or whoever reads what is written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use crate::sink::line_file::{Begin, LineFile, Links, OutputError};
use crate::sink::patient::{Haste, Patient};

/// An open target.
pub(super) enum Outlet {
    /// A plain file: what fails there may work again later.
    File(LineFile),
    /// A pipe, a terminal or another device: what fails there has ended.
    Stream(Box<dyn Write + Send>),
}

impl Outlet {
    /// Standard output.
    pub fn standard(haste: Haste) -> io::Result<Self> {
        let copy = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(LineFile::of(copy).map_or_else(|copy| Self::Stream(Box::new(Patient::new(copy, haste))), Self::File))
    }

    /// What has this name.
    pub fn named(path: &Path, haste: Haste) -> Result<Self, OutputError> {
        // A pipe may be made for this run, as a shell does for its `>(…)`.
        let has_reader = |about: fs::Metadata| about.file_type().is_fifo() || about.file_type().is_char_device();
        if fs::metadata(path).is_ok_and(has_reader) {
            let opened = File::create(path).map_err(|error| OutputError::Failed { path: path.to_owned(), error })?;
            return Ok(Self::Stream(Box::new(Patient::new(opened, haste))));
        }
        Ok(Self::File(open(path, Begin::Anew)?))
    }

    /// Writes lines; on failure, bytes that were written before it. A file has whole lines of them.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        match self {
            Self::File(file) => file.write(lines),
            Self::Stream(stream) => put(&mut **stream, lines),
        }
    }
}

/// Opens a file of events.
pub(super) fn open(path: &Path, begin: Begin) -> Result<LineFile, OutputError> {
    LineFile::open(path, begin, Links::Followed)
}

fn put(stream: &mut dyn Write, lines: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < lines.len() {
        match stream.write(&lines[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((written, e)),
        }
    }
    stream.flush().map_err(|e| (written, e))
}
