//! Builds the engine object of a VM: the Lua text of the objects, and the host functions that need no speed.

use std::ffi::c_void;
use std::rc::Rc;

use mlua::{AnyUserData, LightUserData, Lua, Table, Value};

use super::context::{Addressee, StoreHint, VmContext, bump};
use super::flow_command::{FlowWish, NoteText};
use super::flow_fields::flow_field_names;
use super::hostcall;
use super::http_header;
use super::record::{AlertKind, AlertRecord, Record, Side};
use super::strings::{self, FileFailures};
use super::values;
use crate::flow::FlowCounter;
use crate::guid::Guid;
use crate::lua::own_text;
use crate::metrics::{CountedDirection, FlowAttribute, GroupIndex, GroupKind, MAX_KEY_LEN, cut_text};
use crate::time::Timestamp;

const OBJECTS: &str = include_str!("lua/objects.lua");
const ENGINE: &str = include_str!("lua/engine.lua");

/// Probe id that scripts see.
pub const PROBE_ID: &str = "probe0";

/// The parts of a VM that driver loops are made from.
#[derive(Debug, Clone)]
pub struct EngineParts {
    /// The table `objects.lua` returns.
    pub objects: Table,
    /// The engine object.
    pub engine: Table,
    /// The host functions.
    pub host: Table,
}

/// Makes the objects and the engine of a VM. The context must outlive the VM; the VM keeps a reference to it.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(lua: &Lua, vm: &Rc<VmContext>) -> mlua::Result<EngineParts> {
    let host = lua.create_table()?;
    host.set("table", LightUserData(hostcall::table_address().cast_mut()))?;
    host.set("vm", LightUserData(Rc::as_ptr(vm).cast::<c_void>().cast_mut()))?;
    host.set("progress", LightUserData(std::ptr::from_ref(&vm.guard.progress).cast::<c_void>().cast_mut()))?;
    host.set("generation", LightUserData(vm.generation.address().cast::<c_void>().cast_mut()))?;
    // Keeps the context alive as long as the functions that point to it.
    host.set("owner", lua.create_any_userdata(Rc::clone(vm))?)?;
    host.set("instance_id", vm.instance_id.as_str())?;
    host.set("probe_id", PROBE_ID)?;
    install_lookups(lua, &host, vm)?;
    install_buffers(lua, &host, vm)?;
    install_items(lua, &host, vm)?;
    install_flows(lua, &host, vm)?;
    install_messages(lua, &host, vm)?;
    let objects: Table = own_text(lua, "=millstream.objects", OBJECTS)?.call(&host)?;
    http_header::install(lua, &objects, &host, vm)?;
    let engine: Table = own_text(lua, "=millstream.engine", ENGINE)?.call((&objects, &host, vm.side.name()))?;
    Ok(EngineParts { objects, engine, host })
}

fn host_function<A, R, F>(lua: &Lua, host: &Table, name: &str, vm: &Rc<VmContext>, function: F) -> mlua::Result<()>
where
    A: mlua::FromLuaMulti,
    R: mlua::IntoLuaMulti,
    F: Fn(&Rc<VmContext>, A) -> mlua::Result<R> + 'static,
{
    let vm = Rc::clone(vm);
    host.set(
        name,
        lua.create_function(move |lua, args: A| {
            let result = function(&vm, args);
            if vm.has_said_too_much() {
                vm.tell_overrun(Some(lua));
            }
            result
        })?,
    )
}

fn install_lookups(lua: &Lua, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host_function(lua, host, "group_index", vm, |vm, text: mlua::LuaString| {
        let found =
            counter_guid(vm, &text.as_bytes(), "update_counter").and_then(|guid| vm.engine.groups.counter_index(guid));
        Ok(match found {
            Some(index) => Value::Integer(i64::from(index.0)),
            None => {
                if Guid::parse(&text.as_bytes()).is_ok() {
                    let shown = text.to_string_lossy();
                    vm.warn_once(&format!("no counter group {shown} is defined; updates to it are dropped"));
                }
                Value::Boolean(false)
            }
        })
    })?;
    let engine = Rc::clone(vm);
    let lend = move |lua: &Lua, objects: Table| values::install(lua, &objects, &engine.engine);
    host.set("lend_values", lua.create_function(lend)?)?;
    host_function(lua, host, "bad_meter", vm, |vm, (group, meter): (u16, f64)| {
        super::hostcall::unknown_meter(vm, GroupIndex(group), meter);
        Ok(())
    })?;
    host_function(lua, host, "protocol_index", vm, |vm, text: mlua::LuaString| {
        let found = Guid::parse(&text.as_bytes()).ok().and_then(|guid| vm.engine.protocols.id(guid));
        Ok(found.map_or(-1, |protocol| i64::from(protocol.0)))
    })?;
    host_function(lua, host, "next_protocol", vm, |vm, text: mlua::LuaString| {
        let found = Guid::parse(&text.as_bytes()).ok().and_then(|guid| vm.engine.protocols.id_or_name(guid));
        Ok(found.map_or(-2, |protocol| i64::from(protocol.0)))
    })?;
    host_function(lua, host, "protocol_guid", vm, |vm, index: u16| {
        Ok(vm.engine.protocols.guid(crate::packet::ProtocolId(index)).to_string())
    })?;
    host.set("flow_fields", lua.create_sequence_from(flow_field_names())?)?;
    host_function(lua, host, "stale", vm, |vm, _what: mlua::LuaString| {
        bump(&vm.engine.oddities.stale_uses);
        Ok(())
    })?;
    host_function(lua, host, "nil_argument", vm, |vm, method: String| {
        vm.nil_argument(&method);
        Ok(())
    })?;
    host_function(lua, host, "timestamp", vm, |vm, ()| {
        let time = if vm.side == Side::Backend { vm.engine.last_window.get() } else { vm.time() };
        Ok(time.secs())
    })
}

/// The GUID of a text; a malformed one is warned of once.
fn counter_guid(vm: &VmContext, text: &[u8], method: &str) -> Option<Guid> {
    match Guid::parse(text) {
        Ok(guid) => Some(guid),
        Err(_) => {
            let shown = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
            vm.warn_once(&format!("{method}(): '{shown}' is not a GUID with braces; the call is dropped"));
            None
        }
    }
}

fn install_buffers(lua: &Lua, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host.set("hexdump", lua.create_function(|_, text: mlua::LuaString| Ok(strings::hexdump(&text.as_bytes())))?)?;
    let on_log = Rc::clone(vm);
    let failures = FileFailures::new(Rc::new(move |level, text| on_log.log(level, text)));
    let on_append = Rc::clone(&failures);
    host_function(lua, host, "append_file", vm, move |vm, (text, name): (Text, Option<Text>)| {
        let Some(name) = name else {
            vm.nil_argument("appendtofile");
            return Ok(());
        };
        let name = name.as_bytes();
        if let Err(e) = strings::append_to_file(strings::path_of(&name), &text.as_bytes()) {
            on_append.report("appendtofile", &name, &e);
        }
        Ok(())
    })?;
    host_function(lua, host, "write_file", vm, move |vm, (text, name, position): (Text, Option<Text>, f64)| {
        let Some(name) = name else {
            vm.nil_argument("writetofile");
            return Ok(());
        };
        let name = name.as_bytes();
        if let Err(e) = strings::write_to_file(strings::path_of(&name), position, &text.as_bytes()) {
            failures.report("writetofile", &name, &e);
        }
        Ok(())
    })?;
    host_function(lua, host, "set_timestamp", vm, |vm, (_packet, secs, usecs): (Value, Option<f64>, Option<f64>)| {
        let Some(secs) = secs else {
            vm.nil_argument("set_timestamp");
            return Ok(());
        };
        set_timestamp(vm, secs, usecs);
        Ok(())
    })?;
    host_function(lua, host, "set_packetstore_policy", vm, |vm, flags: Option<f64>| {
        match (flags, vm.current_packet()) {
            (None, _) => vm.nil_argument("set_packetstore_policy"),
            (Some(_), None) => bump(&vm.engine.oddities.no_packet),
            (Some(flags), Some(packet)) => {
                if let Some(hint) = StoreHint::of_number(flags) {
                    vm.engine.hint(packet, hint);
                }
            }
        }
        Ok(())
    })
}

/// The time of the current packet as scripts see it becomes another one.
fn set_timestamp(vm: &VmContext, secs: f64, usecs: Option<f64>) {
    let time = timestamp(secs, usecs);
    let Some(index) = vm.current_packet() else { return bump(&vm.engine.oddities.no_packet) };
    let (Ok(batch), Ok(mut loans)) = (vm.engine.batch.try_borrow(), vm.engine.loans.try_borrow_mut()) else { return };
    loans.set_time(&batch, index, time);
}

/// Seconds and microseconds as scripts give them; without microseconds the fraction of the seconds counts.
#[must_use]
pub fn timestamp(secs: f64, usecs: Option<f64>) -> Timestamp {
    match usecs {
        Some(usecs) => Timestamp::new(secs as i64, (usecs * 1_000.0) as i64),
        None => {
            // The nearest one: a number of today's size says 0.1 as 0.0999999, and microseconds are as much as it can hold.
            let whole = secs.floor();
            Timestamp::new(whole as i64, ((secs - whole) * 1e6).round() as i64 * 1_000)
        }
    }
}

type Text = mlua::LuaString;

/// Text up to its first NUL byte, as keys, labels and tags end there.
#[must_use]
pub fn until_nul(text: &[u8]) -> Vec<u8> {
    text.split(|&byte| byte == 0).next().unwrap_or_default().to_vec()
}

/// A key as counters have it: up to its first NUL byte, cut at [`MAX_KEY_LEN`].
#[must_use]
pub fn until_key_end(text: &[u8]) -> Vec<u8> {
    until_nul(&text[..text.len().min(MAX_KEY_LEN)])
}

fn key_of(text: &Text) -> Vec<u8> {
    until_key_end(&text.as_bytes())
}

/// A flow id as a script says it, whatever it says: no id of a flow is longer than a key.
#[must_use]
pub fn flow_id_of(text: &[u8]) -> Vec<u8> {
    until_key_end(text)
}

fn flow_of(text: &Text) -> Vec<u8> {
    flow_id_of(&text.as_bytes())
}

fn flow_or_none(text: Option<&Text>) -> Vec<u8> {
    text.map(flow_of).unwrap_or_default()
}

/// A label, a description or a tag.
pub(super) fn label_of(text: &Text) -> Vec<u8> {
    until_nul(cut_text(&text.as_bytes()))
}

fn text_of(text: &Text) -> Vec<u8> {
    cut_text(&text.as_bytes()).to_vec()
}

fn install_items(lua: &Lua, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host_function(
        lua,
        host,
        "update_key_info",
        vm,
        |vm, (guid, key, label, description): (Text, Text, Text, Option<Text>)| {
            let Some(guid) = counter_guid(vm, &guid.as_bytes(), "update_key_info") else { return Ok(()) };
            let (key, label) = (key_of(&key), label_of(&label));
            let description = description.as_ref().map(label_of);
            vm.record(Record::KeyInfo { guid, key, label, description });
            Ok(())
        },
    )?;
    host_function(lua, host, "set_key_attribute", vm, |vm, (guid, key, name, value): (Text, Text, Text, Text)| {
        let Some(guid) = counter_guid(vm, &guid.as_bytes(), "set_key_attribute") else { return Ok(()) };
        vm.record(Record::KeyAttribute { guid, key: key_of(&key), name: text_of(&name), value: text_of(&value) });
        Ok(())
    })?;
    type AlertArgs = (String, Text, Option<Text>, Text, Text, f64, Text, Option<Text>);
    host_function(
        lua,
        host,
        "add_alert",
        vm,
        |vm, (kind, guid, flow, sigid, classification, priority, message, status): AlertArgs| {
            let (kind, method) = match kind.as_str() {
                "simple" => (AlertKind::Simple, "add_alert"),
                "full" => (AlertKind::Full, "add_alert_full"),
                _ => (AlertKind::Tca, "add_alert_tca"),
            };
            let Some(guid) = counter_guid(vm, &guid.as_bytes(), method) else { return Ok(()) };
            let Some(group) = vm.engine.groups.find(GroupKind::Alert, guid) else {
                vm.warn_once(&format!("no alert group {guid} is defined; alerts for it are dropped"));
                return Ok(());
            };
            let flow = flow_or_none(flow.as_ref());
            let client = vm.engine.client_of(&flow);
            vm.record(Record::Alert(Box::new(AlertRecord {
                // Whichever of its GUIDs the script used.
                guid: group.guid,
                flow,
                sigid: key_of(&sigid),
                priority,
                message: text_of(&message),
                classification: text_of(&classification),
                status: status.as_ref().map_or_else(|| b"ALARM".to_vec(), text_of),
                extra: Vec::new(),
                ack: 0,
                kind,
                ends: None,
                client,
            })));
            Ok(())
        },
    )?;
    host_function(lua, host, "add_resource", vm, |vm, (guid, flow, uri, label): (Text, Option<Text>, Text, Text)| {
        let Some(guid) = counter_guid(vm, &guid.as_bytes(), "add_resource") else { return Ok(()) };
        let Some(group) = vm.engine.groups.find(GroupKind::Resource, guid) else {
            vm.warn_once(&format!("no resource group {guid} is defined; resources for it are dropped"));
            return Ok(());
        };
        let guid = group.guid;
        vm.record(Record::Resource {
            guid,
            flow: flow_or_none(flow.as_ref()),
            uri: text_of(&uri),
            label: text_of(&label),
        });
        Ok(())
    })?;
    host_function(lua, host, "add_edge", vm, |vm, (from, from_key, to, to_key): (Text, Text, Text, Text)| {
        let (Some(from_guid), Some(to_guid)) =
            (counter_guid(vm, &from.as_bytes(), "add_edge"), counter_guid(vm, &to.as_bytes(), "add_edge"))
        else {
            return Ok(());
        };
        if vm.engine.edges.get() {
            vm.record(Record::Edge { from_guid, from_key: key_of(&from_key), to_guid, to_key: key_of(&to_key) });
        }
        Ok(())
    })
}

fn install_flows(lua: &Lua, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host_function(lua, host, "tag_flow", vm, |vm, (flow, tag): (Text, Text)| {
        let replace = |&byte: &u8| if b"|\r\n".contains(&byte) { b'_' } else { byte };
        let tag: Vec<u8> = label_of(&tag).iter().map(replace).collect();
        let record = Record::Tag { flow: flow_of(&flow), tag: tag.clone() };
        if vm.may_say(1, record.bytes()) {
            vm.command(flow_of(&flow), FlowWish::Tag(tag));
            vm.record_as(vm.side, record);
        }
        Ok(())
    })?;
    type CounterArgs = (Text, Text, Option<Text>, f64, f64, bool);
    host_function(lua, host, "flow_counter", vm, |vm, (flow, guid, key, meter, direction, reset): CounterArgs| {
        let method = if reset { "reset_flow_counter" } else { "add_flow_counter" };
        let Some(guid) = counter_guid(vm, &guid.as_bytes(), method) else { return Ok(()) };
        let (flow, key) = (flow_of(&flow), key.as_ref().map(key_of));
        if !vm.may_say(1, flow.len() + key.as_ref().map_or(0, Vec::len)) {
            return Ok(());
        }
        wish_for_counter(
            vm,
            &flow,
            guid,
            (key.as_deref(), meter, direction),
            if reset { Before::Reset } else { Before::Keep },
        );
        vm.record_as(vm.side, Record::FlowCounter { flow, guid, key, meter, direction, reset });
        Ok(())
    })?;
    host_function(lua, host, "update_flow", vm, |vm, (flow, field, value): (Text, String, f64)| {
        let record = Record::FlowUpdate { flow: flow_of(&flow), field: field.clone(), value };
        if !value.is_finite() || !vm.may_say(1, record.bytes()) {
            return Ok(());
        }
        let meter = field.strip_prefix("meter ").and_then(|number| number.parse::<f64>().ok());
        match meter {
            Some(meter) if (0.0..32.0).contains(&meter) && meter.fract() == 0.0 => {
                vm.command(flow_of(&flow), FlowWish::Update { meter: meter as u32, value });
            }
            Some(meter) => {
                vm.warn_once(&format!("update_flow(): there is no flow meter {meter}; the update is dropped"))
            }
            None => vm.command(flow_of(&flow), FlowWish::Duration(value)),
        }
        vm.record_as(vm.side, record);
        Ok(())
    })?;
    host_function(lua, host, "new_flow_record", vm, |vm, (flow, az, za, paz, pza): (Text, f64, f64, f64, f64)| {
        let fields = [("bytes_az", az), ("bytes_za", za), ("packets_az", paz), ("packets_za", pza)];
        let flow = flow_of(&flow);
        if !vm.may_say(fields.len(), fields.len() * flow.len()) {
            return Ok(());
        }
        for (field, value) in fields.into_iter().filter(|(_, value)| value.is_finite()) {
            vm.record_as(vm.side, Record::FlowUpdate { flow: flow.clone(), field: format!("record {field}"), value });
        }
        vm.command(flow.clone(), FlowWish::Open);
        vm.note(flow, NoteText::Record([az, za, paz, pza]));
        Ok(())
    })?;
    host_function(lua, host, "terminate_flow", vm, |vm, flow: Text| {
        let record = Record::TerminateFlow { flow: flow_of(&flow) };
        if vm.may_say(1, record.bytes()) {
            vm.command(flow_of(&flow), FlowWish::Terminate);
            vm.record_as(vm.side, record);
        }
        Ok(())
    })?;
    host_function(lua, host, "add_flow_attribute", vm, |vm, (flow, name, value): (Text, Text, Text)| {
        let (flow, name, value) = (flow_of(&flow), text_of(&name), text_of(&value));
        let record = Record::FlowAttribute(FlowAttribute::of_id(&flow, &name, &value));
        if vm.may_say(1, record.bytes()) {
            vm.record_as(vm.side, record);
            vm.note(flow, NoteText::Attribute(name, value));
        }
        Ok(())
    })?;
    host_function(lua, host, "add_flow_edges", vm, |vm, (flow, guid, key): (Text, Text, Text)| {
        let Some(guid) = counter_guid(vm, &guid.as_bytes(), "add_flow_edges") else { return Ok(()) };
        if vm.engine.edges.get() {
            vm.record(Record::FlowEdges { flow: flow_of(&flow), guid, key: key_of(&key) });
        }
        Ok(())
    })
}

/// What becomes of counters that were attached before.
enum Before {
    Keep,
    Reset,
}

/// Asks that packets of a flow are counted; groups and meters that do not exist are warned of as at updates.
fn wish_for_counter(
    vm: &VmContext,
    flow: &[u8],
    guid: Guid,
    (key, meter, direction): (Option<&[u8]>, f64, f64),
    before: Before,
) {
    let Some(group) = vm.engine.groups.counter_index(guid) else {
        return vm.warn_once(&format!("no counter group {guid} is defined; flow counters of it are dropped"));
    };
    if matches!(before, Before::Reset) {
        vm.command(flow.to_vec(), FlowWish::Uncount(group));
    }
    let Some(key) = key else { return };
    let defined = vm.engine.groups.counter_group(group);
    if !defined.is_some_and(|defined| defined.meters.iter().any(|known| f64::from(known.id) == meter)) {
        return hostcall::unknown_meter(vm, group, meter);
    }
    let direction = match direction {
        1.0 => CountedDirection::Out,
        2.0 => CountedDirection::In,
        _ => CountedDirection::Both,
    };
    vm.command(flow.to_vec(), FlowWish::Count(FlowCounter { group, key: key.into(), meter: meter as u32, direction }));
}

fn install_messages(lua: &Lua, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host_function(lua, host, "post_message", vm, |vm, (target, id, text): (String, Text, Text)| {
        let to = if target == "frontend" { Addressee::Frontend } else { Addressee::Backend };
        vm.post(to, &id.as_bytes(), &text.as_bytes());
        Ok(())
    })
}

/// The context kept alive by a VM's host table.
///
/// # Errors
/// When the table is not one that [`install`] made.
pub fn owner(host: &Table) -> mlua::Result<Rc<VmContext>> {
    let holder: AnyUserData = host.get("owner")?;
    let context = holder.borrow::<Rc<VmContext>>()?;
    Ok(Rc::clone(&context))
}
