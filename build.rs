//! Builds the LuaJIT that the crate links, with hooks checked in compiled code, and the shim that reaches its internals.
//!
//! A stock LuaJIT never runs a debug hook inside a compiled loop, so a runaway `while true do end` could not be
//! interrupted. `LUAJIT_ENABLE_CHECKHOOK` adds that check; the self-test at start-up proves that it is in.
//!
//! `src/lua/luajit/` holds what else is changed in LuaJIT: for each source file the edits as a script of sed, with the reason
//! and the lines that the edits must leave.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// `luajit_src` has no options for what follows, but runs `make -e`: variables of the environment take precedence. Of
/// those that LuaJIT's makefile appends to the compiler's flags it leaves this one alone.
const FLAGS_VARIABLE: &str = "TARGET_FLAGS";
const CHECK_HOOK: &str = "LUAJIT_ENABLE_CHECKHOOK";

/// The command that assembles LuaJIT's interpreter, before any other source is compiled: ours edits the sources first.
const ASSEMBLER_VARIABLE: &str = "DASM";
const ASSEMBLER: &str = concat!(
    r#"for edits in "$$MILLSTREAM_EDITS"/*.sed; do file=$$(basename "$$edits" .sed); "#,
    r#"sed -f "$$edits" $$file >edited && mv edited $$file || exit 1; done && "#,
    r"$(HOST_LUA) $(DASM_DIR)/dynasm.lua",
);

/// Where that command finds the edits.
const EDITS_VARIABLE: &str = "MILLSTREAM_EDITS";
const EDITS: &str = "src/lua/luajit";
/// Begins a line of a script that says what its edits leave.
const LEAVES: &str = "# leaves: ";

/// The symbols of Lua's C API, as linkers read it.
const EXPORTS: &str = "src/lua/exports.list";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/lua/shim.c");
    println!("cargo:rerun-if-changed={EDITS}");
    println!("cargo:rerun-if-env-changed={FLAGS_VARIABLE}");

    let flags = format!("{} -D{CHECK_HOOK}", env::var(FLAGS_VARIABLE).unwrap_or_default());
    set_variable(FLAGS_VARIABLE, flags.trim_start());
    set_variable(ASSEMBLER_VARIABLE, ASSEMBLER);
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for build scripts"));
    let edits = root.join(EDITS);
    set_variable(EDITS_VARIABLE, edits.to_str().expect("the path of the sources is UTF-8"));
    let luajit = luajit_src::Build::new().build();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let sources = out.join("luajit-build").join("src");
    for entry in fs::read_dir(&edits).expect("the edits are there") {
        check(&entry.expect("the edits are there").path(), &sources);
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
    export_lua_api(&root);
}

/// Whether the edits of a source file have left what they should.
fn check(edits: &Path, sources: &Path) {
    let file = edits.file_stem().expect("a script is named after the file it edits");
    let edited = fs::read_to_string(sources.join(file)).expect("LuaJIT was built from its sources");
    let script = fs::read_to_string(edits).expect("the edits are there");
    for line in script.lines().filter_map(|line| line.strip_prefix(LEAVES)) {
        assert!(edited.contains(line), "LuaJIT's {} has changed: see {}", file.display(), edits.display());
    }
}

/// Modules in C that scripts require (`lsqlite3` and the like) take Lua's functions from the program that loads them.
fn export_lua_api(root: &Path) {
    println!("cargo:rerun-if-changed={EXPORTS}");
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux") {
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
