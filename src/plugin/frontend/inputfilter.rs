//! `inputfilter`: a script in place of a capture file or an interface.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use mlua::{Function, LightUserData, LuaString, Table, Value};

use crate::api::{
    AlertEnds, AlertKind, AlertRecord, EngineContext, LogLevel, Record, VmContext, engine as engine_object,
};
use crate::decode::Decoder;
use crate::guid::Guid;
use crate::key::{FlowTuple, Host, has_ports};
use crate::lua::{FaultKind, PluginError};
use crate::metrics::{GroupKind, Snapshot, cut_text};
use crate::packet::{LinkType, Packet};
use crate::plugin::catalog::Catalog;
use crate::plugin::completions::JobPlan;
use crate::plugin::host::{LoadProblem, report_problem};
use crate::plugin::instance::{Instance, LoadFailure, Seat};
use crate::plugin::kind::PluginKind;
use crate::plugin::settings::HostSettings;
use crate::time::Timestamp;

const DRIVER: &str = include_str!("../../api/lua/input_driver.lua");
const STEP: &str = "inputfilter.step";
const STEP_ALERT: &str = "inputfilter.step_alert";
/// Alerts taken in a row before packets get their turn.
const MAX_ALERTS: usize = 1_000;
/// Errors of `step` in a row after which the input ends.
const MAX_ERRORS: u32 = 100;
/// Largest packet a script may build.
const MAX_PACKET_BYTES: usize = 262_144;
const ALERT_SIGNATURES: Guid = Guid::literal("{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}");

/// A packet that a script built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltPacket {
    /// Capture time.
    pub time: Timestamp,
    /// Type of its first layer.
    pub linktype: LinkType,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a call of `step` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Call again; perhaps with a packet.
    More(Option<BuiltPacket>),
    /// The input has ended; perhaps with a last packet.
    End(Option<BuiltPacket>),
}

/// A running `inputfilter` block.
#[derive(Debug)]
pub struct InputFilter {
    /// Its VM.
    pub instance: Instance,
    step: Option<Function>,
    step_alert: Option<Function>,
    built: Rc<RefCell<Option<BuiltPacket>>>,
    /// Buckets that the script's clock has passed.
    closed: Rc<RefCell<Vec<Snapshot>>>,
    errors: u32,
}

impl InputFilter {
    /// Loads the input filter of the catalogue.
    ///
    /// # Errors
    /// What went wrong, logged already; `None` if the script did not want to run.
    pub fn load(
        catalog: &Catalog,
        engine: &Rc<EngineContext>,
        settings: &HostSettings,
        jobs: &JobPlan,
    ) -> Result<Self, Option<LoadProblem>> {
        let Some(entry) = catalog.input_filter() else { return Err(None) };
        let script = entry.id;
        let failed = |stage: &'static str, error: PluginError| Some(report_problem(engine, script, stage, error));
        let file = Rc::new(entry.plugin_file(settings));
        let (instance, block) =
            match Instance::load(&file, Seat::new(PluginKind::InputFilter, 1), engine, settings, jobs) {
                Ok(loaded) => loaded,
                Err(LoadFailure::Declined) => return Err(None),
                Err(LoadFailure::Fault(stage, error)) => return Err(failed(stage, error)),
            };
        match Self::attach(instance, &block) {
            Ok(Ok(filter)) => Ok(filter),
            Ok(Err(_)) => {
                let message = format!("{}: inputfilter has neither step nor step_alert", entry.name);
                let error = PluginError { kind: FaultKind::Error, message, traceback: String::new() };
                Err(failed("attach", error))
            }
            Err(error) => Err(failed("attach", error)),
        }
    }

    /// Attaches a loaded instance. `Err` gives it back if the block has neither `step` nor `step_alert`.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn attach(instance: Instance, block: &Table) -> Result<Result<Self, Instance>, PluginError> {
        let step: Option<Function> = instance.field(block, "step")?;
        let step_alert: Option<Function> = instance.field(block, "step_alert")?;
        if step.is_none() && step_alert.is_none() {
            return Ok(Err(instance));
        }
        let parts = instance.parts().clone();
        let built: Rc<RefCell<Option<BuiltPacket>>> = Rc::default();
        let (context, place) = (Rc::clone(instance.context()), Rc::clone(&built));
        // It is never the time of a packet; until the script sets it, it stands at its beginning.
        context.own_time.set(Some(Timestamp::EPOCH));
        let closed: Rc<RefCell<Vec<Snapshot>>> = Rc::default();
        let on_packet = Clock { context: Rc::clone(&context), closed: Rc::clone(&closed) };
        let decoder = RefCell::new(Decoder::new());
        let lua = instance.vm().lua();
        type PacketArgs = (Option<f64>, Option<f64>, Option<f64>, Option<LuaString>);
        let set_packet = lua.create_function(move |_, (secs, usecs, dlt, bytes): PacketArgs| {
            let (Some(secs), Some(dlt), Some(bytes)) = (secs, dlt, bytes) else {
                on_packet.context.nil_argument("set_packet");
                return Ok(());
            };
            let mut bytes = bytes.as_bytes().to_vec();
            bytes.truncate(MAX_PACKET_BYTES);
            let time = on_packet.forward(engine_object::timestamp(secs, usecs));
            let built = BuiltPacket { time, linktype: link_type(dlt), bytes };
            show_built(&on_packet.context, &mut decoder.borrow_mut(), &built);
            *place.borrow_mut() = Some(built);
            Ok(())
        })?;
        let on_time = Clock { context: Rc::clone(&context), closed: Rc::clone(&closed) };
        let place = Rc::clone(&built);
        let set_timestamp = lua.create_function(move |_, (_, secs, usecs): (Value, Option<f64>, Option<f64>)| {
            let Some(secs) = secs else {
                on_time.context.nil_argument("set_timestamp");
                return Ok(());
            };
            let time = on_time.forward(engine_object::timestamp(secs, usecs));
            on_time.show(time);
            if let Some(built) = &mut *place.borrow_mut() {
                built.time = time;
            }
            Ok(())
        })?;
        parts.host.set("set_packet", set_packet)?;
        parts.host.set("set_timestamp", set_timestamp)?;
        let driver = match step {
            Some(step) => {
                instance.lend_values()?;
                let args = (&parts.objects, &parts.engine, &parts.host, step, instance.on_error());
                Some(instance.driver(DRIVER, "=millstream.input", args)?)
            }
            None => None,
        };
        Ok(Ok(Self { instance, step: driver, step_alert, built, closed, errors: 0 }))
    }

    /// True if there is a `step`; without it the source of packets is empty and the run lasts until it is stopped.
    #[must_use]
    pub fn has_step(&self) -> bool {
        self.step.is_some()
    }

    /// The clock that the script set last.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.instance.context().own_time.get().unwrap_or_default()
    }

    /// Whether the script has set the clock.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        self.time() > Timestamp::EPOCH
    }

    /// Buckets that ended since the last call.
    #[must_use]
    pub fn take_closed(&self) -> Vec<Snapshot> {
        std::mem::take(&mut *self.closed.borrow_mut())
    }

    /// Calls `step` once with a fresh, empty packet. It may block.
    pub fn step(&mut self, engine: &EngineContext) -> Step {
        let Some(driver) = self.step.clone() else { return Step::End(None) };
        let slot = {
            let mut batch = engine.batch.borrow_mut();
            batch.clear();
            batch.push(Packet::new(self.time(), 0, 0, 0, LinkType::default(), 0));
            let mut loans = engine.loans.borrow_mut();
            loans.begin(1, 0);
            LightUserData(loans.packet(&batch, 0).cast())
        };
        self.instance.stats.calls += 1;
        let (result, _) = self.instance.enter_unlimited::<(bool, bool)>(&driver, slot);
        engine.batch.borrow_mut().clear();
        self.instance.take_caught(STEP);
        let built = self.built.borrow_mut().take();
        let more = match result {
            Ok((true, more)) => {
                self.errors = 0;
                more
            }
            Ok((false, _)) => self.erred(),
            Err(e) => {
                self.instance.fault(STEP, &e);
                self.erred()
            }
        };
        if more { Step::More(built) } else { Step::End(built) }
    }

    /// An error counts as "call again", up to a limit.
    fn erred(&mut self) -> bool {
        self.errors += 1;
        if self.errors >= MAX_ERRORS {
            let text = format!("{STEP}: {MAX_ERRORS} errors in a row, the input ends");
            self.instance.context().log(LogLevel::Error, text);
        }
        self.errors < MAX_ERRORS
    }

    /// Polls `step_alert` until it has nothing.
    pub fn alerts(&mut self, engine: &EngineContext) {
        let Some(function) = self.step_alert.clone() else { return };
        for _ in 0..MAX_ALERTS {
            let Some(Value::Table(alert)) = self.instance.callback::<Value>(STEP_ALERT, &function, ()) else { return };
            let objects = &self.instance.parts().objects;
            match self.instance.reading(|| read_alert(&alert, objects, engine)) {
                Ok(Ok((record, label))) => {
                    let context = self.instance.context();
                    if let Some(label) = label {
                        let (guid, key) = (ALERT_SIGNATURES, record.sigid.clone());
                        context.record(Record::KeyInfo { guid, key, label, description: None });
                    }
                    context.record(Record::Alert(Box::new(record)));
                }
                Ok(Err(problem)) => self.instance.context().warn_once(&format!("{STEP_ALERT}: {problem}; dropped")),
                Err(e) => self.instance.fault(STEP_ALERT, &e),
            }
        }
    }
}

/// The link type of a number; what is none is a type that nobody knows.
fn link_type(number: f64) -> LinkType {
    LinkType(if (0.0..=65_535.0).contains(&number) { number as u16 } else { u16::MAX })
}

/// Makes the packet of the call of `step` the one that was built, as the script sees it. Protocols of scripts are looked
/// for where it is processed.
fn show_built(context: &VmContext, decoder: &mut Decoder, built: &BuiltPacket) {
    let engine = &context.engine;
    let (Ok(mut batch), Ok(mut loans)) = (engine.batch.try_borrow_mut(), engine.loans.try_borrow_mut()) else { return };
    let len = built.bytes.len() as u32;
    batch.clear();
    batch.buffer.clear();
    batch.buffer.extend_from_slice(&built.bytes);
    batch.push(Packet::new(built.time, 0, len, len, built.linktype, 0));
    decoder.decode(&engine.protocols, &mut batch);
    context.guard.progress.store(loans.renew(&batch), Ordering::Relaxed);
}

/// The clock that a script sets. What it counts from then on belongs to that time.
struct Clock {
    context: Rc<VmContext>,
    closed: Rc<RefCell<Vec<Snapshot>>>,
}

impl Clock {
    /// Moves the clock, but never back; returns where it is.
    fn forward(&self, time: Timestamp) -> Timestamp {
        let clock = &self.context.own_time;
        let time = clock.get().map_or(time, |now| now.max(time));
        clock.set(Some(time));
        let mut closed = self.closed.borrow_mut();
        self.context.engine.shard.borrow_mut().advance(time, |snapshot| closed.push(snapshot));
        time
    }

    /// Gives the packet of the call of `step` that time, as the script sees it.
    fn show(&self, time: Timestamp) {
        let engine = &self.context.engine;
        let (Ok(batch), Ok(mut loans)) = (engine.batch.try_borrow(), engine.loans.try_borrow_mut()) else { return };
        if !batch.packets().is_empty() {
            loans.set_time(&batch, 0, time);
        }
    }
}

/// Why a table returned by `step_alert` is no alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum BadAlert {
    #[error("{0} is missing or malformed")]
    Field(&'static str),
    #[error("no alert group {0} is defined")]
    Group(Guid),
}

type AlertAndLabel = (AlertRecord, Option<Vec<u8>>);

/// `objects` has the conversions of Lua as they were before the script could change them.
fn read_alert(table: &Table, objects: &Table, engine: &EngineContext) -> mlua::Result<Result<AlertAndLabel, BadAlert>> {
    let to_number: Function = objects.get("tonumber")?;
    let to_string: Function = objects.get("tostring")?;
    let as_number = |value: Value| -> mlua::Result<Option<f64>> {
        match value {
            Value::Integer(number) => Ok(Some(number as f64)),
            Value::Number(number) => Ok(Some(number)),
            Value::String(_) | Value::Other(_) => to_number.call(value),
            _ => Ok(None),
        }
    };
    let number = |name: &str| as_number(table.get(name)?);
    let text = |name: &str| -> mlua::Result<Option<Vec<u8>>> {
        match table.get::<Value>(name)? {
            Value::String(text) => Ok(Some(cut_text(&text.as_bytes()).to_vec())),
            value => match as_number(value)? {
                Some(number) => Ok(Some(to_string.call::<LuaString>(number)?.as_bytes().to_vec())),
                None => Ok(None),
            },
        }
    };
    let guid = text("AlertGroupGUID")?.and_then(|text| Guid::parse(&text).ok());
    let Some(guid) = guid else { return Ok(Err(BadAlert::Field("AlertGroupGUID"))) };
    let Some(group) = engine.groups.find(GroupKind::Alert, guid) else { return Ok(Err(BadAlert::Group(guid))) };
    let guid = group.guid;
    let Some(secs) = number("TimestampSecs")? else { return Ok(Err(BadAlert::Field("TimestampSecs"))) };
    let Some(sigid) = text("SigIDKey")? else { return Ok(Err(BadAlert::Field("SigIDKey"))) };
    let label = match text("SigIDKeyLabel")? {
        None => text("SigIDLabel")?,
        label => label,
    };
    let lossy = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let or = |value: Option<Vec<u8>>, default: &str| value.unwrap_or_else(|| default.as_bytes().to_vec());
    let ends = AlertEnds {
        source_ip: lossy(or(text("SourceIP")?, "0.0.0.0")),
        source_port: lossy(or(text("SourcePort")?, "0")),
        destination_ip: lossy(or(text("DestIP")?, "0.0.0.0")),
        destination_port: lossy(or(text("DestPort")?, "0")),
        protocol: number("Protocol")?.unwrap_or(0.0) as i64,
        sig_rev: number("SigRev")?.unwrap_or(0.0) as i64,
        time: engine_object::timestamp(secs, Some(number("TimestampUsecs")?.unwrap_or(0.0))),
    };
    let record = AlertRecord {
        guid,
        flow: flow_of(&ends),
        sigid: engine_object::until_key_end(&sigid),
        priority: number("Priority")?.unwrap_or(1.0),
        message: label.clone().unwrap_or_default(),
        classification: or(text("ClassificationKey")?, "c-xx"),
        status: or(text("AlertStatus")?, "ALARM"),
        extra: text("AlertDetails")?.unwrap_or_default(),
        ack: u8::from(number("AcknowledgeFlag")?.unwrap_or(0.0) != 0.0),
        kind: AlertKind::Ids,
        ends: Some(ends),
        client: None,
    };
    Ok(Ok((record, label)))
}

/// The flow of an alert's addresses; tokens in place of ports, and ports of protocols that have none, count as no port. Empty if the addresses do not fit.
fn flow_of(ends: &AlertEnds) -> Vec<u8> {
    let protocol = ends.protocol.clamp(0, 255) as u8;
    let port = |text: &str| if has_ports(protocol) { text.trim().parse::<u16>().unwrap_or(0) } else { 0 };
    let (source, destination) = (port(&ends.source_port), port(&ends.destination_port));
    let tuple = match (Host::from_readable(&ends.source_ip), Host::from_readable(&ends.destination_ip)) {
        (Some(Host::V4(a)), Some(Host::V4(b))) => FlowTuple::v4(protocol, a, b, source, destination).0,
        (Some(Host::V6(a)), Some(Host::V6(b))) => FlowTuple::v6(protocol, a, b, source, destination).0,
        _ => return Vec::new(),
    };
    tuple.id().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::flow_of;
    use crate::api::AlertEnds;
    use crate::time::Timestamp;

    #[test]
    fn the_flow_of_an_alert_follows_the_rules_of_flow_ids() {
        let mut ends = AlertEnds {
            source_ip: "10.0.0.9".to_owned(),
            source_port: "25".to_owned(),
            destination_ip: "10.0.0.5".to_owned(),
            destination_port: "40000".to_owned(),
            protocol: 6,
            sig_rev: 1,
            time: Timestamp::EPOCH,
        };
        assert_eq!(flow_of(&ends), b"06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0019");
        ends.source_port = "icmp01".to_owned();
        ends.destination_port = "x".to_owned();
        ends.protocol = 1;
        assert_eq!(flow_of(&ends), b"01A:0A.00.00.05:p-0000_0A.00.00.09:p-0000");
        ends.source_ip = "nonsense".to_owned();
        assert!(flow_of(&ends).is_empty());
    }
}
