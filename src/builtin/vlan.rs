//! *VLANStats*: tagged packets by the id of their outermost tag.

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::Sight;
use crate::key::KeyText;
use crate::metrics::{GroupIndex, KeyRef, Shard};

/// Counts the bytes of each VLAN. Which of them enter or leave it, a packet does not tell.
#[derive(Debug)]
pub(super) struct Vlan {
    group: GroupIndex,
    sums: Combiner<u64, [u64; 1]>,
}

impl Vlan {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush(group: GroupIndex, key: u64, sums: &[u64; 1], shard: &mut Shard) {
    let mut text = KeyText::new();
    text.push_decimal(key as u32);
    let mut updates = Updates::<1>::new();
    updates.always(0, sums[0]);
    updates.send(shard, group, KeyRef::Text(text.as_bytes()));
}

impl Module for Vlan {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights {
            let Some(id) = sight.vlan else { continue };
            self.sums.sums(u64::from(id), |key, sums| flush(group, key, sums, shard))[0] += u64::from(sight.wire);
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush(group, key, sums, shard));
    }
}
