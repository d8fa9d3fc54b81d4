//! A file on a data connection of FTP.

use super::dissector::{Appetite, Context, StreamDissector};
use super::file_hash::FileHash;
use crate::flow::{Direction, state};

/// One file, in whichever direction it goes.
#[derive(Debug)]
pub(super) struct FtpData {
    name: Box<[u8]>,
    direction: Option<Direction>,
    hash: FileHash,
}

impl FtpData {
    pub fn new(name: Box<[u8]>) -> Self {
        Self { name, direction: None, hash: FileHash::default() }
    }
}

impl StreamDissector for FtpData {
    fn data(&mut self, _cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        if *self.direction.get_or_insert(direction) != direction {
            return Appetite::Done;
        }
        self.hash.update(bytes);
        Appetite::More
    }

    fn gap(&mut self, cx: &mut Context<'_>, _direction: Direction, _position: u64, _missing: u64) -> Appetite {
        cx.counts.add("files with gaps");
        Appetite::Done
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        // The end of the connection is the end of the file.
        if cx.flow.state & state::SEEN_FIN == 0 {
            cx.counts.add("files cut short");
        } else if let Some(direction) = self.direction {
            std::mem::take(&mut self.hash).report(cx, direction, &self.name, 0);
        }
    }

    fn held(&self) -> usize {
        self.name.len()
    }
}
