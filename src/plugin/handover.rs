//! What a version of a script leaves to the next one: the table that `onunload` returned, carried into the new VM as data,
//! the way closures go to workers.

use mlua::{Table, Value};

use super::instance::Instance;
use crate::api::LogLevel;
use crate::lua::{Budget, Loader, PluginError, Portable, Vm, own_text};

/// A function that captures a table is what can be carried.
const WRAP: &str = "local state = ... return function() return state end";

/// A table as data.
#[derive(Debug)]
pub struct State(Portable);

impl State {
    /// The table in another VM.
    ///
    /// # Errors
    /// When the VM has no room, or a library that it refers to does not load.
    pub fn unpack(&self, loader: &mut Loader, vm: &Vm, budget: Budget) -> Result<Table, PluginError> {
        let function =
            loader.load(vm.lua(), &self.0, |resolve, arguments| vm.call::<()>(resolve, arguments, budget))?;
        vm.call(&function, (), budget)
    }
}

impl Instance {
    /// Calls `onunload` and packs the table it returns. What cannot be carried is named in the log.
    pub fn unload_for_next(&mut self) -> Option<State> {
        let Some(Value::Table(table)) = self.unload() else { return None };
        let lua = self.vm.lua();
        let wrapped = own_text(lua, "=millstream.state", WRAP)
            .and_then(|wrap| wrap.call(table))
            .map_err(|e| PluginError::from_lua(&e));
        let packed = wrapped.and_then(|function| {
            let failed = |e: crate::lua::PackError| PluginError::caught(e.to_string().as_bytes(), b"");
            self.jobs.pack(lua, &function).map_err(failed)
        });
        match packed {
            Ok(packed) => {
                for warning in &packed.warnings {
                    let text = format!(
                        "onunload: state{} is a {}, which the next version does not get",
                        warning.path, warning.kind
                    );
                    self.context.log(LogLevel::Warn, text);
                }
                Some(State(packed.portable))
            }
            Err(e) => {
                self.context.log(LogLevel::Warn, format!("onunload: the next version gets no state: {}", e.message));
                None
            }
        }
    }
}
