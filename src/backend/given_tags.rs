//! Tags that backend scripts give to flows by id. The packet threads, which know the flows that go on, are told as well; here
//! the tags reach the records that wait for their flush, whose flows may be over.

use hashbrown::HashMap;

use crate::metrics::{Session, add_tag};

/// Flows that may be given tags between two flushes.
const MAX_FLOWS: usize = 100_000;

/// The tags of each flow since the last flush, joined.
#[derive(Debug, Default)]
pub struct GivenTags {
    flows: HashMap<Vec<u8>, Vec<u8>>,
    /// Tags for which there was no room.
    pub dropped: u64,
}

impl GivenTags {
    /// Notes that a flow is to have a tag.
    pub fn add(&mut self, flow: &[u8], tag: &[u8]) {
        if let Some(tags) = self.flows.get_mut(flow) {
            add_tag(tags, tag);
        } else if self.flows.len() < MAX_FLOWS {
            let mut tags = Vec::new();
            add_tag(&mut tags, tag);
            self.flows.insert(flow.to_vec(), tags);
        } else {
            self.dropped += 1;
        }
    }

    /// Attaches to a flow what it was given.
    pub fn attach(&self, flow: &mut Session) {
        let Some(tags) = self.flows.get(flow.id.as_slice()) else { return };
        tags.split(|&byte| byte == b'|').for_each(|tag| add_tag(&mut flow.tags, tag));
    }

    /// Forgets all of them: the flows that were waiting are flushed.
    pub fn clear(&mut self) {
        self.flows.clear();
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
}
