//! Flows that others announced.

use std::collections::VecDeque;
use std::time::Duration;

use super::dissector::Expectation;
use crate::key::{End, FlowTuple};
use crate::time::Timestamp;

/// Most announced flows that are waited for; the oldest makes room.
const MAX_EXPECTED: usize = 1_024;

/// How long one is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The announced flows that have not come yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Expected {
    list: VecDeque<(Timestamp, Expectation)>,
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// It is waited for.
    Kept,
    /// So it is, and the oldest one no longer.
    Displaced,
}

impl Expected {
    /// Takes an announcement in; it replaces one of the same place.
    pub fn add(&mut self, now: Timestamp, expectation: Expectation) -> Announced {
        self.list.retain(|(_, known)| (known.host, known.port) != (expectation.host, expectation.port));
        let full = self.list.len() >= MAX_EXPECTED;
        if full {
            self.list.pop_front();
        }
        self.list.push_back((now, expectation));
        if full { Announced::Displaced } else { Announced::Kept }
    }

    /// Takes out what was announced of a flow.
    pub fn take(&mut self, now: Timestamp, tuple: &FlowTuple) -> Option<Expectation> {
        while self.list.front().is_some_and(|(since, _)| now.since(*since) > PATIENCE) {
            self.list.pop_front();
        }
        let fits = |known: &Expectation, end: End| {
            known.port == tuple.port(end) && known.host == tuple.host(end) && known.peer == tuple.host(end.other())
        };
        let index = self.list.iter().position(|(_, known)| fits(known, End::A) || fits(known, End::Z))?;
        self.list.remove(index).map(|(_, expectation)| expectation)
    }

    /// True if none is waited for.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
