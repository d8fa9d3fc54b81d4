//! *Apps*: traffic by the port of the server.

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::{Change, Sight, Turn, Way};
use crate::key::BinaryKey;
use crate::metrics::{GroupIndex, KeyRef, Shard};

const TOTAL: u32 = 0;
const CONNECTIONS: u32 = 4;
const ACTIVE: u32 = 7;
/// Meters by way; cells are in the same order.
const WAYS: [u32; 4] = [2, 3, 5, 6];

/// Sums of one application.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    bytes: [u64; WAYS.len()],
    begun: u32,
    ended: u32,
}

/// Counts packets and flows of protocols with ports.
#[derive(Debug)]
pub(super) struct Apps {
    group: GroupIndex,
    sums: Combiner<u64, Sums>,
}

impl Apps {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush(group: GroupIndex, key: u64, sums: &Sums, shard: &mut Shard) {
    let mut updates = Updates::<7>::new();
    updates.always(TOTAL, sums.bytes.iter().sum());
    for (meter, &sum) in WAYS.into_iter().zip(&sums.bytes) {
        updates.nonzero(meter, sum);
    }
    updates.nonzero(CONNECTIONS, u64::from(sums.begun));
    updates.active(ACTIVE, sums.begun, sums.ended);
    updates.send(shard, group, KeyRef::Binary(&BinaryKey::port(key as u16)));
}

impl Module for Apps {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let group = self.group;
        for sight in sights {
            let Some(ip) = &sight.ip else { continue };
            let Some(app) = ip.app else { continue };
            let cell = match ip.way {
                Way::Into => 0,
                Way::OutOf => 1,
                Way::Internal => 2,
                Way::Transit => 3,
            };
            let sums = self.sums.sums(u64::from(app), |key, sums| flush(group, key, sums, shard));
            sums.bytes[cell] += u64::from(sight.wire);
        }
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        let group = self.group;
        for change in changes {
            let Some(app) = change.app else { continue };
            let sums = self.sums.sums(u64::from(app), |key, sums| flush(group, key, sums, shard));
            match change.what {
                Turn::Began => sums.begun += 1,
                Turn::Ended(_) => sums.ended += 1,
            }
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let group = self.group;
        self.sums.drain(|key, sums| flush(group, key, sums, shard));
    }
}
