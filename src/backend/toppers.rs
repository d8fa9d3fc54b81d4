//! The largest and smallest keys of each meter over its topper interval.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use mlua::Value;

use super::crew::{Crew, Member};
use super::monitor::{Hook, is_no, values};
use super::outlet::BackendOutlet;
use crate::metrics::{FlushedTopper, Group, GroupIndex, Ranked, Snapshot, Stored, TopperTrack};

/// The toppers of one group.
#[derive(Debug)]
pub struct GroupToppers {
    index: GroupIndex,
    size: i64,
    /// Start of the open interval; `None` before the first window.
    start: Option<i64>,
    meters: Vec<MeterToppers>,
    hasher: RandomState,
}

#[derive(Debug)]
struct MeterToppers {
    id: u8,
    top: usize,
    bottom: usize,
    track: TopperTrack,
}

impl GroupToppers {
    /// For the meters of a group that track toppers; `None` if none does.
    #[must_use]
    pub fn new(index: GroupIndex, group: &Group) -> Option<Self> {
        let tracked = group.meters.iter().filter(|meter| meter.top > 0);
        let meters: Vec<MeterToppers> = tracked
            .map(|meter| MeterToppers {
                id: meter.id,
                top: meter.top as usize,
                bottom: meter.bottom as usize,
                track: TopperTrack::new(meter.vartype, meter.top.max(meter.bottom) as usize),
            })
            .collect();
        let size = i64::from(group.topper_bucketsize.max(1));
        (!meters.is_empty()).then(|| Self { index, size, start: None, meters, hasher: RandomState::default() })
    }

    /// Takes in a closed bucket.
    pub fn add(&mut self, snapshot: &Snapshot) {
        let Self { meters, hasher, .. } = self;
        snapshot.for_each_updated(|key, values| {
            let hash = hasher.hash_one(key);
            for meter in meters.iter_mut() {
                let value = values[usize::from(meter.id)];
                if !value.is_nan() {
                    meter.track.add(hash, key, value);
                }
            }
        });
    }

    /// Whether an interval ends with the window that ends at `end`; begins the first one.
    pub fn is_due(&mut self, window: i64, end: i64) -> bool {
        let start = *self.start.get_or_insert(window - window.rem_euclid(self.size));
        end >= start.saturating_add(self.size)
    }

    /// Keys that were displaced in the intervals so far.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.meters.iter().map(|meter| meter.track.displaced()).sum()
    }

    /// Begins the interval that `end` lies in.
    fn begin(&mut self, end: i64) {
        self.start = Some(end - end.rem_euclid(self.size));
        self.meters.iter_mut().for_each(|meter| meter.track.clear());
    }
}

impl<O: BackendOutlet> Crew<O> {
    /// Flushes the toppers of a group for the interval that is over.
    pub fn flush_toppers(&mut self, members: &[Member], toppers: &mut GroupToppers, window: i64, end: i64) {
        let Some(group) = self.context.groups.counter_group(toppers.index) else { return };
        let guid = group.guid;
        let bucket = toppers.start.unwrap_or(window);
        for at in 0..toppers.meters.len() {
            let meter = &toppers.meters[at];
            let id = meter.id;
            let (largest, smallest) = meter.track.ranked(meter.top, meter.bottom);
            let place = |rank: i32, ranked: &Ranked| FlushedTopper {
                group: toppers.index,
                guid,
                meter: u32::from(id),
                bucket,
                size: toppers.size,
                rank,
                key: &[],
                value: ranked.value,
                error: ranked.error,
            };
            let told = self.begins_toppers(members, window, id);
            for (rank, ranked) in (1..).zip(&largest) {
                let topper = FlushedTopper { key: &ranked.key, ..place(rank, ranked) };
                self.flush_topper(members, &topper, told);
            }
            for (rank, ranked) in (1..).zip(&smallest) {
                let topper = FlushedTopper { key: &ranked.key, ..place(-rank, ranked) };
                self.flush_topper(members, &topper, told);
            }
            for &member in members {
                self.call(member, Hook::EndTopper, |lua| values(lua, id));
            }
        }
        toppers.begin(end);
    }

    /// Whether anybody wants to hear of the toppers of a meter.
    fn begins_toppers(&mut self, members: &[Member], window: i64, meter: u8) -> Told {
        let mut noes = 0;
        for &member in members {
            if !self.monitors[member].has(Hook::BeginTopper) {
                continue;
            }
            let answer = self.call(member, Hook::BeginTopper, |lua| values(lua, (window, meter)));
            self.expect_boolean(member, Hook::BeginTopper, answer.as_ref());
            noes += usize::from(is_no(answer.as_ref()));
        }
        if !members.is_empty() && noes == members.len() { Told::No } else { Told::Yes }
    }

    fn flush_topper(&mut self, members: &[Member], topper: &FlushedTopper<'_>, told: Told) {
        let yes = self.vote(members, Hook::TopperFilter, |crew, member| {
            let answer = crew
                .call(member, Hook::TopperFilter, |lua| values(lua, (lua.create_string(topper.key)?, topper.value)));
            crew.expect_boolean(member, Hook::TopperFilter, answer.as_ref());
            is_no(answer.as_ref())
        });
        self.outlet.topper(topper, if yes { Stored::Yes } else { Stored::No });
        if !yes || told == Told::No {
            return;
        }
        for &member in members {
            self.call(member, Hook::Topper, |lua| values(lua, (lua.create_string(topper.key)?, topper.value)));
        }
    }

    /// Logs an answer that is no boolean; it counts as true. An error has been told of already.
    fn expect_boolean(&mut self, member: Member, hook: Hook, answer: Option<&mlua::MultiValue>) {
        let Some(answer) = answer else { return };
        let kind = match answer.front() {
            Some(Value::Boolean(_)) => return,
            Some(other) => other.type_name(),
            None => "nothing",
        };
        self.monitors[member].complain(hook, &format!("true or false is needed, not {kind}; taken as true"));
        self.after();
    }
}

/// Whether scripts are told of the toppers of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    No,
}
