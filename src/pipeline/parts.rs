//! A batch part by part, and the time that passes in between by the packets of other engines.
//!
//! What one engine does with a packet of its own that is first in its tick or second, those that share its input do at the
//! same place: flows end that are due, and those that live count for the bucket. Ticks in the second of the packet behind
//! them are left to the flow stage; for others time moves on without packets.

use super::engine::Engine;
use super::flow_stage::FlowStage;
use crate::packet::{Packet, Tick};
use crate::time::Timestamp;

/// Whether a tick can be seen to together with the packet that comes behind it.
fn is_part_of(tick: &Tick, packet: &Packet) -> bool {
    tick.time.secs() == packet.ts.secs() && tick.time <= packet.ts
}

/// How many packets come before the first tick that stands alone.
fn until_tick(packets: &[Packet], ticks: &[Tick]) -> usize {
    let behind = |tick: &Tick| packets.partition_point(|packet| packet.offset < tick.offset);
    let alone = |place: &usize, tick: &Tick| packets.get(*place).is_some_and(|packet| !is_part_of(tick, packet));
    ticks
        .iter()
        .map(|tick| (behind(tick), tick))
        .find(|(place, tick)| alone(place, tick))
        .map_or(packets.len(), |(place, _)| place)
}

/// Splits off the ticks up to a packet.
fn split_at<'a>(ticks: &'a [Tick], packet: &Packet) -> (&'a [Tick], &'a [Tick]) {
    ticks.split_at(ticks.partition_point(|tick| tick.offset <= packet.offset))
}

impl Engine {
    /// Handles the batch, the packets of one second at a time.
    pub(super) fn parts(&mut self) {
        let single = self.flows.as_ref().is_some_and(FlowStage::takes_single_packets);
        let later = |from: &Packet, packet: &Packet| single || packet.ts.secs() > from.ts.secs();
        let is_whole = {
            let batch = self.context.batch.borrow();
            let is_spread = matches!(batch.packets(), [first, .., last] if later(first, last));
            batch.ticks.is_empty() && !is_spread && !batch.packets().first().is_some_and(|first| self.is_late(first))
        };
        if self.flows.is_none() || is_whole {
            return self.part();
        }
        let (mut packets, ticks) = (std::mem::take(&mut self.spread), self.take_ticks());
        packets.clear();
        packets.extend_from_slice(self.context.batch.borrow().packets());
        let (mut rest, mut ticks_left) = (&packets[..], &ticks[..]);
        while let Some(first) = rest.first() {
            let (ahead, _) = split_at(ticks_left, first);
            let alone = ahead.iter().rposition(|tick| !is_part_of(tick, first)).map_or(0, |last| last + 1);
            self.pass_over(&ticks_left[..alone]);
            ticks_left = &ticks_left[alone..];
            if self.is_late(first) {
                self.pass_to(self.struck);
            }
            let end = 1 + rest[1..].iter().position(|packet| later(first, packet)).unwrap_or(rest.len() - 1);
            let end = until_tick(&rest[..end], ticks_left).max(1);
            let (part, others) = rest.split_at(end);
            let (inside, behind) = split_at(ticks_left, &part[end - 1]);
            {
                let mut batch = self.context.batch.borrow_mut();
                batch.put_back(part);
                batch.ticks.extend_from_slice(inside);
            }
            self.part();
            (rest, ticks_left) = (others, behind);
        }
        self.spread = packets;
        self.ticks = ticks;
    }

    /// Lets time pass by the ticks that came without packets.
    pub(super) fn pass_ticks(&mut self) {
        let ticks = self.take_ticks();
        self.pass_over(&ticks);
        self.ticks = ticks;
    }

    /// The ticks that came with the batch.
    pub(super) fn take_ticks(&mut self) -> Vec<Tick> {
        let mut ticks = std::mem::take(&mut self.ticks);
        ticks.clear();
        std::mem::swap(&mut ticks, &mut self.context.batch.borrow_mut().ticks);
        ticks
    }

    /// Lets time pass without packets up to each of the ticks that change something.
    pub(super) fn pass_over(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            self.struck = self.struck.max(tick.time);
            if self.is_awaited(tick) {
                self.pass(tick);
            }
        }
    }

    /// Whether a packet is earlier than one that came before it, which only other engines know so far.
    fn is_late(&self, packet: &Packet) -> bool {
        self.struck > packet.ts.max(self.context.now.get())
    }

    /// Lets time pass up to the last packet of all.
    pub(super) fn pass_to_end(&mut self) {
        if let Some(end) = self.source.reached().filter(|_| self.has_flows()) {
            self.pass_to(end);
        }
    }

    fn has_flows(&self) -> bool {
        self.context.flows.borrow().as_ref().is_some_and(|flows| flows.live() > 0)
    }

    /// Whether flows count for a bucket that begins with a tick, or may be due.
    fn is_awaited(&self, tick: &Tick) -> bool {
        let mut flows = self.context.flows.borrow_mut();
        let Some(flows) = flows.as_mut().filter(|flows| flows.live() > 0) else { return false };
        tick.time >= self.context.shard.borrow().next_boundary() || tick.ages && flows.awaits(tick.time)
    }

    /// Moves time on to that of a packet by which no flow grows older.
    fn pass_to(&mut self, time: Timestamp) {
        self.pass(&Tick { time, offset: 0, ages: false });
    }

    /// Moves time on without packets.
    fn pass(&mut self, tick: &Tick) {
        let now = tick.time.max(self.context.now.get());
        self.context.now.set(now);
        self.move_time(now, 0);
        if let Some(flows) = &mut self.flows {
            flows.metering().pass(&mut self.context.shard.borrow_mut());
        }
        if tick.ages {
            self.begin_without_packets();
            self.pass_time(Some(now));
            self.close_batch();
        } else if let Some(flows) = self.context.flows.borrow_mut().as_mut() {
            flows.reach(now);
        }
    }
}
