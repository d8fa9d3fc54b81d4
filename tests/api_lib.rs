//! The parts of the plugin API that need no engine, exercised from Lua: one file per object under `tests/api/`.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use millstream::api::constants::{self, LogFn, LogLevel};
use millstream::api::modules::install_searcher;
use millstream::api::strings::{self, FileFailures};
use millstream::api::t_env::{self, ConfigPaths, Environment};
use millstream::api::t_host::{self, HostFunctions, HostPaths};
use millstream::api::{ac, re2, t_util};
use millstream::key::HomeNets;
use mlua::{Function, Lua, Table, Value, Variadic};

/// A VM with `T` as far as it needs no engine, and the helpers the test files use.
struct Bench {
    lua: Lua,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        #[expect(unsafe_code, reason = "the debugger module needs the debug and ffi libraries")]
        // SAFETY: the test files are our own; plugins get the full library set too.
        let lua = unsafe { Lua::unsafe_new() };
        let bench = Self { lua, dir };
        bench.install().expect("a VM with the libraries");
        bench
    }

    fn install(&self) -> mlua::Result<()> {
        let (lua, globals) = (&self.lua, self.lua.globals());
        let records: Rc<RefCell<Vec<(LogLevel, String)>>> = Rc::default();
        let sink = Rc::clone(&records);
        let log: LogFn = Rc::new(move |level, text| {
            let text = String::from_utf8(text.to_vec()).expect("log lines that are text");
            sink.borrow_mut().push((level, text));
        });
        let taken = Rc::clone(&records);
        // The records since the last call, as "LEVEL text".
        let take_log = lua.create_function(move |lua, ()| {
            let records = taken.borrow_mut().drain(..).collect::<Vec<_>>();
            lua.create_sequence_from(records.into_iter().map(|(level, text)| format!("{} {text}", level.name())))
        })?;
        globals.set("take_log", take_log)?;
        globals.set("DIR", self.dir.path().to_str())?;
        globals.set("null_test", Value::NULL)?;

        let t = lua.create_table()?;
        let table = |name: &str| -> mlua::Result<Table> {
            let table = lua.create_table()?;
            t.set(name, &table)?;
            Ok(table)
        };
        constants::install(lua, &table("K")?)?;
        let parse_ipv4 = t_util::install(lua, &table("util")?)?;
        re2::install(lua, &t, &log)?;
        ac::install(lua, &t, &log)?;

        let mut config = ConfigPaths::with_defaults(self.dir.path());
        config.apply("App>ProbeDesc =  two words ").expect("a well-formed override");
        let config_dir = Path::new(&config.get("App>DBRoot")).join("config");
        std::fs::create_dir_all(&config_dir)?;
        let paths = HostPaths { config: config_dir, data: config.get("App>DataDirectory").into() };
        let mut domain = ConfigPaths::empty();
        domain.set("Domain>Name", "d0");
        let environment =
            Environment { configfile: "/etc/millstream.toml".into(), domain_configfile: String::new(), config, domain };
        t_env::install(lua, &table("env")?, &environment)?;

        let calls = lua.create_table()?;
        globals.set("calls", &calls)?;
        let record = |name: &'static str| -> mlua::Result<Function> {
            let calls = calls.clone();
            lua.create_function(move |lua, args: Variadic<Value>| {
                let row = lua.create_sequence_from(args)?;
                row.set("name", name)?;
                calls.push(row)?;
                Ok(if name == "id" { Some("77BAB82") } else { None })
            })
        };
        let functions = HostFunctions {
            createkey: record("createkey")?,
            broadcast: record("broadcast")?,
            id: record("id")?,
            log: record("log")?,
        };
        let nets = Rc::new(HomeNets::default());
        t_host::install(lua, &table("host")?, &parse_ipv4, &nets, &paths, &functions, &log)?;
        strings::install(lua, &globals.get("string")?, &FileFailures::new(log))?;
        globals.set("T", t)?;
        install_searcher(lua)?;
        lua.load(include_str!("api/expect.lua")).set_name("@tests/api/expect.lua").exec()
    }

    fn run(&self, name: &str, text: &str) {
        let result = self.lua.load(text).set_name(format!("@tests/api/{name}")).exec();
        if let Err(error) = result {
            panic!("{error}");
        }
    }
}

macro_rules! lua_test {
    ($test:ident, $file:literal) => {
        #[test]
        fn $test() {
            Bench::new().run($file, include_str!(concat!("api/", $file)));
        }
    };
}

lua_test!(re2_object, "re2.lua");
lua_test!(ac_object, "ac.lua");
lua_test!(t_util_table, "t_util.lua");
lua_test!(t_host_table, "t_host.lua");
lua_test!(t_env_table, "t_env.lua");
lua_test!(t_k_table, "t_k.lua");
lua_test!(string_library, "string.lua");
lua_test!(json_module, "json.lua");
lua_test!(inspect_module, "inspect.lua");
lua_test!(debugger_module, "debugger.lua");
lua_test!(sweepbuf_module, "sweepbuf.lua");
lua_test!(pdurecord_module, "pdurecord.lua");

/// Wrong arguments of every kind, in every position: Lua errors in plain text, never a crash.
#[test]
fn hostile_arguments() {
    let bench = Bench::new();
    bench.run("hostile.lua", include_str!("api/hostile.lua"));
}

/// A plugin's own file of the same name comes before the built-in module.
#[test]
fn own_file_wins_over_built_in_module() {
    let bench = Bench::new();
    std::fs::write(bench.dir.path().join("sweepbuf.lua"), "return 'mine'").unwrap();
    let text = "package.path = DIR .. '/?.lua;' .. package.path
        assert(require 'sweepbuf' == 'mine')
        assert(type(require 'inspect') == 'table')
        local ok, reason = pcall(require, 'no_such_module')
        assert(not ok and reason:find(\"no built-in module 'no_such_module'\", 1, true), reason)";
    bench.run("require.lua", text);
}
