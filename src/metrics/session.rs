//! Flows as they are told of outside the packet threads: numbers, times, tags.

use crate::time::Timestamp;

/// A flow at a moment of its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Flow id.
    pub id: Vec<u8>,
    /// Time of its first packet.
    pub start: Timestamp,
    /// Time of its last packet so far.
    pub end: Timestamp,
    /// Wire bytes sent by A and by Z.
    pub bytes: [u64; 2],
    /// Packets sent by A and by Z.
    pub packets: [u64; 2],
    /// Payload bytes sent by A and by Z.
    pub payload: [u64; 2],
    /// State bits.
    pub state: u16,
    /// Tags joined with `|`.
    pub tags: Vec<u8>,
    /// Handshake round trip in microseconds.
    pub setup_rtt: u32,
    /// Retransmitted segments.
    pub retransmissions: u32,
    /// Why it ended; empty while it goes on.
    pub reason: &'static str,
}

impl Session {
    /// A copy under another id.
    #[must_use]
    pub fn named(&self, id: Vec<u8>) -> Self {
        // By name, so that a field that is added has to be copied too.
        let &Self { id: _, start, end, bytes, packets, payload, state, ref tags, setup_rtt, retransmissions, reason } =
            self;
        let tags = tags.clone();
        Self { id, start, end, bytes, packets, payload, state, tags, setup_rtt, retransmissions, reason }
    }
}

/// Longest text that the tags of one flow may be together.
pub const MAX_TAGS: usize = 255;

/// Adds a tag to the joined ones, if it is new and fits.
pub fn add_tag(tags: &mut Vec<u8>, tag: &[u8]) {
    if tag.is_empty() || tags.len() + usize::from(!tags.is_empty()) + tag.len() > MAX_TAGS {
        return;
    }
    let start = tags.len();
    if start > 0 {
        tags.push(b'|');
    }
    let at = tags.len();
    tags.extend(tag.iter().map(|&byte| if matches!(byte, b'|' | b'\r' | b'\n') { b'_' } else { byte }));
    let (old, new) = tags.split_at(at);
    if old[..start].split(|&byte| byte == b'|').any(|known| start > 0 && known == new) {
        tags.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::add_tag;

    #[test]
    fn tags_are_a_set_in_order_and_a_tag_that_does_not_fit_is_left_out() {
        let mut tags = Vec::new();
        for tag in [&b"a"[..], b"b|c", b"a", b"", &[b'x'; 250], b"d"] {
            add_tag(&mut tags, tag);
        }
        assert_eq!(tags, b"a|b_c|d");
    }
}
