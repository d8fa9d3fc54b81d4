//! Parcels that are used again: a writer gives back what it has emptied, so that memory is not allocated by one thread and
//! freed by another, nor fetched from the system each time.

use crossbeam_channel::{Receiver, Sender, bounded};

/// Parcels on their way back; what finds no room among them is freed.
const ON_THE_WAY: usize = 8;
/// Parcels that one sender keeps for the times when its writer lags behind.
const KEPT: usize = 32;

/// The writer's end.
#[derive(Debug)]
pub(super) struct GiveBack<P>(Sender<P>);

impl<P> GiveBack<P> {
    /// Gives a parcel back that is empty.
    pub(super) fn emptied(&self, parcel: P) {
        // Enough others may be waiting.
        let _ = self.0.try_send(parcel);
    }
}

/// A sender's end.
#[derive(Debug)]
pub(super) struct Reused<P> {
    coming: Receiver<P>,
    kept: Vec<P>,
}

impl<P> Reused<P> {
    /// A parcel to be filled, if there is one. The one that came last is taken first, because most of it may still be in
    /// the cache.
    pub(super) fn next(&mut self) -> Option<P> {
        let room = KEPT - self.kept.len();
        self.kept.extend(self.coming.try_iter().take(room));
        self.kept.pop()
    }

    /// The end of one more sender, which keeps its own.
    pub(super) fn another(&self) -> Self {
        Self { coming: self.coming.clone(), kept: Vec::new() }
    }
}

/// Both ends.
pub(super) fn reuse<P>() -> (GiveBack<P>, Reused<P>) {
    let (give, coming) = bounded(ON_THE_WAY);
    (GiveBack(give), Reused { coming, kept: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::{KEPT, ON_THE_WAY, reuse};

    #[test]
    fn what_came_back_last_is_filled_first() {
        let (give, mut reused) = reuse();
        assert_eq!(reused.next(), None);
        (0..3).for_each(|parcel| give.emptied(parcel));
        assert_eq!(reused.next(), Some(2));
        give.emptied(3);
        let mut other = reused.another();
        assert_eq!(other.next(), Some(3));
        assert_eq!([reused.next(), reused.next(), reused.next()], [Some(1), Some(0), None]);
    }

    #[test]
    fn no_more_are_kept_than_that() {
        let (give, mut reused) = reuse();
        for round in 0..2 * KEPT {
            (0..2 * ON_THE_WAY).for_each(|parcel| give.emptied((round, parcel)));
            assert!(reused.next().is_some());
        }
        let left = std::iter::from_fn(|| reused.next()).count();
        assert_eq!(left + 1, KEPT + ON_THE_WAY - 1, "the last one, those kept, and those for which that made no room");
    }
}
