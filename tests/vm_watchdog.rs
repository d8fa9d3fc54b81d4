//! No Lua code keeps the thread beyond its budget, and none is stopped within it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and tell what they measured")]

mod vm_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream::lua::{Budget, FaultKind, Vm, self_test};
use millstream::time::Stopwatch;
use vm_support::{LATEST, LONG, SHORT, assert_interrupted, on_lua_thread, run, vm_with, with_vm};

// --- interruption -------------------------------------------------------------------------------------------------

#[test]
fn plain_loops_are_interrupted() {
    with_vm(|vm| {
        let e = assert_interrupted(vm, "local i = 0\nwhile true do i = i + 1 end");
        assert!(e.message.starts_with("p.lua:2: "), "{e:?}");
        assert!(e.traceback.starts_with("p.lua:2: in main chunk"), "{e:?}");
        assert_interrupted(vm, "while true do end");
        assert_interrupted(vm, "repeat until false");
        assert_interrupted(vm, "for i = 1, math.huge do end");
        assert_interrupted(vm, "::again:: goto again");
        assert_interrupted(vm, "jit.off(true, true) local i = 0 while true do i = i + 1 end");
        assert_interrupted(vm, "jit.off() while true do end");
        assert_interrupted(vm, "jit.on() jit.flush() local function f() return f() end f()");
        assert_interrupted(vm, "local t = {} while true do for k, v in pairs({1, 2}) do t[k] = v end end");
        assert_interrupted(vm, "while true do local t = {} t.x = tostring(1) end");
        assert_interrupted(vm, "while true do string.format('%d', 3) end");
        assert_interrupted(vm, "local ffi = require 'ffi' while true do local a = ffi.new('int[4]') a[0] = 1 end");
    });
}

#[test]
fn the_clock_stands_still_while_somebody_is_waited_for() {
    with_vm(|vm| {
        let guard = Arc::clone(vm.guard());
        let wait = vm.lua().create_function(move |_, ()| {
            let _paused = guard.pause();
            std::thread::sleep(SHORT.limit.unwrap() * 2);
            Ok(())
        });
        vm.lua().globals().set("wait", wait.unwrap()).unwrap();
        run::<()>(vm, "wait() wait()", SHORT).unwrap();
        // It goes on afterwards.
        assert_interrupted(vm, "wait() while true do end");
    });
}

#[test]
fn pcall_and_xpcall_cannot_swallow_an_interruption() {
    with_vm(|vm| {
        assert_interrupted(vm, "while true do pcall(function() while true do end end) end");
        assert_interrupted(vm, "while true do pcall(error, 'x') end");
        assert_interrupted(vm, "local function f() while true do end end while true do pcall(pcall, pcall, f) end");
        assert_interrupted(vm, "return pcall(function() while true do end end)");
        assert_interrupted(vm, "while true do xpcall(function() error('x') end, function() while true do end end) end");
        assert_interrupted(vm, "xpcall(function() while true do end end, function() while true do end end)");
        assert_interrupted(
            vm,
            "local function h() return xpcall(function() while true do end end, h) end
             while true do xpcall(function() while true do end end, h) end",
        );
        assert_interrupted(vm, "local function f() while true do pcall(f) end end f()");
        assert_interrupted(
            vm,
            "local function deep(n) if n == 0 then while true do end end
               while true do pcall(deep, n - 1) end end deep(60)",
        );
    });
}

#[test]
fn coroutines_cannot_swallow_an_interruption() {
    with_vm(|vm| {
        assert_interrupted(vm, "local co = coroutine.create(function() while true do end end) coroutine.resume(co)");
        assert_interrupted(
            vm,
            "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        );
        assert_interrupted(vm, "while true do pcall(coroutine.wrap(function() while true do end end)) end");
        assert_interrupted(
            vm,
            "local f = coroutine.wrap(function() while true do coroutine.yield(1) end end) while true do f() end",
        );
        assert_interrupted(vm, "for x in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end");
        assert_interrupted(
            vm,
            "local function nest(n) if n == 0 then while true do end end
               return coroutine.wrap(function() pcall(nest, n - 1) while true do end end)() end nest(50)",
        );
    });
}

#[test]
fn metamethods_and_library_callbacks_are_interrupted() {
    with_vm(|vm| {
        assert_interrupted(vm, "('x'):rep(1000):gsub('x', function() while true do end end)");
        assert_interrupted(vm, "table.sort({3, 2, 1}, function() while true do end end)");
        assert_interrupted(vm, "tostring(setmetatable({}, {__tostring = function() while true do end end}))");
        assert_interrupted(vm, "local t = setmetatable({}, {__index = function() while true do end end}) return t.x");
        assert_interrupted(vm, "load(function() while true do end end)");
        assert_interrupted(vm, "error(setmetatable({}, {__tostring = function() while true do end end}))");
    });
}

#[test]
fn loops_in_finalizers_are_interrupted() {
    with_vm(|vm| {
        assert_interrupted(
            vm,
            "local p = newproxy(true) getmetatable(p).__gc = function() while true do end end p = nil
             collectgarbage() while true do end",
        );
        assert_interrupted(
            vm,
            "local ffi = require 'ffi' ffi.gc(ffi.new('int[1]'), function() while true do end end)
             collectgarbage() collectgarbage() return 1",
        );
        assert_interrupted(
            vm,
            "local ffi = require 'ffi' local t = ffi.metatype('struct { int x; }', {__gc = function() local i = 0
               while true do i = i + 1 end end}) t() collectgarbage() collectgarbage()",
        );
        assert_interrupted(
            vm,
            "local p = newproxy(true) getmetatable(p).__gc = function()
               while true do pcall(function() while true do end end) end end p = nil collectgarbage()",
        );
    });
}

#[test]
fn loops_in_callbacks_from_c_and_from_the_compiler_are_interrupted() {
    with_vm(|vm| {
        assert_interrupted(
            vm,
            "local ffi = require 'ffi'
             ffi.cdef 'void qsort(void *, size_t, size_t, int (*)(const void *, const void *))'
             local compare = ffi.cast('int (*)(const void *, const void *)', function() while true do end end)
             jit.off() ffi.C.qsort(ffi.new('int[9]'), 9, 4, compare) jit.on()",
        );
        // The handler stays attached, so nothing can be compiled in this VM any more.
        let source = "local function forever() while true do end end
                      jit.attach(forever, 'bc') loadstring('return function() end')";
        assert_eq!(run::<()>(vm, source, SHORT).unwrap_err().kind, FaultKind::Interrupted);
        assert_eq!(vm.load(b"return function() end", "@p.lua").unwrap_err().kind, FaultKind::Interrupted);
    });
}

#[test]
fn closing_a_vm_ends_although_a_finalizer_loops() {
    let took = on_lua_thread(|| {
        let vm = vm_with(64 << 20, &[]);
        run::<()>(&vm, "P = newproxy(true) getmetatable(P).__gc = function() while true do end end", LONG).unwrap();
        let watch = Stopwatch::start();
        drop(vm);
        watch.elapsed()
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn many_finalizers_that_loop_are_not_waited_for_one_by_one() {
    let took = on_lua_thread(|| {
        let vm = vm_with(64 << 20, &[]);
        let source = "local ffi = require 'ffi' local function forever() while true do end end K = {}
            for i = 1, 3000 do
              local p = newproxy(true) getmetatable(p).__gc = forever
              K[i] = { p, ffi.gc(ffi.new('int[1]'), forever) }
            end";
        run::<()>(&vm, source, LONG).unwrap();
        let watch = Stopwatch::start();
        assert_interrupted(&vm, "K = nil collectgarbage() collectgarbage()");
        run::<()>(&vm, source, LONG).unwrap();
        drop(vm);
        watch.elapsed()
    });
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn hooks_of_the_script_do_not_switch_the_watchdog_off() {
    with_vm(|vm| {
        assert_interrupted(vm, "while true do debug.sethook() end");
        assert_interrupted(vm, "while true do pcall(debug.sethook) end");
        assert_interrupted(vm, "while true do debug.sethook(function() end, 'l') end");
        assert_interrupted(vm, "debug.sethook(function() while true do end end, '', 1) while true do end");
        assert_interrupted(vm, "while true do pcall(debug.sethook, function() while true do end end, '', 1) end");
        assert_interrupted(
            vm,
            "local co = coroutine.create(function() while true do debug.sethook() end end) coroutine.resume(co)",
        );
    });
}

#[test]
fn hundred_interruptions_in_a_row() {
    with_vm(|vm| {
        let endless =
            vm.load(b"local i = 0 while true do i = i + 1 pcall(function() i = i + 1 end) end", "@p.lua").unwrap();
        let budget = Budget { limit: Some(Duration::from_millis(10)), slow: None };
        for _ in 0..100 {
            assert_eq!(vm.call::<()>(&endless, (), budget).unwrap_err().kind, FaultKind::Interrupted);
        }
        assert_eq!(vm.guard().interruptions(), 100);
        assert_eq!(run::<i32>(vm, "return 1", LONG).unwrap(), 1);
    });
}

#[test]
fn late_signal_does_not_hit_a_later_call() {
    with_vm(|vm| {
        // Calls that end about when their budget does: some are interrupted, and a signal may come after any of them.
        let brief = Budget { limit: Some(Duration::from_millis(10)), slow: None };
        let spin = vm.load(b"local t = os.clock() + ... while os.clock() < t do end", "@p.lua").unwrap();
        let innocent = vm.load(b"local s = 0 for i = 1, 100 do s = s + i end return s", "@p.lua").unwrap();
        let mut interrupted = 0;
        for round in 0..120_u32 {
            let length = 0.012 + f64::from(round % 20) / 1000.0;
            interrupted += u32::from(vm.call::<()>(&spin, length, brief).is_err());
            for _ in 0..20 {
                assert_eq!(vm.call::<i32>(&innocent, (), LONG).unwrap(), 5050);
            }
        }
        println!("{interrupted} of 120 calls interrupted");
        assert!(interrupted > 0);
    });
}

#[test]
fn nested_call_spends_the_budget_of_the_outer_one() {
    on_lua_thread(|| {
        let vm = std::rc::Rc::new(vm_with(64 << 20, &[]));
        let inner = vm.load(b"local i = 0 for k = 1, 1000 do i = i + k end return i", "@inner.lua").unwrap();
        let again = std::rc::Rc::downgrade(&vm);
        let host = vm.lua().create_function(move |_, ()| {
            let vm = again.upgrade().expect("the VM is calling");
            vm.call::<i64>(&inner, (), LONG).map_err(mlua::Error::external)
        });
        vm.lua().globals().set("host", host.unwrap()).unwrap();
        assert_eq!(run::<i64>(&vm, "return host()", LONG).unwrap(), 500_500);
        assert_interrupted(&vm, "while true do host() end");
        assert_interrupted(&vm, "while true do pcall(host) end");
        vm.lua().globals().raw_remove("host").unwrap();
    });
}

#[test]
fn inner_vm_may_be_interrupted_without_the_outer_one() {
    on_lua_thread(|| {
        let outer = vm_with(64 << 20, &[]);
        let kind = outer.lua().create_function(|_, ()| {
            let inner = vm_with(64 << 20, &[]);
            Ok(format!("{:?}", run::<()>(&inner, "while true do end", SHORT).unwrap_err().kind))
        });
        outer.lua().globals().set("inner", kind.unwrap()).unwrap();
        assert_eq!(run::<String>(&outer, "return inner()", LONG).unwrap(), "Interrupted");
        // The other way round the inner call returns first.
        let e = run::<()>(&outer, "while true do inner() end", SHORT).unwrap_err();
        assert_eq!(e.kind, FaultKind::Interrupted);
    });
}

// --- driver loops -------------------------------------------------------------------------------------------------

/// The shape of the plugin host's loop: one call, many callbacks, each with a budget of its own.
const DRIVER: &str = "
local ffi = require 'ffi'
local callback, progress, first, last, failed = ...
progress = ffi.cast('int32_t *', progress)
local function handler(message) return tostring(message) end
for i = first, last do
  progress[0] = i
  local ok, message = xpcall(callback, handler, i)
  if not ok then failed[#failed + 1] = i .. ' ' .. message end
end
return last";

struct Driven {
    done: i32,
    interrupted_at: Vec<i32>,
    failed: Vec<String>,
}

fn drive(vm: &Vm, callback: &str, last: i32, budget: Budget) -> Driven {
    let driver = vm.load(DRIVER.as_bytes(), "=millstream:driver").unwrap();
    let callback: mlua::Function = run(vm, callback, LONG).unwrap();
    let progress = mlua::LightUserData(vm.guard().progress_ptr().cast());
    let failed = vm.lua().create_table().unwrap();
    let (mut first, mut interrupted_at) = (1, Vec::new());
    let done = loop {
        match vm.call::<i32>(&driver, (&callback, progress, first, last, &failed), budget) {
            Ok(done) => break done,
            Err(e) => {
                assert_eq!(e.kind, FaultKind::Interrupted, "{e:?}");
                interrupted_at.push(vm.guard().progress.load(Ordering::Relaxed));
                first = interrupted_at[interrupted_at.len() - 1] + 1;
            }
        }
    };
    Driven { done, interrupted_at, failed: failed.sequence_values().map(Result::unwrap).collect() }
}

#[test]
fn interruption_aborts_the_driver_at_the_guilty_callback() {
    with_vm(|vm| {
        let callback = "return function(i)
            if i == 100 or i == 200 then while true do pcall(function() while true do end end) end end
            if i % 50 == 7 then error('bad ' .. i, 0) end
          end";
        let driven = drive(vm, callback, 256, SHORT);
        assert_eq!((driven.done, driven.interrupted_at), (256, vec![100, 200]));
        assert_eq!(driven.failed, ["7 bad 7", "57 bad 57", "107 bad 107", "157 bad 157", "207 bad 207"]);
    });
}

#[test]
fn budget_counts_from_the_last_progress() {
    with_vm(|vm| {
        // 40 callbacks of 10 ms in one call with a budget of 100 ms.
        let callback = "return function(i) local t = os.clock() + 0.010 while os.clock() < t do end end";
        let driven = drive(vm, callback, 40, SHORT);
        assert_eq!((driven.done, driven.interrupted_at), (40, vec![]));
    });
}

#[test]
fn pcall_and_xpcall_in_a_loop_still_compile() {
    with_vm(|vm| {
        let source = "
            local util = require 'jit.util'
            local n = 0
            local function f(x) n = n + x end
            local function h(m) return m end
            local function loop(count) for i = 1, count do pcall(f, 1) xpcall(f, h, 1) end end
            jit.flush()
            loop(1000)
            local loops = 0
            for trace = 1, 20 do
              local info = util.traceinfo(trace)
              if info and info.linktype == 'loop' then loops = loops + 1 end
            end
            return n, loops";
        let (n, loops): (i32, i32) = run(vm, source, LONG).unwrap();
        assert_eq!(n, 2000);
        assert!(loops >= 1, "no trace goes around the loop");
    });
}

// --- slow and stuck calls -----------------------------------------------------------------------------------------

#[test]
fn slow_calls_are_counted_with_the_longest() {
    with_vm(|vm| {
        let budget = Budget { limit: Some(Duration::from_secs(5)), slow: Some(Duration::from_millis(30)) };
        let spin =
            vm.load(b"local t = os.time() local c = os.clock() + ... while os.clock() < c do end", "@p.lua").unwrap();
        assert_eq!(vm.guard().take_slow(), None);
        vm.call::<()>(&spin, 0.001, budget).unwrap();
        vm.guard().progress.store(5, Ordering::Relaxed);
        vm.call::<()>(&spin, 0.080, budget).unwrap();
        vm.guard().progress.store(6, Ordering::Relaxed);
        vm.call::<()>(&spin, 0.150, budget).unwrap();
        let slow = vm.guard().take_slow().unwrap();
        assert_eq!((slow.count, slow.progress), (2, 6));
        assert!(slow.longest >= Duration::from_millis(100) && slow.longest < LATEST, "{slow:?}");
        assert_eq!(vm.guard().take_slow(), None);
    });
}

#[test]
fn call_stuck_in_c_is_reported_once() {
    let reports = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&reports);
    with_vm(move |vm| {
        let counter = Arc::clone(&reports);
        vm.guard().on_stuck(Duration::from_millis(100), move |guard| {
            assert!(guard.is_stuck() && guard.name() == "t.lua");
            counter.fetch_add(1, Ordering::Relaxed);
        });
        // A pattern match that a hook cannot reach; how long it takes depends on the machine.
        let source = "return (('a'):rep(22):find(('a?'):rep(20) .. ('a'):rep(22) .. 'b'))";
        let watch = Stopwatch::start();
        let result = run::<Option<i32>>(vm, source, SHORT);
        let took = watch.elapsed();
        println!("stuck in a pattern match for {took:?}");
        if took > LATEST {
            assert_eq!(result.unwrap_err().kind, FaultKind::Interrupted);
            assert_eq!(reports.load(Ordering::Relaxed), 1);
        }
        assert!(!vm.guard().is_stuck());
        assert_eq!(run::<i32>(vm, "return 1", LONG).unwrap(), 1);
    });
    assert!(seen.load(Ordering::Relaxed) <= 1);
}

// --- self-test ----------------------------------------------------------------------------------------------------

#[test]
fn self_test_passes() {
    let found = self_test().unwrap();
    println!("{found}");
    assert!(found.passed(), "{found}");
    assert!(found.version.starts_with("LuaJIT 2.1"), "{found}");
    assert!(found.interrupted_after.unwrap() < LATEST, "{found}");
}
