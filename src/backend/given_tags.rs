//! Tags that backend scripts give to flows by id. The packet threads, which know the flows that go on, are told as well; here
//! the tags reach the records that wait for their flush, whose flows may be over.

use hashbrown::HashMap;

use crate::metrics::{Session, add_tag};

/// Flows that may be given tags between two flushes.
const MAX_FLOWS: usize = 100_000;

/// What one flow was given.
#[derive(Debug, Default)]
struct Given {
    // Joined.
    tags: Vec<u8>,
    // Tags for a record that was made before, and that has not come by since.
    late: u64,
}

/// The tags of each flow since the last flush.
#[derive(Debug, Default)]
pub struct GivenTags {
    flows: HashMap<Vec<u8>, Given>,
    /// Tags for which there was no room.
    pub dropped: u64,
    // Tags for records that were flushed before.
    lost: u64,
}

impl GivenTags {
    /// Notes that a flow is to have a tag.
    pub fn add(&mut self, flow: &[u8], tag: &[u8]) {
        if let Some(given) = self.of(flow) {
            add_tag(&mut given.tags, tag);
        }
    }

    /// The same for a flow that has ended: its record is among those that wait for their flush, or the tag is lost.
    pub fn add_late(&mut self, flow: &[u8], tag: &[u8]) {
        if let Some(given) = self.of(flow) {
            add_tag(&mut given.tags, tag);
            given.late += 1;
        }
    }

    fn of(&mut self, flow: &[u8]) -> Option<&mut Given> {
        if self.flows.len() < MAX_FLOWS || self.flows.contains_key(flow) {
            return Some(self.flows.entry_ref(flow).or_default());
        }
        self.dropped += 1;
        None
    }

    /// Attaches to a flow what it was given.
    pub fn attach(&mut self, flow: &mut Session) {
        let Some(given) = self.flows.get_mut(flow.id.as_slice()) else { return };
        given.tags.split(|&byte| byte == b'|').for_each(|tag| add_tag(&mut flow.tags, tag));
        given.late = 0;
    }

    /// Forgets all of them: the flows that were waiting are flushed.
    pub fn clear(&mut self) {
        self.lost = self.late();
        self.flows.clear();
    }

    /// Tags that came when the record of their flow was flushed already, as far as is known.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.lost + self.flows.values().map(|given| given.late).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::{GivenTags, MAX_FLOWS};
    use crate::metrics::Session;

    #[test]
    fn a_flow_gets_its_own_tags_once_and_the_table_ends_at_its_cap() {
        let mut given = GivenTags::default();
        given.add(b"06A:x", b"one");
        given.add(b"06A:x", b"two");
        given.add(b"06A:y", b"other");
        let mut flow = Session { id: b"06A:x".to_vec(), tags: b"zero|two".to_vec(), ..Session::default() };
        given.attach(&mut flow);
        given.attach(&mut flow);
        assert_eq!(flow.tags, b"zero|two|one");
        for n in 0..MAX_FLOWS + 5 {
            given.add(&n.to_le_bytes(), b"t");
        }
        assert_eq!(given.dropped, 7);
        given.clear();
        let mut flow = Session { id: b"06A:x".to_vec(), ..Session::default() };
        given.attach(&mut flow);
        assert_eq!(flow.tags, b"");
    }

    #[test]
    fn tags_of_records_that_are_flushed_already_are_counted() {
        let mut given = GivenTags::default();
        for flow in [b"06A:x", b"06A:y", b"06A:y"] {
            given.add_late(flow, b"late");
        }
        given.add(b"06A:z", b"of one that goes on");
        let mut flow = Session { id: b"06A:x".to_vec(), ..Session::default() };
        given.attach(&mut flow);
        assert_eq!((flow.tags, given.late()), (b"late".to_vec(), 2));
        given.clear();
        given.clear();
        assert_eq!(given.late(), 2);
    }
}
