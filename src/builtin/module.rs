//! The seam between the stage and the groups, and what groups share.

use std::fmt::Debug;

use super::fact::{Fact, RaisedAlert};
use super::flow_counters::CounterCommand;
use super::labels::FoundLabel;
use super::sight::{Change, Sight};
use crate::metrics::{GroupIndex, KeyRef, Shard};
use crate::time::Timestamp;

/// Counts one group or family of groups. What it has no interest in costs nothing.
pub(super) trait Module: Debug {
    /// The packets of a stretch, all in the same bucket.
    fn packets(&mut self, _sights: &[Sight], _shard: &mut Shard) {}

    /// A stretch without packets begins, in a bucket in which another engine has some.
    fn pass(&mut self, _shard: &mut Shard) {}

    /// Flows that began or ended.
    fn flows(&mut self, _changes: &[Change], _shard: &mut Shard) {}

    /// Hands what it has added up so far to the shard: the bucket is about to close, or somebody wants to read it.
    fn flush(&mut self, _shard: &mut Shard) {}

    /// Something found in a flow.
    fn fact(&mut self, _fact: &Fact<'_>, _out: &mut FactOutput, _shard: &mut Shard) {}

    /// An alert was raised.
    fn alert(&mut self, _alert: &RaisedAlert<'_>, _shard: &mut Shard) {}

    /// Stream time is about to move from `last` to `now`: the last chance to count in buckets that end in between.
    fn close(&mut self, _last: Timestamp, _now: Timestamp, _shard: &mut Shard) {}
}

/// What facts lead to besides counting.
#[derive(Debug, Default)]
pub(super) struct FactOutput {
    /// For the flow counters, in order.
    pub commands: Vec<CounterCommand>,
    /// Labels that were found.
    pub labels: Vec<FoundLabel>,
}

/// A group that may be switched off.
pub(super) type MaybeGroup = Option<GroupIndex>;

/// Updates of one key under construction: at most `N` meters, those without a value left out.
#[derive(Debug)]
pub(super) struct Updates<const N: usize> {
    list: [(u32, f64); N],
    len: usize,
}

impl<const N: usize> Updates<N> {
    pub const fn new() -> Self {
        Self { list: [(0, 0.0); N], len: 0 }
    }

    /// Adds a meter, whatever its value.
    #[inline]
    pub fn always(&mut self, meter: u32, value: u64) {
        self.list[self.len] = (meter, value as f64);
        self.len += 1;
    }

    /// Adds a meter that goes up and down: by how many flows began and ended, if any did.
    #[inline]
    pub fn active(&mut self, meter: u32, begun: u32, ended: u32) {
        if begun | ended != 0 {
            self.list[self.len] = (meter, f64::from(begun) - f64::from(ended));
            self.len += 1;
        }
    }

    /// Adds a meter if there is something to add.
    #[inline]
    pub fn nonzero(&mut self, meter: u32, value: u64) {
        if value != 0 {
            self.always(meter, value);
        }
    }

    #[inline]
    pub fn send(&self, shard: &mut Shard, group: GroupIndex, key: KeyRef<'_>) {
        // What the shard refuses, it counts.
        let _ = shard.update_meters(group, key, &self.list[..self.len]);
    }
}
