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
