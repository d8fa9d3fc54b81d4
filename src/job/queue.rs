//! Jobs that wait for a worker, and the order among file operations.
//!
//! Operations that touch the same file run one after the other in the order submitted, however many workers there are:
//! every path has a lane, an operation joins the lanes of all its paths at once and is ready when it is first in each.
//! An operation that is not ready waits aside, so it never holds up a worker. A sole worker needs none of that and runs
//! everything in the order submitted, so that a function may rely on the operations before it. Jobs of one key have a lane
//! in common as well, also where there is one worker: an attempt that waits for its time must not be overtaken.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use super::model::{BoxedJob, Job, JobId, Work};

/// A job with its place in the lanes.
#[derive(Debug)]
pub(super) struct Queued {
    /// That of the job, so that looking for one does not look into the others.
    pub id: JobId,
    pub job: Box<Job>,
    /// Boxed: few have any, and all are moved.
    pub lanes: Option<Box<Lanes>>,
}

impl Queued {
    fn priority(&self) -> i8 {
        self.job.options().map_or(0, |options| options.priority)
    }
}

/// What the jobs of a lane have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    /// A file.
    Path(PathBuf),
    /// A key.
    Key(Box<[u8]>),
}

/// The lanes a job stands in; to be given back with [`Queue::release`] when it has ended.
#[derive(Debug)]
pub(super) struct Lanes {
    ticket: u64,
    names: Vec<Lane>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Queued>,
    /// Those that are ready and have a priority, the highest first.
    ranked: BTreeMap<Reverse<i8>, VecDeque<Queued>>,
    ranked_count: usize,
    /// Those that wait for the time of their next attempt. They keep their lanes.
    delayed: BTreeMap<(Instant, u64), Queued>,
    /// Jobs that wait for their lanes, by ticket.
    aside: HashMap<u64, Queued>,
    lanes: HashMap<Lane, VecDeque<u64>>,
    next_ticket: u64,
    order: Order,
}

/// What keeps operations on a file in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    /// Lanes.
    #[default]
    Lanes,
    /// There is one worker.
    AsSubmitted,
}

/// At which end of those that are ready a job gets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Front,
    Back,
}

impl Queue {
    /// For a number of workers.
    pub(super) fn new(workers: usize) -> Self {
        let order = if workers == 1 { Order::AsSubmitted } else { Order::Lanes };
        Self { order, ..Self::default() }
    }

    /// Jobs that a worker could take now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len() + self.ranked_count
    }

    /// Whether one with a priority above that of most is ready.
    pub(super) fn is_urgent(&self) -> bool {
        self.ranked_count > 0 && self.ranked.keys().next().is_some_and(|Reverse(priority)| *priority > 0)
    }

    pub(super) fn push(&mut self, job: Box<Job>) {
        let mut names: Vec<Lane> = match &job.work {
            Some(Work::File(operation)) if self.order == Order::Lanes => {
                operation.paths().map(|path| Lane::Path(normal_form(path))).collect()
            }
            _ => job.options().and_then(|options| options.key.clone()).map(Lane::Key).into_iter().collect(),
        };
        if names.is_empty() {
            return self.make_ready(Queued { id: job.id, job, lanes: None }, At::Back);
        }
        // Two paths of one operation may be the same file.
        if names.len() == 2 && names[0] == names[1] {
            names.pop();
        }
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        for name in &names {
            self.lanes.entry(name.clone()).or_default().push_back(ticket);
        }
        let queued = Queued { id: job.id, job, lanes: Some(Box::new(Lanes { ticket, names })) };
        if self.is_first(&queued) {
            self.make_ready(queued, At::Back);
        } else {
            self.aside.insert(ticket, queued);
        }
    }

    fn make_ready(&mut self, queued: Queued, at: At) {
        let priority = queued.priority();
        let list = if priority == 0 {
            &mut self.ready
        } else {
            self.ranked_count += 1;
            self.ranked.entry(Reverse(priority)).or_default()
        };
        match at {
            At::Front => list.push_front(queued),
            At::Back => list.push_back(queued),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        if self.ranked_count == 0 || (!self.is_urgent() && !self.ready.is_empty()) {
            return self.ready.pop_front();
        }
        self.pop_ranked()
    }

    /// The first of those with a priority above that of most.
    pub(super) fn pop_urgent(&mut self) -> Option<Queued> {
        if self.is_urgent() { self.pop_ranked() } else { None }
    }

    fn pop_ranked(&mut self) -> Option<Queued> {
        let mut first = self.ranked.first_entry()?;
        let queued = first.get_mut().pop_front();
        if first.get().is_empty() {
            first.remove();
        }
        self.ranked_count -= usize::from(queued.is_some());
        queued
    }

    /// Takes up to `count` jobs, as long as none in a lane is among them: those must not be taken before they can run.
    pub(super) fn pop_many(&mut self, count: usize, into: &mut VecDeque<Queued>) {
        while into.len() < count && self.ready.front().is_some_and(|next| next.lanes.is_none()) {
            into.extend(self.ready.pop_front());
        }
    }

    /// Puts back jobs that were taken and not started, in their old order.
    pub(super) fn put_back(&mut self, jobs: VecDeque<Queued>) {
        for queued in jobs.into_iter().rev() {
            self.make_ready(queued, At::Front);
        }
    }

    /// Takes in a job whose attempt failed, for the next one: at once, or when its time has come. It keeps its lanes.
    pub(super) fn push_again(&mut self, queued: Queued, due: Option<Instant>) {
        match due {
            None => self.make_ready(queued, At::Back),
            Some(due) => {
                self.next_ticket += 1;
                self.delayed.insert((due, self.next_ticket), queued);
            }
        }
    }

    /// When the next of those that wait for their time is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Makes ready what is due; tells whether anything was.
    pub(super) fn release_due(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.next_due().is_some_and(|due| due <= now)
            && let Some((_, queued)) = self.delayed.pop_first()
        {
            self.make_ready(queued, At::Back);
            any = true;
        }
        any
    }

    /// Leaves the lanes; the jobs that become ready by it go to the front, as they are older than the rest.
    pub(super) fn release(&mut self, lanes: &Lanes) {
        for name in &lanes.names {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.retain(|ticket| *ticket != lanes.ticket);
                if lane.is_empty() {
                    self.lanes.remove(name);
                }
            }
        }
        for name in &lanes.names {
            let Some(first) = self.lanes.get(name).and_then(VecDeque::front) else { continue };
            if self.aside.get(first).is_some_and(|queued| self.is_first(queued))
                && let Some(queued) = self.aside.remove(&first.clone())
            {
                self.make_ready(queued, At::Front);
            }
        }
    }

    /// Takes out every job that is wanted.
    pub(super) fn remove(&mut self, wanted: impl Fn(&Job) -> bool) -> Vec<BoxedJob> {
        let mut removed = Vec::new();
        extract(&mut self.ready, &wanted, &mut removed);
        let before = removed.len();
        for list in self.ranked.values_mut() {
            extract(list, &wanted, &mut removed);
        }
        self.ranked_count -= removed.len() - before;
        self.ranked.retain(|_, list| !list.is_empty());
        removed.extend(self.aside.extract_if(|_, queued| wanted(&queued.job)).map(|(_, queued)| queued));
        removed.extend(self.delayed.extract_if(.., |_, queued| wanted(&queued.job)).map(|(_, queued)| queued));
        for lanes in removed.iter().filter_map(|queued| queued.lanes.as_ref()) {
            self.release(lanes);
        }
        removed.into_iter().map(|queued| queued.job).collect()
    }

    /// Takes out the job that has waited longest for a worker, of those that are wanted.
    pub(super) fn remove_oldest(&mut self, wanted: impl Fn(&Job) -> bool) -> Option<BoxedJob> {
        // Usually it is the first one.
        let oldest = self.ready.iter().position(|queued| queued.lanes.is_none() && wanted(&queued.job))?;
        self.ready.remove(oldest).map(|queued| queued.job)
    }

    /// Takes out one job.
    pub(super) fn remove_one(&mut self, id: JobId) -> Option<BoxedJob> {
        let queued = self.take_one(id)?;
        if let Some(lanes) = &queued.lanes {
            self.release(lanes);
        }
        Some(queued.job)
    }

    fn take_one(&mut self, id: JobId) -> Option<Queued> {
        if let Some(queued) = take_from(&mut self.ready, id) {
            return Some(queued);
        }
        if let Some(queued) = self.ranked.values_mut().find_map(|list| take_from(list, id)) {
            self.ranked_count -= 1;
            self.ranked.retain(|_, list| !list.is_empty());
            return Some(queued);
        }
        self.aside
            .extract_if(|_, queued| queued.id == id)
            .next()
            .map(|(_, queued)| queued)
            .or_else(|| self.delayed.extract_if(.., |_, queued| queued.id == id).next().map(|(_, queued)| queued))
    }

    /// Every job that waits.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        let ranked = self.ranked.values().flatten();
        let all = self.ready.iter().chain(ranked).chain(self.delayed.values()).chain(self.aside.values());
        all.map(|queued| &*queued.job)
    }

    /// One of them.
    pub(super) fn find(&self, id: JobId) -> Option<&Job> {
        let ranked = self.ranked.values().flatten();
        let mut all = self.ready.iter().chain(ranked).chain(self.delayed.values()).chain(self.aside.values());
        all.find(|queued| queued.id == id).map(|queued| &*queued.job)
    }

    fn is_first(&self, queued: &Queued) -> bool {
        let Some(lanes) = &queued.lanes else { return true };
        lanes.names.iter().all(|name| self.lanes.get(name).and_then(VecDeque::front) == Some(&lanes.ticket))
    }
}

/// Takes a job out of a list that may be long. The jobs of one scheduler rise by id but for those whose attempt failed; where
/// the list does not, the job that is looked for is most likely a late one.
pub(super) fn take_from(list: &mut VecDeque<Queued>, id: JobId) -> Option<Queued> {
    let at = list.binary_search_by_key(&id, |queued| queued.id).ok();
    list.remove(at.or_else(|| list.iter().rposition(|queued| queued.id == id))?)
}

fn extract(list: &mut VecDeque<Queued>, wanted: &impl Fn(&Job) -> bool, removed: &mut Vec<Queued>) {
    if !list.iter().any(|queued| wanted(&queued.job)) {
        return;
    }
    let (taken, rest): (VecDeque<_>, VecDeque<_>) =
        std::mem::take(list).into_iter().partition(|queued| wanted(&queued.job));
    removed.extend(taken);
    *list = rest;
}

/// A path as far as it can be told without asking the file system: absolute, without `.` and `..`.
fn normal_form(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut normal = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = normal.pop(),
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::normal_form;

    #[test]
    fn one_file_has_one_lane_however_it_is_written() {
        for path in ["/a/b/../c", "/a//c", "/a/./c", "/../a/c"] {
            assert_eq!(normal_form(Path::new(path)), Path::new("/a/c"), "{path}");
        }
        assert!(normal_form(Path::new("c")).is_absolute());
    }
}
