//! The table of modules, the searcher that serves them to `require`, and the loader of our own Lua text.

use mlua::{Function, IntoLuaMulti, Lua, Table, Value};

use super::{debugger, json};
use crate::lua::own_text;

/// Where a module's value comes from.
#[derive(Clone, Copy)]
pub enum ModuleSource {
    /// Lua source text; the value is what the chunk returns.
    Text(&'static str),
    /// A function that makes the value.
    Native(fn(&Lua) -> mlua::Result<Value>),
}

/// A module that `require` finds in every VM.
#[derive(Clone, Copy)]
pub struct Module {
    /// The name given to `require`.
    pub name: &'static str,
    /// Where its value comes from.
    pub source: ModuleSource,
}

/// All modules, in order of name.
pub const MODULES: &[Module] = &[
    Module { name: "JSON", source: ModuleSource::Native(json::module) },
    Module { name: "debugger", source: ModuleSource::Native(debugger::module) },
    Module { name: "inspect", source: ModuleSource::Text(include_str!("inspect.lua")) },
    Module { name: "pdurecord", source: ModuleSource::Text(include_str!("pdurecord.lua")) },
    Module { name: "sweepbuf", source: ModuleSource::Text(include_str!("sweepbuf.lua")) },
];

/// The module of that name.
#[must_use]
pub fn module(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name == name)
}

/// Appends a loader for [`MODULES`] to `package.loaders`, behind all others, so that a plugin's own file wins.
///
/// # Errors
/// When `package.loaders` is missing or memory runs out.
pub fn install_searcher(lua: &Lua) -> mlua::Result<()> {
    let loaders: Table = lua.globals().get::<Table>("package")?.get("loaders")?;
    let searcher = lua.create_function(|lua, name: mlua::LuaString| {
        let found = name.to_str().ok().and_then(|name| module(&name));
        let Some(found) = found else {
            let text = format!("\n\tno built-in module '{}'", name.to_string_lossy());
            return lua.create_string(text).map(Value::String);
        };
        loader(lua, found).map(Value::Function)
    })?;
    loaders.push(searcher)
}

/// The function that `require` calls to make the module's value.
fn loader(lua: &Lua, module: &'static Module) -> mlua::Result<Function> {
    match module.source {
        ModuleSource::Text(text) => chunk(lua, module.name, text),
        ModuleSource::Native(make) => lua.create_function(move |lua, ()| make(lua)),
    }
}

fn chunk(lua: &Lua, name: &str, text: &'static str) -> mlua::Result<Function> {
    own_text(lua, &format!("=[{name}]"), text)
}

/// One of our own chunks as a function.
pub(in crate::api) fn host_chunk(lua: &Lua, name: &str, text: &'static str) -> mlua::Result<Function> {
    chunk(lua, name, text)
}

/// Runs one of our own chunks with the given arguments and returns its first result.
pub(in crate::api) fn run_host_chunk(
    lua: &Lua,
    name: &str,
    text: &'static str,
    args: impl IntoLuaMulti,
) -> mlua::Result<Value> {
    chunk(lua, name, text)?.call(args)
}

/// Runs one of our own chunks with the given arguments and returns all its results.
pub(in crate::api) fn run_host_chunk_multi<R: mlua::FromLuaMulti>(
    lua: &Lua,
    name: &str,
    text: &'static str,
    args: impl IntoLuaMulti,
) -> mlua::Result<R> {
    chunk(lua, name, text)?.call(args)
}

/// The argument conversions of the plugin API, one table per VM.
pub(in crate::api) fn arguments(lua: &Lua) -> mlua::Result<Table> {
    const KEY: &str = "millstream.api.arguments";
    if let Ok(Value::Table(table)) = lua.named_registry_value::<Value>(KEY) {
        return Ok(table);
    }
    let Value::Table(table) = run_host_chunk(lua, "millstream.arguments", include_str!("host/arguments.lua"), ())?
    else {
        return Err(mlua::Error::runtime("arguments.lua did not return a table"));
    };
    lua.set_named_registry_value(KEY, &table)?;
    Ok(table)
}
