//! Packets to flows: the part of the flow stage that runs for every packet.

use super::event::{Bytes, EndReason, Happening, PacketFlow, Want, state};
use super::flows::{Cause, Flows, TCP, UDP, is_icmp};
use super::fragments::Fragments;
use super::record::own;
use super::segment::{Opening, Segment};
use super::tcp::Header;
use crate::decode::{self, Payload};
use crate::key::{End, FlowTuple};
use crate::packet::{Batch, Packet, Tick, builtin};

/// Packets whose flows are looked up together: enough that what is asked of the memory is there when it is read, and so few
/// that it is still in the nearest cache when the last of them has its turn.
const AT_ONCE: usize = 64;

/// What was found out about a packet before its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    tuple: FlowTuple,
    sender: End,
    hash: u32,
    // Where the flow was before its turn; a hint only.
    slot: Option<u32>,
    // Of the packet by itself.
    payload: Option<Payload>,
    content: Content,
}

impl Sighting {
    /// Of what is not IP.
    const NONE: Self =
        Self { tuple: FlowTuple::NO_IP, sender: End::A, hash: 0, slot: None, payload: None, content: Content::None };
}

/// What of a packet its flow is told.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// All of it.
    Own,
    /// It has no flow.
    None,
    /// Nothing yet: it is a fragment, and others are missing.
    Waits,
    /// The datagram that it completes.
    Joined(u32),
}

/// The bytes that a flow carries, and where they are.
#[derive(Clone, Copy)]
struct Carried<'a> {
    // Of the packet, and where they begin in those of the batch.
    bytes: &'a [u8],
    offset: u32,
    payload: Payload,
}

impl Flows {
    pub(super) fn track(&mut self, batch: &Batch, fragments: &Fragments) {
        let mut sightings = std::mem::take(&mut self.sightings);
        sightings.resize(batch.len().min(AT_ONCE), Sighting::NONE);
        for (row, packets) in batch.packets().chunks(AT_ONCE).enumerate() {
            let (first, sightings) = (row * AT_ONCE, &mut sightings[..packets.len()]);
            self.look_up(batch, packets, first, sightings, fragments);
            for ((index, packet), sighting) in (first..).zip(packets).zip(&*sightings) {
                if matches!(sighting.content, Content::None) {
                    self.packets.push(None);
                } else {
                    self.packet(batch, packet, index as u32, sighting, fragments);
                }
            }
        }
        self.sightings = sightings;
    }

    /// Finds out about some packets of the batch, of which `first` is the index of the first one.
    fn look_up(
        &self,
        batch: &Batch,
        packets: &[Packet],
        first: usize,
        sightings: &mut [Sighting],
        fragments: &Fragments,
    ) {
        for (index, place) in sightings.iter_mut().enumerate() {
            let packet = &packets[index];
            // Written where it stays, part by part: copies of what was just put together wait for it.
            match decode::frequent_flow(batch, packet).filter(|_| fragments.is_empty()) {
                Some((tuple, sender, payload)) => {
                    place.hash = self.table.hash(&tuple);
                    place.tuple = tuple;
                    place.sender = sender;
                    place.payload = Some(payload);
                    place.content = Content::Own;
                }
                None => *place = self.sight(batch, packet, first + index, fragments),
            }
            self.table.prefetch_index(place.hash);
        }
        // One packet at a time, each look-up would wait for the memory three times in turn. So all of them are gone
        // through once for each step of a look-up, which asks for what the next step reads.
        for sighting in &mut *sightings {
            sighting.slot = self.table.guess(sighting.hash);
        }
        for sighting in &mut *sightings {
            let Some(guess) = sighting.slot else { continue };
            sighting.slot = self.table.confirm(guess, sighting.hash, &sighting.tuple);
            if let Some(index) = sighting.slot.and_then(|slot| self.table.connection(slot)) {
                self.connections.prefetch(index);
            }
        }
    }

    /// What is found out about any packet.
    #[inline(never)]
    fn sight(&self, batch: &Batch, packet: &Packet, index: usize, fragments: &Fragments) -> Sighting {
        let is_ip = packet.outermost[usize::from(builtin::IPV4.0)] != 0xFF
            || packet.outermost[usize::from(builtin::IPV6.0)] != 0xFF;
        if !is_ip {
            return Sighting::NONE;
        }
        let (mut tuple, mut sender) = decode::flow_tuple(batch, packet);
        let mut content = Content::Own;
        if !fragments.is_empty()
            && let Some(part) = fragments.part(index)
        {
            content = part.whole.map_or(Content::Waits, Content::Joined);
            (tuple, sender) = part.flow.unwrap_or((tuple, sender));
        }
        let (hash, payload) = (self.table.hash(&tuple), decode::payload_range(batch, packet));
        Sighting { tuple, sender, hash, slot: None, payload, content }
    }

    /// Gives a packet to its flow, and adds to the list of packets which one that is: nobody waits for what is written there.
    fn packet(&mut self, batch: &Batch, packet: &Packet, index: u32, sighting: &Sighting, fragments: &Fragments) {
        self.now = self.now.max(packet.ts);
        let cause = Cause { packet: index, time: packet.ts, origin: packet.origin };
        if self.wheel.is_due(self.now) {
            self.end_due_by_ticks(&batch.ticks, packet.offset, cause);
            self.end_due(cause);
        }
        let payload = sighting.payload;
        let carried = match sighting.content {
            Content::Own => payload.map(|payload| Carried::of(batch, packet, payload)),
            Content::Waits | Content::None => None,
            Content::Joined(whole) => Carried::joined(fragments, whole),
        };
        let is_tcp = sighting.tuple.proto == TCP;
        let header = if is_tcp { carried.as_ref().and_then(Carried::header) } else { None };
        let sender = sighting.sender;
        let slot = self.slot_of(sighting, header.as_ref(), cause);
        let flow = &self.table.get(slot).flow;
        let before = flow.last;
        if flow.has(own::ENDED) {
            return self.late(slot, sender);
        }
        if let Some(carried) = carried {
            let payload = &carried.payload;
            if let Some(header) = header {
                let bytes = self.place(&carried, sighting.content, self.wants.streams);
                let (len, wirelen) = (payload.wire_len, packet.wirelen);
                let segment = Segment { header, sender, data: carried.data(), bytes, len, wirelen };
                self.segment(slot, &segment, before, cause);
            } else if !is_tcp {
                if is_icmp(sighting.tuple.proto) {
                    self.note_icmp(slot, carried.data());
                }
                if payload.len > 0 && self.wants.datagrams.is_yes() {
                    self.datagram(slot, &carried, sighting, cause);
                }
            }
        }
        let flow = &mut self.table.get_mut(slot).flow;
        let end = sender as usize;
        flow.bytes[end] += u64::from(packet.wirelen);
        flow.packets[end] += 1;
        flow.payload[end] += payload.map_or(0, |payload| u64::from(payload.wire_len));
        flow.last = self.now;
        let direction = flow.direction_of(sender);
        self.packets.push(Some(PacketFlow { flow: self.table.handle(slot), direction, sender }));
    }

    /// Ends what was due at packets of other engines in front of this one.
    #[inline(never)]
    fn end_due_by_ticks(&mut self, ticks: &[Tick], offset: u32, cause: Cause) {
        let now = self.now;
        while let Some(tick) = ticks.get(self.next_tick).filter(|tick| tick.offset <= offset) {
            self.next_tick += 1;
            if tick.ages {
                self.now = tick.time;
                self.end_due(Cause { time: tick.time, ..cause });
            }
        }
        self.now = now;
    }

    /// A packet of a flow that has ended: it is in no record, whether that was made already or not.
    #[cold]
    fn late(&mut self, slot: u32, sender: End) {
        self.counts.late_packets += 1;
        self.table.note_late(slot, self.now);
        let direction = self.table.get(slot).flow.direction_of(sender);
        self.packets.push(Some(PacketFlow { flow: self.table.handle(slot), direction, sender }));
    }

    /// Keeps type and code of the first message.
    fn note_icmp(&mut self, slot: u32, message: &[u8]) {
        if let [kind, code, ..] = *message
            && self.table.get(slot).flow.all_packets() == 0
        {
            self.table.set_icmp(slot, [kind, code]);
        }
    }

    fn datagram(&mut self, slot: u32, carried: &Carried<'_>, sighting: &Sighting, cause: Cause) {
        if self.table.is_stopped(slot) {
            return;
        }
        // Without the UDP header it is not the beginning of a datagram.
        if sighting.tuple.proto == UDP && carried.payload.transport.is_none() {
            return;
        }
        let direction = self.table.get(slot).flow.direction_of(sighting.sender);
        let bytes = self.place(carried, sighting.content, Want::Yes);
        self.happen(slot, cause, Happening::Datagram { direction, bytes });
    }

    /// Where events find what is carried. Joined datagrams are in no packet, so that they are copied if anybody wants them.
    #[inline]
    fn place(&mut self, carried: &Carried<'_>, content: Content, want: Want) -> Bytes {
        let Payload { start, len, .. } = carried.payload;
        match content {
            Content::Joined(_) if want.is_yes() => self.events.hold(carried.data()),
            _ => Bytes::Packet { at: carried.offset + start, len },
        }
    }

    /// The slot of the packet's flow, which may begin here.
    fn slot_of(&mut self, sighting: &Sighting, header: Option<&Header>, cause: Cause) -> u32 {
        let mut stray = None;
        if let Some(slot) = self.known(sighting) {
            let overdue = self.overdue(slot);
            let has_ended = self.table.get(slot).flow.has(own::ENDED);
            let goes_on = overdue.is_none() && (!has_ended || self.table.is_awaited(slot));
            if goes_on && header.is_none_or(|header| !self.is_another(slot, sighting.sender, header)) {
                return slot;
            }
            if goes_on && let Some(header) = header {
                stray = self.take_stray(slot, sighting.sender, header);
            }
            if !has_ended {
                self.end(slot, overdue.unwrap_or_else(|| self.unseen_end(slot)), cause);
            }
            self.replace(slot);
        }
        let slot = self.create(sighting.hash, sighting.tuple, sighting.sender, cause);
        let mut began = cause;
        if let Some(stray) = stray {
            self.begin_with(slot, &stray);
            // It is told of with the time of its first packet.
            began.time = stray.first;
        }
        self.happen(slot, began, Happening::New);
        let due = self.due(slot).0;
        self.wheel.enter(&mut self.table, slot, due);
        slot
    }

    /// Whether a segment belongs to another connection than the flow's.
    #[inline]
    fn is_another(&self, slot: u32, sender: End, header: &Header) -> bool {
        if !header.has_syn() {
            return false;
        }
        if self.table.get(slot).flow.has(own::ENDED) {
            return self.begins_another(slot, sender, header);
        }
        self.opening(slot, sender, header) == Opening::Another
    }

    /// How a connection ended of which another one took the place.
    fn unseen_end(&self, slot: u32) -> EndReason {
        if self.table.get(slot).flow.has(state::SEEN_FIN) { EndReason::Fin } else { EndReason::Idle }
    }

    /// An ended flow makes way for another one with its tuple.
    fn replace(&mut self, slot: u32) {
        if self.table.is_awaited(slot) {
            self.leave(slot);
        }
        self.table.forget(slot);
    }

    /// Where the flow is now, which may have been created, or have gone, since the hint was taken.
    #[inline]
    fn known(&self, sighting: &Sighting) -> Option<u32> {
        match sighting.slot {
            Some(slot) if !self.table.get(slot).flow.has(own::ENDED) => Some(slot),
            _ => self.table.find(sighting.hash, &sighting.tuple),
        }
    }
}

impl<'a> Carried<'a> {
    #[inline]
    fn of(batch: &'a Batch, packet: &Packet, payload: Payload) -> Self {
        Self { bytes: batch.packet_bytes(packet), offset: packet.offset, payload }
    }

    #[cold]
    fn joined(fragments: &'a Fragments, whole: u32) -> Option<Self> {
        let (batch, packet) = fragments.whole(whole);
        decode::payload_range(batch, packet).map(|payload| Self::of(batch, packet, payload))
    }

    #[inline]
    fn data(&self) -> &'a [u8] {
        &self.bytes[self.payload.start as usize..][..self.payload.len as usize]
    }

    /// The TCP header, if all of it is there.
    #[inline]
    fn header(&self) -> Option<Header> {
        Header::parse(self.bytes.get(self.payload.transport? as usize..self.payload.start as usize)?)
    }
}
