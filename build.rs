//! Builds the LuaJIT that the crate links, with hooks checked in compiled code, and the shim that reaches its internals.
//!
//! A stock LuaJIT never runs a debug hook inside a compiled loop, so a runaway `while true do end` could not be
//! interrupted. `LUAJIT_ENABLE_CHECKHOOK` adds that check; the self-test at start-up proves that it is in.
//!
//! On x86-64 LuaJIT takes the number of results of a C function from the whole of `rax`, of which the ABI defines the lower
//! half only. Functions compiled by gcc happen to clear the rest; some that rustc compiles do not, and the VM crashes
//! (a Rust userdata that lives until its VM is closed did so each time). One instruction more makes it right.
//!
//! LuaJIT gives up for good on code whose compilation failed about ten times, and chance decides what a callback does
//! meanwhile: of two runs one interpreted a callback to the end that the other compiled at once. Ours tries again, after as
//! many runs as LuaJIT's longest pause.

use std::path::PathBuf;
use std::{env, fs};

/// `luajit_src` has no options for what follows, but runs `make -e`: variables of the environment take precedence. Of
/// those that LuaJIT's makefile appends to the compiler's flags it leaves this one alone.
const FLAGS_VARIABLE: &str = "TARGET_FLAGS";
const CHECK_HOOK: &str = "LUAJIT_ENABLE_CHECKHOOK";

/// The command that assembles LuaJIT's interpreter, before any other source is compiled: ours edits two sources first.
const ASSEMBLER_VARIABLE: &str = "DASM";
const ASSEMBLER: &str = concat!(
    r"sed 's/^\(.*\)lea RA, \[BASE+RD\*8\]$$/\1mov RDd, RDd\n&/' $(DASM_DASC) >patched.dasc && mv patched.dasc $(DASM_DASC) && ",
    r"sed '/val > PENALTY_MAX/,/}/{s/blacklist_pc(pt, pc);.*/val = PENALTY_MAX;/;s/return;/(void)blacklist_pc;/}' lj_trace.c >patched.c && mv patched.c lj_trace.c && ",
    r"$(HOST_LUA) $(DASM_DIR)/dynasm.lua",
);

/// The symbols of Lua's C API, as linkers read it.
const EXPORTS: &str = "src/lua/exports.list";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/lua/shim.c");
    println!("cargo:rerun-if-env-changed={FLAGS_VARIABLE}");

    let flags = format!("{} -D{CHECK_HOOK}", env::var(FLAGS_VARIABLE).unwrap_or_default());
    set_variable(FLAGS_VARIABLE, flags.trim_start());
    set_variable(ASSEMBLER_VARIABLE, ASSEMBLER);
    let luajit = luajit_src::Build::new().build();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let sources = out.join("luajit-build").join("src");
    let tracer = fs::read_to_string(sources.join("lj_trace.c")).expect("LuaJIT was built from its sources");
    assert!(
        tracer.contains("val = PENALTY_MAX;\n"),
        "LuaJIT's trace compiler has changed: see the text above in build.rs"
    );
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        let interpreter = fs::read_to_string(sources.join("vm_x64.dasc")).expect("LuaJIT was built from its sources");
        assert!(
            interpreter.contains("mov RDd, RDd\n"),
            "LuaJIT's interpreter has changed: see the text above in build.rs"
        );
    }

    // The shim is compiled against the very sources that were built, so the compiler knows the offsets it uses. It
    // comes first on the linker's command line because it needs symbols of the library.
    cc::Build::new()
        .file("src/lua/shim.c")
        .include(sources)
        .define(CHECK_HOOK, None)
        .flag_if_supported("-funwind-tables")
        .compile("millstream_lua_shim");
    luajit.print_cargo_metadata();
    export_lua_api();
}

/// Modules in C that scripts require (`lsqlite3` and the like) take Lua's functions from the program that loads them.
fn export_lua_api() {
    println!("cargo:rerun-if-changed={EXPORTS}");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
        let root =
            PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for build scripts"));
        println!("cargo:rustc-link-arg-bins=-Wl,--dynamic-list={}", root.join(EXPORTS).display());
    }
}

fn set_variable(name: &str, value: &str) {
    #[expect(unsafe_code, reason = "luajit_src takes options of the build from the environment only")]
    // SAFETY: the build script has one thread, so nothing reads the environment meanwhile.
    unsafe {
        env::set_var(name, value);
    }
}
