//! IP fragments to datagrams.
//!
//! One policy for overlaps, whatever the order and the IP version: bytes that arrived first stay. Time is packet time;
//! where it runs backwards, the latest time seen counts.

use std::collections::VecDeque;
use std::time::Duration;

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as MapEntry;

use crate::decode::{Fragment, FragmentKey};
use crate::key::IpVersion;
use crate::packet::LinkType;
use crate::time::Timestamp;

/// Largest IP packet that is not a jumbogram.
const MAX_PACKET: usize = 65_535;

/// Fixed IPv6 header, which its payload length does not count.
const IPV6_HEADER: usize = 40;

/// What an entry costs besides its bytes: table slot, queue slot, allocations.
const ENTRY_COST: usize = 2 * size_of::<(FragmentKey, Partial)>() + size_of::<(Timestamp, u64, FragmentKey)>() + 64;

/// What a piece costs besides its bytes: its place in a list with room to grow, and an allocation.
const PIECE_COST: usize = 2 * size_of::<Piece>() + 16;

/// How much is kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefragLimits {
    /// Bytes of all incomplete datagrams, overhead included.
    pub bytes: usize,
    /// Time from the first fragment seen until the others are given up (RFC 1122, 3.3.2: 60 to 120 s; hosts use 30 s).
    pub timeout: Duration,
}

impl Default for DefragLimits {
    fn default() -> Self {
        Self { bytes: 32 << 20, timeout: Duration::from_secs(30) }
    }
}

/// What became of fragments and datagrams. `created = completed + expired + evicted + live`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefragCounters {
    /// Fragments offered.
    pub fragments: u64,
    /// Datagrams of which a first piece was kept.
    pub created: u64,
    /// Datagrams joined.
    pub completed: u64,
    /// Datagrams given up after the timeout.
    pub expired: u64,
    /// Datagrams given up at the limit of bytes, the oldest first.
    pub evicted: u64,
    /// Fragments dropped: they end beyond the largest packet.
    pub over_long: u64,
    /// Fragments dropped: not the last one, and not a multiple of eight bytes long.
    pub misaligned: u64,
    /// Fragments dropped: no content.
    pub empty: u64,
    /// Fragments dropped: cut by the snap length.
    pub cut: u64,
    /// Fragments dropped: they contradict the end of the datagram that another one gave.
    pub bad_end: u64,
    /// Fragments dropped: every byte was there already.
    pub duplicate: u64,
    /// Fragments of which some bytes were there already; the others were taken.
    pub overlap: u64,
    /// Fragments whose repeated bytes differed from those that were there.
    pub conflict: u64,
}

impl DefragCounters {
    /// Names and numbers of all.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 13] {
        [
            ("defrag_fragments", self.fragments),
            ("defrag_created", self.created),
            ("defrag_completed", self.completed),
            ("defrag_expired", self.expired),
            ("defrag_evicted", self.evicted),
            ("defrag_over_long", self.over_long),
            ("defrag_misaligned", self.misaligned),
            ("defrag_empty", self.empty),
            ("defrag_cut", self.cut),
            ("defrag_bad_end", self.bad_end),
            ("defrag_duplicate", self.duplicate),
            ("defrag_overlap", self.overlap),
            ("defrag_conflict", self.conflict),
        ]
    }
}

/// A datagram made of fragments: an IP packet as if it had never been split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Raw IPv4 or IPv6.
    pub linktype: LinkType,
    /// Header of the first fragment with lengths, fragment fields and checksum put right, and the joined content.
    pub bytes: Vec<u8>,
}

/// What adding a fragment brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Protocol, source and destination port of the datagram, if its first fragment has been seen; the fragment belongs
    /// to that flow. [`FragmentKey::flow`] makes the flow's identity of it.
    pub transport: Option<(u8, u16, u16)>,
    /// The datagram, if this was the last piece missing.
    pub datagram: Option<Datagram>,
}

/// Incomplete datagrams.
#[derive(Debug)]
pub struct Defrag {
    partials: HashMap<FragmentKey, Partial, RandomState>,
    // In the order of creation; an entry whose serial number is not that of its key's partial is over.
    queue: VecDeque<(Timestamp, u64, FragmentKey)>,
    limits: DefragLimits,
    counters: DefragCounters,
    bytes: usize,
    now: Timestamp,
    serial: u64,
}

#[derive(Debug)]
struct Partial {
    serial: u64,
    // Sorted, without overlaps or empty ones.
    pieces: Vec<Piece>,
    // Header of the fragment that brought byte 0.
    header: Option<Header>,
    transport: Option<(u8, u16, u16)>,
    // Length of the content, once the last fragment is there.
    total: Option<u32>,
    // Bytes present, and bytes charged to the limit.
    present: u32,
    cost: usize,
}

#[derive(Debug)]
struct Piece {
    start: u32,
    bytes: Box<[u8]>,
}

impl Piece {
    fn end(&self) -> u32 {
        self.start + self.bytes.len() as u32
    }
}

#[derive(Debug)]
struct Header {
    bytes: Box<[u8]>,
    announced_at: usize,
    number: u8,
}

/// How a fragment fits what is there.
enum Fit {
    Taken,
    Refused,
}

impl Defrag {
    /// Nothing yet. The hash is seeded at random, so that nobody can choose colliding keys.
    #[must_use]
    pub fn new(limits: DefragLimits) -> Self {
        Self {
            partials: HashMap::with_hasher(RandomState::default()),
            queue: VecDeque::new(),
            limits,
            counters: DefragCounters::default(),
            bytes: 0,
            now: Timestamp::from_nanos(i64::MIN),
            serial: 0,
        }
    }

    /// Adds a fragment of the packet whose captured bytes are `packet`.
    #[must_use]
    pub fn add(&mut self, fragment: &Fragment, packet: &[u8], ts: Timestamp) -> Added {
        self.counters.fragments += 1;
        self.expire(ts);
        let known = self.partials.get(&fragment.key).and_then(|partial| partial.transport);
        let nothing = Added { transport: known.or(fragment.transport), datagram: None };
        let Some(data) = self.acceptable(fragment, packet) else { return nothing };
        let serial = self.serial;
        let (partial, is_new) = match self.partials.entry(fragment.key) {
            MapEntry::Occupied(entry) => (entry.into_mut(), false),
            MapEntry::Vacant(entry) => (entry.insert(Partial::new(serial)), true),
        };
        let before = partial.cost;
        let fit = partial.add(fragment, data, packet, &mut self.counters);
        self.bytes += partial.cost - before;
        let transport = partial.transport.or(fragment.transport);
        let is_whole = partial.is_whole();
        if is_new {
            debug_assert!(matches!(fit, Fit::Taken), "nothing contradicts the first piece");
            self.bytes += ENTRY_COST;
            self.serial += 1;
            self.counters.created += 1;
            self.queue.push_back((self.now, serial, fragment.key));
        }
        if is_whole {
            self.counters.completed += 1;
            let datagram = self.remove(&fragment.key).and_then(|partial| partial.join(fragment.key.version));
            return Added { transport, datagram };
        }
        if self.bytes > self.limits.bytes {
            self.evict();
        }
        Added { transport, datagram: None }
    }

    /// Gives up what is older than the timeout at `ts`.
    pub fn expire(&mut self, ts: Timestamp) {
        self.now = self.now.max(ts);
        while let Some(&(created, serial, key)) = self.queue.front() {
            let is_live = self.is_live(&key, serial);
            if is_live && self.now.since(created) < self.limits.timeout {
                break;
            }
            self.queue.pop_front();
            if is_live {
                self.remove(&key);
                self.counters.expired += 1;
            }
        }
    }

    /// Number of incomplete datagrams.
    #[must_use]
    pub fn live(&self) -> usize {
        self.partials.len()
    }

    /// Bytes charged to the limit.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> &DefragCounters {
        &self.counters
    }

    /// The content of a fragment that is sound by itself.
    fn acceptable<'a>(&mut self, fragment: &Fragment, packet: &'a [u8]) -> Option<&'a [u8]> {
        let counters = &mut self.counters;
        let start = fragment.data_start as usize;
        let data = packet.get(start..start + fragment.data_len as usize).unwrap_or_default();
        let header = header_of(fragment, packet);
        let refused_as = if fragment.wire_len == 0 {
            &mut counters.empty
        } else if data.len() < fragment.wire_len as usize || header.is_empty() {
            &mut counters.cut
        } else if fragment.more && !data.len().is_multiple_of(8) {
            &mut counters.misaligned
        } else if is_over_long(fragment.key.version, header.len(), fragment.position + fragment.wire_len) {
            &mut counters.over_long
        } else {
            return Some(data);
        };
        *refused_as += 1;
        None
    }

    fn is_live(&self, key: &FragmentKey, serial: u64) -> bool {
        self.partials.get(key).is_some_and(|partial| partial.serial == serial)
    }

    fn remove(&mut self, key: &FragmentKey) -> Option<Partial> {
        let partial = self.partials.remove(key)?;
        self.bytes -= partial.cost + ENTRY_COST;
        // Entries of what is over stay in the queue until they reach its front; one old incomplete datagram must not
        // let them pile up behind it.
        if self.queue.len() > 64 + 2 * self.partials.len() {
            let partials = &self.partials;
            self.queue.retain(|(_, serial, key)| partials.get(key).is_some_and(|partial| partial.serial == *serial));
        }
        Some(partial)
    }

    /// Gives up the oldest until the limit holds.
    fn evict(&mut self) {
        while self.bytes > self.limits.bytes {
            let Some((_, serial, key)) = self.queue.pop_front() else { break };
            if self.is_live(&key, serial) {
                self.remove(&key);
                self.counters.evicted += 1;
            }
        }
    }
}

/// The part of the header that all fragments repeat; empty if the packet is not the one the fragment was found in.
fn header_of<'a>(fragment: &Fragment, packet: &'a [u8]) -> &'a [u8] {
    let header = packet.get(fragment.header_start as usize..fragment.header_end as usize).unwrap_or_default();
    let (least, announced) = match fragment.key.version {
        IpVersion::V4 => (20, true),
        IpVersion::V6 => (IPV6_HEADER, fragment.announced_at < fragment.header_end),
    };
    if header.len() < least || !announced { &[] } else { header }
}

/// True if a packet is longer than its length field can say when its content ends at `end` behind a header of that
/// many bytes. IPv6 does not count its fixed header.
fn is_over_long(version: IpVersion, header_len: usize, end: u32) -> bool {
    let header_len = match version {
        IpVersion::V4 => header_len,
        IpVersion::V6 => header_len.saturating_sub(IPV6_HEADER),
    };
    header_len + end as usize > MAX_PACKET
}

impl Partial {
    fn new(serial: u64) -> Self {
        Self { serial, pieces: Vec::new(), header: None, transport: None, total: None, present: 0, cost: 0 }
    }

    fn is_whole(&self) -> bool {
        self.total == Some(self.present)
    }

    /// Where the bytes that are there end.
    fn end(&self) -> u32 {
        self.pieces.last().map_or(0, Piece::end)
    }

    fn add(&mut self, fragment: &Fragment, data: &[u8], packet: &[u8], counters: &mut DefragCounters) -> Fit {
        let (start, end) = (fragment.position, fragment.position + data.len() as u32);
        let contradicts = match self.total {
            Some(total) => end > total || !fragment.more && end != total,
            None => !fragment.more && end < self.end(),
        };
        if contradicts {
            counters.bad_end += 1;
            return Fit::Refused;
        }
        // The header of the first fragment is that of the datagram; it may be longer than the one this fragment was
        // judged by.
        let header_len = match &self.header {
            Some(header) => header.bytes.len(),
            None if start == 0 => header_of(fragment, packet).len(),
            None => 0,
        };
        if is_over_long(fragment.key.version, header_len, end.max(self.end())) {
            counters.over_long += 1;
            return Fit::Refused;
        }
        if !fragment.more {
            self.total = Some(end);
        }
        let taken = self.fill(start, data, counters);
        if start == 0 && self.header.is_none() {
            let header = header_of(fragment, packet);
            self.cost += header.len();
            self.header = Some(Header {
                bytes: header.into(),
                announced_at: fragment.announced_at.saturating_sub(fragment.header_start) as usize,
                number: fragment.number,
            });
            self.transport = fragment.transport;
        }
        if taken == 0 {
            counters.duplicate += 1;
        } else if taken < data.len() {
            counters.overlap += 1;
        }
        Fit::Taken
    }

    /// Puts those bytes of `data` in whose place is free. Returns how many.
    fn fill(&mut self, start: u32, data: &[u8], counters: &mut DefragCounters) -> usize {
        let end = start + data.len() as u32;
        let mut index = self.pieces.partition_point(|piece| piece.end() <= start);
        let (mut at, mut taken, mut conflicts) = (start, 0, false);
        while at < end {
            let free_until = self.pieces.get(index).map_or(end, |piece| piece.start.min(end));
            if at < free_until {
                let bytes = &data[(at - start) as usize..(free_until - start) as usize];
                self.pieces.insert(index, Piece { start: at, bytes: bytes.into() });
                self.cost += PIECE_COST + bytes.len();
                taken += bytes.len();
                at = free_until;
                index += 1;
            }
            if let Some(piece) = self.pieces.get(index)
                && at < end
            {
                let until = piece.end().min(end);
                let old = &piece.bytes[(at - piece.start) as usize..(until - piece.start) as usize];
                conflicts |= old != &data[(at - start) as usize..(until - start) as usize];
                at = until;
                index += 1;
            }
        }
        self.present += taken as u32;
        counters.conflict += u64::from(conflicts);
        taken
    }

    /// The packet; `None` without a header, which the piece at 0 brought.
    fn join(self, version: IpVersion) -> Option<Datagram> {
        let header = self.header?;
        let mut bytes = Vec::with_capacity(header.bytes.len() + self.present as usize);
        bytes.extend_from_slice(&header.bytes);
        for piece in &self.pieces {
            bytes.extend_from_slice(&piece.bytes);
        }
        let linktype = match version {
            IpVersion::V4 => {
                let len = bytes.len() as u16;
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                // Neither "more fragments" nor an offset.
                bytes[6] &= 0xC0;
                bytes[7] = 0;
                bytes[10..12].fill(0);
                let checksum = checksum(&bytes[..header.bytes.len()]);
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                LinkType::IPV4
            }
            IpVersion::V6 => {
                let len = (bytes.len() - IPV6_HEADER) as u16;
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
                bytes[header.announced_at] = header.number;
                LinkType::IPV6
            }
        };
        Some(Datagram { linktype, bytes })
    }
}

/// The internet checksum (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let mut sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}
