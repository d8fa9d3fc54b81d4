//! Which files a source is to read, and when the first packet of each was: seen before anything is delivered.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::compressed::Opened;
use super::gate::Gate;
use super::reader::{Reader, Refill};
use super::record::Record;
use super::source::{OpenError, Origin, Skipped};
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Reads without a single packet after which `fill` returns, so that a filter that matches nothing does not keep the
/// engine from its other work. A count and not a time, so that runs over files are reproducible.
pub(super) const MAX_EMPTY_READS: u32 = 32;
/// Most files of one source, set by the width of a packet's origin.
const MAX_FILES: u32 = 65_536;
/// Files kept open from the start on: the first ones, because a directory may hold more than a process may open. What else
/// a run opens, such as stores and sockets, comes later: three quarters of what it may have are left to that.
const MAX_HELD: usize = 256;

/// How many files are kept open.
fn room() -> usize {
    let quarter = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit / 4).ok());
    quarter.map_or(MAX_HELD, |quarter| quarter.min(MAX_HELD))
}

/// A file to be read, in order of its first packet.
#[derive(Debug)]
pub(super) struct Planned {
    pub origin: u16,
    /// Time of the first packet; `None` without packets and for inputs whose first packet cannot be seen in advance.
    pub first: Option<Timestamp>,
    pub size: u64,
    /// The file, if it was kept open: by name it may be another one later, or out of reach.
    pub held: Option<Opened>,
}

/// Closes what is kept open and can be opened again by name.
pub(super) fn let_go<'a>(plan: impl Iterator<Item = &'a mut Planned>, origins: &[Origin]) {
    plan.filter(|planned| origins.get(usize::from(planned.origin)) != Some(&Origin::Stdin))
        .for_each(|planned| planned.held = None);
}

/// A file being read.
pub(super) struct Active {
    pub reader: Reader,
    /// Bytes read; in the batch's place while only this file is open, see `FileSource`.
    pub buffer: Vec<u8>,
    /// Next packet of the file, during a merge.
    pub head: Option<Record>,
}

impl Active {
    /// Finds the next packet, reading on where needed.
    ///
    /// # Errors
    /// If the file turns out to be no capture.
    pub fn look_ahead(&mut self, gate: &mut Gate) -> Result<Refill, OpenError> {
        for _ in 0..MAX_EMPTY_READS {
            self.head = self.reader.peek(&self.buffer, gate);
            if self.head.is_some() {
                return Ok(Refill::More);
            }
            let refill = self.reader.refill(&mut self.buffer)?;
            if refill != Refill::More {
                return Ok(refill);
            }
        }
        Ok(Refill::Idle)
    }
}

/// Files found so far while a source is being opened.
pub(super) struct Opening {
    pub origins: Vec<Origin>,
    pub entries: Vec<(Planned, Option<Active>)>,
    pub linktypes: Vec<LinkType>,
    pub skipped: Vec<Skipped>,
    /// True if one of them can be read only once.
    pub has_pipe: bool,
    /// True if one of them has to be unpacked.
    pub has_compressed: bool,
    /// Files kept open, and how many may be.
    held: usize,
    room: usize,
}

impl Opening {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self {
            origins: Vec::new(),
            entries: Vec::new(),
            linktypes: Vec::new(),
            skipped: Vec::new(),
            has_pipe: false,
            has_compressed: false,
            held: 0,
            room: room(),
        }
    }

    /// Adds a file, standard input, or the captures of a directory.
    ///
    /// # Errors
    /// [`OpenError`] if it cannot be read or is no capture.
    pub fn add(&mut self, path: &Path) -> Result<(), OpenError> {
        if path.as_os_str() == "-" {
            if self.origins.contains(&Origin::Stdin) {
                return Err(OpenError::StdinTwice);
            }
            return self.add_file(Origin::Stdin);
        }
        let failed = |source| OpenError::from_io(path, source);
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return self.add_file(Origin::File(path.to_owned()));
        }
        let before = self.origins.len();
        for file in files_in(path).map_err(failed)? {
            match self.add_file(Origin::File(file)) {
                Err(OpenError::NotACapture { file, content }) => self.skipped.push(Skipped { file, content }),
                outcome => outcome?,
            }
        }
        if self.origins.len() == before {
            return Err(OpenError::EmptyDirectory { directory: path.to_owned() });
        }
        Ok(())
    }

    /// Opens a file, if need be in the place of those that are kept open.
    fn open(&mut self, origin: &Origin) -> Result<Opened, OpenError> {
        match Opened::open(origin) {
            Err(OpenError::TooManyFiles { .. }) if self.held > 0 => {
                let_go(self.entries.iter_mut().map(|(planned, _)| planned), &self.origins);
                // More would come to the same.
                self.held = self.room;
                Opened::open(origin)
            }
            outcome => outcome,
        }
    }

    fn add_file(&mut self, origin: Origin) -> Result<(), OpenError> {
        let index = u16::try_from(self.origins.len()).map_err(|_| OpenError::TooManyInputs { limit: MAX_FILES })?;
        let opened = self.open(&origin)?;
        let is_pipe = !opened.is_regular();
        let reader = Reader::begin(&origin, index, &opened)?;
        let mut file = Active { reader, buffer: Vec::new(), head: None };
        let mut planned = Planned { origin: index, first: None, size: opened.size(), held: None };
        if is_pipe {
            self.has_pipe = true;
        } else {
            let mut gate = Gate::new(None, u32::MAX);
            while file.look_ahead(&mut gate)? == Refill::Idle {}
            self.has_compressed |= file.reader.is_compressed();
            self.linktypes.extend(file.reader.linktypes());
            planned.first = file.head.map(|head| head.ts);
            // Standard input has no name to be opened by again.
            let is_held = self.held < self.room || origin == Origin::Stdin;
            planned.held = is_held.then_some(opened);
            self.held += usize::from(is_held);
        }
        self.origins.push(origin);
        self.entries.push((planned, is_pipe.then_some(file)));
        Ok(())
    }
}

/// The files of a directory by name, without hidden ones and without those of directories in it.
fn files_in(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !is_hidden && std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
