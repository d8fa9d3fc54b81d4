//! Every file of `plugins/` and `samples/` loads, is described, and reports what is in the demo capture.
//!
//! The host here is a stand-in written in Lua (`plugins/stub.lua`), so that these tests say whether a plugin is right
//! independently of the pipeline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream::api::{t_gears, t_util};
use millstream::guid::Guid;
use mlua::{Function, Lua, Table, Value};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The plugins of this project: to use, to start from, to measure.
const FOLDERS: [&str; 4] = ["plugins", "samples", "tests/bench/lua", "tests/bench/lua/twenty"];

/// Lua files of a folder, in name order.
fn lua_files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .expect("the folder is part of the project")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "lua"))
        .collect();
    files.sort();
    files
}

#[derive(Clone, Copy, Default)]
enum Keys {
    #[default]
    Text,
    FromBytes,
}

/// A plugin in a VM with the stand-in host.
struct Loaded {
    lua: Lua,
    host: Table,
}

impl Loaded {
    fn new(path: &Path, keys: Keys, args: &str) -> Self {
        #[expect(unsafe_code, reason = "plugins may use ffi, as in the real host")]
        // SAFETY: the files are those of this repository.
        let lua = unsafe { Lua::unsafe_new() };
        let options = lua.create_table().expect("memory");
        options.set("fast", matches!(keys, Keys::FromBytes)).expect("memory");
        options.set("args", args).expect("memory");
        let util = lua.create_table().expect("memory");
        t_util::install(&lua, &util).expect("functions on numbers and strings need no host");
        options.set("util", util).expect("memory");
        let stub = fs::read_to_string(root().join("tests/plugins/stub.lua")).expect("the stand-in host");
        let host: Table = lua.load(stub).set_name("@stub.lua").call(options).expect("the stand-in host loads");
        // Pipelines become blocks; the stand-in host runs none of them.
        t_gears::install_for_probe(&lua, &lua.globals().get("T").expect("the stub's T")).expect("memory");
        let text = fs::read_to_string(path).expect("a readable plugin");
        let name = format!("@{}", path.display());
        lua.load(text).set_name(name).exec().unwrap_or_else(|e| panic!("{e}"));
        Self { lua, host }
    }

    fn call<R: mlua::FromLuaMulti>(&self, name: &str, args: impl mlua::IntoLuaMulti) -> R {
        let function: Function = self.host.get(name).expect("a function of the stand-in host");
        function.call(args).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The table the file left behind; lives as long as `self`.
    fn plugin(&self) -> Table {
        self.lua.globals().get("TrisulPlugin").expect("a plugin leaves a table TrisulPlugin")
    }

    fn run_demo(&self) {
        assert!(self.call::<bool>("start", ()), "onload refused");
        let bytes = fs::read(root().join("pcaps/demo.pcap")).expect("the demo capture");
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut at = 24;
        while at < bytes.len() {
            let end = at + 16 + word(at + 8) as usize;
            let packet = self.lua.create_string(&bytes[at + 16..end]).expect("memory");
            self.call::<()>("packet", (word(at), word(at + 4), packet, 1));
            at = end;
        }
        self.call::<()>("stop", ());
    }

    fn report(&self) -> Table {
        self.host.get("report").expect("the stand-in host keeps a report")
    }

    /// Totals of the counters, as "key/meter".
    fn counters(&self) -> BTreeMap<String, u64> {
        let counters: Table = self.report().get("counters").expect("counters");
        counters.pairs().map(|pair| pair.expect("text and whole numbers")).collect()
    }

    fn lines(&self, what: &str) -> Vec<String> {
        self.report().get(what).expect("a list of lines")
    }
}

fn demo(file: &str, keys: Keys) -> Loaded {
    let loaded = Loaded::new(&root().join(file), keys, "");
    loaded.run_demo();
    loaded
}

#[test]
fn every_file_loads_and_says_who_it_is() {
    for path in FOLDERS.into_iter().flat_map(lua_files) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-- "), "{}: a plugin starts with a comment that says what it shows", path.display());
        let loaded = Loaded::new(&path, Keys::Text, "");
        let id: Table = loaded.plugin().get("id").unwrap();
        let name: String = id.get("name").unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name.ends_with(&stem.replace('_', "-")) || name.ends_with(stem),
            "{}: its name is {name}",
            path.display()
        );
        assert!(!id.get::<String>("description").unwrap().is_empty());
    }
}

#[test]
fn guids_are_well_formed_and_used_once() {
    let mut owners: BTreeMap<(String, String), String> = BTreeMap::new();
    for path in FOLDERS.into_iter().flat_map(lua_files) {
        let loaded = Loaded::new(&path, Keys::Text, "");
        let plugin = loaded.plugin();
        for block in ["countergroup", "resourcegroup", "alertgroup", "protocol_handler"] {
            let Value::Table(block_table) = plugin.get::<Value>(block).unwrap() else {
                continue;
            };
            let guid: String = block_table.get::<Table>("control").unwrap().get("guid").unwrap();
            let parsed: Guid = guid.parse().unwrap_or_else(|e| panic!("{}: {block}: {e}", path.display()));
            let owner = format!("{}", path.display());
            let earlier = owners.insert((block.to_owned(), parsed.to_string()), owner);
            assert_eq!(earlier, None, "{}: {block} {guid} is defined twice", path.display());
        }
    }
    assert!(owners.len() > 10);
}

#[test]
fn packet_lengths_add_up_to_the_capture() {
    let counters = demo("plugins/packet-lengths.lua", Keys::Text).counters();
    let sum = |meter: &str| counters.iter().filter(|(k, _)| k.ends_with(meter)).map(|(_, v)| v).sum::<u64>();
    let bytes = fs::metadata(root().join("pcaps/demo.pcap")).unwrap().len();
    let packets = sum("/0");
    assert_eq!(sum("/1"), bytes - 24 - 16 * packets);
    assert!(counters["0000-0063/0"] > 40 && counters["1024-1514/0"] > 100, "{counters:?}");
}

#[test]
fn top_talkers_are_the_same_with_both_ways_to_make_keys() {
    for file in ["plugins/top-talkers.lua", "plugins/top-talkers-ipv6.lua"] {
        let text = demo(file, Keys::Text).counters();
        assert_eq!(text, demo(file, Keys::FromBytes).counters(), "{file}");
        assert!(text.len() > 30, "{file}: {text:?}");
    }
    let counters = demo("plugins/top-talkers.lua", Keys::Text).counters();
    let (top, _) = counters.iter().filter(|(k, _)| k.ends_with("/0")).max_by_key(|(_, v)| **v).unwrap();
    assert_eq!(top, "0A.14.00.05/0", "the file server takes the backup");
}

#[test]
fn tcp_resets_point_at_the_scanner() {
    let run = demo("plugins/tcp-resets.lua", Keys::Text);
    let counters = run.counters();
    let (top, count) = counters.iter().filter(|(k, _)| k.ends_with("/0")).max_by_key(|(_, v)| **v).unwrap();
    assert_eq!(top, "0A.14.00.42/0");
    assert!(*count > 200);
    let alerts = run.lines("alerts");
    assert!(
        !alerts.is_empty() && alerts.iter().all(|a| a.starts_with("many-resets: 10.20.0.66 received ")),
        "{alerts:?}"
    );
}

#[test]
fn dns_names_count_domains_and_find_the_tunnel() {
    let run = demo("plugins/dns-names.lua", Keys::Text);
    let counters = run.counters();
    assert!(counters["example.com/0"] > 10, "{counters:?}");
    assert_eq!(counters["example.net/3"], 30);
    assert!(run.lines("resources").contains(&"www.example.com | type A".to_owned()));
    assert_eq!(run.lines("alerts").len(), 1, "{:?}", run.lines("alerts"));
}

#[test]
fn payload_fingerprints_hash_each_flow_once() {
    let run = demo("plugins/payload-fingerprints.lua", Keys::Text);
    let jobs: usize = run.report().get("jobs").unwrap();
    let resources = run.lines("resources");
    assert!(jobs > 50 && resources.len() == jobs, "{jobs} jobs, {} resources", resources.len());
    // The first payload of every shell session is the client's banner.
    let same: Vec<_> = resources.iter().filter(|r| r.ends_with("21 bytes: SSH-2.0-OpenSSH_9.6..")).collect();
    assert_eq!(same.len(), 2, "{resources:?}");
    assert_eq!(same[0], same[1]);
}

#[test]
fn samples_report_something_about_the_demo() {
    for (file, what) in [
        ("simplecounter", "counters"),
        ("protocol_handler", "counters"),
        ("async", "counters"),
        ("resourcegroup", "resources"),
        ("alertgroup", "alerts"),
        ("onload-onunload", "logs"),
        ("onmessage", "logs"),
        ("channellistener", "logs"),
    ] {
        let run = demo(&format!("samples/{file}.lua"), Keys::Text);
        let count = run.report().get::<Table>(what).unwrap().pairs::<Value, Value>().count();
        assert!(count > 0, "{file}: no {what}");
    }
}

#[test]
fn sample_input_makes_the_packets_it_was_asked_for() {
    let run = Loaded::new(&root().join("samples/inputfilter-step.lua"), Keys::Text, "25");
    assert_eq!(run.call::<u32>("steps", 1_000), 25);
}

#[test]
fn sample_alert_input_reads_one_alert_a_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "1768467600 sig-7 2 10.0.0.1 10.0.0.2 something odd\nnonsense\n").unwrap();
    let run =
        Loaded::new(&root().join("samples/inputfilter-step_alert.lua"), Keys::Text, file.path().to_str().unwrap());
    assert!(run.call::<bool>("start", ()));
    let alert: Table = run.call("step_alert", ());
    assert_eq!(alert.get::<String>("SigIDKeyLabel").unwrap(), "something odd");
    assert_eq!(alert.get::<u32>("Priority").unwrap(), 2);
    assert_eq!(run.call::<Value>("step_alert", ()), Value::Nil);
    assert_eq!(run.lines("logs"), ["not an alert: nonsense"]);
    run.call::<()>("stop", ());
}

#[test]
fn measured_plugins_count_the_same_with_either_kind_of_key() {
    let text = demo("tests/bench/lua/dstip_text.lua", Keys::Text).counters();
    let fast = demo("tests/bench/lua/dstip_fast.lua", Keys::FromBytes).counters();
    assert!(text.len() > 20);
    assert_eq!(text, fast);
    let hist = demo("tests/bench/lua/hist.lua", Keys::Text).counters();
    assert_eq!(hist, demo("tests/bench/lua/hist.lua", Keys::FromBytes).counters());
    assert!(hist["rst/1"] > 200);
}

#[test]
fn every_one_of_the_twenty_finds_something() {
    let mut silent = Vec::new();
    for path in lua_files("tests/bench/lua/twenty") {
        let run = Loaded::new(&path, Keys::FromBytes, "");
        run.run_demo();
        if run.counters().is_empty() {
            silent.push(path);
        }
    }
    assert!(silent.is_empty(), "nothing counted: {silent:?}");
}

#[test]
fn plugin_of_the_readme_counts_what_it_says() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```lua\n").unwrap();
    let (plugin, _) = rest.split_once("```").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), plugin).unwrap();
    let run = Loaded::new(file.path(), Keys::Text, "");
    run.run_demo();
    let counters = run.counters();
    // The host with the name tunnel asks most.
    let (top, _) = counters.iter().max_by_key(|(_, count)| **count).unwrap();
    assert_eq!(top, "0A.14.00.15/0", "{counters:?}");
}
