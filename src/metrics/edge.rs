//! Edges between vertices, without duplicates and within limits.

use std::collections::{HashMap, HashSet};

use crate::guid::Guid;
use crate::time::Timestamp;

/// A directed link from one (group, key) to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Group of the subject.
    pub from_guid: Guid,
    /// Key of the subject.
    pub from_key: Vec<u8>,
    /// Group of the target.
    pub to_guid: Guid,
    /// Key of the target.
    pub to_key: Vec<u8>,
}

/// What became of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeOutcome {
    /// First time in this hour.
    New,
    /// Seen in this hour.
    Duplicate,
    /// Dropped: the vertex has too many neighbours, or the ledger too many edges.
    Limited,
}

/// The edges of the current hour, and the first ones of the run.
#[derive(Clone, Debug)]
pub struct EdgeLedger {
    hour: i64,
    seen: HashSet<Edge, foldhash::fast::RandomState>,
    neighbours: HashMap<(Guid, Vec<u8>, Guid), u32, foldhash::fast::RandomState>,
    limit: usize,
    kept: Vec<Edge>,
    keep: usize,
    counts: EdgeCounts,
}

/// How many edges there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// All that were added.
    pub added: u64,
    /// Distinct ones per hour.
    pub distinct: u64,
    /// Dropped by a limit.
    pub limited: u64,
}

impl EdgeLedger {
    /// Neighbours of one group that a vertex may have in an hour.
    pub const MAX_NEIGHBOURS: u32 = 100;

    /// Distinct edges of an hour that are told apart.
    pub const MAX_EDGES: usize = 500_000;

    /// Keeps the first `keep` distinct edges for the report.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self {
            hour: i64::MIN,
            seen: HashSet::default(),
            neighbours: HashMap::default(),
            limit: Self::MAX_EDGES,
            kept: Vec::new(),
            keep,
            counts: EdgeCounts::default(),
        }
    }

    /// Takes an edge in. Time does not go back: an earlier one belongs to the current hour.
    pub fn add(&mut self, time: Timestamp, edge: Edge) -> EdgeOutcome {
        self.counts.added += 1;
        let hour = time.secs().div_euclid(3_600);
        if hour > self.hour {
            self.hour = hour;
            self.seen.clear();
            self.neighbours.clear();
        }
        if self.seen.contains(&edge) {
            return EdgeOutcome::Duplicate;
        }
        if self.seen.len() >= self.limit {
            self.counts.limited += 1;
            return EdgeOutcome::Limited;
        }
        let neighbours = self.neighbours.entry((edge.from_guid, edge.from_key.clone(), edge.to_guid)).or_default();
        if *neighbours >= Self::MAX_NEIGHBOURS {
            self.counts.limited += 1;
            return EdgeOutcome::Limited;
        }
        *neighbours += 1;
        self.counts.distinct += 1;
        if self.kept.len() < self.keep && !self.kept.contains(&edge) {
            self.kept.push(edge.clone());
        }
        self.seen.insert(edge);
        EdgeOutcome::New
    }

    /// How many there were.
    #[must_use]
    pub fn counts(&self) -> EdgeCounts {
        self.counts
    }

    /// The first distinct ones.
    #[must_use]
    pub fn kept(&self) -> &[Edge] {
        &self.kept
    }

    /// Takes in what another engine saw. Edges both saw count twice: each engine tells only its own apart.
    pub fn merge(&mut self, other: Self) {
        self.counts.added += other.counts.added;
        self.counts.distinct += other.counts.distinct;
        self.counts.limited += other.counts.limited;
        for edge in other.kept {
            if self.kept.len() < self.keep && !self.kept.contains(&edge) {
                self.kept.push(edge);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Edge, EdgeLedger, EdgeOutcome};
    use crate::guid::Guid;
    use crate::time::Timestamp;

    fn edge(to: u32) -> Edge {
        let guid = Guid::from_u128(1);
        Edge { from_guid: guid, from_key: b"a".to_vec(), to_guid: guid, to_key: to.to_string().into_bytes() }
    }

    #[test]
    fn duplicates_collapse_and_a_vertex_has_100_neighbours_an_hour() {
        let mut ledger = EdgeLedger::new(3);
        let at = |secs| Timestamp::new(secs, 0);
        for to in 0..150 {
            let expected = if to < 100 { EdgeOutcome::New } else { EdgeOutcome::Limited };
            assert_eq!(ledger.add(at(10), edge(to)), expected, "{to}");
        }
        assert_eq!(ledger.add(at(5), edge(7)), EdgeOutcome::Duplicate);
        assert_eq!(ledger.add(at(3_600), edge(120)), EdgeOutcome::New);
        assert_eq!(ledger.add(at(3_599), edge(120)), EdgeOutcome::Duplicate);
        let counts = ledger.counts();
        assert_eq!((counts.added, counts.distinct, counts.limited, ledger.kept().len()), (153, 101, 50, 3));
    }

    #[test]
    fn the_number_of_edges_is_bounded() {
        let mut ledger = EdgeLedger { limit: 10, ..EdgeLedger::new(0) };
        for to in 0..50 {
            ledger.add(Timestamp::EPOCH, edge(to));
        }
        assert_eq!((ledger.seen.len(), ledger.neighbours.len(), ledger.counts().limited), (10, 1, 40));
    }
}
