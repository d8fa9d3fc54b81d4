//! Calls with bytes: what they return, and that they fail as any other call does.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod vm_support;

use millstream::lua::{Budget, Direct, FaultKind, Others, PluginError, Ready, Returned, Vm};
use mlua::Function;
use vm_support::{LONG, SHORT, on_lua_thread, run, vm_with, with_vm};

fn function(vm: &Vm, text: &str) -> Function {
    run(vm, text, LONG).unwrap()
}

fn call(
    vm: &Vm,
    direct: &Direct,
    ready: Ready,
    data: &[u8],
    budget: Budget,
) -> Result<(Returned, Vec<u8>), PluginError> {
    let mut result = Vec::new();
    let returned = vm.call_bytes(direct, ready, data, (&mut result, 1000), Others::Ignored, budget)?;
    Ok((returned, result))
}

#[test]
fn strings_and_numbers_come_back_as_bytes_and_nothing_else_does() {
    with_vm(|vm| {
        let mut direct = Direct::new(vm.lua()).unwrap();
        for (text, expected) in [
            ("return function(d) return d end", (Returned::Bytes, &b"a\0b"[..])),
            ("return function() return '' end", (Returned::Bytes, b"")),
            ("return function() return 7 end", (Returned::Bytes, b"7")),
            ("return function() return 0.5, 'more' end", (Returned::Bytes, b"0.5")),
            ("return function() end", (Returned::Nothing, b"")),
            ("return function() return {} end", (Returned::Nothing, b"")),
            ("return function() return true end", (Returned::Nothing, b"")),
            ("return function() return ('x'):rep(1001) end", (Returned::TooLarge(1001), b"")),
        ] {
            let kept = direct.keep(&function(vm, text)).unwrap();
            let passing = direct.pass(&function(vm, text)).unwrap();
            for ready in [kept, passing, kept] {
                let (returned, bytes) = call(vm, &direct, ready, b"a\0b", LONG).unwrap();
                assert_eq!((returned, &bytes[..]), expected, "{text}");
            }
        }
        let of_nothing = direct.keep(&function(vm, "return function(d) return type(d) .. #d end")).unwrap();
        assert_eq!(call(vm, &direct, of_nothing, b"", LONG).unwrap().1, b"string0");
    });
}

#[test]
fn errors_are_those_of_any_other_call() {
    with_vm(|vm| {
        let rust = vm.lua().create_function(|_, ()| Err::<(), _>(mlua::Error::runtime("of the host"))).unwrap();
        vm.lua().globals().set("host", rust).unwrap();
        let direct = Direct::new(vm.lua()).unwrap();
        for text in [
            "return function() error('plain') end",
            "return function() error() end",
            "return function() error({}) end",
            "return function() error(setmetatable({}, { __tostring = function() return 'told' end })) end",
            "return function() local x = nil x.y = 1 end",
            "return function() host() end",
            "return function() error(('m'):rep(10000)) end",
        ] {
            let function = function(vm, text);
            let ready = direct.pass(&function).unwrap();
            let direct = call(vm, &direct, ready, b"", LONG).unwrap_err();
            let other = vm.call::<()>(&function, "", LONG).unwrap_err();
            assert_eq!((direct.kind, &direct.message), (other.kind, &other.message), "{text}");
            assert_eq!(direct.traceback.lines().next(), other.traceback.lines().next(), "{text}");
        }
        // Where a stack overflows is known to interpreted code only, and either call may have been compiled.
        let deep = function(vm, "return function() local function f() return f() + 1 end return f() end");
        let ready = direct.pass(&deep).unwrap();
        let error = call(vm, &direct, ready, b"", LONG).unwrap_err();
        assert!(error.message.ends_with("stack overflow"), "{}", error.message);
    });
}

#[test]
fn a_call_that_does_not_return_is_interrupted_and_the_next_one_is_not() {
    with_vm(|vm| {
        let mut direct = Direct::new(vm.lua()).unwrap();
        let endless = direct.keep(&function(vm, "return function() while true do pcall(error) end end")).unwrap();
        let short = direct.keep(&function(vm, "return function(d) return d end")).unwrap();
        for _ in 0..2 {
            let error = call(vm, &direct, endless, b"", SHORT).unwrap_err();
            assert_eq!(error.kind, FaultKind::Interrupted, "{error:?}");
            for _ in 0..1000 {
                assert_eq!(call(vm, &direct, short, b"x", SHORT).unwrap().1, b"x");
            }
        }
    });
}

#[test]
fn a_full_vm_is_a_memory_error_and_recovers() {
    with_vm(|vm| {
        let mut direct = Direct::new(vm.lua()).unwrap();
        let bomb = "return function() local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end end";
        let bomb = direct.keep(&function(vm, bomb)).unwrap();
        let echo = direct.keep(&function(vm, "return function(d) return d end")).unwrap();
        let error = call(vm, &direct, bomb, b"", LONG).unwrap_err();
        assert_eq!(error.kind, FaultKind::Memory, "{error:?}");
        let _ = vm.tidy();
        assert_eq!(call(vm, &direct, echo, b"alive", LONG).unwrap().1, b"alive");
        // The argument itself may not fit.
        let error = call(vm, &direct, echo, &vec![b'x'; 65 << 20], LONG).unwrap_err();
        assert_eq!(error.kind, FaultKind::Memory, "{error:?}");
        let _ = vm.tidy();
        assert_eq!(call(vm, &direct, echo, b"alive", LONG).unwrap().1, b"alive");
    });
}

#[test]
fn a_function_that_changes_its_environment_is_noticed() {
    with_vm(|vm| {
        let mut direct = Direct::new(vm.lua()).unwrap();
        let plain = direct.keep(&function(vm, "return function() x = 1 end")).unwrap();
        let changing = direct.keep(&function(vm, "return function() setfenv(1, {}) end")).unwrap();
        assert!(vm.is_pristine(&direct, plain) && vm.is_pristine(&direct, changing));
        for ready in [plain, changing] {
            call(vm, &direct, ready, b"", LONG).unwrap();
        }
        assert!(vm.is_pristine(&direct, plain) && !vm.is_pristine(&direct, changing));
    });
}

#[test]
fn a_function_of_another_vm_is_refused() {
    on_lua_thread(|| {
        let (one, other) = (vm_with(64 << 20, &[]), vm_with(64 << 20, &[]));
        let mut direct = Direct::new(one.lua()).unwrap();
        let ready = direct.keep(&function(&one, "return function(d) return d end")).unwrap();
        assert!(call(&other, &direct, ready, b"", LONG).unwrap_err().message.contains("another VM"));
        assert!(!other.is_pristine(&direct, ready));
        assert_eq!(call(&one, &direct, ready, b"x", LONG).unwrap().1, b"x");
    });
}
