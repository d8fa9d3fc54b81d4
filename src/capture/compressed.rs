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

/// An open file, terminal or pipe; a file can be read several times over.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    file: Arc<File>,
    waits: Waits,
    /// Where the capture begins: of a file on standard input somebody may have read a part.
    start: u64,
    /// Bytes from there on; 0 where that is not known.
    size: u64,
}

impl Opened {
    /// Opens a file or standard input.
    pub fn open(origin: &Origin) -> Result<Self, OpenError> {
        let path = origin.path();
        let failed = |source| OpenError::from_io(&path, source);
        let mut file = match origin {
            Origin::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?),
            _ => File::open(&path).map_err(failed)?,
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Ok(Self { file: Arc::new(file), waits: Waits::Bounded, start: 0, size: 0 });
        }
        let start = file.stream_position().map_err(failed)?;
        let size = metadata.len().saturating_sub(start);
        Ok(Self { file: Arc::new(file), waits: Waits::Never, start, size })
    }

    /// True for a file of known size, false for a pipe or terminal.
    pub fn is_regular(&self) -> bool {
        self.waits == Waits::Never
    }

    /// Bytes of a file; 0 for a pipe or terminal.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Begins to read a file from the start of the capture, and a pipe where it is. Of a file one reader at a time.
    pub fn begin(&self) -> io::Result<Input> {
        if self.is_regular() {
            (&*self.file).seek(SeekFrom::Start(self.start))?;
        }
        Ok(Input::Plain(RawInput { opened: self.clone(), head: Vec::new(), head_pos: 0, read: 0 }))
    }
}

/// What is read of it. Reading what has nothing yet ends in `WouldBlock` after a bounded wait.
#[derive(Debug)]
pub(super) struct RawInput {
    opened: Opened,
    /// Bytes that were read already to see what the file is.
    head: Vec<u8>,
    head_pos: usize,
    /// Bytes taken from the file.
    read: u64,
}

impl RawInput {
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
        let Opened { file, waits, .. } = &self.opened;
        if *waits == Waits::Bounded && poll::wait(file.as_fd())? == Readiness::Quiet {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = (&**file).read(buffer)?;
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

    /// The file itself, if its bytes are what is read, from the first one on.
    pub fn plain_file(&self) -> Option<&Arc<File>> {
        match self {
            Self::Plain(raw) if raw.opened.start == 0 => Some(&raw.opened.file),
            _ => None,
        }
    }

    /// Goes on at an offset of a plain capture, all before which counts as read.
    pub fn go_to(&mut self, offset: u64) -> io::Result<()> {
        match self {
            Self::Plain(raw) if raw.read != offset => {
                (&*raw.opened.file).seek(SeekFrom::Start(raw.opened.start.saturating_add(offset)))?;
                raw.read = offset;
                Ok(())
            }
            Self::Plain(_) => Ok(()),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
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
