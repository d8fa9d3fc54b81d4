//! Puts the parcels of several engines together, second by second.
//!
//! A second is complete when every engine has come past it; then its parcels leave in order of their engines, whatever
//! order they came in. An engine may send a second in several parts, the last of which says that it is over.

use std::collections::VecDeque;

use super::parcel::{NO_TIME, Parcel, Phase};

/// What happens when an engine is silent while others go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It is waited for, until so many parcels and items wait.
    Parcels(usize),
    /// It is left behind.
    None,
}

/// A complete second.
#[derive(Debug)]
pub struct Ready {
    /// The second.
    pub second: i64,
    /// Its parcels, in order of their engines.
    pub parcels: Vec<Parcel>,
    /// Nothing earlier than this comes any more.
    pub until: i64,
}

#[derive(Debug, Default)]
struct Feed {
    queue: VecDeque<Parcel>,
    /// The second it has reached.
    until: Option<i64>,
    phase: Phase,
}

/// The parcels that wait.
#[derive(Debug)]
pub struct Inbox {
    feeds: Vec<Feed>,
    /// Parcels that wait, and what is in them.
    waiting: usize,
}

impl Inbox {
    /// For so many engines.
    #[must_use]
    pub fn new(engines: usize) -> Self {
        Self { feeds: (0..engines.max(1)).map(|_| Feed::default()).collect(), waiting: 0 }
    }

    /// Takes a parcel in.
    pub fn push(&mut self, parcel: Parcel) {
        let Some(feed) = self.feeds.get_mut(parcel.engine) else { return };
        feed.phase = feed.phase.max(parcel.phase);
        if parcel.second == NO_TIME {
            return;
        }
        feed.until = feed.until.max(Some(parcel.now));
        self.waiting += parcel.weight();
        feed.queue.push_back(parcel);
    }

    /// The next complete second.
    pub fn next(&mut self, patience: Patience) -> Option<Ready> {
        let second = self.feeds.iter().filter_map(|feed| feed.queue.front()).map(|parcel| parcel.second).min()?;
        // A sole engine waits for nobody, and its parts are in order.
        let is_sole = self.feeds.len() == 1;
        let waits = |feed: &Feed| {
            let is_behind = feed.until.is_none_or(|until| until <= second);
            is_behind && feed.phase != Phase::Over && (!is_sole || feed.queue.is_empty())
        };
        let impatient = match patience {
            Patience::Parcels(most) => self.waiting > most,
            Patience::None => true,
        };
        if !impatient && self.feeds.iter().any(waits) {
            return None;
        }
        let mut parcels = Vec::new();
        for feed in &mut self.feeds {
            while let Some(parcel) = feed.queue.pop_front_if(|parcel| parcel.second <= second) {
                parcels.push(parcel);
            }
        }
        self.waiting -= parcels.iter().map(Parcel::weight).sum::<usize>();
        let heads = self.feeds.iter().filter_map(|feed| feed.queue.front()).map(|parcel| parcel.second);
        let silent = self.feeds.iter().filter(|feed| feed.queue.is_empty() && feed.phase != Phase::Over);
        let reached = silent.filter_map(|feed| feed.until).filter(|until| *until > second);
        let last = parcels.iter().map(|parcel| parcel.now).max().unwrap_or(second);
        let until = heads.chain(reached).min().unwrap_or(last).max(second);
        Some(Ready { second, parcels, until })
    }

    /// The least far phase of all engines.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.feeds.iter().map(|feed| feed.phase).min().unwrap_or(Phase::Over)
    }

    /// True if no parcel waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Inbox, Patience};
    use crate::backend::parcel::{NO_TIME, Parcel, Phase};

    fn parcel(engine: usize, second: i64, now: i64) -> Parcel {
        Parcel { engine, second, now, ..Parcel::default() }
    }

    fn ready(inbox: &mut Inbox, patience: Patience) -> Option<(i64, Vec<usize>, i64)> {
        let ready = inbox.next(patience)?;
        Some((ready.second, ready.parcels.iter().map(|parcel| parcel.engine).collect(), ready.until))
    }

    #[test]
    fn a_second_waits_for_every_engine_and_leaves_in_their_order() {
        let mut inbox = Inbox::new(2);
        inbox.push(parcel(1, 5, 6));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), None);
        inbox.push(parcel(0, 5, 9));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((5, vec![0, 1], 6)));
        inbox.push(parcel(1, 6, 7));
        // The other engine has come past it already.
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((6, vec![1], 7)));
        inbox.push(Parcel { phase: Phase::Over, ..parcel(1, 7, 7) });
        inbox.push(Parcel { phase: Phase::Over, ..parcel(0, 9, 9) });
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((7, vec![1], 9)));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((9, vec![0], 9)));
        assert_eq!((inbox.phase(), inbox.is_empty()), (Phase::Over, true));
    }

    #[test]
    fn parts_of_a_second_leave_at_once_where_there_is_one_engine_and_wait_where_there_are_two() {
        let mut inbox = Inbox::new(1);
        inbox.push(parcel(0, 5, 5));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((5, vec![0], 5)));
        inbox.push(parcel(0, 5, 6));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((5, vec![0], 6)));
        let mut inbox = Inbox::new(2);
        inbox.push(parcel(0, 5, 5));
        inbox.push(parcel(1, 5, 6));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), None);
        inbox.push(parcel(0, 5, 6));
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((5, vec![0, 0, 1], 6)));
    }

    #[test]
    fn an_engine_without_packets_has_no_seconds_but_an_end() {
        let mut inbox = Inbox::new(2);
        inbox.push(parcel(0, 5, 6));
        inbox.push(Parcel { phase: Phase::PacketsOver, ..parcel(1, NO_TIME, NO_TIME) });
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), None);
        inbox.push(Parcel { phase: Phase::Over, ..parcel(1, NO_TIME, NO_TIME) });
        assert_eq!(ready(&mut inbox, Patience::Parcels(100)), Some((5, vec![0], 6)));
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_silent_engine_is_left_behind_when_patience_ends() {
        let mut inbox = Inbox::new(2);
        for second in 0..3 {
            inbox.push(parcel(0, second, second + 1));
        }
        assert_eq!(ready(&mut inbox, Patience::Parcels(2)), Some((0, vec![0], 1)));
        assert_eq!(ready(&mut inbox, Patience::Parcels(2)), None);
        assert_eq!(ready(&mut inbox, Patience::None), Some((1, vec![0], 2)));
        // What it brings later belongs to the second that is next.
        inbox.push(parcel(1, 0, 1));
        assert_eq!(ready(&mut inbox, Patience::None), Some((0, vec![1], 1)));
    }
}
