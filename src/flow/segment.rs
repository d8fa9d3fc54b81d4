//! TCP segments: what they change in their connection, and what of their bytes comes out as stream.

use super::assembler::{Assembler, Piece};
use super::counts::FlowCounts;
use super::event::{Bytes, Direction, EndReason, FlowEvent, FlowEvents, FlowHandle, Happening, state};
use super::flows::{Cause, Flows};
use super::limits::StreamLimits;
use super::record::own;
use super::tcp::{Connection, Header, Place, Side, StraySyn, distance};
use crate::key::End;
use crate::time::Timestamp;

/// A segment of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) header: Header,
    pub(super) sender: End,
    /// Captured payload.
    pub(super) data: &'a [u8],
    /// Where it lies.
    pub(super) bytes: Bytes,
    /// Payload bytes on the wire.
    pub(super) len: u32,
    /// Bytes of the packet on the wire.
    pub(super) wirelen: u32,
}

/// What a SYN means for the flow its ends have already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It belongs to it.
    Same,
    /// The flow is over, if nobody saw it end; this begins another one.
    Another,
}

impl Flows {
    /// Whether a segment that has a SYN belongs to a flow that has not ended.
    pub(super) fn opening(&self, slot: u32, sender: End, header: &Header) -> Opening {
        let Some(index) = self.table.connection(slot) else { return Opening::Same };
        let connection = self.connections.get(index);
        let [me, peer] = connection.both(sender);
        if header.answers() {
            let is_of_stray = connection.stray_syn.as_ref().is_some_and(|stray| stray.is_answered(sender, header));
            return if is_of_stray { Opening::Another } else { Opening::Same };
        }
        if !header.opens() || me.is_syn_again(header) {
            return Opening::Same;
        }
        if me.sent_syn() {
            // Only an answer tells whether the connection was given up, or somebody wants it to seem so.
            return if me.knows_fin() || peer.knows_fin() { Opening::Another } else { Opening::Same };
        }
        // Not the simultaneous opening of both ends, so what was seen is the end of an earlier connection.
        if peer.sent_syn() { Opening::Same } else { Opening::Another }
    }

    /// True if a SYN begins a connection other than the one of a flow that ended.
    pub(super) fn begins_another(&self, slot: u32, sender: End, header: &Header) -> bool {
        if !header.opens() {
            return false;
        }
        let flow = &self.table.get(slot).flow;
        if flow.has(state::SEEN_RST) && !flow.has(own::ESTABLISHED) {
            // It was refused, and somebody tries again.
            return true;
        }
        match self.table.connection(slot) {
            Some(index) => !self.connections.get(index).side(sender).is_syn_again(header),
            None => {
                let place = self.table.get(slot);
                let is_again =
                    place.flow.has(state::SEEN_SYN) && place.flow.client() == sender && place.tcp == header.seq;
                !is_again
            }
        }
    }

    /// Handles a segment of a flow that has not ended. `before` is the time of the packet before.
    pub(super) fn segment(&mut self, slot: u32, segment: &Segment<'_>, before: Timestamp, cause: Cause) {
        let Segment { header, sender, .. } = segment;
        let place = self.table.get_mut(slot);
        let is_lone = !place.flow.has(own::CONNECTION);
        if is_lone && header.opens() && segment.len == 0 {
            let is_first = !place.flow.has(state::SEEN_SYN);
            if is_first || place.flow.client() == *sender {
                let is_again = !is_first && place.tcp == header.seq;
                place.flow.state |= state::SEEN_SYN;
                if is_first {
                    place.flow.set_server(sender.other());
                }
                place.tcp = header.seq;
                self.table.set_syn_scale(slot, header.scale);
                if is_again {
                    self.retransmitted(slot, *sender, cause);
                }
                return;
            }
        }
        let index = if is_lone {
            self.make_room(cause);
            if self.table.get(slot).flow.has(own::ENDED) {
                // It was itself what had to go.
                return;
            }
            self.connect(slot, before)
        } else {
            self.table.get(slot).tcp
        };
        if header.has_rst() {
            let [me, peer] = self.connections.get(index).both(*sender);
            if me.may_reset(header, peer) {
                self.end(slot, EndReason::Rst, cause);
            } else {
                self.counts.resets_ignored += 1;
            }
            return;
        }
        let mut is_repeat = header.has_syn() && self.connections.get(index).side(*sender).repeats_syn(header);
        if header.has_syn() && !self.synchronise(slot, index, segment) {
            self.counts.syns_ignored += 1;
            self.stray(slot, index, segment, before, cause);
            return;
        }
        let [me, peer] = self.connections.get_mut(index).pair(*sender);
        let seq = header.data_seq();
        if me.place(peer, seq, segment.len) == Place::Outside {
            self.counts.out_of_window += 1;
            return;
        }
        me.acknowledge(header, peer);
        if !header.has_syn() {
            self.establish(slot, index, segment, cause);
        }
        if segment.len > 0 || header.has_fin() {
            is_repeat |= self.data(slot, index, segment, cause);
        }
        if is_repeat {
            self.retransmitted(slot, *sender, cause);
        }
        let connection = self.connections.get(index);
        let [a, z] = &connection.sides;
        if a.has_acknowledged_fin_of(z) && z.has_acknowledged_fin_of(a) {
            self.end(slot, EndReason::Fin, cause);
        }
    }

    /// Makes a connection for a flow, which may have begun with a SYN.
    fn connect(&mut self, slot: u32, before: Timestamp) -> u32 {
        let mut connection = Connection::default();
        let place = self.table.get(slot);
        let flow = &place.flow;
        if flow.has(state::SEEN_SYN) {
            connection.sides[flow.client() as usize].syn(place.tcp, self.table.syn_scale(slot));
            connection.syn_at = micros(flow.first, before);
        }
        let index = self.connections.add(connection);
        let place = self.table.get_mut(slot);
        place.tcp = index;
        place.flow.state |= own::CONNECTION;
        index
    }

    /// Handles a SYN. False if it is of another connection.
    fn synchronise(&mut self, slot: u32, index: u32, segment: &Segment<'_>) -> bool {
        let Segment { header, sender, .. } = segment;
        let connection = self.connections.get_mut(index);
        let [me, peer] = connection.pair(*sender);
        let flow = &mut self.table.get_mut(slot).flow;
        let is_unanswered = header.opens() && !peer.knows_next();
        if me.sent_syn() && !me.is_syn_again(header) && is_unanswered {
            // Tried again with another number.
            *me = Side::default();
        }
        if !flow.has(state::SEEN_SYN_ACK_ACK) && me.answers_anew(header, peer) {
            me.change_syn(header.seq);
        }
        // An answer to a SYN tells where a stream begins whose bytes were seen before it.
        let is_late_answer = header.answers() && !me.sent_syn();
        if me.knows_next() && !me.is_syn_again(header) && !is_late_answer {
            return false;
        }
        if !me.sent_syn() {
            me.syn(header.seq, header.scale);
        }
        if header.answers() {
            me.note_answer();
            if !flow.has(state::SEEN_SYN | state::SEEN_SYN_ACK) {
                flow.set_server(*sender);
            }
            flow.state |= state::SEEN_SYN_ACK;
            if !peer.knows_next() {
                peer.start(header.ack);
            }
        } else {
            if !flow.has(state::SEEN_SYN | state::SEEN_SYN_ACK) {
                flow.set_server(sender.other());
            }
            flow.state |= state::SEEN_SYN;
            if is_unanswered {
                connection.syn_at = micros(flow.first, self.now);
            }
        }
        true
    }

    /// A SYN that was ignored. Should it be answered, its packets are those of another flow.
    fn stray(&mut self, slot: u32, index: u32, segment: &Segment<'_>, before: Timestamp, cause: Cause) {
        let Segment { header, sender, .. } = segment;
        if !header.opens() || !self.connections.get(index).side(*sender).sent_syn() {
            return;
        }
        let known = self.connections.stray_syn(index, *sender, header, self.now);
        let is_again = known.packets > 0;
        if !is_again || before != known.last {
            known.before = before;
        }
        known.last = self.now;
        known.packets = known.packets.saturating_add(1);
        known.bytes += u64::from(segment.wirelen);
        known.payload += u64::from(segment.len);
        if is_again {
            self.retransmitted(slot, *sender, cause);
        }
    }

    /// Takes the SYN that a segment answers, and its packets, out of the flow of a connection to which it does not belong.
    pub(super) fn take_stray(&mut self, slot: u32, sender: End, header: &Header) -> Option<Box<StraySyn>> {
        let index = self.table.connection(slot)?;
        let stray = self.connections.take_stray_syn(index, sender, header)?;
        let flow = &mut self.table.get_mut(slot).flow;
        let end = stray.sender as usize;
        // Scripts may have set other numbers.
        flow.packets[end] = flow.packets[end].saturating_sub(u64::from(stray.packets));
        flow.bytes[end] = flow.bytes[end].saturating_sub(stray.bytes);
        flow.payload[end] = flow.payload[end].saturating_sub(stray.payload);
        flow.retransmissions = flow.retransmissions.saturating_sub(stray.packets - 1);
        if flow.last == stray.last {
            flow.last = stray.before;
        }
        Some(stray)
    }

    /// A flow that was just created begins with a SYN that came before.
    pub(super) fn begin_with(&mut self, slot: u32, stray: &StraySyn) {
        let place = self.table.get_mut(slot);
        let end = stray.sender as usize;
        place.tcp = stray.seq;
        let flow = &mut place.flow;
        flow.state |= state::SEEN_SYN;
        flow.set_server(stray.sender.other());
        (flow.first, flow.last) = (stray.first, stray.last);
        flow.packets[end] = u64::from(stray.packets);
        flow.bytes[end] = stray.bytes;
        flow.payload[end] = stray.payload;
        flow.retransmissions = stray.packets - 1;
        self.table.set_syn_scale(slot, stray.scale);
    }

    /// A segment behind the SYNs: the handshake may be complete.
    fn establish(&mut self, slot: u32, index: u32, segment: &Segment<'_>, cause: Cause) {
        let flow = &mut self.table.get_mut(slot).flow;
        if flow.has(state::SEEN_SYN_ACK_ACK) {
            return;
        }
        if flow.all_packets() > 0 {
            flow.state |= own::ESTABLISHED;
        }
        let connection = self.connections.get_mut(index);
        let [_, peer] = connection.pair(segment.sender);
        if segment.header.has_ack() {
            peer.choose_syn(segment.header.ack);
        }
        let is_answer = flow.has(state::SEEN_SYN_ACK)
            && flow.client() == segment.sender
            && segment.header.has_ack()
            && peer.sent_syn()
            && distance(segment.header.ack, peer.first_seq()) >= 0;
        if !is_answer {
            return;
        }
        flow.state |= state::SEEN_SYN_ACK_ACK;
        if flow.has(state::SEEN_SYN) {
            let rtt = micros(flow.first, self.now).saturating_sub(connection.syn_at);
            flow.setup_rtt = rtt;
            self.happen(slot, cause, Happening::RoundTrip { micros: u64::from(rtt) });
        }
    }

    /// Handles payload and FIN of a segment that fits. True if some of that was sent before.
    fn data(&mut self, slot: u32, index: u32, segment: &Segment<'_>, cause: Cause) -> bool {
        let wants_streams = self.wants.streams.is_yes();
        let flow = self.table.handle(slot);
        let direction = self.table.get(slot).flow.direction_of(segment.sender);
        let connection = self.connections.get_mut(index);
        let is_wanted = wants_streams && !connection.is_stopped;
        let [me, peer] = connection.pair(segment.sender);
        let seq = segment.header.data_seq();
        if !me.knows_next() {
            me.start(seq);
        }
        let end = seq.wrapping_add(segment.len);
        let mut is_repeat = false;
        if segment.len > 0 {
            let mut out = Outlet {
                events: &mut self.events,
                counts: &mut self.counts,
                flow,
                cause,
                direction,
                bytes: segment.bytes,
                is_wanted,
            };
            let is_probe = me.is_window_probe(peer, seq, segment.len);
            if me.assembler.is_none() && seq == me.next {
                // The frequent case: in order, nothing waits, nothing is copied.
                out.in_order(me.position, segment);
            } else {
                let data = if is_wanted { segment.data } else { &[] };
                let repeats_probe = me.repeats_probe(seq);
                let fit = out.assemble(me, seq, data, segment.len, &self.config.streams, &mut self.held);
                is_repeat = fit && !me.is_keep_alive(seq, segment.len) && !repeats_probe;
            }
            me.reach(end);
            if is_probe {
                me.note_probe();
            }
        }
        if segment.header.has_fin() {
            let fin = end.wrapping_add(1);
            if me.knows_fin() {
                is_repeat |= me.fin == fin;
            } else if distance(end, me.next) >= 0 {
                me.close(fin);
                self.table.get_mut(slot).flow.state |= state::SEEN_FIN;
            }
        }
        is_repeat
    }

    /// An end sent again what it had sent before.
    fn retransmitted(&mut self, slot: u32, sender: End, cause: Cause) {
        let flow = &mut self.table.get_mut(slot).flow;
        flow.retransmissions = flow.retransmissions.saturating_add(1);
        let direction = flow.direction_of(sender);
        self.counts.retransmissions += 1;
        self.happen(slot, cause, Happening::Retransmission { direction });
    }

    /// The flow ends: what waits comes out, holes or not.
    pub(super) fn flush(&mut self, slot: u32, cause: Cause) {
        let Some(index) = self.table.connection(slot) else { return };
        let handle = self.table.handle(slot);
        let flow = self.table.get(slot).flow;
        let connection = self.connections.get_mut(index);
        let is_wanted = self.wants.streams.is_yes() && !connection.is_stopped;
        let client = flow.client();
        let closed = connection.sides.iter().filter(|side| side.knows_fin()).count();
        for sender in [client, client.other()] {
            let Some(mut assembler) = connection.sides[sender as usize].assembler.take() else { continue };
            self.held -= assembler.cost();
            let direction = flow.direction_of(sender);
            let mut out = Outlet {
                events: &mut self.events,
                counts: &mut self.counts,
                flow: handle,
                cause,
                direction,
                bytes: Bytes::Packet { at: 0, len: 0 },
                is_wanted,
            };
            while assembler.segments() > 0 {
                assembler.skip(&mut |piece| out.push(piece));
            }
        }
        if closed == 1 {
            self.table.get_mut(slot).flow.state |= state::INCOMPLETE;
        }
    }

    /// Drops what is held of the streams of a flow, and what comes yet.
    pub(super) fn stop(&mut self, slot: u32) {
        let index = match self.table.connection(slot) {
            Some(index) => index,
            None => self.connect(slot, self.table.get(slot).flow.last),
        };
        let connection = self.connections.get_mut(index);
        connection.is_stopped = true;
        for side in &mut connection.sides {
            // What was seen still counts for telling repeats, but there are no bytes to keep.
            if let Some(assembler) = &mut side.assembler {
                let before = assembler.cost();
                self.counts.stream_bytes_dropped += assembler.bytes() as u64;
                assembler.drop_bytes();
                self.held = self.held - before + assembler.cost();
            }
        }
    }
}

/// Microseconds from one time to a later one.
fn micros(from: Timestamp, to: Timestamp) -> u32 {
    u32::try_from(to.since(from).as_micros()).unwrap_or(u32::MAX)
}

/// Where the pieces of one direction go.
struct Outlet<'a> {
    events: &'a mut FlowEvents,
    counts: &'a mut FlowCounts,
    flow: FlowHandle,
    cause: Cause,
    direction: Direction,
    // Where the payload of the segment lies.
    bytes: Bytes,
    is_wanted: bool,
}

impl Outlet<'_> {
    fn in_order(&mut self, position: u64, segment: &Segment<'_>) {
        let captured = segment.data.len().min(segment.len as usize);
        if captured > 0 {
            self.push(Piece::Fresh { position, at: 0, len: captured });
        }
        if captured < segment.len as usize {
            let missing = segment.len as u64 - captured as u64;
            self.push(Piece::Gap { position: position + captured as u64, missing });
        }
    }

    fn push(&mut self, piece: Piece) {
        if !self.is_wanted {
            return;
        }
        let direction = self.direction;
        let what = match piece {
            Piece::Fresh { position, at, len } => {
                let bytes = self.bytes.part(at as u32, len as u32);
                Happening::Payload { direction, position, bytes }
            }
            Piece::Held { position, bytes } => {
                Happening::Payload { direction, position, bytes: self.events.keep(bytes) }
            }
            Piece::Gap { position, missing } => {
                self.counts.gaps += 1;
                self.counts.gap_bytes += missing;
                Happening::Gap { direction, position, missing }
            }
        };
        self.events.push(FlowEvent { packet: self.cause.packet, flow: self.flow, time: self.cause.time, what });
    }

    /// A segment that is not simply the next one. True if bytes of it were seen before.
    fn assemble(
        &mut self,
        side: &mut Side,
        seq: u32,
        data: &[u8],
        len: u32,
        limits: &StreamLimits,
        held: &mut usize,
    ) -> bool {
        let position = side.position_of(seq);
        // Most of what comes is there already, or fills the only hole: nothing waits then, and nothing is to be kept.
        let mut own = side.assembler.take();
        let mut none = Assembler::new(side.position);
        let assembler = own.as_deref_mut().unwrap_or(&mut none);
        let before = assembler.cost();
        let fit = assembler.offer(position, data, len, &mut |piece| self.push(piece));
        self.counts.overlaps += u64::from(fit.repeated > 0 && fit.taken > 0);
        self.counts.conflicts += u64::from(fit.conflict);
        while assembler.bytes() > limits.bytes || assembler.segments() > limits.segments {
            self.counts.stream_limit += 1;
            assembler.skip(&mut |piece| self.push(piece));
        }
        // Whoever wants more than there is gives up his own.
        while *held - before.min(*held) + assembler.cost() > limits.total && assembler.segments() > 0 {
            self.counts.stream_total_limit += 1;
            assembler.skip(&mut |piece| self.push(piece));
        }
        *held = *held - before + assembler.cost();
        if assembler.segments() > 0 {
            side.assembler = Some(own.unwrap_or_else(|| Box::new(none)));
        }
        fit.repeated > 0
    }
}
