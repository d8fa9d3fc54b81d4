//! The trait every input implements, and what it reports about itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::filter::FilterError;
use super::record::DamageReason;
use super::sniff::{Compression, Content};
use crate::packet::Batch;
use crate::shell::typed;
use crate::time::Timestamp;

/// An input of packets.
pub trait Source {
    /// Clears the batch and fills it; packet bytes stay valid until the next call, which must get the same batch.
    ///
    /// Returns within about 10 ms on a quiet input, so that the caller can look after other work.
    ///
    /// # Errors
    /// [`SourceError`], after which the source is of no further use. Damage in a file is no error: it is listed in
    /// [`SourceStats::damage`].
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError>;

    /// What happened so far.
    fn stats(&self) -> SourceStats;

    /// How far it is, where that is known.
    fn progress(&self) -> Option<Progress>;

    /// No packet that comes is of an earlier time, unless time goes back in the input. Known to sources that pass over
    /// packets of others.
    fn reached(&self) -> Option<Timestamp> {
        None
    }

    /// The files or interfaces read; a packet's `origin` is an index into it.
    fn origins(&self) -> &[Origin];
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        (**self).fill(batch)
    }

    fn stats(&self) -> SourceStats {
        (**self).stats()
    }

    fn progress(&self) -> Option<Progress> {
        (**self).progress()
    }

    fn reached(&self) -> Option<Timestamp> {
        (**self).reached()
    }

    fn origins(&self) -> &[Origin] {
        (**self).origins()
    }
}

/// What a call of [`Source::fill`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// The batch holds at least one packet.
    Packets,
    /// Nothing for now; more may come.
    Idle,
    /// Nothing any more.
    End,
}

/// One file or interface of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A capture file.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// An interface.
    Interface(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

impl Origin {
    /// The file as an error message names it; standard input is `-`, as on the command line.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Stdin => PathBuf::from("-"),
            Self::Interface(name) => PathBuf::from(name),
        }
    }
}

/// Bytes read of bytes to read; compressed bytes for compressed files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes of all inputs.
    pub total: u64,
}

/// Where and why reading of a file stopped early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", file.display(), self.in_it())]
pub struct Damage {
    /// The file; `-` for standard input.
    pub file: PathBuf,
    /// Where the first record that could not be read begins, in bytes of the capture.
    pub offset: u64,
    /// How the capture is packed in the file: bytes of the capture are none of the file then.
    pub packed: Option<Compression>,
    /// What is wrong there.
    pub reason: DamageReason,
}

impl Damage {
    /// Where in the file it is, and what.
    #[must_use]
    pub fn in_it(&self) -> String {
        let unpacked = if self.packed.is_some() { " of what is unpacked" } else { "" };
        format!("damaged at byte {}{unpacked}: {}", self.offset, self.reason)
    }
}

/// A file found in a directory that is no capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// What it looks like.
    pub content: Content,
}

/// What a source delivered, dropped and met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStats {
    /// Packets delivered.
    pub packets: u64,
    /// Bytes of the delivered packets on the wire.
    pub bytes: u64,
    /// Packets the kernel took for this capture: delivered, dropped, or still in its buffer.
    pub kernel_received: u64,
    /// Packets dropped by the kernel because its buffer was full.
    pub kernel_dropped: u64,
    /// Packets dropped by the interface or its driver.
    pub interface_dropped: u64,
    /// Packets of a file that the filter turned away.
    pub filtered: u64,
    /// Packets turned away because the filter has no meaning for their link type.
    pub filter_linktype: u64,
    /// Records above [`MAX_CAPLEN`](super::MAX_CAPLEN), passed over.
    pub oversize: u64,
    /// Packets read by the source that a count or duration limit cut off.
    pub over_limit: u64,
    /// Packets for an engine that had gone.
    pub engine_gone: u64,
    /// Packets with an earlier time than the one before.
    pub time_back: u64,
    /// How often an interface went down or away.
    pub interface_down: u64,
    /// How often an interface that was down or away came back.
    pub interface_back: u64,
    /// Interfaces that are down or away now, as indexes into [`Source::origins`].
    pub down: Vec<u16>,
    /// Files read only in part.
    pub damage: Vec<Damage>,
    /// Files in directories that are no captures.
    pub skipped: Vec<Skipped>,
}

impl SourceStats {
    /// All drops by reason, zeros included.
    #[must_use]
    pub const fn drops(&self) -> [(&'static str, u64); 7] {
        [
            ("kernel_dropped", self.kernel_dropped),
            ("interface_dropped", self.interface_dropped),
            ("filtered", self.filtered),
            ("filter_linktype", self.filter_linktype),
            ("oversize", self.oversize),
            ("over_limit", self.over_limit),
            ("engine_gone", self.engine_gone),
        ]
    }
}

/// An input could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No input was named.
    #[error("no capture file or interface given: use -r FILE or -i INTERFACE")]
    NoInput,
    /// The file does not exist.
    #[error("{}: no such file; check the path, or use - for standard input", file.display())]
    NoSuchFile {
        /// The file.
        file: PathBuf,
    },
    /// The file may not be read by this user.
    #[error("{0}: no right to read this file: sudo chmod o+r {1}, or run as its owner", file.display(), typed(file))]
    FileRight {
        /// The file.
        file: PathBuf,
    },
    /// Opening or reading failed for another reason.
    #[error("{}: cannot read: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The process may open no more files.
    #[error("{}: too many capture files at the same packet time are open: raise the limit with ulimit -n 65536", file.display())]
    TooManyFiles {
        /// The file that could not be opened.
        file: PathBuf,
    },
    /// Nothing came through standard input.
    #[error("-: standard input is empty; expected a capture, pcap or pcapng")]
    EmptyStdin,
    /// The file is something else.
    #[error("{}: not a capture file: {content}; expected pcap or pcapng, plain or compressed with gzip or zstd", file.display())]
    NotACapture {
        /// The file; `-` for standard input.
        file: PathBuf,
        /// What it looks like.
        content: Content,
    },
    /// A directory without a single capture file.
    #[error("{}: no capture file in this directory", directory.display())]
    EmptyDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// Standard input was named twice, or is to be read in several rounds.
    #[error("-: standard input can be read only once; save it to a file first")]
    StdinTwice,
    /// More files than a packet's origin can tell apart.
    #[error("more than {limit} capture files; split them over several runs")]
    TooManyInputs {
        /// The limit.
        limit: u32,
    },
    /// The filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No interface of that name.
    #[error("{interface}: no such interface; choose one of: {}", available.join(", "))]
    NoSuchInterface {
        /// The name given.
        interface: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// No right to capture.
    #[error(
        "{interface}: no right to capture packets; run with sudo, or allow it once and for all: sudo setcap cap_net_raw,cap_net_admin=eip {}",
        typed(executable)
    )]
    CaptureRight {
        /// The interface.
        interface: String,
        /// The program to give the right to.
        executable: PathBuf,
    },
    /// The interface is down.
    #[error("{interface}: the interface is down: sudo ip link set {interface} up")]
    InterfaceDown {
        /// The interface.
        interface: String,
    },
    /// The engines of one interface could not share its packets.
    #[error("{interface}: the kernel does not share packets between engines: {source}; use --engines 1")]
    Fanout {
        /// The interface.
        interface: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A speed that is not a positive number.
    #[error("--speed {speed}: not a positive number; 1 is as recorded, 2 twice as fast")]
    Speed {
        /// The value given.
        speed: f64,
    },
    /// libpcap refused for another reason.
    #[error("{interface}: cannot capture: {message}")]
    Interface {
        /// The interface.
        interface: String,
        /// libpcap's words.
        message: String,
    },
}

impl OpenError {
    /// The variant that fits a failed open or read of a file.
    pub(super) fn from_io(file: &Path, source: io::Error) -> Self {
        let file = file.to_owned();
        match (source.kind(), source.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => Self::NoSuchFile { file },
            (io::ErrorKind::PermissionDenied, _) => Self::FileRight { file },
            (_, Some(libc::EMFILE | libc::ENFILE)) => Self::TooManyFiles { file },
            _ => Self::File { file, source },
        }
    }
}

/// A source that had been opened cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An input that is opened on the way (standard input, the next file in time) turned out unusable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// `fill` got another batch than the one that holds the bytes not yet delivered.
    #[error("a source was given another batch while its bytes were in the first")]
    ForeignBatch,
    /// The thread that was reading for all engines panicked.
    #[error("the shared reader was left behind by an engine that panicked")]
    ReaderAbandoned,
}

#[cfg(test)]
mod tests {
    use super::OpenError;
    use std::path::PathBuf;

    #[test]
    fn what_is_told_to_be_typed_can_be() {
        let said = OpenError::FileRight { file: PathBuf::from("my captures/a.pcap") }.to_string();
        assert!(said.contains("this file: sudo chmod o+r 'my captures/a.pcap', or"), "{said}");
        let (interface, executable) = ("eth0".to_owned(), PathBuf::from("/my programs/millstream"));
        let said = OpenError::CaptureRight { interface, executable }.to_string();
        assert!(said.ends_with("=eip '/my programs/millstream'"), "{said}");
    }
}
