//! Values that every VM has its own copy of: libraries, `T` and loaded modules.

use mlua::{Lua, Table};

use crate::lua::{HOST_CHUNK, own_text};

/// Builds the helpers of a [`Packer`](super::Packer): an array of `refresh`, `describe`, `classify`, the table that maps
/// a known value to its number, `trampoline`, `complete` and `extend`. The table holds the values themselves, so that none can
/// be collected and its address taken by another.
const HELPERS: &str = include_str!("pack.lua");

/// Positions in the table of helpers.
pub(super) const REFRESH: i32 = 1;
pub(super) const DESCRIBE: i32 = 2;
pub(super) const CLASSIFY: i32 = 3;
pub(super) const KNOWN: i32 = 4;
pub(super) const TRAMPOLINE: i32 = 5;
pub(super) const COMPLETE: i32 = 6;
pub(super) const EXTEND: i32 = 7;

/// Builds the helpers in a VM whose libraries and `T` are complete.
pub(super) fn helpers(lua: &Lua) -> mlua::Result<Table> {
    own_text(lua, &format!("={HOST_CHUNK}/portable"), HELPERS)?.call(())
}
