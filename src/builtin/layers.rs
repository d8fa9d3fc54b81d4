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

/// Counts IP packets and flows by protocol.
#[derive(Debug)]
pub(super) struct NetworkLayer {
    group: GroupIndex,
    sums: Combiner<u64, ProtocolSums>,
}

/// Sums of one IP protocol.
#[derive(Clone, Copy, Debug, Default)]
struct ProtocolSums {
    bytes: u64,
    packets: u64,
    begun: u32,
    ended: u32,
}

impl NetworkLayer {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush_protocol(group: GroupIndex, proto: u64, sums: &ProtocolSums, shard: &mut Shard) {
    let mut key = KeyText::new();
    key.push_hex(proto as u8);
    let mut updates = Updates::<4>::new();
    updates.always(TOTAL, sums.bytes);
    updates.always(PACKETS, sums.packets);
    updates.active(ACTIVE_FLOWS, sums.begun, sums.ended);
    updates.nonzero(TOTAL_FLOWS, u64::from(sums.begun));
    updates.send(shard, group, KeyRef::Text(key.as_bytes()));
}

impl Module for NetworkLayer {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights {
            let Some(ip) = &sight.ip else { continue };
            let key = u64::from(ip.proto);
            let sums = self.sums.sums(key, |key, sums| flush_protocol(group, key, sums, shard));
            sums.bytes += u64::from(sight.wire);
            sums.packets += 1;
        }
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        let group = self.group;
        for change in changes.iter().filter(|change| change.tuple != FlowTuple::NO_IP) {
            let key = u64::from(change.tuple.proto);
            let sums = self.sums.sums(key, |key, sums| flush_protocol(group, key, sums, shard));
            match change.what {
                Turn::Began => sums.begun += 1,
                Turn::Ended(_) => sums.ended += 1,
            }
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush_protocol(group, key, sums, shard));
    }
}

/// Counts packets by EtherType.
#[derive(Debug)]
pub(super) struct LinkLayer {
    group: GroupIndex,
    sums: Combiner<u64, [u64; 2]>,
}

impl LinkLayer {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush_ethertype(group: GroupIndex, ethertype: u64, sums: &[u64; 2], shard: &mut Shard) {
    let mut key = KeyText::new();
    key.push_hex_all(&(ethertype as u16).to_be_bytes());
    let mut updates = Updates::<2>::new();
    updates.always(TOTAL, sums[0]);
    updates.always(PACKETS, sums[1]);
    updates.send(shard, group, KeyRef::Text(key.as_bytes()));
}

impl Module for LinkLayer {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        // Nearly always, all are of one type.
        for row in sights.chunk_by(|a, b| a.ethertype == b.ethertype).filter(|row| row[0].ethertype != 0) {
            let key = u64::from(row[0].ethertype);
            let sums = self.sums.sums(key, |key, sums| flush_ethertype(group, key, sums, shard));
            sums[0] += row.iter().map(|sight| u64::from(sight.wire)).sum::<u64>();
            sums[1] += row.len() as u64;
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush_ethertype(group, key, sums, shard));
    }
}
