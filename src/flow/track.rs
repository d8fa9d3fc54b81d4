//! Packets to flows: the part of the flow stage that runs for every packet.

use std::collections::HashMap;

use super::event::{Bytes, EndReason, Happening, PacketFlow, state};
use super::flows::{Cause, Flows, TCP, UDP};
use super::record::own;
use super::segment::{Opening, Segment};
use super::tcp::Header;
use crate::decode::{self, Payload};
use crate::key::{End, FlowTuple};
use crate::packet::{Batch, Packet, builtin, prefetch};

/// So many slots stay in the caches by themselves.
const FEW_SLOTS: usize = 2_048;

/// What was found out about a packet before its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    tuple: FlowTuple,
    sender: End,
    hash: u32,
    // Where the flow was before the batch; a hint only.
    slot: Option<u32>,
}

impl Flows {
    pub(super) fn track(&mut self, batch: &Batch, fragments: &HashMap<usize, FlowTuple>) {
        let mut sightings = std::mem::take(&mut self.sightings);
        sightings.clear();
        for (index, packet) in batch.packets().iter().enumerate() {
            sightings.push(self.sight(batch, packet, index, fragments));
        }
        // One packet at a time, each look-up would wait for the memory three times in turn. So the packets of the batch are
        // gone through once for each step of a look-up, which asks for what the next step reads.
        if self.table.slots() > FEW_SLOTS {
            for sighting in sightings.iter().flatten() {
                self.table.prefetch_index(sighting.hash);
            }
            for sighting in sightings.iter().flatten() {
                self.table.prefetch_slot(sighting.hash);
            }
        }
        for sighting in sightings.iter_mut().flatten() {
            sighting.slot = self.table.find(sighting.hash, &sighting.tuple);
            if let Some(index) = sighting.slot.and_then(|slot| self.table.connection(slot)) {
                let [a, z] = &self.connections.get(index).sides;
                prefetch(&a.next);
                prefetch(&z.next);
            }
        }
        for (index, (packet, sighting)) in batch.packets().iter().zip(&sightings).enumerate() {
            let flow = sighting.as_ref().map(|sighting| self.packet(batch, packet, index as u32, sighting));
            self.packets.push(flow);
        }
        self.sightings = sightings;
    }

    fn sight(
        &self,
        batch: &Batch,
        packet: &Packet,
        index: usize,
        fragments: &HashMap<usize, FlowTuple>,
    ) -> Option<Sighting> {
        let is_ip = packet.outermost[usize::from(builtin::IPV4.0)] != 0xFF
            || packet.outermost[usize::from(builtin::IPV6.0)] != 0xFF;
        if !is_ip {
            return None;
        }
        let (mut tuple, mut sender) = decode::flow_tuple(batch, packet);
        if !fragments.is_empty()
            && let Some(&whole) = fragments.get(&index)
        {
            sender = sender_in(&whole, &tuple, sender);
            tuple = whole;
        }
        Some(Sighting { tuple, sender, hash: self.table.hash(&tuple), slot: None })
    }

    fn packet(&mut self, batch: &Batch, packet: &Packet, index: u32, sighting: &Sighting) -> PacketFlow {
        self.now = self.now.max(packet.ts);
        let cause = Cause { packet: index, time: packet.ts };
        if self.wheel.is_due(self.now) {
            self.end_due(cause);
        }
        let payload = decode::payload_range(batch, packet);
        let is_tcp = sighting.tuple.proto == TCP;
        let header = if is_tcp { payload.as_ref().and_then(|payload| header_of(batch, packet, payload)) } else { None };
        let sender = sighting.sender;
        let slot = self.slot_of(sighting, header.as_ref(), cause);
        let flow = &self.table.get(slot).flow;
        let before = flow.last;
        if flow.has(own::ENDED) {
            self.counts.late_packets += 1;
        } else if let Some(payload) = payload {
            if let Some(header) = header {
                let at = packet.offset + payload.start;
                let data = &batch.bytes()[at as usize..][..payload.len as usize];
                let segment = Segment { header, sender, data, at, len: payload.wire_len };
                self.segment(slot, &segment, before, cause);
            } else if !is_tcp && payload.len > 0 && self.wants.datagrams.is_yes() {
                self.datagram(slot, packet, &payload, sighting, cause);
            }
        }
        let flow = &mut self.table.get_mut(slot).flow;
        let end = sender as usize;
        flow.bytes[end] += u64::from(packet.wirelen);
        flow.packets[end] += 1;
        flow.payload[end] += payload.map_or(0, |payload| u64::from(payload.wire_len));
        flow.last = self.now;
        let direction = flow.direction_of(sender);
        PacketFlow { flow: self.table.handle(slot), direction, sender }
    }

    fn datagram(&mut self, slot: u32, packet: &Packet, payload: &Payload, sighting: &Sighting, cause: Cause) {
        if self.table.is_stopped(slot) {
            return;
        }
        // A fragment without the UDP header is not the beginning of a datagram.
        if sighting.tuple.proto == UDP && payload.transport.is_none() {
            return;
        }
        let direction = self.table.get(slot).flow.direction_of(sighting.sender);
        let bytes = Bytes::Packet { at: packet.offset + payload.start, len: payload.len };
        self.happen(slot, cause, Happening::Datagram { direction, bytes });
    }

    /// The slot of the packet's flow, which may begin here.
    fn slot_of(&mut self, sighting: &Sighting, header: Option<&Header>, cause: Cause) -> u32 {
        if let Some(slot) = self.known(sighting) {
            let (due, reason) = self.due(slot);
            let has_ended = self.table.get(slot).flow.has(own::ENDED);
            let goes_on = due > self.now && (!has_ended || self.table.is_awaited(slot));
            if goes_on && header.is_none_or(|header| !self.is_another(slot, sighting.sender, header)) {
                return slot;
            }
            if !has_ended {
                self.end(slot, if goes_on { self.unseen_end(slot) } else { reason }, cause);
            }
            self.replace(slot);
        }
        let slot = self.create(sighting.hash, sighting.tuple, sighting.sender, cause);
        self.happen(slot, cause, Happening::New);
        let due = self.due(slot).0;
        self.wheel.enter(&mut self.table, slot, due);
        slot
    }

    /// Whether a segment belongs to another connection than the flow's.
    #[inline]
    fn is_another(&mut self, slot: u32, sender: End, header: &Header) -> bool {
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

/// The TCP header, if all of it is there.
#[inline]
fn header_of(batch: &Batch, packet: &Packet, payload: &Payload) -> Option<Header> {
    let bytes = batch.packet_bytes(packet).get(payload.transport? as usize..payload.start as usize)?;
    Header::parse(bytes)
}

/// Which end of a fragment's flow sent it, from what the fragment says by itself.
fn sender_in(whole: &FlowTuple, own: &FlowTuple, sender: End) -> End {
    let source = if sender == End::A { own.a } else { own.z };
    if source == whole.a { End::A } else { End::Z }
}
