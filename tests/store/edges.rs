//! Edges in the store, and what the limit leaves out of it.

use std::fs;

use tempfile::TempDir;

use crate::harness::{DEMO, good, json, number};

/// 150 neighbours of one vertex, and one flow with its eight edges.
const MANY: &str = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E13}"
local is_done = false
TrisulPlugin = {
  id = { name = "many", description = "d" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      if is_done then return end
      is_done = true
      for at = 1, 150 do engine:add_edge(GROUP, "hub", GROUP, "spoke " .. at) end
      engine:add_flow_edges(layer:packet():flowid():id(), GROUP, "rim")
    end,
  },
}
"#;

#[test]
fn edges_over_the_limit_of_a_vertex_are_not_stored() {
    let folder = TempDir::new().unwrap();
    let (script, file) = (folder.path().join("many.lua"), folder.path().join("store.db"));
    fs::write(&script, MANY).unwrap();
    let arguments = ["run", "--json", "-r", DEMO, "-p", script.to_str().unwrap(), "--store", file.to_str().unwrap()];
    let report = json(&arguments);
    assert_eq!(report["drops"], serde_json::json!([{ "name": "edges_over_limit", "count": 50 }]));
    let count = |condition: &str| number(&file, &format!("SELECT count(*) FROM edges WHERE {condition}"));
    assert_eq!(count("from_key = 'hub'"), 100);
    assert_eq!(count("from_key = 'hub' AND to_key IN ('spoke 1', 'spoke 100')"), 2);
    assert_eq!(count("from_key = 'rim' OR to_key = 'rim'"), 8);
    // Another run of the hour drops the same ones.
    good(&arguments);
    assert_eq!(count("from_key = 'hub'"), 100);
}

#[test]
fn the_limit_of_a_vertex_is_that_of_all_threads_together() {
    // Each port links the hub with spokes of its own; a backend script links it with others of its own.
    let script = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E13}"
local seen = {}
TrisulPlugin = {
  id = { name = "spokes", description = "d" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local flow = layer:packet():flowid()
      engine:add_edge(GROUP, "few", GROUP, "spoke " .. flow:protocol())
      if seen[flow:porta()] then return end
      seen[flow:porta()] = true
      for at = 1, 30 do engine:add_edge(GROUP, "hub", GROUP, "spoke " .. flow:porta() .. " " .. at) end
    end,
  },
}
"#;
    let backend = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E13}"
TrisulPlugin = {
  id = { name = "more", description = "d" },
  engine_monitor = {
    onbeginflush = function(engine)
      for at = 1, 90 do engine:add_edge(GROUP, "hub", GROUP, "own " .. engine:instanceid() .. " " .. at) end
      engine:add_edge(GROUP, "few", GROUP, "of all")
    end,
  },
}
"#;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (spokes, more) = (write("spokes.lua", script), write("more.lua", backend));
    let runs: [&[&str]; 4] = [&[], &["--engines", "3"], &["--engines", "2", "--backends", "2"], &["--backends", "3"]];
    for (with_backend, options) in [false, true].into_iter().flat_map(|with| runs.map(|options| (with, options))) {
        let file = folder.path().join(format!("{with_backend}{}.db", options.concat()));
        let mut arguments = vec!["run", "--json", "-r", DEMO, "-p", &spokes, "--store", file.to_str().unwrap()];
        arguments.extend(options);
        if with_backend {
            arguments.extend(["-p", &more]);
        }
        let report = json(&arguments);
        let name = arguments.join(" ");
        let count =
            |condition: &str| number(&file, &format!("SELECT count(DISTINCT to_key) FROM edges WHERE {condition}"));
        assert_eq!(count("from_key = 'hub' GROUP BY hour ORDER BY 1 DESC LIMIT 1"), 100, "{name}");
        assert_eq!(count("from_key = 'few' AND to_key = 'of all'"), i64::from(with_backend), "{name}");
        let few = count("from_key = 'few'");
        assert!((2..10).contains(&few), "{name}: {few}");
        let rows = number(&file, "SELECT count(*) FROM edges");
        assert_eq!(
            report["records"]["edges"]["distinct"].as_i64(),
            Some(rows),
            "{name}: {}",
            report["records"]["edges"]
        );
        let dropped = report["drops"].as_array().unwrap();
        assert!(dropped.iter().any(|drop| drop["name"] == "edges_over_limit"), "{name}: {dropped:?}");
    }
}
