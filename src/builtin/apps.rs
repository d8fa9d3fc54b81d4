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

/// Counts packets and flows of protocols with ports.
#[derive(Debug)]
pub(super) struct Apps {
    group: GroupIndex,
    sums: Combiner<4>,
}

impl Apps {
    pub fn new(group: GroupIndex) -> Self {
        Self { group, sums: Combiner::new() }
    }
}

fn flush(group: GroupIndex, key: u128, sums: &[u64; 4], shard: &mut Shard) {
    let mut updates = Updates::<5>::new();
    updates.always(TOTAL, sums.iter().sum());
    for (meter, &sum) in WAYS.into_iter().zip(sums) {
        updates.nonzero(meter, sum);
    }
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
            let sums = self.sums.sums(u128::from(app), |key, sums| flush(group, key, sums, shard));
            sums[cell] += u64::from(sight.wire);
        }
        self.sums.drain(|key, sums| flush(group, key, sums, shard));
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        for change in changes {
            let Some(app) = change.app else { continue };
            let updates = [(ACTIVE, change.what.step()), (CONNECTIONS, 1.0)];
            let updates = if change.what == Turn::Began { &updates[..] } else { &updates[..1] };
            let _ = shard.update_meters(self.group, KeyRef::Binary(&BinaryKey::port(app)), updates);
        }
    }
}
