//! Packets to flows: the part of the flow stage that runs for every packet.

use std::collections::HashMap;

use super::event::{Bytes, FlowEvents, Happening, PacketFlow};
use super::flows::{Cause, Flows, TCP};
use super::record::own;
use crate::decode::{self, Payload};
use crate::key::{End, FlowTuple, IpVersion};
use crate::packet::{Batch, Packet, builtin};

/// What was found out about a packet before its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    tuple: FlowTuple,
    sender: End,
    hash: u64,
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
        // Look-ups that do not wait for each other overlap in the memory system; one at a time, each misses the cache.
        for sighting in sightings.iter_mut().flatten() {
            sighting.slot = self.table.find(sighting.hash, &sighting.tuple);
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
        let slot = self.slot_of(sighting, batch, packet, payload.as_ref(), cause);
        let sender = sighting.sender;
        let flow = &mut self.table.get_mut(slot).flow;
        let index = sender as usize;
        flow.bytes[index] += u64::from(packet.wirelen);
        flow.packets[index] += 1;
        flow.last = self.now;
        let direction = flow.direction_of(sender);
        let is_late = flow.has(own::ENDED);
        if let Some(payload) = payload {
            flow.payload[index] += u64::from(payload.wire_len);
            if is_late {
                self.counts.late_packets += 1;
            } else if sighting.tuple.proto != TCP && self.wants.datagrams.is_yes() && payload.len > 0 {
                let bytes = bytes_of(packet, &payload);
                self.happen(slot, cause, Happening::Datagram { direction, bytes });
            }
        }
        PacketFlow { flow: self.table.handle(slot), direction, sender }
    }

    /// The slot of the packet's flow, which may begin here.
    fn slot_of(
        &mut self,
        sighting: &Sighting,
        _batch: &Batch,
        _packet: &Packet,
        _payload: Option<&Payload>,
        cause: Cause,
    ) -> u32 {
        if let Some(slot) = self.known(sighting) {
            let (due, reason) = self.due(slot);
            let flow = &self.table.get(slot).flow;
            if flow.has(own::ENDED) {
                if self.wheel.contains(slot) && due > self.now {
                    return slot;
                }
                self.replace(slot);
            } else if due > self.now {
                return slot;
            } else {
                self.end(slot, reason, cause);
                self.table.forget(slot);
            }
        }
        let slot = self.create(sighting.hash, sighting.tuple, sighting.sender, cause);
        self.happen(slot, cause, Happening::New);
        let due = self.due(slot).0;
        self.wheel.enter(slot, due);
        slot
    }

    /// An ended flow makes way for another one with its tuple.
    fn replace(&mut self, slot: u32) {
        if self.wheel.contains(slot) {
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

/// Range of the payload in the batch.
pub(super) fn bytes_of(packet: &Packet, payload: &Payload) -> Bytes {
    Bytes::Packet { at: packet.offset + payload.start, len: payload.len }
}

/// Which end of a fragment's flow sent it, from what the fragment says by itself.
fn sender_in(whole: &FlowTuple, own: &FlowTuple, sender: End) -> End {
    let source = if sender == End::A { own.a } else { own.z };
    if source == whole.a { End::A } else { End::Z }
}
