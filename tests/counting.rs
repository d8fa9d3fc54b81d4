//! Counting by address and counting by calls lead to the same report.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap");

/// Keys that come again and keys that come once, more than there are cells for, short and long ones, all kinds of meters, both
/// ways to name an address, values that do not count, and tables that grow and close buckets in between.
const PLUGIN: &str = r#"
local GROUP = "{5F0E6C5D-3D0B-4C56-9B1B-30C7C0D2A6E1}"
local lower = GROUP:lower()
local K = T.K.vartype
local long = ("x"):rep(300)
local n = 0

TrisulPlugin = {
  id = { name = "counting", description = "counts in every way" },
  countergroup = {
    control = { guid = GROUP, name = "Counting", description = "all ways", bucketsize = 1 },
    meters = {
      { 0, K.COUNTER, 10, 0, "a", "a", "a" }, { 1, K.RATE_COUNTER, 10, 0, "b", "b", "b" },
      { 2, K.GAUGE, 10, 0, "c", "c", "c" }, { 3, K.RUNNING_COUNTER, 10, 0, "d", "d", "d" },
      { 4, K.AVERAGE, 10, 0, "e", "e", "e" }, { 5, K.MAXIMUM, 10, 0, "f", "f", "f" },
    },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      n = n + 1
      local length = layer:total_bytes()
      for meter = 0, 5 do engine:update_counter(GROUP, "all", meter, length) end
      engine:update_counter_raw(lower, "all", 0, 0.1)
      engine:update_counter(GROUP, "port " .. n % 17, 0, 1)
      engine:update_counter(GROUP, "once " .. n, 1, n)
      for i = 1, 20 do engine:update_counter(GROUP, "one of many long keys: " .. (n * 20 + i) % 7000, 0, 0.1) end
      engine:update_counter(GROUP, n % 5, 0, "2")
      engine:update_counter(GROUP, "cut\0" .. n % 3, 0, -1)
      engine:update_counter(GROUP, long, 0, 1)
      engine:update_counter(GROUP, "none", 0, n % 2 == 0 and 0/0 or 1/0)
      engine:update_counter(GROUP, "at times", 0, n % 3 == 0 and 1/0 or 1)
      local address = ("%02X.%02X.%02X.%02X"):format(layer:getbyte(16), layer:getbyte(17), layer:getbyte(18), layer:getbyte(19))
      engine:update_counter(GROUP, address, 0, length)
      engine:update_counter_at(GROUP, layer, 16, 4, 0, 1)
      for meter = 0, 5 do engine:update_counter_at(GROUP, layer, 12, 4, meter, length) end
      engine:update_counter_at(GROUP, layer, 8, 2, 1, n)
      engine:update_counter_at(GROUP, layer, 10, 2, 0, n % 3 == 0 and 1/0 or 1)
      engine:update_counter_end(GROUP, layer, n % 2 == 0 and "ipa" or "ipz", 0, 1)
      engine:update_counter_end(GROUP, layer, n % 2 == 0 and "porta" or "portz", 0, 1)
      engine:update_counter_bytes(GROUP, address, 1)
    end,
  },
}
"#;

/// Counts the same key by its text and by its bytes, and does not return properly at times: by an error, and once not at all.
const FAILING: &str = r#"
local GROUP = "{5F0E6C5D-3D0B-4C56-9B1B-30C7C0D2A6E2}"
local COUNTER = T.K.vartype.COUNTER
local n = 0

TrisulPlugin = {
  id = { name = "failing", description = "counts and fails" },
  countergroup = {
    control = { guid = GROUP, name = "Failing", description = "both ways", bucketsize = 1 },
    meters = { { 0, COUNTER, 10, 0, "a", "a", "a" }, { 1, COUNTER, 10, 0, "b", "b", "b" } },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      n = n + 1
      local address = ("%02X.%02X.%02X.%02X"):format(layer:getbyte(16), layer:getbyte(17), layer:getbyte(18), layer:getbyte(19))
      engine:update_counter(GROUP, address, 0, 1)
      engine:update_counter_at(GROUP, layer, 16, 4, 1, 1)
      if n % 300 == 0 then error("now and then") end
      if n == 1000 then while true do end end
    end,
  },
}
"#;

/// Runs a plugin over the capture; its report and the exit status.
fn report(text: &str, folder: &Path, extra: &[&str]) -> (Value, Option<i32>) {
    let plugin = folder.join("counting.lua");
    std::fs::write(&plugin, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["run", "-r", CAPTURE, "--loop", "3", "--json", "--top", "100000", "-p"])
        .arg(&plugin)
        .args(extra)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code())
}

fn groups(folder: &Path, extra: &[&str]) -> Value {
    let (mut report, code) = report(PLUGIN, folder, extra);
    assert_eq!(code, Some(0), "{report}");
    report["groups"].take()
}

#[test]
fn keys_are_counted_the_same_with_and_without_tallies() {
    let folder = tempfile::tempdir().unwrap();
    let quick = groups(folder.path(), &[]);
    // Tallies want every update by itself.
    let events = folder.path().join("events");
    let called = groups(folder.path(), &["--events", events.to_str().unwrap()]);
    assert_eq!(quick, called);
    let updates = quick[0]["keys"]["updates"].as_u64().unwrap();
    assert!(updates > 50_000, "{updates}");
}

#[test]
fn what_a_callback_counted_before_it_failed_or_ran_away_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (report, code) = report(FAILING, folder.path(), &[]);
    assert_eq!(code, Some(1));
    let group = report["groups"].as_array().unwrap().iter().find(|group| group["name"] == "Failing").unwrap();
    let [by_text, by_bytes] = [0, 1].map(|meter| &group["meters"][meter]);
    assert!(by_text["total"].as_f64().unwrap() > 5_000.0, "{by_text}");
    assert_eq!((&by_text["total"], &by_text["top"]), (&by_bytes["total"], &by_bytes["top"]));
    let plugin = &report["plugins"][0];
    assert!(plugin["errors"].as_u64().unwrap() > 10 && plugin["interrupted"] == 1, "{plugin}");
}

#[test]
fn a_plugin_that_does_not_load_has_one_error_and_the_others_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let good = "TrisulPlugin = { id = { name = 'good' }, simplecounter = {
        protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = function() end } }";
    let broken: Vec<String> = ["b1.lua", "b2.lua"].map(|name| folder.path().join(name).display().to_string()).into();
    std::fs::write(&broken[0], "TrisulPlugin = this is no Lua").unwrap();
    std::fs::write(&broken[1], "error('at the top') TrisulPlugin = {}").unwrap();
    let (report, code) = report(good, folder.path(), &["-p", &broken[0], "-p", &broken[1]]);
    assert_eq!((code, &report["verdict"]["reasons"]), (Some(1), &serde_json::json!(["2 plugins failed"])));
    let rows = report["plugins"].as_array().unwrap();
    let errors = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        (row["errors"].as_u64().unwrap(), row["stopped"].is_string(), row["calls"].as_u64() > Some(0))
    };
    assert_eq!(rows.len(), 3, "{rows:?}");
    for (name, is) in [("b1.lua", (1, true, false)), ("b2.lua", (1, true, false)), ("counting.lua", (0, false, true))] {
        assert_eq!(errors(name), is, "{name}");
    }
}
