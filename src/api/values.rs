//! Values of what is lent, for callbacks that may keep it.

use mlua::{LightUserData, Lua, Table};

use super::context::EngineContext;
use crate::lua::own_text;

const VALUES: &str = include_str!("lua/values.lua");

/// Gives the objects of a VM of the engine the functions `lend_layer` and so on, which make a value of a slot. Most VMs need
/// none.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(lua: &Lua, objects: &Table, engine: &EngineContext) -> mlua::Result<()> {
    if objects.raw_get::<mlua::Value>("lend_layer")?.is_function() {
        return Ok(());
    }
    let round = LightUserData(engine.loans.borrow().round_address().cast_mut().cast());
    own_text(lua, "=millstream.values", VALUES)?.call((objects, round))
}
