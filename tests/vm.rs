//! Creating VMs, loading into them, the errors that come out of them, and their memory.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and tell what they measured")]

mod vm_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use millstream::lua::{Budget, FaultKind, Health};
use millstream::time::Stopwatch;
use vm_support::{LONG, SHORT, assert_interrupted, on_lua_thread, run, vm_with, with_vm};

/// Counts how many of it are dropped.
struct Counted(Arc<AtomicU32>);

impl mlua::UserData for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

// --- creation and loading -----------------------------------------------------------------------------------------

#[test]
fn libraries_are_open_and_bit_is_global() {
    let r: (i32, i32, String, bool) = with_vm(|vm| {
        run(vm, "return bit.band(7, 2), require('ffi').sizeof('int'), debug.getinfo(1).source, jit.status()", LONG)
            .unwrap()
    });
    assert_eq!(r, (2, 4, "@p.lua".to_owned(), true));
}

#[test]
fn a_vm_collects_and_compiles_again_when_it_is_furnished() {
    const SPIN: &str = "for i = 1, 10 do table.insert({}, i) end for i = 1, 1000 do x = i end";
    with_vm(|vm| {
        let held = |lua: &mlua::Lua| lua.load(format!("{SPIN} return jit.status()")).eval::<bool>();
        assert!(!vm.furnish(held).unwrap());
        let failed: mlua::Result<()> = vm.furnish(|_| Err(mlua::Error::runtime("no")));
        failed.unwrap_err();
        let (compiles, traces): (bool, bool) =
            run(vm, &format!("{SPIN} return jit.status(), require('jit.util').traceinfo(1) ~= nil"), LONG).unwrap();
        assert!(compiles && traces);
        let before = vm.used_memory();
        run::<()>(vm, "for i = 1, 1e6 do local t = { i, tostring(i) } end", LONG).unwrap();
        assert!(vm.used_memory() < before + (8 << 20), "{before} -> {}", vm.used_memory());
    });
}

#[test]
fn bytecode_is_refused() {
    with_vm(|vm| {
        let dump: mlua::LuaString = run(vm, "return string.dump(function() return 1 end)", LONG).unwrap();
        let e = vm.load(&dump.as_bytes(), "@dir/x.lua").unwrap_err();
        assert_eq!(e.kind, FaultKind::Syntax);
        assert_eq!(e.message, "dir/x.lua:1: bytecode is refused, only source text is loaded");
        let behind_header = [b"#!/x\n", &*dump.as_bytes()].concat();
        assert_eq!(vm.load(&behind_header, "@x.lua").unwrap_err().kind, FaultKind::Syntax);
        let scripts_own: i32 = run(vm, "return loadstring(string.dump(function() return 7 end))()", LONG).unwrap();
        assert_eq!(scripts_own, 7);
    });
}

#[test]
fn syntax_error_names_file_and_line() {
    let e = with_vm(|vm| vm.load(b"\nx = = 1", "@p/x.lua").unwrap_err());
    assert_eq!(e.kind, FaultKind::Syntax);
    assert!(e.message.starts_with("p/x.lua:2: "), "{}", e.message);
}

#[test]
fn os_exit_is_an_error() {
    let e = with_vm(|vm| run::<()>(vm, "\nos.exit(3)", LONG).unwrap_err());
    assert_eq!(e.message, "p.lua:2: os.exit(3) refused: a plugin cannot end the process");
}

#[test]
fn modules_are_searched_in_the_order_of_the_path() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let write = |dir: usize, file: &str, text: &str| std::fs::write(dirs[dir].path().join(file), text).unwrap();
    write(0, "both.lua", "return 'first'");
    write(1, "both.lua", "return 'second'");
    write(1, "ours.lua", "return 'script'");
    write(1, "broken.lua", "\nreturn =");
    write(1, "binary.lua", "\u{1b}LJ");
    let path: Vec<String> = dirs.iter().map(|d| format!("{}/?.lua", d.path().display())).collect();
    on_lua_thread(move || {
        let vm = vm_with(64 << 20, &path.iter().map(String::as_str).collect::<Vec<_>>());
        vm.add_module("ours", "return 'ours'").unwrap();
        vm.add_module("only", "return 'only ' .. ...").unwrap();
        let loader = vm.lua().create_function(|_, name: String| Ok(format!("native {name}"))).unwrap();
        vm.add_native_module("native", &loader).unwrap();
        let all: String = run(
            &vm,
            "return table.concat({require 'both', require 'ours', require 'only', require 'native'}, ', ')",
            LONG,
        )
        .unwrap();
        assert_eq!(all, "first, script, only only, native native");

        let path: String = run(&vm, "return package.path", LONG).unwrap();
        assert!(path.contains("/?.lua;<millstream>/?.lua;./?.lua;"), "{path}");
        let cpath_default: bool = run(&vm, "return package.cpath:find('./?.so', 1, true) == 1", LONG).unwrap();
        assert!(cpath_default);

        let e = run::<()>(&vm, "require 'missing'", LONG).unwrap_err();
        assert!(e.message.starts_with("p.lua:1: module 'missing' not found:"), "{}", e.message);
        assert!(e.message.contains("no module 'missing' of millstream"), "{}", e.message);
        let e = run::<()>(&vm, "require 'broken'", LONG).unwrap_err();
        assert!(e.message.contains("error loading module 'broken' from file"), "{}", e.message);
        assert!(e.message.contains("broken.lua:2:"), "{}", e.message);
        assert!(run::<()>(&vm, "require 'binary'", LONG).is_err());
        let kept: String = run(&vm, "package.path = './nowhere/?.lua' return require 'only'", LONG).unwrap();
        assert_eq!(kept, "only only");
    });
}

/// With a stock LuaJIT on x86-64 the process dies here: see build.rs.
#[test]
fn userdata_that_lives_until_its_vm_is_closed_is_dropped() {
    let drops = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&drops);
    with_vm(move |vm| {
        for i in 0..10 {
            let userdata = vm.lua().create_userdata(Counted(Arc::clone(&counter))).unwrap();
            vm.lua().globals().set(format!("kept{i}"), userdata).unwrap();
        }
    });
    assert_eq!(drops.load(Ordering::Relaxed), 10);
}

#[test]
fn a_vm_that_leaves_its_memory_runs_its_finalizers() {
    let drops = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&drops);
    with_vm(move |vm| {
        vm.leave_memory();
        for name in ["in_global", "in_finalizer"] {
            vm.lua().globals().set(name, vm.lua().create_userdata(Counted(Arc::clone(&counter))).unwrap()).unwrap();
        }
        let count = vm.lua().create_function(move |_, ()| Ok(counter.fetch_add(10, Ordering::Relaxed))).unwrap();
        vm.lua().globals().set("count", count).unwrap();
        run::<()>(
            vm,
            "local kept, text = in_finalizer, ('x'):rep(20)
             local p, c = newproxy(true), require('ffi').gc(require('ffi').new('int[1]'), count)
             getmetatable(p).__gc = function()
               local again = newproxy(true)
               getmetatable(again).__gc = function() return count(), tostring(kept), text .. 'y' end
             end
             hold = { p, c }",
            LONG,
        )
        .unwrap();
    });
    assert_eq!(drops.load(Ordering::Relaxed), 22);
}

#[test]
fn finalizers_of_scripts_can_call_the_host_whatever_was_made_first() {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    with_vm(move |vm| {
        let make = move |lua: &mlua::Lua, ()| {
            let counter = Arc::clone(&counter);
            lua.create_function(move |_, text: mlua::LuaString| {
                assert_eq!(text.as_bytes(), "x".repeat(50).as_bytes());
                Ok(counter.fetch_add(1, Ordering::Relaxed))
            })
        };
        vm.lua().globals().set("make", vm.lua().create_function(make).unwrap()).unwrap();
        // What is made later goes first.
        let proxy = "local function proxy(of)
                       local p, call = newproxy(true), nil
                       getmetatable(p).__gc = function() call(('x'):rep(50)) if of then of() end end
                       call = make()
                       return p
                     end ";
        let collected = format!("{proxy} for i = 1, 10 do proxy() end collectgarbage() collectgarbage()");
        run::<()>(vm, &collected, LONG).unwrap();
        // Each makes another, more often than anything is finalized.
        let closed = format!("{proxy} local function again() hold = proxy(again) end again() other = proxy()");
        run::<()>(vm, &closed, LONG).unwrap();
    });
    assert_eq!(calls.load(Ordering::Relaxed), 10 + 1 + 10);
}

#[test]
fn powers_are_those_of_the_library_interpreted_and_compiled() {
    // Of another base than 2 every power comes from the library; a power of 4 is one of 2 as well, and exact.
    let source = "
        local wrong, above = 0, 0
        for round = 1, 3 do
          for i = -1080, 1030 do
            if i % 2 == 0 and 2 ^ i ~= 4 ^ (i / 2) then wrong = wrong + 1 end
            if 2 ^ i * 2 ^ -i ~= 1 and i > -1022 and i < 1022 then wrong = wrong + 1 end
            if 2 ^ (i + 0.5) > 2 ^ i then above = above + 1 end
          end
        end
        local nan, huge = 2 ^ (0 / 0), math.huge
        return wrong, above, nan ~= nan, 2 ^ huge == huge, 2 ^ -huge == 0, math.pow(2, -0.0) == 1, 2 ^ 1024 == huge,
          2 ^ -1074 > 0 and 2 ^ -1075 == 0, (2 ^ 31 == 2147483648 and 3 ^ 4 == 81 and (-2) ^ 3 == -8)";

    type Found = (i32, i32, bool, bool, bool, bool, bool, bool, bool);
    let found: Found = with_vm(|vm| run(vm, source, LONG).unwrap());
    // From the smallest number there is, 2 ^ -1074, to the largest power.
    assert_eq!(found, (0, 3 * (1023 + 1075), true, true, true, true, true, true, true));
}

// --- errors -------------------------------------------------------------------------------------------------------

#[test]
fn hexadecimal_formats_give_what_other_formats_give() {
    // With a conversion that has no quick form, the same comes from the library.
    let same = "
        for _, form in ipairs { '%02X', '%02x', '%04X', '%04x', '<%02X:%04x>', '%02X.%02X.%02X.%02X', '%02X%%' } do
          for _, value in ipairs { 0, 7, 255, 256, 65535, 65536, -1, 1.5, -0.0, 2 ^ 32 + 5, 2 ^ 53, '17' } do
            for round = 1, 3 do
              local quick = string.format(form, value, value, value, 9)
              local slow
              if select(2, form:gsub('%%0', '')) == 1 then slow = string.format('%s' .. form, '', value) end
              if select(2, form:gsub('%%0', '')) == 2 then slow = string.format('%s' .. form, '', value, value) end
              if select(2, form:gsub('%%0', '')) == 4 then slow = string.format('%s' .. form, '', value, value, value, 9) end
              if quick ~= slow then error(form .. ' ' .. value .. ' ' .. quick .. ' ' .. slow) end
            end
          end
        end
        for i = 0, 65535 do assert(('%04X'):format(i) == ('%s%04X'):format('', i)) end
        for i = 0, 255 do assert(('%02x'):format(i) == ('%s%02x'):format('', i)) end
        return true";
    assert!(with_vm(|vm| run::<bool>(vm, same, LONG).unwrap()));
    for (source, message) in [
        ("\nlocal s = string.format('%02X', {}) return s", "bad argument #2 to 'format' (number expected, got table)"),
        ("\nlocal s = string.format('%02X') return s", "bad argument #2 to 'format' (value expected)"),
        ("\nlocal s = string.format() return s", "bad argument #1 to 'format' (string expected, got no value)"),
    ] {
        let e = with_vm(|vm| run::<()>(vm, source, LONG).unwrap_err());
        assert_eq!(e.message, format!("p.lua:2: {message}"));
        assert!(!e.traceback.contains("millstream"), "{}", e.traceback);
    }
}

#[test]
fn any_error_value_becomes_a_text() {
    with_vm(|vm| {
        let message = |source: &str| run::<()>(vm, source, LONG).unwrap_err().message;
        assert_eq!(message("error('x')"), "p.lua:1: x");
        assert_eq!(message("error('x', 0)"), "x");
        assert_eq!(message("error(nil)"), "(error object is a nil value)");
        assert_eq!(message("error()"), "(error object is a nil value)");
        assert_eq!(message("error({})"), "(error object is a table value)");
        assert_eq!(message("error(print)"), "(error object is a function value)");
        assert_eq!(message("error(12, 0)"), "12");
        assert_eq!(message("error(true)"), "(error object is a boolean value)");
        assert_eq!(message("error(setmetatable({}, {__tostring = function() return 'mine' end}))"), "mine");
        assert_eq!(
            message("error(setmetatable({}, {__tostring = function() return 5 end}))"),
            "(error object is a table value)"
        );
        assert_eq!(message("error('a\\255b', 0)"), "a\u{FFFD}b");
        let e = run::<()>(vm, "error(('é'):rep(500000), 0)", LONG).unwrap_err();
        assert_eq!((e.kind, e.message.len()), (FaultKind::Error, 4096));
        assert!(run::<()>(vm, "error(setmetatable({}, {__tostring = function(s) error(s) end}))", LONG).is_err());
        assert_eq!(message("error(io.stdout)"), "(error object is a userdata value)");
        assert!(run::<()>(vm, "error(newproxy())", LONG).is_err());
    });
}

#[test]
fn traceback_shows_the_plugin_and_not_the_host() {
    let e = with_vm(|vm| {
        run::<()>(vm, "local function f() return nil + 1 end\nlocal x = f()\nreturn x", LONG).unwrap_err()
    });
    assert_eq!(e.message, "p.lua:1: attempt to perform arithmetic on a nil value");
    assert_eq!(e.traceback, "p.lua:1: in local 'f'\np.lua:2: in main chunk");
}

#[test]
fn error_of_a_rust_function_keeps_its_text() {
    let e = with_vm(|vm| {
        let fail = vm.lua().create_function(|_, ()| Err::<(), _>(mlua::Error::runtime("no such flow"))).unwrap();
        vm.lua().globals().set("fail", fail).unwrap();
        run::<()>(vm, "fail()", LONG).unwrap_err()
    });
    assert_eq!((e.kind, e.message.as_str()), (FaultKind::Error, "no such flow"));
    assert!(e.traceback.contains("p.lua:1"), "{e:?}");
}

#[test]
fn panic_of_a_rust_function_passes_through_and_ends_the_call() {
    with_vm(|vm| {
        let fail = vm.lua().create_function(|_, ()| -> mlua::Result<()> { panic!("on purpose") }).unwrap();
        vm.lua().globals().set("fail", fail).unwrap();
        let call = std::panic::AssertUnwindSafe(|| run::<()>(vm, "fail()", SHORT));
        assert!(std::panic::catch_unwind(call).is_err());
        std::thread::sleep(Duration::from_millis(150));
        assert_interrupted(vm, "while true do end");
    });
}

#[test]
fn error_in_a_finalizer_is_no_error_of_the_callback() {
    with_vm(|vm| {
        let source = "local p = newproxy(true) getmetatable(p).__gc = function() error('gc') end p = nil
                      collectgarbage() collectgarbage() return 1";
        assert_eq!(run::<i32>(vm, source, LONG).unwrap(), 1);
    });
}

// --- memory and recursion -----------------------------------------------------------------------------------------

#[test]
fn memory_bombs_end_in_an_error_and_the_vm_recovers() {
    with_vm(|vm| {
        let bombs = [
            "local s = 'x' while true do s = s .. s end",
            "return ('x'):rep(2 ^ 31 - 1)",
            "return ('x'):rep(1024 * 1024 * 1024)",
            "local t = {} while true do t[#t + 1] = {} end",
            "local t = {} for i = 1, 1e9 do t[i] = i end",
            "return require('ffi').new('char[?]', 1024 * 1024 * 1024)",
            "local t = {} for i = 1, 1e9 do t[i] = 'k' .. i end",
            "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        ];
        for bomb in bombs {
            let e = run::<()>(vm, bomb, LONG).unwrap_err();
            assert!(e.message.contains("not enough memory") || e.message.contains("string"), "{bomb}: {e:?}");
            assert_eq!(vm.tidy(), Health::Good, "{bomb}");
            assert!(vm.used_memory() < 4 << 20, "{bomb} left {} bytes", vm.used_memory());
            assert_eq!(run::<i32>(vm, "return 1 + 1", LONG).unwrap(), 2, "{bomb}");
        }
    });
}

#[test]
fn vm_whose_memory_stays_full_is_to_be_replaced() {
    with_vm(|vm| {
        let e = run::<()>(vm, "KEEP = {} while true do KEEP[#KEEP + 1] = ('x'):rep(100000) .. #KEEP end", LONG)
            .unwrap_err();
        assert_eq!(e.kind, FaultKind::Memory);
        assert_eq!(vm.tidy(), Health::Replace);
        assert_eq!(vm.tidy(), Health::Replace);
    });
}

#[test]
fn garbage_is_collected_before_the_limit_is_reached() {
    with_vm(|vm| {
        run::<()>(vm, "collectgarbage('stop') local t = {} for i = 1, 520 do t[i] = ('x'):rep(100000) .. i end", LONG)
            .unwrap();
        assert!(vm.used_memory() > 48 << 20);
        assert_eq!(vm.tidy(), Health::Good);
        assert!(vm.used_memory() < 4 << 20);
    });
}

#[test]
fn code_that_could_not_be_compiled_is_tried_again() {
    with_vm(|vm| {
        // Making closures cannot be compiled.
        let source = "
            local function work(count, closures)
              for i = 1, count do
                if closures then local f = function() end end
              end
            end
            local compiled = 0
            jit.attach(function(what) if what == 'stop' then compiled = compiled + 1 end end, 'trace')
            work(300000, true)
            local before = compiled
            work(300000, false)
            return before, compiled";
        let (before, compiled): (i32, i32) = run(vm, source, LONG).unwrap();
        assert_eq!(before, 0);
        assert!(compiled > 0, "the loop is interpreted for good");
    });
}

#[test]
fn unbounded_recursion_of_every_shape_ends_in_an_error() {
    let shapes = [
        "local function f() return 1 + f() end f()",
        "local function f(s) return (s:gsub('.', f)) end f('x')",
        "local function f() return coroutine.wrap(f)() end f()",
        "local function f() local co = coroutine.create(f) return assert(coroutine.resume(co)) end f()",
        "local function f() table.sort({3, 1, 2}, function() f() return true end) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end return t.x",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return tostring(t) end tostring(t)",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return string.format('%s', t) end string.format('%s', t)",
        "local t t = setmetatable({}, {__concat = function(a, b) return a .. b end}) return t .. t",
        // load() makes a result of the error at the innermost level, so this one ends well if the time is enough.
        "local function f() return load(f) end f() error('end')",
        "local function f() return assert(loadstring('return (...)()'))(f) + 1 end f()",
        "local function f() local ok, e = pcall(f) error(e, 0) end f()",
        "local function f() xpcall(f, f) error('x') end f()",
        "local function f() return xpcall(error, f) end f() error('end')",
        "local t = setmetatable({}, {}) getmetatable(t).__call = t t()",
        "local t = {} for i = 1, 100000 do t = setmetatable({}, {__index = t}) end return t.x + 1",
        "return loadstring(('('):rep(100000) .. '1' .. (')'):rep(100000))()",
        "local t = {} t[1] = setmetatable({}, {__tostring = function() return table.concat({tostring(t[1])}) end}) tostring(t[1])",
        "require = nil local function f(...) return f(1, ...) end f() error('end')",
        "local function f() return unpack({}, 1, 1e8) end f()",
    ];
    for shape in shapes {
        let (result, usable) = on_lua_thread(move || {
            let vm = vm_with(64 << 20, &[]);
            let watch = Stopwatch::start();
            let result = run::<()>(&vm, shape, Budget { limit: Some(Duration::from_secs(2)), slow: None });
            println!("{:>5} ms  {:?}  {shape}", watch.elapsed().as_millis(), result.as_ref().err().map(|e| e.kind));
            let health = vm.tidy();
            (result, health == Health::Replace || run::<i32>(&vm, "return 1 + 1", LONG) == Ok(2))
        });
        assert!(result.is_err(), "{shape}");
        assert!(usable, "{shape}");
    }
}

// --- strings --------------------------------------------------------------------------------------------------------

#[test]
fn texts_that_were_foreseen_become_the_same_strings() {
    with_vm(|vm| {
        let texts: Vec<String> = (0..400).map(|len| "text".chars().cycle().take(len).collect()).collect();
        vm.foresee(texts.iter().map(String::as_bytes));
        run::<()>(vm, "seen = {}", LONG).unwrap();
        for round in 0..2 {
            for (len, text) in texts.iter().enumerate() {
                let met: bool = run(
                    vm,
                    &format!(
                        "local t = {text:?}; local met = seen[t]; seen[t] = true; return met == true and #t == {len}"
                    ),
                    LONG,
                )
                .unwrap();
                assert_eq!(met, round == 1, "a text of {len} bytes");
            }
            vm.foresee(texts.iter().map(String::as_bytes));
        }
    });
}
