//! What every packet of a file passes on its way out: the filter, the counters, and the shift of its time.

use std::borrow::Borrow;
use std::time::Duration;

use super::filter::{Filter, Match};
use super::record::Record;
use super::source::SourceStats;
use crate::packet::Captured;
use crate::time::Timestamp;

/// How a source lists packets: as they are handed on.
pub(super) trait Item: Copy + From<Captured> + Borrow<Captured> {}

impl<T: Copy + From<Captured> + Borrow<Captured>> Item for T {}

/// Counts and times of the packets that passed. Small and `Copy`, so that loops keep it in registers.
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
    pub fn packet(&self, record: &Record, offset: usize, origin: u16) -> Captured {
        let ts = Timestamp::from_nanos(record.ts.as_nanos().saturating_add(self.shift));
        let caplen = record.caplen.min(self.snaplen);
        let &Record { wirelen, linktype, .. } = record;
        Captured { ts, offset: offset as u32, caplen, wirelen, linktype, origin }
    }

    /// Counts packets that leave. Many at a time: a loop that finds them has no registers left for all of this.
    pub fn count<I: Item>(&mut self, packets: &[I]) {
        let time = |packet: &I| packet.borrow().ts;
        let (Some(first), Some(last)) = (packets.first().map(time), packets.last().map(time)) else { return };
        let (mut bytes, mut back, mut before) = (0, 0, self.last);
        for packet in packets {
            let &Captured { ts, wirelen, .. } = packet.borrow();
            bytes += u64::from(wirelen);
            back += u64::from(ts < before);
            before = ts;
        }
        self.packets += packets.len() as u64;
        self.bytes += bytes;
        self.time_back += back;
        self.last = last;
        let (earliest, latest) = match back {
            0 => (first, last),
            _ => packets.iter().map(time).fold((first, last), |(low, high), ts| (low.min(ts), high.max(ts))),
        };
        // A time that the shift took to the end of the range comes back as an earlier one than it was, but later rounds
        // bring no time that the first one, without a shift, has not seen.
        let unshifted = |ts: Timestamp| Timestamp::from_nanos(ts.as_nanos().wrapping_sub(self.shift));
        self.first = self.first.min(unshifted(earliest));
        self.latest = self.latest.max(unshifted(latest));
    }

    /// Time of the packet before; `None` before the first.
    pub fn reached(&self) -> Option<Timestamp> {
        (self.last > Timestamp::from_nanos(i64::MIN)).then_some(self.last)
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

    /// Whether counters other than those of delivered packets differ from earlier ones.
    pub fn differs_from(&self, earlier: &SourceStats) -> bool {
        let of = |stats: &SourceStats| {
            (stats.filtered, stats.filter_linktype, stats.oversize, stats.damage.len(), stats.skipped.len())
        };
        self.tally.time_back != earlier.time_back || of(&self.stats) != of(earlier)
    }

    /// True if every packet passes.
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.filter.is_none()
    }

    /// Moves the times of all further packets behind those so far, with a gap; false if there were none.
    pub fn start_round(&mut self, gap: Duration) -> bool {
        let span = self.tally.latest.as_nanos().checked_sub(self.tally.first.as_nanos()).unwrap_or(i64::MAX);
        let length = span.saturating_add(gap.as_nanos() as i64);
        self.tally.shift = self.tally.shift.saturating_add(length);
        self.tally.first <= self.tally.latest
    }

    /// Whether the filter lets a packet pass; what it does not is counted.
    pub fn judge(&mut self, record: &Record, bytes: &[u8]) -> Verdict {
        if let Some(filter) = &mut self.filter {
            match filter.matches(record.linktype, bytes, record.wirelen) {
                Match::Pass => {}
                Match::Reject => {
                    self.stats.filtered += 1;
                    return Verdict::Rejected;
                }
                Match::NoMeaning => {
                    self.stats.filter_linktype += 1;
                    return Verdict::Rejected;
                }
            }
        }
        Verdict::Passed
    }
}

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// The filter turned it away.
    Rejected,
}
