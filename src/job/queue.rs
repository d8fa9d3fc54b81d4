//! Jobs that wait for a worker, and the order among file operations.
//!
//! Operations that touch the same file run one after the other in the order submitted, however many workers there are:
//! every path has a lane, an operation joins the lanes of all its paths at once and is ready when it is first in each.
//! An operation that is not ready waits aside, so it never holds up a worker. A sole worker needs none of that and runs
//! everything in the order submitted, so that a function may rely on the operations before it.

use std::collections::{HashMap, VecDeque};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::completion::CompletionQueue;
use super::model::{BoxedJob, Job, Work};

/// A job with its place in the lanes.
#[derive(Debug)]
pub(super) struct Queued {
    pub job: Box<Job>,
    /// Boxed: few have any, and all are moved.
    pub lanes: Option<Box<Lanes>>,
}

/// The lanes a file operation stands in; to be given back with [`Queue::release`] when it has ended.
#[derive(Debug)]
pub(super) struct Lanes {
    ticket: u64,
    paths: Vec<PathBuf>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Queued>,
    /// Operations that wait for their lanes, by ticket.
    aside: HashMap<u64, Queued>,
    lanes: HashMap<PathBuf, VecDeque<u64>>,
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

impl Queue {
    /// For a number of workers.
    pub(super) fn new(workers: usize) -> Self {
        let order = if workers == 1 { Order::AsSubmitted } else { Order::Lanes };
        Self { order, ..Self::default() }
    }

    /// Jobs that a worker could take now.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn push(&mut self, job: Box<Job>) {
        let operation = match &job.work {
            Some(Work::File(operation)) if self.order == Order::Lanes => operation,
            _ => return self.ready.push_back(Queued { job, lanes: None }),
        };
        let mut paths: Vec<PathBuf> = operation.paths().map(normal_form).collect();
        paths.sort();
        paths.dedup();
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        for path in &paths {
            self.lanes.entry(path.clone()).or_default().push_back(ticket);
        }
        let queued = Queued { job, lanes: Some(Box::new(Lanes { ticket, paths })) };
        if self.is_first(&queued) {
            self.ready.push_back(queued);
        } else {
            self.aside.insert(ticket, queued);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.ready.pop_front()
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
            self.ready.push_front(queued);
        }
    }

    /// Leaves the lanes; the operations that become ready by it go to the front, as they are older than the rest.
    pub(super) fn release(&mut self, lanes: &Lanes) {
        for path in &lanes.paths {
            if let Some(lane) = self.lanes.get_mut(path) {
                lane.retain(|ticket| *ticket != lanes.ticket);
                if lane.is_empty() {
                    self.lanes.remove(path);
                }
            }
        }
        for path in &lanes.paths {
            let Some(first) = self.lanes.get(path).and_then(VecDeque::front) else { continue };
            if self.aside.get(first).is_some_and(|queued| self.is_first(queued))
                && let Some(queued) = self.aside.remove(&first.clone())
            {
                self.ready.push_front(queued);
            }
        }
    }

    /// Takes out every job of one home, or all.
    pub(super) fn remove(&mut self, home: Option<&Arc<CompletionQueue>>) -> Vec<BoxedJob> {
        let wanted = |queued: &Queued| home.is_none_or(|home| Arc::ptr_eq(home, &queued.job.home));
        let mut removed = Vec::new();
        let mut rest = VecDeque::with_capacity(self.ready.len());
        for queued in self.ready.drain(..) {
            if wanted(&queued) { removed.push(queued) } else { rest.push_back(queued) }
        }
        self.ready = rest;
        removed.extend(self.aside.extract_if(|_, queued| wanted(queued)).map(|(_, queued)| queued));
        for lanes in removed.iter().filter_map(|queued| queued.lanes.as_ref()) {
            self.release(lanes);
        }
        removed.into_iter().map(|queued| queued.job).collect()
    }

    fn is_first(&self, queued: &Queued) -> bool {
        let Some(lanes) = &queued.lanes else { return true };
        lanes.paths.iter().all(|path| self.lanes.get(path).and_then(VecDeque::front) == Some(&lanes.ticket))
    }
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
