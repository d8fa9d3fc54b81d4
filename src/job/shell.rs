//! `os.execute` for VMs that are no worker's: during the C library's `system()` the whole process ignores SIGINT.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mlua::{Lua, LuaString, Table};

use super::process::{kill_group, shell};
use super::running;
use crate::lua::Guard;

/// Longest wait before looking again.
const LOOK: Duration = Duration::from_millis(10);

/// Puts the function in place. A command ends at the latest when the callback is interrupted that runs it.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(lua: &Lua, guard: &Arc<Guard>) -> mlua::Result<()> {
    let guard = Arc::clone(guard);
    let execute = lua.create_function(move |_, command: Option<LuaString>| {
        // Without a command the question is whether there is a shell.
        Ok(command.map_or(1, |command| run(&command.as_bytes(), &guard)))
    })?;
    lua.globals().get::<Table>("os")?.set("execute", execute)
}

/// Runs a command and gives its wait status; -1 where `system()` does.
fn run(command: &[u8], guard: &Guard) -> i32 {
    let Ok(mut child) = running::start(&mut shell(command)) else { return -1 };
    wait(&mut child, guard)
}

fn wait(child: &mut Child, guard: &Guard) -> i32 {
    let mut pause = Duration::from_micros(100);
    loop {
        // Nobody else may end a group whose number is free again.
        let mut running = running::lock();
        let looked = child.try_wait();
        if !matches!(looked, Ok(None)) {
            running.forget(child.id());
        }
        drop(running);
        match looked {
            // What it left in the background goes on.
            Ok(Some(status)) => return status.into_raw(),
            Ok(None) if !guard.must_stop() => thread::sleep(pause),
            Ok(None) => kill_group(child.id()),
            Err(_) => return -1,
        }
        pause = (pause * 9 / 8).min(LOOK);
    }
}
