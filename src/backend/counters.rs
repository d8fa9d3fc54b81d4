//! Counter groups: new keys and updates second by second, the flush of their buckets window by window.

use std::sync::Arc;

use mlua::{MultiValue, Table, Value};

use super::crew::{Crew, Member};
use super::monitor::{Hook, KeyOrder, is_no, values};
use super::new_keys::NewKeys;
use super::outlet::BackendOutlet;
use super::toppers::{GroupRanks, GroupToppers, Places, places};
use crate::metrics::{FlushedKey, GroupIndex, Registry, SecondKeys, Snapshot, Stored, Verdict};

/// What is kept of the counter groups between windows.
#[derive(Debug)]
pub struct Counters {
    /// Closed buckets that wait for the end of the window.
    waiting: Vec<Snapshot>,
    new_keys: Vec<Option<Box<NewKeys>>>,
    toppers: Vec<Option<GroupToppers>>,
    /// Keys displaced among toppers, of intervals that are over.
    displaced: u64,
}

impl Counters {
    /// Of all groups; `toppers` says of which group the toppers are tracked.
    #[must_use]
    pub fn new(groups: &Registry, toppers: impl Fn(GroupIndex) -> bool) -> Self {
        let indexed = || groups.counter_groups().enumerate().map(|(index, group)| (GroupIndex(index as u16), group));
        Self {
            waiting: Vec::new(),
            new_keys: indexed().map(|_| None).collect(),
            toppers: indexed()
                .map(|(index, group)| if toppers(index) { GroupToppers::new(index, group) } else { None })
                .collect(),
            displaced: 0,
        }
    }

    /// Tracks the toppers of further groups from now on.
    pub fn track(&mut self, groups: &Registry, toppers: impl Fn(GroupIndex) -> bool) {
        for (place, group) in groups.counter_groups().enumerate() {
            let index = GroupIndex(place as u16);
            if let Some(none @ None) = self.toppers.get_mut(place)
                && toppers(index)
            {
                *none = GroupToppers::new(index, group);
            }
        }
    }

    /// Takes in closed buckets.
    pub fn wait(&mut self, snapshots: impl IntoIterator<Item = Snapshot>) {
        self.waiting.extend(snapshots);
    }

    /// Keys that were displaced among toppers: above 0, some values may be too large.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced + self.toppers.iter().flatten().map(GroupToppers::displaced).sum::<u64>()
    }

    /// Announces the keys that were not seen lately.
    pub fn announce<O: BackendOutlet>(&mut self, crew: &mut Crew<O>, keys: &SecondKeys, second: i64) {
        let members = crew.of_group(keys.group());
        if !crew.any(&members, Hook::New) {
            return;
        }
        let Some(seen) = self.new_keys.get_mut(usize::from(keys.group().0)) else { return };
        let seen = seen.get_or_insert_with(|| Box::new(NewKeys::new()));
        for (key, _) in keys.iter() {
            if !seen.is_new(key) {
                continue;
            }
            for &member in &members {
                let order = crew.monitors[member].new_key_order;
                crew.call(member, Hook::New, |lua| {
                    let key = lua.create_string(key)?;
                    match order {
                        KeyOrder::TimeFirst => values(lua, (second, key)),
                        KeyOrder::KeyFirst => values(lua, (key, second)),
                    }
                });
            }
        }
    }

    /// Tells of the keys touched in a second.
    pub fn update<O: BackendOutlet>(crew: &mut Crew<O>, keys: &SecondKeys, second: i64) {
        let members = crew.of_group(keys.group());
        if !crew.any(&members, Hook::Update) {
            return;
        }
        for (key, metrics) in keys.iter() {
            for &member in &members {
                let order = crew.monitors[member].update_order;
                crew.call(member, Hook::Update, |lua| {
                    let (key, metrics) = (lua.create_string(key)?, lua.create_sequence_from(metrics.iter().copied())?);
                    match order {
                        KeyOrder::TimeFirst => values(lua, (second, key, metrics)),
                        KeyOrder::KeyFirst => values(lua, (key, second, metrics)),
                    }
                });
            }
        }
    }

    /// Flushes all groups for a window; `end` is its end, `i64::MAX` at the end of input. `own` is the number of the backend;
    /// what all have ranked in an interval that ends comes from `rank`, by their numbers.
    pub fn flush<O: BackendOutlet>(
        &mut self,
        crew: &mut Crew<O>,
        (window, end): (i64, i64),
        own: usize,
        rank: impl FnOnce(&[GroupRanks]) -> Vec<Vec<GroupRanks>>,
    ) {
        let (due, later) =
            std::mem::take(&mut self.waiting).into_iter().partition(|s: &Snapshot| s.end().secs() <= end);
        self.waiting = later;
        let mut merged = Snapshot::merge(due);
        merged.sort_by_key(|snapshot| (snapshot.group(), snapshot.start()));
        let merged: Vec<Arc<Snapshot>> = merged.into_iter().map(Arc::new).collect();
        // Where nobody looks at the keys, whoever takes the buckets need not wait for the toppers.
        let come_first = !crew.outlet.reads_keys() && merged.iter().all(|s| crew.of_group(s.group()).is_empty());
        if come_first {
            merged.iter().for_each(|snapshot| crew.outlet.bucket(Arc::clone(snapshot)));
            crew.outlet.end_buckets();
        }
        let mut places = self.rank(&merged, (window, end), own, rank);
        let mut merged = merged.into_iter().peekable();
        for index in 0..self.toppers.len() {
            let group = GroupIndex(index as u16);
            let members = crew.of_group(group);
            if members.is_empty() && self.toppers[index].is_none() && merged.peek().is_none_or(|s| s.group() != group) {
                continue;
            }
            crew.tell(&members, Hook::BeginFlush, window);
            while let Some(snapshot) = merged.next_if(|snapshot| snapshot.group() == group) {
                let verdicts = crew.flush_bucket(&members, &snapshot);
                if !come_first {
                    crew.outlet.bucket(Arc::new(Arc::unwrap_or_clone(snapshot).judged(verdicts)));
                }
            }
            crew.tell(&members, Hook::EndFlush, window);
            if let (Some(toppers), Some(places)) = (&mut self.toppers[index], places[index].take()) {
                self.displaced += toppers.displaced();
                crew.flush_toppers(&members, toppers, &places, (window, end));
            }
        }
        if !come_first {
            crew.outlet.end_buckets();
        }
    }

    /// Adds the buckets of a window to the toppers; for each group whose interval ends, the keys of this backend that are
    /// among the first of all.
    fn rank(
        &mut self,
        merged: &[Arc<Snapshot>],
        (window, end): (i64, i64),
        own: usize,
        rank: impl FnOnce(&[GroupRanks]) -> Vec<Vec<GroupRanks>>,
    ) -> Vec<Option<Vec<Places>>> {
        for snapshot in merged {
            if let Some(Some(toppers)) = self.toppers.get_mut(usize::from(snapshot.group().0)) {
                toppers.add(snapshot);
            }
        }
        let is_due = |toppers: &mut Option<GroupToppers>| toppers.as_mut().is_some_and(|t| t.is_due(window, end));
        let due: Vec<bool> = self.toppers.iter_mut().map(is_due).collect();
        let of_due = self.toppers.iter().zip(&due).filter(|(_, is_due)| **is_due);
        let ranks: Vec<GroupRanks> = of_due.filter_map(|(toppers, _)| Some(toppers.as_ref()?.ranks(window))).collect();
        let others = rank(&ranks);
        let mut ranks = ranks.iter();
        let of_group = |(toppers, is_due): (&Option<GroupToppers>, &bool)| {
            let toppers = toppers.as_ref().filter(|_| *is_due)?;
            Some(places(own, ranks.next()?, &others, toppers))
        };
        self.toppers.iter().zip(&due).map(of_group).collect()
    }
}

impl<O: BackendOutlet> Crew<O> {
    /// Flushes the keys of a bucket; returns the votes on them, nothing if there was none.
    fn flush_bucket(&mut self, members: &[Member], snapshot: &Snapshot) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        if members.is_empty() && !self.outlet.reads_keys() {
            return verdicts;
        }
        if self.takes_rows(members) {
            self.flush_rows(members, snapshot, &mut verdicts);
            return verdicts;
        }
        let Some(group) = self.context.groups.counter_group(snapshot.group()) else { return verdicts };
        let (guid, size) = (group.guid, i64::from(group.bucketsize));
        let (flushes, filters) = (self.any(members, Hook::Flush), self.any(members, Hook::FlushFilter));
        let start = snapshot.start();
        let mut finished = Vec::new();
        snapshot.for_each(|key, metrics| {
            finished.clear();
            finished.extend_from_slice(metrics);
            let yes = !filters || self.filter_key(members, start, key, &mut finished);
            if filters {
                verdicts.push(match yes {
                    false => Verdict::Drop,
                    true if finished == metrics => Verdict::Keep,
                    true => Verdict::Change(finished.as_slice().into()),
                });
            }
            let flushed = FlushedKey { group: snapshot.group(), guid, bucket: start, size, key, values: &finished };
            self.outlet.counter(&flushed, if yes { Stored::Yes } else { Stored::No });
            if !yes || !flushes {
                return;
            }
            for &member in members {
                self.call(member, Hook::Flush, |lua| key_values(lua, start, key, &finished));
            }
        });
        verdicts
    }

    /// The vote on a key; overrides are put in place if it is a yes.
    fn filter_key(&mut self, members: &[Member], start: i64, key: &[u8], finished: &mut [f64]) -> bool {
        let mut overrides = Vec::new();
        let before: &[f64] = finished;
        let yes = self.vote(members, Hook::FlushFilter, |crew, member| {
            let answer = crew.call(member, Hook::FlushFilter, |lua| key_values(lua, start, key, before));
            if let Some(Value::Table(table)) = answer.as_ref().and_then(|answer| answer.get(1)) {
                overrides.push(overrides_in(table, before.len()));
            }
            is_no(answer.as_ref())
        });
        if yes {
            for (at, value) in overrides.into_iter().flatten() {
                finished[at] = value;
            }
        }
        yes
    }
}

fn key_values(lua: &mlua::Lua, start: i64, key: &[u8], metrics: &[f64]) -> mlua::Result<MultiValue> {
    values(lua, (start, lua.create_string(key)?, lua.create_sequence_from(metrics.iter().copied())?))
}

/// The values that replace others, by place; negative ones and whatever is no number leave theirs.
fn overrides_in(table: &Table, width: usize) -> Vec<(usize, f64)> {
    let number = |at: usize| match table.raw_get::<Value>(at + 1) {
        Ok(Value::Integer(number)) => Some(number as f64),
        Ok(Value::Number(number)) => Some(number),
        Ok(Value::String(text)) => text.to_str().ok()?.trim().parse().ok(),
        _ => None,
    };
    let replaces = |value: &f64| value.is_finite() && *value >= 0.0;
    (0..width).filter_map(|at| number(at).filter(replaces).map(|value| (at, value))).collect()
}
