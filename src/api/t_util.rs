//! `T.util`: small functions on numbers and strings.
//!
//! All but the hashes is Lua, so that it compiles together with the callbacks that use it.

use mlua::{Function, Lua, Table, Value};

use super::{digest, modules};

/// Installs the functions of `T.util` into `util`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, util: &Table) -> mlua::Result<()> {
    run(lua, util).map(|_| ())
}

/// A function from dotted IPv4 text to a number or nil, for other Lua halves.
pub(super) fn parse_ipv4(lua: &Lua) -> mlua::Result<Function> {
    run(lua, &lua.create_table()?)
}

fn run(lua: &Lua, util: &Table) -> mlua::Result<Function> {
    let arguments = modules::arguments(lua)?;
    match modules::run_host_chunk(
        lua,
        "T.util",
        include_str!("modules/host/t_util.lua"),
        (util, arguments, digest::functions(lua)?),
    )? {
        Value::Function(parse) => Ok(parse),
        _ => Err(mlua::Error::runtime("t_util.lua did not return a function")),
    }
}
