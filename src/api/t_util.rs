//! `T.util`: small functions on numbers and strings.
//!
//! All but the hashes is Lua, so that it compiles together with the callbacks that use it.

use mlua::{Function, Lua, Table, Value};

use super::{digest, modules};

/// Installs the functions of `T.util` into `util`. Besides, for other Lua halves: a function from dotted IPv4 text to a number
/// or nil.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, util: &Table) -> mlua::Result<Function> {
    let text = include_str!("modules/host/t_util.lua");
    let args = (util, modules::arguments(lua)?, digest::functions(lua)?);
    match modules::run_host_chunk(lua, "millstream.util", text, args)? {
        Value::Function(parse_ipv4) => Ok(parse_ipv4),
        _ => Err(mlua::Error::runtime("t_util.lua did not return a function")),
    }
}
