//! Builds the global table `T` and `print` of a VM, for each place a VM can be in.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Function, Lua, Table, Value};

use super::constants::{LogFn, LogLevel};
use super::context::{Addressee, VmContext, bump};
use super::engine::{EngineParts, PROBE_ID};
use super::probe_speech::ProbeSpeech;
use super::record::{Record, Side};
use super::strings::FileFailures;
use super::t_env::Environment;
use super::t_host::{HostFunctions, HostPaths};
use super::{ac, constants, modules, re2, strings, t_env, t_gears, t_host, t_util};
use crate::gears::Board;
use crate::guid::Guid;
use crate::key::HomeNets;
use crate::metrics::{GroupKind, Registry, cut_text};

const GLOBAL_T: &str = include_str!("lua/global_t.lua");

/// Where a line printed by a script goes.
pub type PrintFn = Rc<dyn Fn(&[u8])>;

/// What `T` says about the run; the same in every VM.
#[derive(Clone, Debug, Default)]
pub struct RunIdentity {
    /// `T.args`.
    pub args: String,
    /// `T.context_name`.
    pub context_name: String,
    /// Home networks.
    pub home_nets: HomeNets,
    /// Answers of `T.env`.
    pub environment: Environment,
    /// The pipelines that scripts register.
    pub gears: Arc<Board>,
}

/// What `T` says about one VM.
#[derive(Clone, Debug)]
pub struct VmIdentity {
    /// `T.contextid`.
    pub contextid: u32,
    /// `T.enginetype`; `None` where it changes.
    pub engine_type: Option<&'static str>,
}

/// The functions behind `T` that differ from place to place.
pub struct Outlets {
    /// Log lines.
    pub log: LogFn,
    /// Printed lines.
    pub print: PrintFn,
    /// Functions of `T.host` that need an engine.
    pub host: HostFunctions,
}

/// Installs `T` and `print`, everything but `T.async`. Returns `T`.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(lua: &Lua, run: &RunIdentity, vm: &VmIdentity, outlets: Outlets) -> mlua::Result<Table> {
    let t = lua.create_table()?;
    t.set("contextid", vm.contextid)?;
    t.set("execution_contextid", vm.contextid)?;
    t.set("probeid", PROBE_ID)?;
    t.set("probeversion", env!("CARGO_PKG_VERSION"))?;
    let name = if run.context_name.is_empty() { "context0" } else { &run.context_name };
    t.set("context_name", name)?;
    t.set("contextname", name)?;
    t.set("args", run.args.as_str())?;
    if let Some(side) = vm.engine_type {
        t.set("enginetype", side)?;
    }
    let sub = |name: &str| -> mlua::Result<Table> {
        let table = lua.create_table()?;
        t.set(name, &table)?;
        Ok(table)
    };
    constants::install(lua, &sub("K")?)?;
    let parse_ipv4 = t_util::install(lua, &sub("util")?)?;
    t_env::install(lua, &sub("env")?, &run.environment)?;
    let config = |path: &str| PathBuf::from(run.environment.config.get(path));
    let paths = HostPaths { config: config("App>DBRoot").join("config"), data: config("App>DataDirectory") };
    let nets = Rc::new(run.home_nets.clone());
    t_host::install(lua, &sub("host")?, &parse_ipv4, &nets, &paths, &outlets.host, &outlets.log)?;
    re2::install(lua, &t, &outlets.log)?;
    ac::install(lua, &t, &outlets.log)?;
    let library: Table = lua.globals().get("string")?;
    strings::install(lua, &library, &FileFailures::new(Rc::clone(&outlets.log)))?;
    let host = lua.create_table()?;
    let print = outlets.print;
    host.set(
        "print",
        lua.create_function(move |_, text: mlua::LuaString| {
            print(cut_text(&text.as_bytes()));
            Ok(())
        })?,
    )?;
    host.set("log", log_function(lua, &outlets.log)?)?;
    modules::run_host_chunk(lua, "millstream.T", GLOBAL_T, (&t, host))?;
    lua.globals().set("T", &t)?;
    Ok(t)
}

/// A Lua function `log(level, message)`.
///
/// # Errors
/// When the VM is out of memory.
pub fn log_function(lua: &Lua, log: &LogFn) -> mlua::Result<Function> {
    let log = Rc::clone(log);
    lua.create_function(move |_, (level, text): (f64, mlua::LuaString)| {
        log(LogLevel::from_number(level), cut_text(&text.as_bytes()));
        Ok(())
    })
}

/// The group a backend VM is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoredGroup {
    /// Title.
    pub name: Vec<u8>,
    /// Identity.
    pub guid: Guid,
}

/// Installs `T` in a VM of an engine.
///
/// # Errors
/// When the VM is out of memory.
pub fn install_for_engine(
    lua: &Lua,
    run: &RunIdentity,
    parts: &EngineParts,
    context: &Rc<VmContext>,
    monitored: Option<&MonitoredGroup>,
) -> mlua::Result<Table> {
    let (said_by, vm) = (Rc::clone(context), lua.weak());
    let say = Rc::new(move |record: Record| {
        said_by.record(record);
        if said_by.has_said_too_much() {
            said_by.tell_overrun(vm.try_upgrade().as_ref());
        }
    });
    let on_log = Rc::clone(&say);
    let log: LogFn = Rc::new(move |level, text| on_log(Record::Log { level, text: text.into() }));
    let print: PrintFn = Rc::new(move |text| say(Record::Print { text: text.to_vec() }));
    let host = HostFunctions {
        createkey: parts.engine.get::<Function>("update_key_info")?.bind(&parts.engine)?,
        broadcast: broadcast(lua, context)?,
        id: parts.engine.get::<Function>("instanceid")?,
        log: log_function(lua, &log)?,
    };
    let vm = VmIdentity { contextid: context.contextid, engine_type: Some(context.side.name()) };
    let t = install(lua, run, &vm, Outlets { log, print, host })?;
    if context.side == Side::Backend {
        t.set("backend_engineid", context.engine.backend_number.get())?;
        set_groups(lua, &t, &context.engine.groups)?;
    }
    if let Some(group) = monitored {
        t.set("monitor_group_name", lua.create_string(&group.name)?)?;
        t.set("monitor_group_guid", group.guid.to_string())?;
    }
    Ok(t)
}

/// Sets the group tables, or sets them anew when more groups are known.
///
/// # Errors
/// When the VM is out of memory.
pub fn set_groups(lua: &Lua, t: &Table, groups: &Registry) -> mlua::Result<()> {
    for (field, kind) in [
        ("countergroups", GroupKind::Counter),
        ("alertgroups", GroupKind::Alert),
        ("resourcegroups", GroupKind::Resource),
        ("ftsgroups", GroupKind::Fts),
        ("sessiongroups", GroupKind::Session),
    ] {
        let table = match t.raw_get::<Value>(field)? {
            // Scripts may hold on to the table.
            Value::Table(table) => table,
            _ => lua.create_table()?,
        };
        for group in groups.groups(kind) {
            let guid = group.guid.to_string();
            table.raw_set(lua.create_string(&group.name)?, guid.as_str())?;
            if let Some(alias) = &group.name_alias {
                table.raw_set(lua.create_string(alias)?, guid)?;
            }
        }
        t.raw_set(field, table)?;
    }
    Ok(())
}

fn broadcast(lua: &Lua, context: &Rc<VmContext>) -> mlua::Result<Function> {
    let context = Rc::clone(context);
    lua.create_function(move |_, (id, class, text): (mlua::LuaString, mlua::LuaString, Option<mlua::LuaString>)| {
        let Some(text) = text else {
            context.nil_argument("broadcast");
            return Ok(());
        };
        let Ok(class) = Guid::parse(&class.as_bytes()) else {
            bump(&context.engine.oddities.messages_unread);
            return Ok(());
        };
        context.post(Addressee::Class(class), &id.as_bytes(), &text.as_bytes());
        Ok(())
    })
}

/// Installs `T` in a VM that only looks at what a file contains. Prints and log lines go to `speech`.
///
/// # Errors
/// When the VM is out of memory.
pub fn install_for_probe(lua: &Lua, run: &RunIdentity, groups: &Registry, speech: &ProbeSpeech) -> mlua::Result<Table> {
    let nothing = lua.create_function(|_, _: mlua::MultiValue| Ok(()))?;
    let log = speech.log();
    let host = HostFunctions {
        createkey: nothing.clone(),
        broadcast: nothing.clone(),
        id: lua.create_function(|_, ()| Ok(""))?,
        log: log_function(lua, &log)?,
    };
    let outlets = Outlets { log, print: speech.print(), host };
    let t = install(lua, run, &VmIdentity { contextid: 0, engine_type: Some("frontend") }, outlets)?;
    set_groups(lua, &t, groups)?;
    let async_table = lua.create_table()?;
    for name in ["cat", "copy", "cp", "rm", "copybuffer", "schedule"] {
        async_table.set(name, &nothing)?;
    }
    async_table.set("pending_items", lua.create_function(|_, _: Value| Ok(0))?)?;
    t.set("async", async_table)?;
    t_gears::install_for_probe(lua, &t)?;
    super::functions::install_for_probe(lua, &t)?;
    Ok(t)
}
