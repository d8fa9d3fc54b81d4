//! What somebody outside asks of an instance: calls of its functions, and questions about its jobs. Run between two batches,
//! like atomic sections.

use mlua::{LuaString, Value};

use super::completions::DELIVERY_TIME;
use super::health::Verdict;
use super::instance::Instance;
use crate::api::functions::Task;
use crate::job::{Begun, ErrandError, FunctionInfo};
use crate::lua::{FaultKind, PluginError};
use crate::time::Stopwatch;

/// The name that faults of functions have.
const FUNCTIONS: &str = "functions";

/// What a function is told that tried to write and may not.
const WROTE: &str = "a method that writes was called and did nothing: the function was registered with no_writes";

impl Instance {
    /// Does what is asked, for as long as the next packets can wait.
    pub(super) fn run_errands(&mut self) {
        let watch = Stopwatch::start();
        while let Some(begun) = self.jobs.next_errand() {
            self.run_errand(begun);
            if watch.elapsed() >= DELIVERY_TIME {
                return;
            }
        }
    }

    fn run_errand(&mut self, begun: Begun) {
        if let Some(why) = self.health.disabled() {
            return begun.end(Err(ErrandError::Failed(format!("the plugin is disabled: {why}"))));
        }
        if !self.knows_managed(FUNCTIONS) {
            return begun.end(Err(ErrandError::Failed("the plugin's functions cannot be read".to_owned())));
        }
        let lua = self.vm.lua().clone();
        let Some((id, task)) = self.jobs.begin_errand(&lua, begun) else { return };
        if let Some(refusal) = task.called.as_ref().and_then(|called| self.jobs.refusal(called)) {
            return self.jobs.end_errand(&id, Err(refusal));
        }
        let name = match &task.called {
            Some(called) => format!("{FUNCTIONS}.{}", called.name),
            None => FUNCTIONS.to_owned(),
        };
        self.stats.calls += 1;
        self.begins(&name);
        let result = self.enter_task(task);
        self.take_caught(FUNCTIONS);
        match result {
            Ok((state, value)) => self.jobs.finish_errand(&lua, &id, &state, &value),
            Err(error) => {
                // The next tasks are none of a call.
                let _ = self.jobs.break_errand();
                self.jobs.end_errand(&id, Err(ErrandError::Failed(error.message.clone())));
                self.fault_of_call(&name, &error);
            }
        }
        self.ended(&name, 1);
    }

    fn enter_task(&mut self, task: Task) -> Result<(LuaString, Value), PluginError> {
        let Task { function, arguments, called } = task;
        let no_writes = |called: &FunctionInfo| called.no_writes;
        if !called.as_ref().is_some_and(no_writes) {
            return self.enter(&function, arguments).0;
        }
        self.context.stop_writing();
        let result = match self.jobs.lock_engine() {
            Ok(()) => self.enter(&function, arguments).0,
            Err(e) => Err(PluginError::from_lua(&e)),
        };
        let result = match (self.context.writing.release(), result) {
            // A method that was kept from before.
            (true, Ok(_)) => Err(PluginError::caught(WROTE.as_bytes(), b"")),
            (_, result) => result,
        };
        // Where the methods are there is nothing to be made.
        self.jobs.unlock_engine().map_err(|e| PluginError::from_lua(&e))?;
        result
    }

    /// An error was told to whoever called and is no fault of the plugin. Running away is, but nobody can have a plugin
    /// disabled by calling it.
    fn fault_of_call(&mut self, name: &str, error: &PluginError) {
        match error.kind {
            FaultKind::Error | FaultKind::Syntax => return,
            FaultKind::Memory => return self.fault(name, error),
            FaultKind::Interrupted => {}
        }
        if self.health.fault(name, FaultKind::Error, self.context.time()) == Verdict::Report {
            self.report(name, &error.message, &error.traceback);
        }
    }

    /// Is asked nothing any more: the input has ended.
    pub fn close_door(&self) {
        self.jobs.close();
    }
}
