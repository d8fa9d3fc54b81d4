//! *Meta Counter Group* and *Meta Session Group*: what the counters and the flow table themselves hold and do.

use super::module::{Module, Updates};
use super::sight::{Change, Sight, Turn};
use crate::flow::EndReason;
use crate::metrics::{GroupIndex, KeyCounts, KeyRef, Registry, Shard};
use crate::time::Timestamp;

/// Whether a bucket of `size` seconds ends between two times.
fn ends_between(size: i64, last: Timestamp, now: Timestamp) -> bool {
    last.secs().div_euclid(size) != now.secs().div_euclid(size)
}

/// What was last told of a group.
#[derive(Debug)]
struct Watched {
    index: GroupIndex,
    bucketsize: i64,
    /// Its GUID.
    key: Box<[u8]>,
    before: KeyCounts,
    /// Keys in buckets that ended since.
    flushed: u64,
}

/// Tells of every group when a bucket of its own ends: keys held, flushed, new, distinct; updates; keys that a mark cost.
#[derive(Debug)]
pub(super) struct MetaCounters {
    group: GroupIndex,
    bucketsize: i64,
    watched: Vec<Watched>,
}

impl MetaCounters {
    pub fn new(group: GroupIndex, registry: &Registry) -> Self {
        let watched = registry.counter_groups().zip(0..).map(|(group, index)| Watched {
            index: GroupIndex(index),
            bucketsize: i64::from(group.bucketsize.max(1)),
            key: group.guid.to_string().into_bytes().into(),
            before: KeyCounts::default(),
            flushed: 0,
        });
        let watched: Vec<Watched> = watched.collect();
        let bucketsize = watched.get(usize::from(group.0)).map_or(60, |own| own.bucketsize);
        Self { group, bucketsize, watched }
    }
}

impl Module for MetaCounters {
    fn close(&mut self, last: Timestamp, now: Timestamp, shard: &mut Shard) {
        let tells = ends_between(self.bucketsize, last, now);
        for watched in &mut self.watched {
            if ends_between(watched.bucketsize, last, now) {
                watched.flushed += shard.open_keys(watched.index) as u64;
            }
            if !tells {
                continue;
            }
            let counts = shard.key_counts(watched.index);
            let since = |of: fn(&KeyCounts) -> u64| of(&counts).saturating_sub(of(&watched.before));
            let hits = since(|c| c.updates);
            if counts.kept > 0 || hits > 0 {
                let mut updates = Updates::<7>::new();
                updates.always(0, counts.kept);
                updates.always(4, watched.flushed);
                updates.always(5, since(|c| c.seen));
                updates.always(6, hits);
                updates.always(7, shard.open_keys(watched.index) as u64);
                updates.nonzero(9, since(|c| c.pruned));
                updates.nonzero(10, since(|c| c.rejected));
                updates.send(shard, self.group, KeyRef::Text(&watched.key));
            }
            watched.before = counts;
            watched.flushed = 0;
        }
    }
}

/// Key of the only session group.
const IP_FLOWS: &[u8] = b"{99A78737-4B41-4387-8F31-8077DB917336}";

const MASTER_SIZE: u32 = 0;
const NEW: u32 = 2;
const CLOSED: u32 = 3;
const EXPIRED: u32 = 4;
const TERMINATED: u32 = 5;
const FLUSHED: u32 = 6;
const FLUSHED_ACTIVE: u32 = 7;
const KEY_HITS: u32 = 8;
const TAIL_PRUNES: u32 = 10;

/// Tells of the flow table: what began and how it ended, and at the end of each bucket how many flows there are.
#[derive(Debug)]
pub(super) struct MetaSessions {
    group: GroupIndex,
    bucketsize: i64,
    live: u64,
}

impl MetaSessions {
    pub fn new(group: GroupIndex, bucketsize: u32) -> Self {
        Self { group, bucketsize: i64::from(bucketsize.max(1)), live: 0 }
    }
}

impl Module for MetaSessions {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let hits = sights.iter().filter(|sight| sight.ip.is_some()).count();
        if hits > 0 {
            let _ = shard.update(self.group, IP_FLOWS, KEY_HITS, hits as f64);
        }
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        let (mut new, mut closed, mut expired, mut terminated, mut flushed, mut pruned) = (0, 0, 0, 0, 0, 0);
        for change in changes {
            let Turn::Ended(reason) = change.what else {
                new += 1;
                self.live += 1;
                continue;
            };
            flushed += 1;
            self.live = self.live.saturating_sub(1);
            match reason {
                EndReason::Fin | EndReason::Rst => closed += 1,
                EndReason::Idle | EndReason::Age => expired += 1,
                EndReason::Script => terminated += 1,
                EndReason::Evicted => pruned += 1,
                EndReason::End => {}
            }
        }
        let mut updates = Updates::<6>::new();
        updates.always(NEW, new);
        updates.nonzero(CLOSED, closed);
        updates.nonzero(EXPIRED, expired);
        updates.nonzero(TERMINATED, terminated);
        updates.nonzero(FLUSHED, flushed);
        updates.nonzero(TAIL_PRUNES, pruned);
        updates.send(shard, self.group, KeyRef::Text(IP_FLOWS));
    }

    fn close(&mut self, last: Timestamp, now: Timestamp, shard: &mut Shard) {
        if ends_between(self.bucketsize, last, now) && self.live > 0 {
            let mut updates = Updates::<2>::new();
            updates.always(MASTER_SIZE, self.live);
            updates.always(FLUSHED_ACTIVE, self.live);
            updates.send(shard, self.group, KeyRef::Text(IP_FLOWS));
        }
    }
}
