//! The largest and smallest keys of each meter over its topper interval.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use mlua::Value;

use super::crew::{Crew, Member};
use super::monitor::{Hook, is_no, values};
use super::outlet::BackendOutlet;
use crate::metrics::{FlushedTopper, Group, GroupIndex, Ranked, Snapshot, Stored, TopperTrack};

/// The first keys of a group in an interval, meter by meter.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRanks {
    group: GroupIndex,
    /// Start of the interval.
    start: i64,
    meters: Vec<MeterRanks>,
}

#[cfg(test)]
impl GroupRanks {
    /// Those of a group without meters.
    pub const fn empty(start: i64) -> Self {
        Self { group: GroupIndex(0), start, meters: Vec::new() }
    }
}

/// The first keys of a meter from either end.
#[derive(Clone, Debug, PartialEq)]
struct MeterRanks {
    largest: Vec<Ranked>,
    smallest: Vec<Ranked>,
}

/// Keys with their ranks, from 1; negative for the smallest.
pub type Places = Vec<(i32, Ranked)>;

/// The keys of backend `own` among the first ones of all backends, with the ranks they have there, meter by meter. What
/// the others ranked is by their numbers; a backend that has ranked nothing is left out.
#[must_use]
pub fn places(own: usize, ranks: &GroupRanks, others: &[Vec<GroupRanks>], toppers: &GroupToppers) -> Vec<Places> {
    let is_same = |other: &&GroupRanks| (other.group, other.start) == (ranks.group, ranks.start);
    let all: Vec<(usize, &GroupRanks)> = others
        .iter()
        .enumerate()
        .filter_map(|(number, ranked)| ranked.iter().find(is_same).map(|ranks| (number, ranks)))
        .chain([(own, ranks)])
        .collect();
    let places = |(at, meter): (usize, &MeterToppers)| {
        let side = |of: fn(&MeterRanks) -> &Vec<Ranked>| {
            let lists = all.iter().filter_map(|(number, ranks)| Some((*number, of(ranks.meters.get(at)?))));
            lists.flat_map(|(number, list)| list.iter().map(move |ranked| (number, ranked))).collect::<Vec<_>>()
        };
        let by_key = |a: &Ranked, b: &Ranked| a.key.cmp(&b.key);
        let mut largest = side(|ranks| &ranks.largest);
        largest.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value).then_with(|| by_key(a, b)));
        let mut smallest = side(|ranks| &ranks.smallest);
        smallest.sort_by(|(_, a), (_, b)| a.value.total_cmp(&b.value).then_with(|| by_key(a, b)));
        let largest = (1..).zip(largest.into_iter().take(meter.top));
        let smallest = (1..).map(|rank: i32| -rank).zip(smallest.into_iter().take(meter.bottom));
        let of_own =
            |(rank, (number, ranked)): (i32, (usize, &Ranked))| (number == own).then(|| (rank, ranked.clone()));
        largest.chain(smallest).filter_map(of_own).collect()
    };
    toppers.meters.iter().enumerate().map(places).collect()
}

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
        let ids: Vec<u8> = meters.iter().map(|meter| meter.id).collect();
        snapshot.for_each_updated(ids.into_iter(), |key, values| {
            let hash = hasher.hash_one(key);
            for (meter, &value) in meters.iter_mut().zip(values) {
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

    /// The first keys of the interval that is open, which began with the window if none did.
    #[must_use]
    pub fn ranks(&self, window: i64) -> GroupRanks {
        let meter = |meter: &MeterToppers| {
            let (largest, smallest) = meter.track.ranked(meter.top, meter.bottom);
            MeterRanks { largest, smallest }
        };
        GroupRanks {
            group: self.index,
            start: self.start.unwrap_or(window),
            meters: self.meters.iter().map(meter).collect(),
        }
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
    /// Flushes the toppers of a group for the interval that is over: those with a place, meter by meter.
    pub fn flush_toppers(
        &mut self,
        members: &[Member],
        toppers: &mut GroupToppers,
        places: &[Places],
        (window, end): (i64, i64),
    ) {
        let Some(group) = self.context.groups.counter_group(toppers.index) else { return };
        let guid = group.guid;
        let bucket = toppers.start.unwrap_or(window);
        for (meter, places) in toppers.meters.iter().zip(places) {
            let id = meter.id;
            let told = self.begins_toppers(members, window, id);
            for (rank, ranked) in places {
                let topper = FlushedTopper {
                    group: toppers.index,
                    guid,
                    meter: u32::from(id),
                    bucket,
                    size: toppers.size,
                    rank: *rank,
                    key: &ranked.key,
                    value: ranked.value,
                    error: ranked.error,
                };
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

#[cfg(test)]
mod tests {
    use super::{GroupRanks, GroupToppers, places};
    use crate::metrics::{Snapshot, Vartype, rehearsal};
    use crate::time::Timestamp;

    #[test]
    fn the_first_of_all_backends_are_ranked_and_each_has_its_own_of_them() {
        let (registry, index) = rehearsal::group(&[Vartype::Counter]);
        let mut group = registry.counter_group(index).unwrap().clone();
        (group.meters[0].top, group.meters[0].bottom) = (3, 2);
        let ranked = |keys: &[(&str, f64)]| {
            let mut shard = crate::metrics::Shard::new(&registry, crate::metrics::ShardConfig::default());
            shard.advance(Timestamp::new(100, 0), |_| {});
            for (key, value) in keys {
                shard.update(index, key.as_bytes(), 0, *value);
            }
            let mut closed = Vec::new();
            shard.finish(|snapshot| closed.push(snapshot));
            let mut toppers = GroupToppers::new(index, &group).unwrap();
            Snapshot::merge(closed).iter().for_each(|snapshot| toppers.add(snapshot));
            (toppers.ranks(0), toppers)
        };
        let all =
            [ranked(&[("a", 9.0), ("b", 5.0), ("c", 1.0), ("d", 2.0)]), ranked(&[("e", 5.0), ("f", 8.0)]), ranked(&[])];
        let found: Vec<Vec<(i32, String)>> = (0..3)
            .map(|own| {
                let others: Vec<Vec<GroupRanks>> =
                    (0..3).map(|number| if number == own { vec![] } else { vec![all[number].0.clone()] }).collect();
                let places = places(own, &all[own].0, &others, &all[own].1);
                assert_eq!(places.len(), 1);
                places[0].iter().map(|(rank, r)| (*rank, String::from_utf8_lossy(&r.key).into_owned())).collect()
            })
            .collect();
        let text = |rank: i32, key: &str| (rank, key.to_owned());
        assert_eq!(found, [vec![text(1, "a"), text(3, "b"), text(-1, "c"), text(-2, "d")], vec![text(2, "f")], vec![]]);
        // An interval of its own is nobody else's, and alone it is as if there were no others.
        let other = GroupRanks { start: 300, ..all[1].0.clone() };
        let alone = places(0, &all[0].0, &[vec![], vec![other]], &all[0].1);
        let ranks: Vec<i32> = alone[0].iter().map(|(rank, _)| *rank).collect();
        assert_eq!(ranks, [1, 2, 3, -1, -2]);
    }
}
