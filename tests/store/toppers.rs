//! Toppers in the store: those of both ends, with how far they may be off.

use std::collections::BTreeSet;
use std::fs;

use millstream::guid::Guid;
use millstream::metrics::{FlushSink, FlushedTopper, Registry, Stored};
use millstream::sink::RunEnd;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEMO, good, json, open, options, rows};

const GROUP: &str = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E14}";

/// Counts bytes by host and ranks both ends.
const BOTH_ENDS: &str = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E14}"
TrisulPlugin = {
  id = { name = "both ends", description = "d" },
  countergroup = {
    control = { guid = GROUP, name = "Both ends", description = "d", bucketsize = 10, topper_bucketsize = 30 },
    meters = { { 0, T.K.vartype.COUNTER, 4, 3, "Bytes", "d", "b" } },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      engine:update_counter(GROUP, layer:packet():flowid():ipa(), 0, layer:total_bytes())
    end,
  },
}
"#;

#[test]
fn the_last_of_an_interval_are_stored_besides_the_first() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("ends.lua"), BOTH_ENDS).unwrap();
    let (file, store) = (folder.path().join("store.db"), path("store.db"));
    good(&["run", "-q", "-r", DEMO, "-p", &path("ends.lua"), "--store", &store, "--events", &path("events.jsonl")]);
    let events = fs::read_to_string(path("events.jsonl")).unwrap();
    let expected: BTreeSet<(i64, i64, String, i64)> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["ev"] == "topper" && event["guid"] == GROUP && event["stored"] == true)
        .map(|event| {
            let number = |field: &str| event[field].as_f64().unwrap() as i64;
            (number("bucket"), number("rank").signum(), event["key"].as_str().unwrap().to_owned(), number("value"))
        })
        .collect();
    let side = |side: i64| expected.iter().filter(|topper| topper.1 == side).count();
    assert!(side(1) >= 8 && side(-1) >= 6, "{expected:?}");
    let sql = format!(
        "SELECT t.bucket, t.side, k.key, t.value FROM toppers t JOIN keys k ON k.id = t.key
         JOIN groups g ON g.id = t.grp WHERE g.guid = '{GROUP}' AND t.error = 0"
    );
    let found: BTreeSet<(i64, i64, String, i64)> = rows(&file, &sql)
        .into_iter()
        .map(|row| match &row[..] {
            [Sql::Integer(bucket), Sql::Integer(side), Sql::Text(key), Sql::Real(value)] => {
                (*bucket, *side, key.clone(), *value as i64)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, expected);
    // The largest keys are those of the counters.
    let top = json(&["query", "top", GROUP, "--limit", "1", "--json", "--store", &store]);
    let most = "SELECT k.key FROM toppers t JOIN keys k ON k.id = t.key WHERE t.side = 1 GROUP BY k.key
                ORDER BY sum(t.value) DESC LIMIT 1";
    assert_eq!(rows(&file, most)[0][0], Sql::Text(top[0]["key"].as_str().unwrap().to_owned()));
}

#[test]
fn toppers_say_how_much_too_large_they_may_be() {
    let folder = TempDir::new().unwrap();
    let options = options(&folder.path().join("store.db"));
    let guid = Guid::literal("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}");
    let group = Registry::new().counter_index(guid).unwrap();
    let (bucket, size, meter) = (1_700_000_000, 300, 0);
    let store = open(&options).unwrap();
    let mut sender = store.sender();
    // The same key may be at both ends.
    for (rank, key, value, error) in
        [(1, "a", 9.0, 0.0), (2, "b", 8.0, 2.5), (-1, "b", 8.0, 2.5), (-2, "a", 9.0, f64::NAN)]
    {
        let topper = FlushedTopper { group, guid, meter, bucket, size, rank, key: key.as_bytes(), value, error };
        sender.topper(&topper, Stored::Yes);
        sender.topper(&FlushedTopper { key: b"voted out", ..topper }, Stored::No);
    }
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    let sql = "SELECT t.side, k.key, t.value, t.error FROM toppers t JOIN keys k ON k.id = t.key
               ORDER BY t.side DESC, t.side * t.value DESC";
    let row = |side, key: &str, value, error| {
        vec![Sql::Integer(side), Sql::Text(key.to_owned()), Sql::Real(value), Sql::Real(error)]
    };
    let expected = [row(1, "a", 9.0, 0.0), row(1, "b", 8.0, 2.5), row(-1, "b", 8.0, 2.5), row(-1, "a", 9.0, 0.0)];
    assert_eq!(rows(&options.file, sql), expected);
}
