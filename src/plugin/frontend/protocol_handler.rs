//! `protocol_handler`: asks a script how many bytes its protocol covers, and what comes behind.

use mlua::{Function, LightUserData, Table};

use super::escape::lending;
use super::keeping::Keeping;
use crate::api::{EngineContext, LayerSlot};
use crate::decode::Pending;
use crate::lua::{PluginError, Tokens};
use crate::packet::{Layer, ProtocolId};
use crate::plugin::health::{ErrorRow, ROW_LIMIT};
use crate::plugin::instance::Instance;

const DRIVER: &str = include_str!("../../api/lua/parse_driver.lua");
/// Name of the callback in messages.
const CALLBACK: &str = "protocol_handler.parselayer";

/// What a script answered about the bytes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not this protocol: decoding stops.
    Decline,
    /// The layer covers this many bytes; `next` decodes what follows.
    Layer {
        /// Bytes claimed.
        bytes: u32,
        /// What follows.
        next: Next,
    },
}

/// What follows a script's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is the last layer.
    Nothing,
    /// A protocol nobody knows, and one too many of these: an opaque layer.
    Unknown,
    /// This protocol.
    Protocol(ProtocolId),
}

/// A running `protocol_handler` block.
#[derive(Debug)]
pub struct ProtocolHandler {
    /// Its VM.
    pub instance: Instance,
    /// The protocol it parses.
    pub protocol: ProtocolId,
    driver: Function,
    errors: ErrorRow,
    /// Number of the first packet of the batch it was asked about last.
    asked_at: i32,
    slots: Vec<*const LayerSlot>,
    eaten: Vec<i32>,
    next: Vec<i32>,
}

impl ProtocolHandler {
    /// Attaches a loaded instance. `Err` gives it back if the block has no `parselayer`.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn attach(
        instance: Instance,
        block: &Table,
        protocol: ProtocolId,
    ) -> Result<Result<Self, Instance>, PluginError> {
        let callback: Option<Function> = instance.field(block, "parselayer")?;
        let Some(callback) = callback else { return Ok(Err(instance)) };
        let script = Tokens::of(&instance.file.script.source);
        let by_value = lending(&instance, &script, &callback, &[0], None)? == Keeping::Perhaps;
        let callback = instance.watched(CALLBACK, callback)?;
        let parts = instance.parts().clone();
        let errors = ErrorRow::default();
        let driver = instance.driver(
            DRIVER,
            "=millstream.parse",
            (&parts.objects, &parts.host, callback, instance.on_error(), errors.address(), by_value),
        )?;
        let (slots, eaten, next) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Ok(Self { instance, protocol, driver, errors, asked_at: 0, slots, eaten, next }))
    }

    /// Asks about every entry; one answer each.
    pub fn ask(&mut self, engine: &EngineContext, pending: &[Pending]) -> Vec<Answer> {
        if !self.instance.health.may_run(engine.now.get()) {
            self.instance.health.skipped += pending.len() as u64;
            return vec![Answer::Decline; pending.len()];
        }
        self.lend(engine, pending);
        let address = |list: &mut Vec<i32>| LightUserData(list.as_mut_ptr().cast());
        let (eaten, next) = (address(&mut self.eaten), address(&mut self.next));
        let slots = LightUserData(self.slots.as_mut_ptr().cast());
        let mut at = 0;
        while at < pending.len() {
            let start = at;
            let (result, seq) =
                self.instance.enter::<usize>(&self.driver, (slots, at, pending.len() - 1, eaten, next, ROW_LIMIT));
            match result {
                Ok(reached) => at = reached,
                Err(e) => {
                    let packet = engine.loans.borrow().index_of(seq);
                    let guilty = pending[start..].iter().position(|p| Some(p.packet as usize) == packet).unwrap_or(0);
                    at = start + guilty + 1;
                    self.errors.unwound(at - 1);
                    self.instance.forget_caught(seq);
                    self.instance.fault(CALLBACK, &e);
                }
            }
            self.instance.stats.calls += (at - start) as u64;
            self.instance.take_caught(CALLBACK);
            if self.errors.is_full() {
                self.instance.suspend(CALLBACK);
            }
            if !self.instance.health.may_run(engine.now.get()) {
                self.instance.health.skipped += (pending.len() - at) as u64;
                break;
            }
        }
        self.eaten.iter().zip(&self.next).map(|(&eaten, &next)| answer(eaten, next)).collect()
    }

    fn lend(&mut self, engine: &EngineContext, pending: &[Pending]) {
        let batch = engine.batch.borrow();
        let mut loans = engine.loans.borrow_mut();
        // Asked about a packet again, further inside: what it kept of the time before is stale, although the number is the same.
        if self.asked_at == loans.seq(0) {
            loans.next_round();
        }
        self.asked_at = loans.seq(0);
        self.slots.clear();
        self.slots.extend(pending.iter().enumerate().map(|(entry, p)| {
            let layer = Layer { protocol: self.protocol, offset: p.offset, len: p.available };
            loans.lend_pending(&batch, entry, p.packet as usize, layer)
        }));
        self.eaten.clear();
        self.eaten.resize(pending.len(), -1);
        self.next.clear();
        self.next.resize(pending.len(), -1);
    }
}

fn answer(eaten: i32, next: i32) -> Answer {
    let Ok(bytes) = u32::try_from(eaten) else { return Answer::Decline };
    let next = match next {
        -1 => Next::Nothing,
        index => u16::try_from(index).map_or(Next::Unknown, |id| Next::Protocol(ProtocolId(id))),
    };
    Answer::Layer { bytes, next }
}
