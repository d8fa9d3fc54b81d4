//! From a loaded block of a file to a place among the instances of an engine.

use std::rc::Rc;

use super::catalog::Catalog;
use super::exchange::Member;
use super::frontend::{FlowTap, ProtocolHandler, SimpleCounter, StopOnMessage, hears_flows};
use super::host::{Frontend, SPOKEN};
use super::instance::{BlockTable, Instance, PluginFile};
use super::kind::PluginKind;
use super::manifest::Block;
use super::settings::{HostSettings, NetflowTap};
use crate::api::{EngineContext, LogLevel, ScriptId};
use crate::flow::Want;
use crate::lua::PluginError;
use crate::packet::ProtocolId;

/// Added to the rank of blocks that see a packet after its layers have been built.
const AFTER_LAYERS: u32 = 1 << 24;
/// Blocks that a file may have, and more.
const BLOCKS: u32 = 32;

/// Whether a block is called on packets or flows at all.
pub(super) fn is_called(block: &Block, settings: &HostSettings) -> bool {
    match block.kind {
        PluginKind::ProtocolHandler | PluginKind::Functions => true,
        PluginKind::SimpleCounter => settings.netflow_tap == NetflowTap::Off || block.flow_counter,
        kind => hears_flows(kind),
    }
}

/// The rank of a block of the file that has a place in the order of scripts. Every handler is asked before any counter is
/// called.
pub(super) fn rank(place: usize, file: &PluginFile, kind: PluginKind) -> u32 {
    let block = file.blocks.iter().position(|block| block.kind == kind).unwrap_or(0) as u32;
    let after = if kind == PluginKind::ProtocolHandler { 0 } else { AFTER_LAYERS };
    after + place as u32 * BLOCKS + block + 1
}

/// The topics that scripts make themselves, if any script's text speaks of such.
pub(super) fn spoken(catalog: &Catalog) -> u32 {
    let speaks = catalog.entries.iter().any(|e| e.mentions("add_flow_attribute") || e.mentions("new_flow_record"));
    if speaks { SPOKEN } else { 0 }
}

/// An instance with its callbacks.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "on its way to a list of its own kind")]
pub(super) enum FrontendMember {
    Handler(ProtocolHandler),
    Counter(SimpleCounter, StopOnMessage),
    Tap(FlowTap),
    Bystander(Instance),
}

impl FrontendMember {
    /// Looks up the callbacks of an instance; `None` if it has none.
    pub(super) fn attach(
        instance: Instance,
        block: &BlockTable,
        engine: &Rc<EngineContext>,
        settings: &HostSettings,
    ) -> Result<Option<Self>, PluginError> {
        let protocol = instance.file.block(instance.kind).and_then(|block| protocol_of(engine, block));
        Ok(match (instance.kind, protocol) {
            (PluginKind::ProtocolHandler, Some(protocol)) => {
                ProtocolHandler::attach(instance, block, protocol)?.ok().map(Self::Handler)
            }
            (PluginKind::SimpleCounter, Some(protocol)) => {
                let stop = if instance.listens() { StopOnMessage::Yes } else { StopOnMessage::No };
                let counter = SimpleCounter::attach(instance, block, protocol, stop, engine)?.ok();
                counter.map(|counter| Self::Counter(counter, stop))
            }
            (PluginKind::ProtocolHandler | PluginKind::SimpleCounter, None) => None,
            (PluginKind::Functions, _) => Some(Self::Bystander(instance)),
            (kind, _) => {
                let called = Want::from(kind != PluginKind::FilexMonitor || settings.files.is_some());
                FlowTap::attach(instance, block, engine, called)?.ok().map(Self::Tap)
            }
        })
    }
}

impl Member for FrontendMember {
    fn instance(&self) -> &Instance {
        match self {
            Self::Handler(handler) => &handler.instance,
            Self::Counter(counter, _) => &counter.instance,
            Self::Tap(tap) => &tap.instance,
            Self::Bystander(instance) => instance,
        }
    }

    fn instance_mut(&mut self) -> &mut Instance {
        match self {
            Self::Handler(handler) => &mut handler.instance,
            Self::Counter(counter, _) => &mut counter.instance,
            Self::Tap(tap) => &mut tap.instance,
            Self::Bystander(instance) => instance,
        }
    }
}

impl Frontend {
    /// Whether there is something to attach a block to; says so if not.
    pub(super) fn has_place(&self, script: ScriptId, block: &Block) -> bool {
        if hears_flows(block.kind) || block.kind == PluginKind::Functions {
            return true;
        }
        let kind = block.kind;
        let Some(protocol) = protocol_of(&self.engine, block) else {
            let text = format!("{}: no protocol has the GUID it names; the block is never called", kind.name());
            self.log_for(script, LogLevel::Warn, text);
            return false;
        };
        // The catalogue has said that the first definition wins.
        let is_taken = |handler: &ProtocolHandler| handler.protocol == protocol && handler.instance.file.id != script;
        kind != PluginKind::ProtocolHandler || !self.handlers.iter().any(is_taken)
    }

    /// Puts an instance behind those of its kind.
    pub(super) fn place(&mut self, member: FrontendMember) {
        match member {
            FrontendMember::Handler(handler) => self.handlers.push(handler),
            FrontendMember::Counter(counter, StopOnMessage::Yes) => self.hearing.push(counter),
            FrontendMember::Counter(counter, StopOnMessage::No) => self.deaf.push(counter),
            FrontendMember::Tap(tap) => self.taps.push(tap),
            FrontendMember::Bystander(instance) => self.bystanders.push(instance),
        }
    }
}

fn protocol_of(engine: &EngineContext, block: &Block) -> Option<ProtocolId> {
    block.protocol.and_then(|guid| engine.protocols.id(guid))
}
