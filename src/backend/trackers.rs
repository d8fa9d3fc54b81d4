//! Flow trackers: the flows with the largest metric that a script computes, snapshot by snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use super::crew::Crew;
use super::monitor::Hook;
use super::outlet::BackendOutlet;
use crate::api::ItemRef;
use crate::metrics::{GroupIndex, Session, TrackedFlow};
use crate::plugin::TrackerControl;

/// Flows remembered for each that is kept, before the smallest are let go.
const REMEMBERED: usize = 8;
const REMEMBERED_AT_LEAST: usize = 4_096;

/// A flow by its id, and its metric.
type Ranked = (Box<[u8]>, f64);

/// What one tracker has of the open interval.
#[derive(Debug)]
pub struct Tracker {
    size: i64,
    count: usize,
    start: Option<i64>,
    flows: HashMap<Box<[u8]>, f64, RandomState>,
}

impl Tracker {
    /// An interval is a multiple of the window.
    #[must_use]
    pub fn new(control: &TrackerControl, window: i64) -> Self {
        let windows = (i64::from(control.bucketsize) + window - 1) / window;
        let size = windows.max(1).saturating_mul(window);
        Self { size, count: control.count as usize, start: None, flows: HashMap::default() }
    }

    /// Offers a flow; of two metrics the larger one counts.
    fn offer(&mut self, flow: &[u8], metric: f64) {
        match self.flows.get_mut(flow) {
            Some(known) => *known = known.max(metric),
            None => drop(self.flows.insert(flow.into(), metric)),
        }
        if self.flows.len() > self.count.saturating_mul(REMEMBERED).max(REMEMBERED_AT_LEAST) {
            // Who is not among the first now is only when it is offered a larger metric, which counts by itself.
            let kept = self.ranked();
            self.flows = kept.into_iter().collect();
        }
    }

    /// The first, largest first; of equal ones by id.
    fn ranked(&mut self) -> Vec<Ranked> {
        first(self.flows.drain().collect(), self.count)
    }
}

fn first(mut flows: Vec<Ranked>, count: usize) -> Vec<Ranked> {
    flows.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    flows.truncate(count);
    flows
}

/// Where several backends put together what their trackers ranked in an interval, and what there is to be ranked.
#[derive(Clone, Debug, Default)]
pub struct Rankings(Arc<Mutex<Joined>>);

#[derive(Debug, Default)]
struct Joined {
    /// Groups of whose toppers a script of any backend hears.
    heard: BTreeSet<GroupIndex>,
    /// By tracker, the backends that have it.
    backends: BTreeMap<String, usize>,
    /// By tracker and start of the interval: how many backends have ended it, and their flows.
    open: BTreeMap<(String, i64), (usize, Vec<Ranked>)>,
    /// What all backends have ended: the length of the interval and the first flows of all.
    ended: BTreeMap<(String, i64), (i64, Vec<Ranked>)>,
}

impl Rankings {
    /// One more backend has a tracker. To be said by all before the first interval ends.
    pub fn join(&self, name: &str) {
        *self.lock().backends.entry(name.to_owned()).or_default() += 1;
    }

    /// A script hears of the toppers of these groups. To be said by all before the first interval ends: keys of those on
    /// which no script hears of them are among the first as well.
    pub fn hear(&self, groups: impl Iterator<Item = GroupIndex>) {
        self.lock().heard.extend(groups);
    }

    /// The groups of whose toppers a script of any backend hears.
    #[must_use]
    pub fn heard(&self) -> BTreeSet<GroupIndex> {
        self.lock().heard.clone()
    }

    /// A backend has a tracker no longer.
    pub fn leave(&self, name: &str) {
        let mut joined = self.lock();
        let Some(backends) = joined.backends.get_mut(name) else { return };
        *backends -= 1;
        if *backends == 0 {
            joined.backends.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Joined> {
        // Whole between any two statements, whatever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A backend has ended an interval of a tracker: its first flows, which it writes if there are no other backends. Those
    /// of all are there for [`Rankings::take`] when the last one has.
    fn end(&self, name: &str, start: i64, tracker: &mut Tracker) -> Vec<Ranked> {
        let own = tracker.ranked();
        let mut joined = self.lock();
        let backends = joined.backends.get(name).copied().unwrap_or(1);
        if backends < 2 {
            return own;
        }
        let key = (name.to_owned(), start);
        let (ended, mut flows) = joined.open.remove(&key).unwrap_or_default();
        flows.extend(own);
        if ended + 1 < backends {
            joined.open.insert(key, (ended + 1, flows));
        } else {
            joined.ended.insert(key, (tracker.size, first(flows, tracker.count)));
        }
        Vec::new()
    }

    /// The flows of intervals that all backends have ended.
    fn take(&self) -> BTreeMap<(String, i64), (i64, Vec<Ranked>)> {
        std::mem::take(&mut self.lock().ended)
    }
}

impl<O: BackendOutlet> Crew<O> {
    /// Offers the flows of a flush to every tracker, and writes the snapshots of intervals that end with the window.
    pub fn flush_trackers(
        &mut self,
        trackers: &mut [Tracker],
        rankings: &Rankings,
        flows: &[Session],
        (window, end): (i64, i64),
    ) {
        for (at, tracker) in trackers.iter_mut().enumerate() {
            let member = self.trackers[at].0;
            self.tell(&[member], Hook::BeginFlush, window);
            for flow in flows {
                let answer = self.call_item(member, Hook::Metric, ItemRef::Session(flow));
                if let Some(metric) = Self::metric(answer.as_ref()) {
                    tracker.offer(&flow.id, metric);
                }
            }
            self.tell(&[member], Hook::EndFlush, window);
            let start = *tracker.start.get_or_insert(window - window.rem_euclid(tracker.size));
            if end < start.saturating_add(tracker.size) {
                continue;
            }
            let name = self.trackers[at].1.name.clone();
            let flows = rankings.end(&name, start, tracker);
            self.write_tracked(&name, (start, tracker.size), &flows);
            tracker.start = Some(end - end.rem_euclid(tracker.size));
        }
    }

    /// Writes what all backends have ended.
    pub fn write_rankings(&mut self, rankings: &Rankings) {
        for ((name, start), (size, flows)) in rankings.take() {
            self.write_tracked(&name, (start, size), &flows);
        }
    }

    fn write_tracked(&mut self, tracker: &str, (bucket, size): (i64, i64), flows: &[Ranked]) {
        for (rank, (flow, metric)) in (1..).zip(flows) {
            self.outlet.tracked(&TrackedFlow { tracker, bucket, size, rank, flow, metric: *metric });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tracker;
    use crate::plugin::TrackerControl;

    fn control(bucketsize: u32, count: u32) -> TrackerControl {
        TrackerControl { name: "t".to_owned(), description: String::new(), bucketsize, count }
    }

    #[test]
    fn an_interval_is_a_multiple_of_the_window() {
        assert_eq!(Tracker::new(&control(1, 1), 60).size, 60);
        assert_eq!(Tracker::new(&control(61, 1), 60).size, 120);
        assert_eq!(Tracker::new(&control(300, 1), 60).size, 300);
    }

    #[test]
    fn the_largest_metrics_are_kept_however_many_flows_there_are() {
        let mut tracker = Tracker::new(&control(300, 3), 60);
        for n in 0..10_000_u32 {
            tracker.offer(&n.to_be_bytes(), f64::from(n * 7_919 % 10_007));
        }
        tracker.offer(&3_u32.to_be_bytes(), 1.0);
        let metrics: Vec<f64> = tracker.ranked().into_iter().map(|(_, metric)| metric).collect();
        assert_eq!(metrics.len(), 3);
        let mut all: Vec<f64> = (0..10_000_u32).map(|n| f64::from(n * 7_919 % 10_007)).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(metrics, &all[..3]);
    }
}
