//! What every packet of a file passes on its way out: the filter, the counters, and the shift of its time.

use std::time::Duration;

use super::filter::{Filter, Match};
use super::record::Record;
use super::source::SourceStats;
use crate::packet::Packet;
use crate::time::Timestamp;

/// Counts and times of the packets that passed. Small and `Copy`, so that the scan loop keeps it in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Packets delivered.
    pub packets: u64,
    /// Their bytes on the wire.
    bytes: u64,
    time_back: u64,
    /// Nanoseconds added to packet time, for rounds after the first.
    shift: i64,
    /// Bytes kept of a packet.
    snaplen: u32,
    /// Time of the packet before, shifted.
    last: Timestamp,
    /// Earliest and latest packet time, not shifted; the wrong way round before the first packet.
    first: Timestamp,
    latest: Timestamp,
}

impl Tally {
    /// The packet as it leaves; `offset` is where its bytes are.
    #[inline(always)]
    pub fn packet(&mut self, record: &Record, offset: usize, origin: u16) -> Packet {
        let ts = Timestamp::from_nanos(record.ts.as_nanos().saturating_add(self.shift));
        self.time_back += u64::from(ts < self.last);
        self.last = ts;
        self.first = self.first.min(record.ts);
        self.latest = self.latest.max(record.ts);
        self.packets += 1;
        self.bytes += u64::from(record.wirelen);
        Packet::new(ts, offset as u32, record.caplen.min(self.snaplen), record.wirelen, record.linktype, origin)
    }
}

/// What happens to every packet of every file on its way out, and the counters of that.
#[derive(Debug)]
pub(super) struct Gate {
    pub filter: Option<Filter>,
    pub tally: Tally,
    /// All counters but those of the tally.
    pub stats: SourceStats,
}

impl Gate {
    pub fn new(filter: Option<Filter>, snaplen: u32) -> Self {
        let tally = Tally {
            packets: 0,
            bytes: 0,
            time_back: 0,
            shift: 0,
            snaplen,
            last: Timestamp::from_nanos(i64::MIN),
            first: Timestamp::from_nanos(i64::MAX),
            latest: Timestamp::from_nanos(i64::MIN),
        };
        Self { filter, tally, stats: SourceStats::default() }
    }

    /// All counters.
    pub fn all_stats(&self) -> SourceStats {
        let Tally { packets, bytes, time_back, .. } = self.tally;
        SourceStats { packets, bytes, time_back, ..self.stats.clone() }
    }

    /// Moves the times of all further packets behind those so far, with a gap; false if there were none.
    pub fn start_round(&mut self, gap: Duration) -> bool {
        let span = self.tally.latest.as_nanos().checked_sub(self.tally.first.as_nanos()).unwrap_or(i64::MAX);
        let length = span.saturating_add(gap.as_nanos() as i64);
        self.tally.shift = self.tally.shift.saturating_add(length);
        self.tally.packets > 0
    }

    /// Whether the filter lets a packet pass; counts it if not.
    pub fn admits(&mut self, record: &Record, bytes: &[u8]) -> bool {
        let Some(filter) = &mut self.filter else { return true };
        match filter.matches(record.linktype, bytes, record.wirelen) {
            Match::Pass => return true,
            Match::Reject => self.stats.filtered += 1,
            Match::NoMeaning => self.stats.filter_linktype += 1,
        }
        false
    }
}
