//! `T.gears`: pipelines of steps. The steps are functions of Lua (`lua/gears*.lua`); here is what they need of the host.

use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use mlua::{Function, LightUserData, Lua, LuaString, Table, Value};

use super::context::VmContext;
use super::engine::EngineParts;
use super::t_async::Managed;
use super::{gears_rows, modules};
use crate::gears::{Board, Description, StepText, Summary};
use crate::time::Stopwatch;

const PLAN: &str = include_str!("lua/gears_plan.lua");
const RECORDS: &str = include_str!("lua/gears_records.lua");
const WORK: &str = include_str!("lua/gears_work.lua");
const GEARS: &str = include_str!("lua/gears.lua");
const LATER: &str = include_str!("lua/gears_later.lua");
/// Where the function is kept that makes blocks of pipelines.
const SETTLE: &str = "millstream.gears.settle";
/// Where it is kept what that function would have been called with, in a VM that uses `T.gears` only later.
const SETTLED: &str = "millstream.gears.settled";

/// The functions, in the order declared in `lua/gears_plan.lua`.
#[repr(C)]
#[derive(Debug)]
struct Calls {
    nanos: extern "C" fn() -> f64,
}

static CALLS: Calls = Calls { nanos };

/// Nanoseconds since the first call, for measuring how long a step took.
extern "C" fn nanos() -> f64 {
    static START: OnceLock<Stopwatch> = OnceLock::new();
    START.get_or_init(Stopwatch::start).elapsed().as_nanos() as f64
}

fn address<T>(of: *const T) -> LightUserData {
    LightUserData(of.cast_mut().cast())
}

/// The chunks that every VM has: how steps become functions, what records are, and what workers do.
fn install_plan(lua: &Lua, host: &Table, objects: Value) -> mlua::Result<(Table, Value)> {
    host.set("clock", address(&raw const CALLS))?;
    let plan: Table = modules::run_host_chunk_multi(lua, "millstream.gears_plan", PLAN, host)?;
    let records = modules::run_host_chunk(lua, "millstream.gears_records", RECORDS, objects)?;
    Ok((plan, records))
}

/// Installs `T.gears` in a VM of an engine.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(
    lua: &Lua,
    t: &Table,
    parts: &EngineParts,
    context: &Rc<VmContext>,
    on_error: &Function,
    board: &Arc<Board>,
    managed: &Managed,
) -> mlua::Result<()> {
    let host = lua.create_table()?;
    host.set("file", context.script_name.as_str())?;
    host.set("on_error", on_error)?;
    host.set("engine", &parts.engine)?;
    host.set("managed", managed.table())?;
    host.set("async", t.raw_get::<Table>("async")?)?;
    host.set("mark", address(context.gears.address()))?;
    let (seats, on_seat) = (Arc::clone(board), Rc::clone(context));
    host.set(
        "seat",
        lua.create_function(
            move |_, (plugin, name, reader, mode, window, steps): (String, String, String, String, f64, Vec<Table>)| {
                let steps = steps.iter().map(step_text).collect::<mlua::Result<_>>()?;
                let seat = seats.seat(Description { plugin, name, reader, mode, window, steps });
                let (state, numbers) = (address(seat.pipeline().state_address()), address(seat.address()));
                Ok((state, numbers, on_seat.gears.add(seat)))
            },
        )?,
    )?;
    let on_noted = Rc::clone(context);
    host.set(
        "noted",
        lua.create_function(move |_, (mark, message): (i32, LuaString)| {
            on_noted.gears.note(mark, &message.to_string_lossy());
            Ok(())
        })?,
    )?;
    let of_run = Arc::clone(board);
    host.set("store", lua.create_function(move |_, ()| Ok(of_run.store().map(|path| path.display().to_string())))?)?;
    let listed = Arc::clone(board);
    host.set(
        "list",
        lua.create_function(move |lua, ()| {
            listed
                .list()
                .iter()
                .map(|pipeline| summary_table(lua, &pipeline.summary()))
                .collect::<mlua::Result<Vec<_>>>()
        })?,
    )?;
    let found = Arc::clone(board);
    host.set(
        "plan",
        lua.create_function(move |lua, name: String| {
            found.find(&name).first().map(|pipeline| summary_table(lua, &pipeline.summary())).transpose()
        })?,
    )?;
    let objects = parts.objects.clone();
    finish(lua, t, &host, Value::Table(objects))
}

/// Installs `T.gears` in a VM that only looks at what a file contains: the blocks are made, nothing runs.
///
/// # Errors
/// When the VM is out of memory.
pub fn install_for_probe(lua: &Lua, t: &Table) -> mlua::Result<()> {
    let host = lua.create_table()?;
    host.set("file", "")?;
    let nothing = lua.create_function(|lua, _: mlua::MultiValue| lua.create_table())?;
    host.set("list", &nothing)?;
    host.set("plan", nothing)?;
    finish(lua, t, &host, Value::Nil)
}

/// Puts `T.gears` in its place. Its texts are read when the script first uses it.
fn finish(lua: &Lua, t: &Table, host: &Table, objects: Value) -> mlua::Result<()> {
    let gears = lua.create_table()?;
    host.set("gears", &gears)?;
    let host = host.clone();
    let complete = lua.create_function(move |lua, ()| {
        let (plan, records) = install_plan(lua, &host, objects.clone())?;
        let (_, settle): (Value, Function) =
            modules::run_host_chunk_multi(lua, "millstream.gears", GEARS, (&host, plan, records))?;
        lua.set_named_registry_value(SETTLE, &settle)?;
        match lua.named_registry_value::<Option<Table>>(SETTLED)? {
            Some(what) => {
                settle.call((what.raw_get::<Value>(1)?, what.raw_get::<Value>(2)?, what.raw_get::<Value>(3)?))
            }
            None => Ok(()),
        }
    })?;
    t.set("gears", modules::run_host_chunk_multi::<Value>(lua, "millstream.gears_later", LATER, (gears, complete))?)
}

/// Installs in the VM of a worker what it needs to carry out executions.
///
/// # Errors
/// When the VM is out of memory.
pub fn install_for_worker(lua: &Lua, t: &Table) -> mlua::Result<()> {
    let host = lua.create_table()?;
    gears_rows::install(lua, &host)?;
    let (plan, records) = install_plan(lua, &host, Value::Nil)?;
    let work = modules::run_host_chunk(lua, "millstream.gears_work", WORK, (&host, plan, records))?;
    t.set("gears", work)
}

/// What the function is called with that makes blocks: the plugin's table, the block of the VM, and the group it is bound to.
pub type Settling = (Value, Option<String>, Option<String>);

/// The function that makes the blocks of the pipelines that a file has registered, and what it is to be called with; `None` if
/// it has not used `T.gears`. Without a block the file is only looked at.
///
/// # Errors
/// When the VM is out of memory.
pub fn settle(
    lua: &Lua,
    plugin: &Value,
    block: Option<&str>,
    group: Option<String>,
) -> mlua::Result<Option<(Function, Settling)>> {
    if let Some(settle) = lua.named_registry_value::<Option<Function>>(SETTLE)? {
        return Ok(Some((settle, (plugin.clone(), block.map(str::to_owned), group))));
    }
    let what = lua.create_table()?;
    what.raw_set(1, plugin)?;
    what.raw_set(2, block)?;
    what.raw_set(3, group)?;
    lua.set_named_registry_value(SETTLED, what)?;
    Ok(None)
}

fn step_text(step: &Table) -> mlua::Result<StepText> {
    Ok(StepText { kind: step.raw_get(1)?, place: step.raw_get(2)?, makes: step.raw_get(3)? })
}

fn summary_table(lua: &Lua, summary: &Summary) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let description = &summary.description;
    table.set("plugin", description.plugin.as_str())?;
    table.set("name", description.name.as_str())?;
    table.set("reader", description.reader.as_str())?;
    table.set("mode", description.mode.as_str())?;
    table.set("window", description.window)?;
    table.set("state", summary.state.name())?;
    for (name, number) in [
        ("executions", summary.executions),
        ("skipped", summary.skipped),
        ("over_limit", summary.over_limit),
        ("windows", summary.windows),
        ("handed", summary.handed),
        ("unfinished", summary.unfinished),
    ] {
        table.set(name, number)?;
    }
    let steps = lua.create_table()?;
    for step in &summary.steps {
        let row = lua.create_table()?;
        row.set("step", step.text.kind.as_str())?;
        row.set("place", step.text.place.as_str())?;
        row.set("taken", step.taken)?;
        row.set("given", step.given)?;
        row.set("errors", step.errors)?;
        steps.push(row)?;
    }
    table.set("steps", steps)?;
    let errors = lua.create_table()?;
    for failure in &summary.failures {
        let row = lua.create_table()?;
        row.set("step", failure.step)?;
        row.set("message", failure.message.as_str())?;
        row.set("count", failure.count)?;
        errors.push(row)?;
    }
    table.set("errors", errors)?;
    Ok(table)
}
