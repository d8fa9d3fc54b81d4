//! *Aggregates*: the whole of the traffic, and its four ways through the home networks.

use super::module::{Module, Updates};
use super::sight::{Change, Macs, Sight, Turn, Way};
use crate::key::{FlowTuple, Host};
use crate::metrics::{GroupIndex, KeyRef, Shard};

const KEYS: [&[u8]; 5] = [b"TOTALBW", b"DIR_INTOHOME", b"DIR_OUTOFHOME", b"DIR_INTERNAL", b"DIR_TRANSIT"];
const TOTAL: usize = 0;

/// Meters other than the one that counts flows, each in its own cell.
const METERS: [u32; 9] = [0, 1, 3, 4, 5, 6, 7, 8, 9];
const CELLS: usize = METERS.len();
const ACTIVE_SESSIONS: u32 = 2;

/// Counts all packets. In each bucket the active sessions are the flows that were there when it began, and those that
/// began in it.
#[derive(Debug)]
pub(super) struct Aggregates {
    group: GroupIndex,
    bucketsize: i64,
    live: u64,
    /// Number of the bucket that has the flows there were when it began.
    bucket: Option<i64>,
}

impl Aggregates {
    pub fn new(group: GroupIndex, bucketsize: u32) -> Self {
        Self { group, bucketsize: i64::from(bucketsize.max(1)), live: 0, bucket: None }
    }

    /// Counts the flows there are, once a bucket and before any of its changes.
    fn open_bucket(&mut self, shard: &mut Shard) {
        let bucket = shard.now().map(|now| now.secs().div_euclid(self.bucketsize));
        if bucket != self.bucket {
            self.bucket = bucket;
            if self.live > 0 {
                let _ = shard.update(self.group, KEYS[TOTAL], ACTIVE_SESSIONS, self.live as f64);
            }
        }
    }
}

/// Broadcast, multicast, unicast as cells from `first` on.
#[derive(Clone, Copy)]
enum Cast {
    Broadcast,
    Multicast,
    Unicast,
}

#[inline]
fn link_cast(macs: &Macs) -> Cast {
    match macs.destination {
        Macs::BROADCAST => Cast::Broadcast,
        [first, ..] if first & 1 != 0 => Cast::Multicast,
        _ => Cast::Unicast,
    }
}

/// A packet that the link broadcasts is a broadcast of its network, whatever its mask (RFC 1122, 3.3.6).
#[inline]
fn network_cast(destination: Host, link: Option<Cast>) -> Cast {
    match destination {
        Host::V4([255, 255, 255, 255]) => Cast::Broadcast,
        Host::V4([first, ..]) if first & 0xF0 == 0xE0 => Cast::Multicast,
        Host::V4(_) if matches!(link, Some(Cast::Broadcast)) => Cast::Broadcast,
        Host::V6([0xFF, ..]) => Cast::Multicast,
        _ => Cast::Unicast,
    }
}

/// The cells a packet adds to.
#[inline]
fn count(sight: &Sight, cells: &mut [u64; CELLS]) {
    let wire = u64::from(sight.wire);
    cells[0] += wire;
    cells[1] += 1;
    let link = sight.macs.as_ref().map(link_cast);
    if let Some(cast) = link {
        cells[2 + cast as usize] += wire;
    }
    if let Some(ip) = &sight.ip {
        cells[5 + network_cast(ip.destination, link) as usize] += wire;
        cells[8] += u64::from(ip.is_fragment);
    }
}

impl Module for Aggregates {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        self.open_bucket(shard);
        // Packets without a way at first, to which those of the ways are added then.
        let mut all = [[0; CELLS]; KEYS.len()];
        for sight in sights {
            let way = match sight.ip.as_ref().map(|ip| ip.way) {
                None => TOTAL,
                Some(Way::Into) => 1,
                Some(Way::OutOf) => 2,
                Some(Way::Internal) => 3,
                Some(Way::Transit) => 4,
            };
            count(sight, &mut all[way]);
        }
        let [total, ways @ ..] = &mut all;
        for way in ways {
            total.iter_mut().zip(way).for_each(|(total, cell)| *total += *cell);
        }
        for (key, cells) in KEYS.iter().zip(&all).filter(|(_, cells)| cells[1] != 0) {
            let mut updates = Updates::<CELLS>::new();
            updates.always(METERS[0], cells[0]);
            for (&meter, &cell) in METERS.iter().zip(cells).skip(1) {
                updates.nonzero(meter, cell);
            }
            updates.send(shard, self.group, KeyRef::Text(key));
        }
    }

    fn pass(&mut self, shard: &mut Shard) {
        self.open_bucket(shard);
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        self.open_bucket(shard);
        let mut began = 0;
        for change in changes.iter().filter(|change| change.tuple != FlowTuple::NO_IP) {
            match change.what {
                Turn::Began => {
                    began += 1;
                    self.live += 1;
                }
                Turn::Ended(_) => self.live = self.live.saturating_sub(1),
            }
        }
        if began > 0 {
            let _ = shard.update(self.group, KEYS[TOTAL], ACTIVE_SESSIONS, f64::from(began));
        }
    }
}
