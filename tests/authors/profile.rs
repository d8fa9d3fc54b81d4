//! The profile of a run.

use std::fs;

use serde_json::Value;

use super::run::{Folder, GROUP, capture, case, on_packet, project, run};

const DEMO: [&str; 3] = ["--set", "Reassembly>FileExtraction>Enabled=true", "-q"];

#[test]
fn calls_time_and_errors_are_told_by_callback() {
    let body = format!(
        "local n = layer:packet():capture_length()\nif n % 2 == 1 then error('odd') end\n\
         engine:update_counter('{GROUP}', 'x', 0, 1)"
    );
    let folder = Folder::new(&on_packet("", &body), &case("ping.pcap", ""));
    let path = capture("demo.pcap").display().to_string();
    let said = run(folder.0.path(), &["profile", "-r", &path, "-p", "p.lua", "--json"]);
    let document: Value = serde_json::from_str(&said.ended(1)).unwrap();
    let vm = &document["plugins"][0];
    assert_eq!(vm["plugin"], "p.lua");
    assert!(vm["memory"].as_u64() > Some(0) && vm["peak_memory"].as_u64() >= vm["memory"].as_u64());
    let callback = &vm["callbacks"][0];
    assert_eq!(callback["callback"], "simplecounter.onpacket");
    assert!(callback["errors"].as_u64() > Some(0), "{vm}");
    assert!(callback["nanos"].as_u64() > Some(0), "{vm}");
    let said = run(folder.0.path(), &["profile", "-r", &path, "-p", "p.lua", "--engines", "2", "--json"]);
    let document: Value = serde_json::from_str(&said.ended(1)).unwrap();
    let of_two = &document["plugins"][0]["callbacks"][0];
    for figure in ["calls", "errors"] {
        assert_eq!(of_two[figure], callback[figure], "{document}");
    }
}

#[test]
fn every_callback_of_the_projects_plugins_is_counted_and_so_are_jobs() {
    let path = capture("demo.pcap").display().to_string();
    let args = ["profile", "-r", &path, "-p", "plugins", "--color", "never"];
    let out = run(project(), &[&args[..], &DEMO].concat()).ended(0);
    for row in [
        "dns-names.lua             simplecounter.onpacket",
        "dns-names.lua             protocol_handler.parselayer",
        "packet-lengths.lua        simplecounter.onpacket           packets  3399",
        "tls-clients.lua           reassembly_handler.onattribute",
        "file-hashes.lua           filex_monitor.onfile_http",
        "payload-fingerprints.lua  onresult",
        "slow-servers.lua          messagemonitor.onflowmetric",
    ] {
        let words: Vec<&str> = row.split_whitespace().collect();
        let found = out.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()));
        assert!(found, "{row}\n{out}");
    }
    assert!(
        out.lines().any(|line| line.starts_with("payload-fingerprints.lua") && line.contains("  worker  ")),
        "{out}"
    );
    assert!(out.contains("MiB"), "{out}");
}

#[test]
fn a_profile_changes_nothing_that_scripts_produce() {
    let folder = tempfile::tempdir().unwrap();
    let path = capture("demo.pcap").display().to_string();
    let events = ["run", "profile", "folded"].map(|name| folder.path().join(name).display().to_string());
    let stacks = folder.path().join("stacks").display().to_string();
    let run_of = |command: &str, events: &str, more: &[&str]| {
        let args = [command, "-r", &path, "-p", "plugins", "--events", events];
        run(project(), &[&args[..], &DEMO, more].concat()).ended(0);
        // Extracted files lie in a directory of the run's own.
        let text = fs::read_to_string(events).unwrap();
        text.lines().filter(|line| !line.contains("/dev/shm/")).map(|line| format!("{line}\n")).collect::<String>()
    };
    let plain = run_of("run", &events[0], &[]);
    assert_eq!(plain, run_of("profile", &events[1], &[]));
    assert_eq!(plain, run_of("profile", &events[2], &["--folded", &stacks]));
}

#[test]
fn folded_stacks_name_plugin_callback_and_functions() {
    let head = "local function inner(n) local s = 0 for i = 1, n do s = s + i % 3 end return s end\n\
                local function outer(n) local s = 0 for i = 1, 20 do s = s + inner(n) end return s end";
    let body = format!(
        "engine:update_counter('{GROUP}', 'x', 0, outer(20000))\n\
         if not once then once = true T.async:schedule {{ data = '', onexecute = function() \
         local s = 0 for i = 1, 2e7 do s = s + i % 7 end return s end }} end"
    );
    let folder = Folder::new(&on_packet(head, &body), &case("ping.pcap", ""));
    let path = capture("demo.pcap").display().to_string();
    let args = ["profile", "-r", &path, "-p", "p.lua", "-q", "-c", "600", "--folded", "stacks"];
    run(folder.0.path(), &args).ended(0);
    let stacks = folder.read("stacks");
    assert!(
        stacks.lines().all(|line| line.rsplit_once(' ').is_some_and(|(_, n)| n.parse::<u64>().is_ok())),
        "{stacks}"
    );
    assert!(stacks.contains("p.lua;simplecounter.onpacket;"), "{stacks}");
    assert!(stacks.contains("p.lua:inner"), "{stacks}");
    assert!(stacks.contains("p.lua (worker);onexecute p.lua:"), "{stacks}");
    assert!(!stacks.contains("millstream"), "{stacks}");
}
