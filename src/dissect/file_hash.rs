//! Files that are hashed as they pass by.

use data_encoding::HEXLOWER;
use md5::{Digest, Md5};

use super::dissector::Context;
use super::finding::{FindingKind, ResourceKind};
use crate::flow::Direction;

/// The hash of a file so far.
#[derive(Clone, Debug, Default)]
pub(super) struct FileHash {
    md5: Md5,
    len: u64,
}

impl FileHash {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// The file that went in a direction is complete: reports it, unless it is empty. `place` is the number of what it was
    /// a part of.
    pub fn report(self, cx: &mut Context<'_>, direction: Direction, name: &[u8], place: u64) {
        if self.len == 0 || !cx.wants.hashes().is_yes() {
            return;
        }
        let md5: [u8; 16] = self.md5.finalize().into();
        let label = cx.findings.text(name);
        if cx.wants.file_hashes.is_yes() {
            let mark = cx.findings.mark();
            let uri = cx.findings.writer();
            uri.extend_from_slice(b"MD5:");
            push_hex(uri, &md5);
            let uri = cx.findings.since(mark);
            cx.push(FindingKind::Resource { kind: ResourceKind::FileHash, uri, label });
        }
        if cx.wants.events.is_yes() {
            cx.push(FindingKind::File { direction, name: label, length: self.len, md5, place });
        }
    }
}

/// Appends bytes as lower-case hexadecimal digits.
pub(super) fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    let mark = text.len();
    text.resize(mark + HEXLOWER.encode_len(bytes.len()), 0);
    HEXLOWER.encode_mut(bytes, &mut text[mark..]);
}
