//! The bytes of a file as they are read: plain, or unpacked on the way.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::poll::{self, Readiness};
use super::sniff::Compression;
use super::source::{OpenError, Origin};

/// Bytes asked for at a time from a compressed file.
const COMPRESSED_READ: usize = 64 * 1024;

/// Whether reading may have to wait for another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Never,
    Bounded,
}

/// An open file, terminal or pipe. Reading one that has nothing yet ends in `WouldBlock` after a bounded wait.
#[derive(Debug)]
pub(super) struct RawInput {
    file: Arc<File>,
    waits: Waits,
    /// Bytes that were read already to see what the file is.
    head: Vec<u8>,
    head_pos: usize,
    /// Bytes taken from the file.
    read: u64,
}

impl RawInput {
    /// Opens a file or standard input.
    pub fn open(origin: &Origin) -> Result<Self, OpenError> {
        let path = origin.path();
        let failed = |source| OpenError::from_io(&path, source);
        let file = match origin {
            Origin::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?),
            _ => File::open(&path).map_err(failed)?,
        };
        let is_regular = file.metadata().map_err(failed)?.is_file();
        let waits = if is_regular { Waits::Never } else { Waits::Bounded };
        Ok(Self { file: Arc::new(file), waits, head: Vec::new(), head_pos: 0, read: 0 })
    }

    /// Puts bytes in front of those still to be read.
    fn prepend(&mut self, head: &[u8]) {
        self.head = head.to_vec();
        self.head_pos = 0;
    }
}

impl Read for RawInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head_pos < self.head.len() {
            let n = (&self.head[self.head_pos..]).read(buffer)?;
            self.head_pos += n;
            return Ok(n);
        }
        if self.waits == Waits::Bounded && poll::wait(self.file.as_fd())? == Readiness::Quiet {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = (&*self.file).read(buffer)?;
        self.read += n as u64;
        Ok(n)
    }
}

/// The bytes of a capture file.
pub(super) enum Input {
    Plain(RawInput),
    Gzip(Box<MultiGzDecoder<BufReader<RawInput>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<RawInput>>>),
    /// Closed because unpacking could not begin.
    Closed,
}

impl Input {
    /// Opens a file or standard input, not unpacked yet.
    pub fn open(origin: &Origin) -> Result<Self, OpenError> {
        RawInput::open(origin).map(Self::Plain)
    }

    /// Unpacks from now on; `head` are the bytes already read.
    pub fn unpack(&mut self, compression: Compression, head: &[u8]) -> io::Result<()> {
        let Self::Plain(mut raw) = std::mem::replace(self, Self::Closed) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        raw.prepend(head);
        let reader = BufReader::with_capacity(COMPRESSED_READ, raw);
        *self = match compression {
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Compression::Zstd => Self::Zstd(Box::new(zstd::Decoder::with_buffer(reader)?)),
        };
        Ok(())
    }

    /// How it is packed.
    pub fn compression(&self) -> Option<Compression> {
        match self {
            Self::Plain(_) | Self::Closed => None,
            Self::Gzip(_) => Some(Compression::Gzip),
            Self::Zstd(_) => Some(Compression::Zstd),
        }
    }

    /// Bytes taken from the file, packed ones if it is packed.
    pub fn raw_read(&self) -> u64 {
        match self {
            Self::Plain(raw) => raw.read,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().read,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().read,
            Self::Closed => 0,
        }
    }

    /// The file itself, if its bytes are what is read.
    pub fn plain_file(&self) -> Option<&Arc<File>> {
        match self {
            Self::Plain(raw) => Some(&raw.file),
            _ => None,
        }
    }

    /// Goes on at an offset of a plain file, all before which counts as read.
    pub fn go_to(&mut self, offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(raw) if raw.read != offset => {
                (&*raw.file).seek(SeekFrom::Start(offset))?;
                raw.read = offset;
                Ok(())
            }
            Self::Plain(_) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// True for a file of known size, false for a pipe or terminal.
    pub fn is_regular(&self) -> bool {
        matches!(self, Self::Plain(raw) if raw.waits == Waits::Never)
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(raw) => raw.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Closed => Ok(0),
        }
    }
}
