//! Both ends of the reference meet: what exists has an entry, what has an entry exists, and the committed pages are those
//! that the program writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use millstream::api::reference::{self, CHAPTERS, EntryKind};
use millstream::api::{EngineContext, Peers, ScriptId, VmContext, engine, modules};
use millstream::lua::{Vm, VmOptions};
use millstream::metrics::{Registry, Shard, ShardConfig};
use millstream::plugin::{PluginKind, Side};
use millstream::{api, decode};
use serde_json::Value;

use super::program::{Workplace, is_blessing, root};

/// Places by owner and name.
type Names = BTreeMap<(String, String), BTreeSet<char>>;

/// Objects whose methods lie behind structs of the host; they are found where they are defined.
const STRUCTS: [(&str, &str); 5] = [
    ("ms_packet", "Packet"),
    ("ms_layer", "Layer"),
    ("ms_buffer", "Buffer"),
    ("ms_flow", "FlowID"),
    ("ms_http_header", "HTTPHeader"),
];

/// Fields that scripts set and that nothing here has a use for; their entries say so.
const NOT_READ: [(&str, &str); 5] = [
    ("protocol_handler.control", "description"),
    ("step_alert.result", "EventID"),
    ("step_alert.result", "ProtocolFamily"),
    ("step_alert.result", "SensorID"),
    ("step_alert.result", "SigGenerator"),
];

/// The text in which the entries of an owner stand or would stand.
fn text_of(owner: &str) -> String {
    let holds = |owner: &str| CHAPTERS.iter().find(|chapter| chapter.objects().any(|object| object.name == owner));
    let above = owner.rsplit_once('.').map_or(owner, |(above, _)| above);
    let file = holds(owner).or_else(|| holds(above)).map_or("t", |chapter| chapter.file);
    format!("src/api/reference/texts/{file}.txt")
}

/// The entries of the owners, with their places.
fn entries(wanted: impl Fn(&str, EntryKind) -> bool) -> Names {
    reference::objects()
        .flat_map(|object| &object.entries)
        .filter(|entry| wanted(entry.owner, entry.kind))
        .map(|entry| ((entry.owner.to_owned(), entry.name.to_owned()), entry.sides.chars().collect()))
        .collect()
}

/// What of names is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    Names,
    NamesAndPlaces,
}

/// Compares what exists with what has an entry, and says what to do about each difference.
fn compare(exists: &Names, described: &Names, what: Compared) {
    let mut wrong = String::new();
    let shown = |places: &BTreeSet<char>| places.iter().collect::<String>();
    for ((owner, name), places) in exists {
        match described.get(&(owner.clone(), name.clone())) {
            None => {
                let _ = writeln!(
                    wrong,
                    "{owner}: {name} exists ({}) and has no entry. Say what it does below '= {owner}' in {}, as the \
                     entries there do (a mark, the name, its parameters, ' | ' and the places; add ' | extension' if \
                     Trisul has no such name).",
                    shown(places),
                    text_of(owner)
                );
            }
            Some(said) if what == Compared::NamesAndPlaces && said != places => {
                let _ = writeln!(
                    wrong,
                    "{owner}: {name} is available in {}, and its entry in {} says {}.",
                    shown(places),
                    text_of(owner),
                    shown(said)
                );
            }
            Some(_) => {}
        }
    }
    for (owner, name) in described.keys().filter(|key| !exists.contains_key(*key)) {
        let _ = writeln!(
            wrong,
            "{owner}: {name} has an entry in {} and does not exist. Take the entry out, or, if the walk in tests/docs \
             does not come across it, show it the way.",
            text_of(owner)
        );
    }
    assert!(
        wrong.is_empty(),
        "the reference and the program do not agree:\n{wrong}Then write the pages anew with `cargo run -- api --markdown \
         docs` and commit both."
    );
}

/// Runs a plugin that writes lines into a file, and reads them.
fn lines_of(plugin: &str, run: &str) -> Vec<Vec<String>> {
    let place = Workplace::new();
    fs::write(place.path("plugin.lua"), plugin).expect("a writable folder");
    let output = place.shell(&format!("millstream run {run} -p plugin.lua --args /tmp/lines -q"));
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{run}: {}\n{problem}", output.status);
    let lines = fs::read_to_string(place.path("tmp/lines")).unwrap_or_else(|e| panic!("{e}\n{problem}"));
    let lines = lines.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn every_function_method_field_and_constant_of_a_running_program_has_an_entry() {
    let tables: Vec<String> = reference::objects()
        .filter(|object| object.name.starts_with("T.") && object.name != "T.async.schedule")
        .map(|object| format!("['{}'] = true", object.name))
        .collect();
    let walk = fs::read_to_string(root().join("tests/docs/walk.lua")).expect("the walk");
    let plugin = format!("local TABLES = {{ {} }}\n{walk}", tables.join(", "));
    let mut exists = Names::new();
    for line in lines_of(&plugin, "-r pcaps/incidents.pcap --builtin Hosts") {
        let [owner, name, place] = &line[..] else { panic!("{line:?}") };
        exists.entry((owner.clone(), name.clone())).or_default().extend(place.chars());
    }
    for module in modules::MODULES {
        exists.insert(("require".to_owned(), module.name.to_owned()), "FBW".chars().collect());
    }
    for (name, places) in structs() {
        exists.entry(name).or_default().extend(places);
    }
    // What scripts define is found by what the host asks for.
    let is_walked = |owner: &str, kind| {
        let is_called = matches!(kind, EntryKind::Method | EntryKind::Function | EntryKind::Constant);
        owner != "T.async.schedule" && (is_called || owner == "require" || owner == "T" || owner.starts_with("T."))
    };
    let described = entries(is_walked);
    assert!(exists.len() > 150, "{exists:?}");
    compare(&exists, &described, Compared::NamesAndPlaces);
}

/// Methods of the objects that are structs of the host: what is given to `ffi.metatype` while they are made.
fn structs() -> Names {
    let options = VmOptions { name: "walk".to_owned(), memory_limit: 64 << 20, package_path: Vec::new() };
    let vm = Vm::new(&options).expect("a VM");
    vm.lua()
        .load(
            "local ffi = require 'ffi'
             local metatype = ffi.metatype
             MADE = {}
             ffi.metatype = function(name, meta) MADE[name] = meta.__index return metatype(name, meta) end",
        )
        .exec()
        .expect("ffi is there");
    let (groups, protocols) = (Arc::new(Registry::new()), Arc::new(decode::Registry::new()));
    let shard = Shard::new(&groups, ShardConfig::default());
    let peers = Peers::connect(1).pop().expect("one end");
    let context = EngineContext::new(0, shard, groups, protocols, peers);
    let guard = Arc::clone(vm.guard());
    let vm_context = VmContext::new(Rc::new(context), ScriptId(0), "walk".to_owned(), 0, 0, "0".to_owned(), guard);
    engine::install(vm.lua(), &Rc::new(vm_context)).expect("the objects");
    let made: mlua::Table = vm.lua().globals().get("MADE").expect("the table set above");
    let mut names = Names::new();
    for (of, owner) in STRUCTS {
        let methods: mlua::Table = made.get(of).unwrap_or_else(|e| panic!("{of}: {e}"));
        for pair in methods.pairs::<String, mlua::Value>() {
            let (name, _) = pair.expect("methods by name");
            names.insert((owner.to_owned(), name), BTreeSet::from(['F']));
        }
    }
    names
}

#[test]
fn every_block_callback_and_field_that_the_host_asks_for_has_an_entry() {
    let kinds: Vec<&str> = PluginKind::all().map(PluginKind::name).filter(|name| *name != "inputfilter").collect();
    let asked = fs::read_to_string(root().join("tests/docs/asked.lua")).expect("the script");
    let of = |kinds: &[&str]| format!("local KINDS = {{ '{}' }}\n{asked}", kinds.join("', '"));
    let files = "--set 'Reassembly>FileExtraction>Enabled=true'";
    let mut lines = lines_of(&of(&kinds), &format!("-r pcaps/incidents.pcap {files}"));
    lines.extend(lines_of(&of(&["inputfilter"]), ""));
    let is_block = |name: &str| PluginKind::from_name(name).is_some();
    let mut exists = Names::new();
    for line in lines {
        let [owner, name] = &line[..] else { panic!("{line:?}") };
        // Blocks are objects of the reference; a control table that a block does not have is asked for in vain.
        let is_object = owner == "TrisulPlugin" && is_block(name);
        let is_known = reference::object(owner).is_some() || !owner.ends_with(".control");
        if !is_object && is_known {
            exists.entry((owner.clone(), name.clone())).or_default();
        }
    }
    for kind in PluginKind::all() {
        assert!(
            reference::object(kind.name()).is_some(),
            "the block {} has no part in {}",
            kind.name(),
            text_of(kind.name())
        );
    }
    // A list of rows and a function are read without asking for a name.
    let scripted = |owner: &str, kind| {
        matches!(kind, EntryKind::Callback | EntryKind::Field)
            && (is_block(owner.split('.').next().unwrap_or_default())
                || owner.starts_with("TrisulPlugin")
                || owner == "step_alert.result"
                || owner == "T.async.schedule")
    };
    let described = entries(scripted);
    for (owner, name) in NOT_READ {
        let entry = exists.insert((owner.to_owned(), name.to_owned()), BTreeSet::new());
        assert!(entry.is_none(), "{owner}: {name} is read now; its entry in {} says that it is not", text_of(owner));
    }
    // Monitors may have an onload of their own; the entry is that of the plugin.
    exists.retain(|(owner, name), _| !(is_block(owner) && (name == "onload" || name == "onunload")));
    compare(&exists, &described, Compared::Names);
}

#[test]
fn places_of_callbacks_are_those_of_their_blocks() {
    for kind in PluginKind::all() {
        let place = match kind.side() {
            Side::Definition | Side::Shared => "FB",
            Side::Frontend | Side::Input => "F",
            Side::Backend => "B",
        };
        let object = reference::object(kind.name()).expect("every block has a part");
        for entry in &object.entries {
            assert_eq!(entry.sides, place, "{}: see {}", entry.path(), text_of(kind.name()));
        }
    }
}

#[test]
fn constants_have_the_values_that_scripts_see() {
    let said: BTreeMap<String, String> = reference::objects()
        .flat_map(|object| &object.entries)
        .filter(|entry| entry.kind == EntryKind::Constant)
        .map(|entry| (entry.path(), entry.shape.trim_start_matches(" = ").to_owned()))
        .collect();
    let levels = api::LogLevel::ALL.map(|(name, level)| (format!("T.K.loglevel.{name}"), (level as u8).to_string()));
    let vartypes = api::constants::VARTYPES.map(|(name, number)| (format!("T.K.vartype.{name}"), number.to_string()));
    assert_eq!(said, levels.into_iter().chain(vartypes).collect());
}

fn pages_below(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        let name = path.strip_prefix(folder).expect("a file of the folder").to_path_buf();
        pages.insert(name, fs::read_to_string(&path).expect("a page"));
    }
    pages
}

#[test]
fn the_committed_pages_are_those_that_the_program_writes() {
    let place = Workplace::new();
    let output = place.shell("millstream api --markdown /tmp/written");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if is_blessing() {
        let target = root().join("docs");
        place.shell(&format!("millstream api --markdown {}", target.display()));
    }
    let advice = "run `cargo run -- api --markdown docs` and commit the pages";
    let (committed, written) = (pages_below(&root().join("docs/api")), pages_below(&place.path("tmp/written/api")));
    assert_eq!(committed.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>(), "docs/api: {advice}");
    for (name, text) in &written {
        assert!(committed[name] == *text, "docs/api/{} is not what the program writes: {advice}", name.display());
    }
    let guids = |folder: &Path| fs::read_to_string(folder.join("guids.md")).expect("the page of GUIDs");
    assert!(guids(&root().join("docs")) == guids(&place.path("tmp/written")), "docs/guids.md: {advice}");
}

#[test]
fn the_command_explains_a_name_and_offers_what_was_meant() {
    let place = Workplace::new();
    let said = |line: &str| {
        let output = place.shell(line);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let (code, text) = said("millstream api engine:update_counter");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("engine:update_counter(guid, key, meter, value)\n"), "{text}");
    let (_, text) = said("millstream api onbeginflush");
    assert!(text.contains("cg_monitor.onbeginflush") && text.contains("flowtracker.onbeginflush"), "{text}");
    let (_, text) = said("millstream api packet");
    assert!(text.starts_with("Packet\n") && text.contains("  wire_length() -> number"), "{text}");
    let (_, text) = said("millstream api");
    assert!(text.contains("  engine ") && text.contains("update_counter_at"), "{text}");
    let (code, text) = said("millstream api engine:update_countr");
    assert_eq!(code, Some(2));
    assert!(text.contains("did you mean engine:update_counter?"), "{text}");
    let (_, text) = said("millstream api T.util.ntop --json");
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(document["entries"][0]["signature"], "T.util.ntop(number) -> string");
    let (_, text) = said("millstream api --json");
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert!(document["objects"].as_array().is_some_and(|objects| objects.len() > 40));
}
