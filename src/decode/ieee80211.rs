//! IEEE 802.11 data frames, bare or behind a radiotap header.

use super::counters::Event;
use super::link::{self, Content};
use super::read::{le16, le32};

/// Whether the radio pads the header to a multiple of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    None,
    Word,
}

/// A frame behind a radiotap header.
pub(super) fn radiotap(data: &[u8]) -> Content {
    let Some(len) = le16(data, 2).map(usize::from) else { return Content::short(0, 8) };
    if data.len() < len || len < 8 {
        return Content::short(0, len.max(8));
    }
    let flags = flags(&data[..len]).unwrap_or(0);
    let padding = if flags & 0x20 != 0 { Padding::Word } else { Padding::None };
    if flags & 0x40 != 0 {
        // The radio saw a bad checksum; the content cannot be trusted.
        return Content::stop(len, data.len(), Event::UnknownEtherType);
    }
    frame(data, len, padding)
}

/// The flags field of a radiotap header, which follows the presence words and an optional timestamp.
fn flags(header: &[u8]) -> Option<u8> {
    let first = le32(header, 4)?;
    let (mut at, mut present) = (8, first);
    while present & 1 << 31 != 0 {
        present = le32(header, at)?;
        at += 4;
    }
    if first & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    if first & 2 != 0 { header.get(at).copied() } else { None }
}

/// A frame at `at`. Only data frames carry anything; a frame that is encrypted or an aggregate is not followed.
pub(super) fn frame(data: &[u8], at: usize, padding: Padding) -> Content {
    let Some(control) = le16(data, at) else { return Content::short(at, 24) };
    let is_data = control & 0x000C == 0x0008;
    let has_body = control & 0x0040 == 0;
    if !is_data || !has_body {
        return Content::stop(data.len(), data.len(), Event::UnknownEtherType);
    }
    let mut len = 24;
    if control & 0x0300 == 0x0300 {
        len += 6;
    }
    let mut is_aggregate = false;
    if control & 0x0080 != 0 {
        let Some(qos) = le16(data, at + len) else { return Content::short(at, len + 2) };
        is_aggregate = qos & 0x0080 != 0;
        len += 2;
        if control & 0x8000 != 0 {
            len += 4;
        }
    }
    if padding == Padding::Word {
        len = len.next_multiple_of(4);
    }
    let body = at + len;
    if data.len() < body {
        return Content::short(at, len);
    }
    if control & 0x4000 != 0 {
        return Content::stop(body, data.len(), Event::Encrypted);
    }
    if is_aggregate {
        return Content::stop(body, data.len(), Event::UnknownEtherType);
    }
    match link::llc(data, body, data.len()) {
        Ok(ethertype) => link::content(data, body + 8, ethertype, &|_| None),
        Err(content) => content,
    }
}
