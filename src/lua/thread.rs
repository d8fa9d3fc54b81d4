//! Threads that may run Lua, and the proof that a runaway loop on them can be stopped.

use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc;
use std::thread::{self, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;
use std::{fmt, io};

use crate::time::Stopwatch;

use super::call::{Budget, FaultKind, PluginError};
use super::raw;
use super::vm::{Vm, VmOptions};

/// Stack of every thread that runs Lua. From Lua alone (`gsub` callbacks that recurse, nested coroutines) the C stack can
/// be filled until LuaJIT's own limits stop it, and on the usual stacks the process dies before they do. It is address
/// space only. A VM's memory limit may be at most four times as large.
const STACK_SIZE: usize = 64 << 20;

/// Starts a thread whose stack is large enough for Lua.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn_lua_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE).spawn(work)
}

/// The same in a scope, which it does not outlive.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn_scoped_lua_thread<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE).spawn_scoped(scope, work)
}

/// Wakes a thread at the end of a run: a system call in which its script waits, or any of a woken thread from now on, ends
/// early and tells the script that it was interrupted.
///
/// # Errors
/// When the signal handler cannot be changed.
pub fn wake<T>(thread: &JoinHandle<T>) -> io::Result<()> {
    raw::install_signal_handler(raw::WokenCall::Ends)?;
    // The thread is not joined, so that its name is still its own even if it has ended.
    raw::signal(thread.as_pthread_t());
    Ok(())
}

/// What [`self_test`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// LuaJIT's version.
    pub version: String,
    /// Whether the compiler is on.
    pub jit: bool,
    /// Whether the loop of the test was compiled before it was stopped.
    pub compiled: bool,
    /// How long after its budget the endless loop was stopped; `None` if it was not.
    pub interrupted_after: Option<Duration>,
}

impl SelfTest {
    /// Whether budgets hold: code was compiled and could be stopped.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.jit && self.compiled && self.interrupted_after.is_some()
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jit = if self.jit { "on" } else { "off" };
        write!(f, "{}, compiler {jit}, ", self.version)?;
        match (self.compiled, self.interrupted_after) {
            (_, None) => write!(f, "endless loop was not interrupted"),
            (true, Some(after)) => {
                write!(f, "compiled endless loop interrupted {} ms after its budget", after.as_millis())
            }
            (false, Some(_)) => write!(f, "endless loop interrupted, but it was not compiled"),
        }
    }
}

const TEST_BUDGET: Duration = Duration::from_millis(50);
/// Far beyond what a loaded machine needs.
const TEST_PATIENCE: Duration = Duration::from_secs(5);

/// Tells version and state of the compiler, whether a first run compiled the loop, and gives the loop.
const TEST_SOURCE: &str = "\
local util = require('jit.util')
local function spin(last)
  local i = 0
  while i ~= last do i = i + 1 end
end
spin(10000)
return jit.version, (jit.status()), util.traceinfo(1) ~= nil, function() spin(-1) end";

/// Steps of the loop of [`quick_self_test`], and the one that sets the hook: long after it is compiled.
const QUICK_STEPS: i32 = 4_000;
const QUICK_SET_AT: i32 = 2_000;

/// The loop ends by itself, so that a build in which the hook cannot reach it is found out and nothing hangs.
const QUICK_SOURCE: &str = "\
local step, state, last = ...
local ffi = require('ffi')
step, state = ffi.cast('void (*)(void *, int32_t)', step), ffi.cast('void *', state)
for i = 1, last do step(state, i) end
return jit.version, (jit.status())";

/// Proves in about a millisecond what [`self_test`] proves by the watchdog: a loop calls a function that sets the
/// watchdog's kind of hook while compiled code runs, and the hook must run before the loop's next step but one.
///
/// A build without the check in compiled code runs the loop to its end first, which is noticed; what is left out is the
/// watchdog itself, its signal and the error.
///
/// # Errors
/// When no VM can be made.
pub fn quick_self_test() -> Result<SelfTest, PluginError> {
    let options = VmOptions { name: "self-test".to_owned(), memory_limit: 16 << 20, package_path: Vec::new() };
    let vm = Vm::new(&options)?;
    let source = vm.load(QUICK_SOURCE.as_bytes(), "=millstream:self-test")?;
    let step = mlua::LightUserData(raw::trial_step());
    let state = mlua::LightUserData(vm.guard().state().cast());
    raw::begin_trial(QUICK_SET_AT);
    let watch = Stopwatch::start();
    let budget = Budget { limit: Some(TEST_PATIENCE), slow: None };
    let (version, jit) = vm.call(&source, (step, state, QUICK_STEPS), budget)?;
    let trial = raw::end_trial();
    let in_time = |ran_at: i32| ran_at <= QUICK_SET_AT + 1;
    Ok(SelfTest {
        version,
        jit,
        compiled: trial.compiled,
        interrupted_after: trial.ran_at.is_some_and(in_time).then(|| watch.elapsed()),
    })
}

/// Proves that this build can stop a compiled `while true do end`; takes about 60 ms.
///
/// # Errors
/// When no thread or VM can be made.
pub fn self_test() -> Result<SelfTest, PluginError> {
    let (sender, receiver) = mpsc::channel();
    // On a thread of its own, which is given up if the loop never ends.
    spawn_lua_thread("lua-self-test", move || {
        let _ = sender.send(test_here(&sender));
    })
    .map_err(|e| fault(format!("no thread for the self-test: {e}")))?;
    let begun = receiver.recv_timeout(TEST_PATIENCE).map_err(|_| fault("the self-test did not begin".to_owned()))??;
    match receiver.recv_timeout(TEST_PATIENCE) {
        Ok(result) => result,
        Err(_) => Ok(begun),
    }
}

/// Sends what is known before the loop starts and returns what is known after it.
fn test_here(sender: &mpsc::Sender<Result<SelfTest, PluginError>>) -> Result<SelfTest, PluginError> {
    let options = VmOptions { name: "self-test".to_owned(), memory_limit: 16 << 20, package_path: Vec::new() };
    let vm = Vm::new(&options)?;
    let budget = Budget { limit: Some(TEST_BUDGET), slow: None };
    let source = vm.load(TEST_SOURCE.as_bytes(), "=millstream:self-test")?;
    let (version, jit, compiled, endless): (String, bool, bool, mlua::Function) = vm.call(&source, (), budget)?;
    let begun = SelfTest { version, jit, compiled, interrupted_after: None };
    // Nobody left to listen means that nobody waits for the rest either.
    let _ = sender.send(Ok(begun.clone()));
    let watch = Stopwatch::start();
    match vm.call::<()>(&endless, (), budget) {
        Err(e) if e.kind == FaultKind::Interrupted => {
            Ok(SelfTest { interrupted_after: Some(watch.elapsed().saturating_sub(TEST_BUDGET)), ..begun })
        }
        Err(e) => Err(e),
        Ok(()) => Err(fault("the endless loop of the self-test ended by itself".to_owned())),
    }
}

fn fault(message: String) -> PluginError {
    PluginError { kind: FaultKind::Error, message, traceback: String::new() }
}

#[cfg(test)]
mod tests {
    use super::{QUICK_SET_AT, QUICK_STEPS, quick_self_test, raw};

    #[test]
    fn quick_self_test_passes_and_its_hook_does_not_wait_for_the_end_of_the_loop() {
        let found = quick_self_test().unwrap();
        assert!(found.passed(), "{found}");
        let trial = raw::end_trial();
        assert_eq!(trial.step, QUICK_STEPS);
        assert!(trial.compiled);
        assert!(trial.ran_at.unwrap() <= QUICK_SET_AT + 1, "{trial:?}");
    }
}
