//! *NetworkLayerStats* and *LinkLayerStats*: traffic by IP protocol and by EtherType.

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::{Change, Sight, Turn};
use crate::key::{FlowTuple, KeyText};
use crate::metrics::{GroupIndex, KeyRef, Shard};

const TOTAL: u32 = 0;
const PACKETS: u32 = 1;
const ACTIVE_FLOWS: u32 = 2;
const TOTAL_FLOWS: u32 = 3;

/// Counts bytes and packets under the hexadecimal digits of a number.
fn flush(group: GroupIndex, bytes: &[u8], sums: &[u64; 2], shard: &mut Shard) {
    let mut key = KeyText::new();
    key.push_hex_all(bytes);
    let mut updates = Updates::<2>::new();
    updates.always(TOTAL, sums[0]);
    updates.always(PACKETS, sums[1]);
    updates.send(shard, group, KeyRef::Text(key.as_bytes()));
}

/// Counts IP packets and flows by protocol.
#[derive(Debug)]
pub(super) struct NetworkLayer {
    group: GroupIndex,
    sums: Combiner<2>,
}

impl NetworkLayer {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

impl Module for NetworkLayer {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights {
            let Some(ip) = &sight.ip else { continue };
            let sums = self.sums.sums(u128::from(ip.proto), |key, sums| flush(group, &[key as u8], sums, shard));
            sums[0] += u64::from(sight.wire);
            sums[1] += 1;
        }
        self.sums.drain(|key, sums| flush(group, &[key as u8], sums, shard));
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        for change in changes.iter().filter(|change| change.tuple != FlowTuple::NO_IP) {
            let mut key = KeyText::new();
            key.push_hex(change.tuple.proto);
            let updates = [(ACTIVE_FLOWS, change.what.step()), (TOTAL_FLOWS, 1.0)];
            let updates = if change.what == Turn::Began { &updates[..] } else { &updates[..1] };
            let _ = shard.update_meters(self.group, KeyRef::Text(key.as_bytes()), updates);
        }
    }
}

/// Counts packets by EtherType.
#[derive(Debug)]
pub(super) struct LinkLayer {
    group: GroupIndex,
    sums: Combiner<2>,
}

impl LinkLayer {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

impl Module for LinkLayer {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights.iter().filter(|sight| sight.ethertype != 0) {
            let key = u128::from(sight.ethertype);
            let sums = self.sums.sums(key, |key, sums| flush(group, &(key as u16).to_be_bytes(), sums, shard));
            sums[0] += u64::from(sight.wire);
            sums[1] += 1;
        }
        self.sums.drain(|key, sums| flush(group, &(key as u16).to_be_bytes(), sums, shard));
    }
}
