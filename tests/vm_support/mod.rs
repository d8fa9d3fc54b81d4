//! What the tests of VMs share.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use millstream::lua::{Budget, FaultKind, PluginError, Vm, VmOptions, spawn_lua_thread};
use millstream::time::Stopwatch;

pub const SHORT: Budget = Budget { limit: Some(Duration::from_millis(100)), slow: None };
pub const LONG: Budget = Budget { limit: Some(Duration::from_secs(20)), slow: None };
/// On a machine with nothing else to do it is 20 ms.
pub const LATEST: Duration = Duration::from_millis(600);

pub fn vm_with(memory_limit: usize, package_path: &[&str]) -> Vm {
    let package_path = package_path.iter().map(ToString::to_string).collect();
    Vm::new(&VmOptions { name: "t.lua".into(), memory_limit, package_path }).unwrap()
}

/// Runs a test where Lua may run.
pub fn with_vm<T: Send + 'static>(test: impl FnOnce(&Vm) -> T + Send + 'static) -> T {
    on_lua_thread(|| test(&vm_with(64 << 20, &[])))
}

pub fn on_lua_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_lua_thread("test", test).unwrap().join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub fn run<R: mlua::FromLuaMulti>(vm: &Vm, source: &str, budget: Budget) -> Result<R, PluginError> {
    let function = vm.load(source.as_bytes(), "@p.lua")?;
    vm.call(&function, (), budget)
}

/// Runs a source that never ends and checks that it was interrupted in time and left the VM usable.
pub fn assert_interrupted(vm: &Vm, source: &str) -> PluginError {
    let watch = Stopwatch::start();
    let error = run::<()>(vm, source, SHORT).expect_err(source);
    let took = watch.elapsed();
    assert_eq!(error.kind, FaultKind::Interrupted, "{source}: {error:?}");
    assert!(error.message.ends_with("callback exceeded its time budget of 100 ms"), "{source}: {error:?}");
    assert!(took < LATEST, "{source}: took {took:?}");
    assert_eq!(run::<i32>(vm, "local s = 0 for i = 1, 1000 do s = s + i end return s", LONG).unwrap(), 500_500);
    error
}
