//! `simplecounter`: called for every packet that has a protocol layer.

use std::sync::atomic::Ordering;

use mlua::{Function, LightUserData, Table};

use super::escape::lending;
use super::keeping::Keeping;
use crate::api::{EngineContext, Loans};
use crate::lua::{PluginError, Tokens};
use crate::packet::ProtocolId;
use crate::plugin::health::{ErrorRow, ROW_LIMIT};
use crate::plugin::instance::{Instance, stop_word};

const DRIVER: &str = include_str!("../../api/lua/driver.lua");
const POINTERS: &str = "
local objects, base, count = ...
local ffi = objects.ffi
local first, pointers = ffi.cast('ms_layer *', base), {}
for i = 1, count do pointers[i] = first + (i - 1) end
return pointers";

/// Name of the callback in messages.
const CALLBACK: &str = "simplecounter.onpacket";

/// Whether an instance's loop must stop when a message was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopOnMessage {
    /// It receives messages: it must not run ahead of one.
    Yes,
    /// It receives none.
    No,
}

/// A running `simplecounter` block.
#[derive(Debug)]
pub struct SimpleCounter {
    /// Its VM.
    pub instance: Instance,
    driver: Function,
    layers: Table,
    ring: usize,
    errors: ErrorRow,
}

impl SimpleCounter {
    /// Attaches a loaded instance to a protocol. `None` if the block has no `onpacket`.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn attach(
        instance: Instance,
        block: &Table,
        protocol: ProtocolId,
        stop: StopOnMessage,
        engine: &EngineContext,
    ) -> Result<Result<Self, Instance>, PluginError> {
        let callback: Option<Function> = instance.field(block, "onpacket")?;
        let Some(callback) = callback else { return Ok(Err(instance)) };
        let script = Tokens::of(&instance.file.script.source);
        let by_value = lending(&instance, &script, &callback, &[1], Some(0))? == Keeping::Perhaps;
        let callback = instance.watched(CALLBACK, callback)?;
        let parts = instance.parts().clone();
        let stop = stop_word((stop == StopOnMessage::Yes).then_some(engine));
        let errors = ErrorRow::default();
        let driver = instance.driver(
            DRIVER,
            "=millstream.driver",
            (&parts.objects, &parts.engine, callback, instance.on_error(), stop, errors.address(), by_value),
        )?;
        let ring = engine.loans.borrow_mut().ring(protocol);
        let base = LightUserData(engine.loans.borrow().ring_address(ring).cast_mut().cast());
        let layers: Table = {
            let chunk = instance.vm().load(POINTERS.as_bytes(), "=millstream.pointers")?;
            chunk.call((&parts.objects, base, Loans::ring_len()))?
        };
        Ok(Ok(Self { instance, driver, layers, ring, errors }))
    }

    /// Handles the packets `from..to` of the batch; returns the packet at which to go on, which is before `to` if a
    /// message was posted.
    pub fn run(&mut self, engine: &EngineContext, from: usize, to: usize) -> usize {
        let lent = engine.loans.borrow_mut().lend(self.ring, &engine.batch.borrow(), from, to);
        if lent.count == 0 {
            return to;
        }
        let last = lent.first + lent.count;
        let mut next = self.skip_suspended(engine, lent.first + 1, last);
        while next <= last {
            let start = next;
            let (result, seq) = self.instance.enter::<usize>(&self.driver, (&self.layers, next, last, ROW_LIMIT));
            match result {
                Ok(reached) => next = reached,
                Err(e) => {
                    // The loop was unwound: go on behind the packet it was at, which may not have been set yet.
                    let guilty = engine.loans.borrow().slot_of(self.ring, seq).map_or(last, |slot| slot + 1);
                    next = guilty.max(start) + 1;
                    self.instance.forget_caught(seq);
                    self.instance.at(seq, |instance| instance.fault(CALLBACK, &e));
                    self.errors.unwound(next - 1);
                }
            }
            self.instance.stats.calls += (next - start) as u64;
            self.instance.take_caught(CALLBACK);
            if self.errors.is_full() {
                let seq = engine.loans.borrow().slot_seq(self.ring, next - 2);
                self.instance.at(seq, |instance| instance.suspend(CALLBACK));
            }
            if next <= last && engine.stop.load(Ordering::Relaxed) != 0 {
                return engine.loans.borrow().packet_of_slot(self.ring, next - 1);
            }
            next = self.skip_suspended(engine, next, last);
        }
        // Stopped at the very last layer: the packet behind it is the next one.
        if engine.stop.load(Ordering::Relaxed) != 0 {
            return engine.loans.borrow().packet_of_slot(self.ring, last - 1) + 1;
        }
        to
    }

    /// The first of the slots `next..=last` (from 1) that may be handled: suspensions end at a packet's time, not a batch's.
    fn skip_suspended(&mut self, engine: &EngineContext, next: usize, last: usize) -> usize {
        let health = &mut self.instance.health;
        let mut at = next;
        if health.disabled().is_some() {
            at = at.max(last + 1);
        } else if health.suspended_until().is_some() {
            let (loans, batch) = (engine.loans.borrow(), engine.batch.borrow());
            let time = |slot: usize| batch.packets()[loans.packet_of_slot(self.ring, slot - 1)].ts;
            while at <= last && !health.may_run(time(at)) {
                at += 1;
            }
        }
        health.skipped += (at - next) as u64;
        at
    }
}
