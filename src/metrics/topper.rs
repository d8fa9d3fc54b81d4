//! The keys with the largest or smallest values of a meter, exactly.

use std::cmp::Ordering;

/// Which end of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Largest first.
    Largest,
    /// Smallest first.
    Smallest,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Topper {
    /// The key as text.
    pub key: Vec<u8>,
    /// Its value of the meter.
    pub value: f64,
}

/// Positions and values of the `count` first in rank; equal values keep their order.
pub(super) fn ranked(values: impl Iterator<Item = f64>, count: usize, rank: Rank) -> Vec<(usize, f64)> {
    let order = |a: &(usize, f64), b: &(usize, f64)| -> Ordering {
        let by_value = match rank {
            Rank::Largest => b.1.total_cmp(&a.1),
            Rank::Smallest => a.1.total_cmp(&b.1),
        };
        by_value.then(a.0.cmp(&b.0))
    };
    let mut all: Vec<(usize, f64)> = values.enumerate().collect();
    if count < all.len() {
        all.select_nth_unstable_by(count, order);
        all.truncate(count);
    }
    all.sort_unstable_by(order);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::{Rank, ranked};

    proptest! {
        #[test]
        fn ranks_like_a_full_sort(values in proptest::collection::vec(0u8..20, 0..60), count in 0usize..70) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let mut sorted: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            sorted.truncate(count);
            assert_eq!(ranked(values.iter().copied(), count, Rank::Largest), sorted);
        }
    }
}
