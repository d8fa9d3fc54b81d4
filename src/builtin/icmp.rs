//! *ICMP Types*: ICMP and ICMPv6 messages by type and code.

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::Sight;
use crate::key::KeyText;
use crate::metrics::{GroupIndex, KeyRef, Shard};

/// Counts messages; fragments behind the first one do not show theirs and are left out.
#[derive(Debug)]
pub(super) struct IcmpTypes {
    group: GroupIndex,
    sums: Combiner<u64, [u64; 2]>,
}

impl IcmpTypes {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush(group: GroupIndex, key: u64, sums: &[u64; 2], shard: &mut Shard) {
    let [kind, code] = (key as u16).to_be_bytes();
    let mut text = KeyText::new();
    text.push_hex(kind);
    text.push_str("/");
    text.push_hex(code);
    let mut updates = Updates::<2>::new();
    updates.always(0, sums[0]);
    updates.always(1, sums[1]);
    updates.send(shard, group, KeyRef::Text(text.as_bytes()));
}

impl Module for IcmpTypes {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights {
            let Some((kind, code)) = sight.ip.as_ref().and_then(|ip| ip.icmp) else { continue };
            let key = u64::from(u16::from_be_bytes([kind, code]));
            let sums = self.sums.sums(key, |key, sums| flush(group, key, sums, shard));
            sums[0] += u64::from(sight.wire);
            sums[1] += 1;
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush(group, key, sums, shard));
    }
}
