//! What the debugger needs from the host: time, and the terminal for itself.

use std::sync::Arc;

use mlua::{AnyUserData, Function, Lua, Table, UserData, Value};

use crate::lua::{Guard, own_text};
use crate::sink::progress_line::{self, Held};

const TEXT: &str = include_str!("debugger.lua");

struct Terminal {
    _held: Held,
}

impl UserData for Terminal {}

/// The module `debugger`.
///
/// # Errors
/// When memory runs out.
pub fn module(lua: &Lua) -> mlua::Result<Value> {
    let host: Table = lua.create_table()?;
    // Whoever types takes longer than a callback may.
    let wait = lua.create_function(|lua, (ask, prompt): (Function, Value)| {
        let guard = lua.app_data_ref::<Arc<Guard>>().map(|guard| Arc::clone(&guard));
        let _paused = guard.as_ref().map(Guard::pause);
        ask.call::<Value>(prompt)
    })?;
    host.set("wait", wait)?;
    host.set("hold", lua.create_function(|_, ()| Ok(Terminal { _held: progress_line::hold() }))?)?;
    let release = lua.create_function(|_, terminal: AnyUserData| terminal.take::<Terminal>().map(drop))?;
    host.set("release", release)?;
    own_text(lua, "=[debugger]", TEXT)?.call(host)
}
