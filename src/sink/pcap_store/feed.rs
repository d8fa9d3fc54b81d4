//! The packet thread's side: packets are copied into a parcel, and full parcels go to the writer.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::counts::{Shared, add};
use super::mark::{flow_mark, host_mark};
use super::record::{RECORD_HEADER, record_header};
use crate::key::{End, FlowTuple};
use crate::packet::LinkType;
use crate::sink::WhenFull;
use crate::time::Timestamp;

/// Bytes of a parcel, but for the packet that goes beyond.
const PARCEL_BYTES: usize = 512 << 10;
/// Packets of a parcel.
const PARCEL_PACKETS: usize = 4_096;

/// A packet to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Packet time.
    pub time: Timestamp,
    /// Length on the wire.
    pub wirelen: u32,
    /// Type of the first layer.
    pub linktype: LinkType,
    /// The bytes to store: the packet or the beginning of it.
    pub bytes: &'a [u8],
    /// Its flow, if it is an IP packet.
    pub flow: Option<&'a FlowTuple>,
}

/// One packet of a parcel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) time: Timestamp,
    /// Bytes of the record.
    pub(super) len: u32,
    pub(super) linktype: LinkType,
    pub(super) marks: [u32; 3],
    pub(super) mark_count: u8,
}

impl Entry {
    /// Marks of its flow and hosts.
    pub(super) fn marks(&self) -> &[u32] {
        &self.marks[..usize::from(self.mark_count)]
    }
}

/// Records one after the other, and what is known of each.
#[derive(Debug, Default)]
pub(super) struct Parcel {
    pub(super) records: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Parcel {
    /// Room for a full parcel.
    pub(super) fn new() -> Self {
        Self { records: Vec::with_capacity(PARCEL_BYTES + (256 << 10)), entries: Vec::with_capacity(PARCEL_PACKETS) }
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.entries.clear();
    }
}

/// Takes packets in; one per packet thread.
#[derive(Debug)]
pub struct StoreFeed {
    parcel: Parcel,
    queue: Sender<Parcel>,
    /// Parcels the writer is done with.
    spare: Receiver<Parcel>,
    when_full: WhenFull,
    shared: Arc<Shared>,
    /// The flow of the packet before, and its marks: packets of a flow come in trains.
    latest: (FlowTuple, [u32; 3]),
}

impl StoreFeed {
    pub(super) fn new(
        queue: Sender<Parcel>,
        spare: Receiver<Parcel>,
        when_full: WhenFull,
        shared: Arc<Shared>,
    ) -> Self {
        let latest = (FlowTuple::NO_IP, marks_of(&FlowTuple::NO_IP));
        Self { parcel: Parcel::new(), queue, spare, when_full, shared, latest }
    }

    /// Copies a packet.
    pub fn add(&mut self, offer: &Offer<'_>) {
        let (marks, mark_count) = match offer.flow {
            Some(flow) => {
                if self.latest.0 != *flow {
                    self.latest = (*flow, marks_of(flow));
                }
                (self.latest.1, 3)
            }
            None => ([0; 3], 0),
        };
        let caplen = offer.bytes.len() as u32;
        self.parcel.records.extend_from_slice(&record_header(offer.time, caplen, offer.wirelen));
        self.parcel.records.extend_from_slice(offer.bytes);
        let len = caplen + RECORD_HEADER as u32;
        self.parcel.entries.push(Entry { time: offer.time, len, linktype: offer.linktype, marks, mark_count });
        if self.parcel.records.len() >= PARCEL_BYTES || self.parcel.entries.len() >= PARCEL_PACKETS {
            self.flush();
        }
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        if self.parcel.entries.is_empty() {
            return;
        }
        let count = self.parcel.entries.len() as u64;
        if self.when_full == WhenFull::DropNewest && self.queue.is_full() {
            add(&self.shared.queue_full, count);
            self.parcel.clear();
            return;
        }
        let next = self.spare.try_recv().unwrap_or_else(|_| Parcel::new());
        let parcel = std::mem::replace(&mut self.parcel, next);
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).is_err(),
            // Another thread may have taken the last place.
            WhenFull::DropNewest => self.queue.try_send(parcel).is_err(),
        };
        if lost {
            add(&self.shared.queue_full, count);
        }
    }
}

impl Drop for StoreFeed {
    fn drop(&mut self) {
        self.flush();
    }
}

fn marks_of(flow: &FlowTuple) -> [u32; 3] {
    [flow_mark(flow), host_mark(&flow.host(End::A)), host_mark(&flow.host(End::Z))]
}
