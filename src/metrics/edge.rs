//! Edges between vertices, without duplicates and within limits.

use std::collections::{HashMap, HashSet};

use crate::guid::Guid;
use crate::key::{FlowText, parse_port, port_key};
use crate::time::Timestamp;

/// A directed link from one (group, key) to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// What it tells apart is decided on elsewhere.
    is_screen: bool,
}

const HOSTS: Guid = Guid::literal("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}");
const HOSTS_IPV6: Guid = Guid::literal("{9807E97A-6CD2-442F-BB18-8C104C8EB204}");
const APPS: Guid = Guid::literal("{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}");
const NETWORK_LAYER: Guid = Guid::literal("{E89BCD56-30AD-40F5-B1C8-8B7683F440BD}");

/// The eight edges between a vertex and a flow: to and from both hosts, the application and the protocol. None for a
/// text that is no flow id. `server` is the port of the server, where the flow is known; else the lower port counts.
#[must_use]
pub fn flow_edges(flow: &[u8], group: Guid, key: &[u8], server: Option<u16>) -> Vec<Edge> {
    let flow = FlowText::new(flow);
    if flow.is_malformed() {
        return Vec::new();
    }
    let hosts = if matches!(flow.flow_type(), "B" | "D") { HOSTS_IPV6 } else { HOSTS };
    let (port_a, port_z) = (flow.porta(), flow.portz());
    let application = match (server, parse_port(port_a.as_bytes()), parse_port(port_z.as_bytes())) {
        (Some(port), _, _) => port_key(port).as_bytes().to_vec(),
        (None, Some(a), Some(z)) => port_key(a.min(z)).as_bytes().to_vec(),
        // A token that a script put in place of a port.
        _ => port_z.as_bytes().to_vec(),
    };
    let ends = [
        (hosts, flow.ipa().as_bytes().to_vec()),
        (hosts, flow.ipz().as_bytes().to_vec()),
        (APPS, application),
        (NETWORK_LAYER, flow.protocol().as_bytes().to_vec()),
    ];
    let edge = |from: (Guid, &[u8]), to: (Guid, &[u8])| Edge {
        from_guid: from.0,
        from_key: from.1.to_vec(),
        to_guid: to.0,
        to_key: to.1.to_vec(),
    };
    ends.iter().flat_map(|(guid, end)| [edge((group, key), (*guid, end)), edge((*guid, end), (group, key))]).collect()
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
            is_screen: false,
        }
    }

    /// A copy of what a report shows, which does not know what it has seen: half a million edges are long to copy.
    #[must_use]
    pub fn for_report(&self) -> Self {
        Self { kept: self.kept.clone(), counts: self.counts, is_screen: self.is_screen, ..Self::new(self.keep) }
    }

    /// Takes an edge in. Time does not go back: an earlier one belongs to the current hour.
    pub fn add(&mut self, time: Timestamp, edge: &Edge) -> EdgeOutcome {
        let outcome = self.place(time, edge);
        self.count(outcome);
        if outcome == EdgeOutcome::New && self.kept.len() < self.keep && !self.kept.contains(edge) {
            self.kept.push(edge.clone());
        }
        outcome
    }

    /// The same for one of several ledgers, behind which another one decides on what is new and counts it.
    pub fn screen(&mut self, time: Timestamp, edge: &Edge) -> EdgeOutcome {
        self.is_screen = true;
        let outcome = self.place(time, edge);
        if outcome != EdgeOutcome::New {
            self.count(outcome);
        }
        outcome
    }

    fn count(&mut self, outcome: EdgeOutcome) {
        self.counts.added += 1;
        match outcome {
            EdgeOutcome::New => self.counts.distinct += 1,
            EdgeOutcome::Duplicate => {}
            EdgeOutcome::Limited => self.counts.limited += 1,
        }
    }

    fn place(&mut self, time: Timestamp, edge: &Edge) -> EdgeOutcome {
        let hour = time.secs().div_euclid(3_600);
        if hour > self.hour {
            self.hour = hour;
            self.seen.clear();
            self.neighbours.clear();
        }
        if self.seen.contains(edge) {
            return EdgeOutcome::Duplicate;
        }
        if self.seen.len() >= self.limit {
            return EdgeOutcome::Limited;
        }
        let neighbours = self.neighbours.entry((edge.from_guid, edge.from_key.clone(), edge.to_guid)).or_default();
        if *neighbours >= Self::MAX_NEIGHBOURS {
            return EdgeOutcome::Limited;
        }
        *neighbours += 1;
        self.seen.insert(edge.clone());
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

    /// Takes in what another thread saw. In the hour in which both end, an edge that both saw is one, and the limits are
    /// those of both together; of earlier hours each has told its own apart.
    pub fn merge(&mut self, other: Self) {
        self.counts.added += other.counts.added;
        self.counts.distinct += other.counts.distinct;
        self.counts.limited += other.counts.limited;
        let mut dropped = HashSet::<Edge>::new();
        if other.is_screen {
            // It has only what the ledger behind it has as well.
        } else if other.hour > self.hour {
            (self.hour, self.seen, self.neighbours) = (other.hour, other.seen, other.neighbours);
        } else if other.hour == self.hour {
            let time = Timestamp::new(self.hour.saturating_mul(3_600), 0);
            let mut edges: Vec<Edge> = other.seen.into_iter().collect();
            // What is dropped must not depend on the order in a table.
            edges.sort_unstable();
            for edge in edges {
                match self.place(time, &edge) {
                    EdgeOutcome::New => {}
                    EdgeOutcome::Duplicate => self.counts.distinct -= 1,
                    EdgeOutcome::Limited => {
                        self.counts.distinct -= 1;
                        self.counts.limited += 1;
                        dropped.insert(edge);
                    }
                }
            }
        }
        for edge in other.kept {
            if self.kept.len() < self.keep && !self.kept.contains(&edge) && !dropped.contains(&edge) {
                self.kept.push(edge);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Edge, EdgeLedger, EdgeOutcome, flow_edges};
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
            assert_eq!(ledger.add(at(10), &edge(to)), expected, "{to}");
        }
        assert_eq!(ledger.add(at(5), &edge(7)), EdgeOutcome::Duplicate);
        assert_eq!(ledger.add(at(3_600), &edge(120)), EdgeOutcome::New);
        assert_eq!(ledger.add(at(3_599), &edge(120)), EdgeOutcome::Duplicate);
        let counts = ledger.counts();
        assert_eq!((counts.added, counts.distinct, counts.limited, ledger.kept().len()), (153, 101, 50, 3));
    }

    #[test]
    fn a_flow_has_eight_edges_with_its_hosts_application_and_protocol() {
        let group = Guid::from_u128(7);
        let shown = |flow: &str, server| -> Vec<String> {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let edges = flow_edges(flow.as_bytes(), group, b"k", server);
            edges.iter().map(|e| format!("{}>{}", text(&e.from_key), text(&e.to_key))).collect()
        };
        let flow = "06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016";
        let expected = ["k>C0.A8.01.02", "C0.A8.01.02>k", "k>D1.D8.F9.3A", "D1.D8.F9.3A>k", "k>p-0016", "p-0016>k"];
        assert_eq!(shown(flow, None), [&expected[..], &["k>06", "06>k"]].concat());
        assert_eq!(shown(flow, Some(0x0B94))[4], "k>p-0B94");
        // The application is the lower port, wherever a script put it.
        assert_eq!(shown("06A:C0.A8.01.02:p-0016_D1.D8.F9.3A:p-0B94", None)[4], "k>p-0016");
        assert!(shown("no flow", None).is_empty());
        let wide = "11B:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF0200000000000000000000000000FB:p-14E9";
        let edges = flow_edges(wide.as_bytes(), group, b"k", None);
        assert_eq!((edges.len(), edges[0].to_guid, edges[1].from_guid), (8, super::HOSTS_IPV6, super::HOSTS_IPV6));
    }

    #[test]
    fn the_number_of_edges_is_bounded() {
        let mut ledger = EdgeLedger { limit: 10, ..EdgeLedger::new(0) };
        for to in 0..50 {
            ledger.add(Timestamp::EPOCH, &edge(to));
        }
        assert_eq!((ledger.seen.len(), ledger.neighbours.len(), ledger.counts().limited), (10, 1, 40));
    }
    #[test]
    fn ledgers_of_several_threads_have_the_limits_of_one() {
        let of = |from: u32, to: u32| {
            let mut ledger = EdgeLedger::new(300);
            for n in from..to {
                ledger.add(Timestamp::EPOCH, &edge(n));
            }
            ledger
        };
        let mut all = EdgeLedger::new(300);
        [of(0, 80), of(40, 120)].into_iter().for_each(|ledger| all.merge(ledger));
        let counts = all.counts();
        assert_eq!((counts.added, counts.distinct, counts.limited, all.kept().len()), (160, 100, 20, 100));
        // Of different hours there is nothing to compare.
        let mut later = EdgeLedger::new(300);
        later.add(Timestamp::new(3_600, 0), &edge(5));
        all.merge(later);
        assert_eq!((all.counts().distinct, all.kept().len()), (101, 100));
    }

    #[test]
    fn what_was_screened_is_counted_by_the_ledger_behind() {
        let (mut screens, mut behind) = ([EdgeLedger::new(10), EdgeLedger::new(10)], EdgeLedger::new(10));
        for (at, screen) in screens.iter_mut().enumerate() {
            for n in (0..150).map(|n| n + 80 * at as u32) {
                for _ in 0..2 {
                    if screen.screen(Timestamp::EPOCH, &edge(n)) == EdgeOutcome::New {
                        behind.add(Timestamp::EPOCH, &edge(n));
                    }
                }
            }
        }
        let mut all = EdgeLedger::new(10);
        screens.into_iter().chain([behind]).for_each(|ledger| all.merge(ledger));
        let counts = all.counts();
        // Each screen lets 100 pass and drops 50 twice; 20 of the second one's are known, 80 are over the limit of both.
        assert_eq!((counts.added, counts.distinct, counts.limited, all.kept().len()), (600, 100, 280, 10));
    }
}
