//! Toppers in the store: those of both ends, with how far they may be off.

use std::collections::BTreeSet;
use std::fs;

use millstream::guid::Guid;
use millstream::metrics::{FlushSink, FlushedTopper, Registry, Stored};
use millstream::sink::RunEnd;
use millstream::sink::store_query::{Answer, KeysQuery, Reader, TopQuery, keys, top};
use millstream::time::Timestamp;
use rusqlite::types::Value as Sql;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEMO, good, json, open, options, refused, rows};

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
    // They have no counters: all that is known of them are these. Of a rate it is the volume, as of keys that have some.
    let file = options.file.to_str().unwrap();
    let top = json(&["query", "top", "Hosts", "--json", "--store", file]);
    let seen = |row: &Value| {
        (row["key"].as_str().unwrap().to_owned(), row["value"].as_f64().unwrap(), row["error"].as_f64().unwrap())
    };
    let top: Vec<_> = top.as_array().unwrap().iter().map(seen).collect();
    assert_eq!(top, [("a".to_owned(), 540.0, 0.0), ("b".to_owned(), 480.0, 150.0)]);
    let text = good(&["query", "top", "Hosts", "--store", file]);
    assert_eq!(text, "key  value  error\na      540\nb      480    150\n");
    let csv = good(&["query", "top", "Hosts", "--csv", "--limit", "1", "--store", file]);
    assert_eq!(csv, "key,readable,label,value,share,error\r\na,,,540,,0\r\n");
    let text = good(&["query", "toppers", "hosts", "-m", "total", "--store", file]);
    let begin = "2023-11-14T22:13:20.000000Z";
    let lines = [
        "time                         side      rank  key  value  error".to_owned(),
        format!("{begin}  largest      1  a        9"),
        format!("{begin}  largest      2  b        8  2.500"),
        format!("{begin}  smallest     1  b        8  2.500"),
        format!("{begin}  smallest     2  a        9"),
    ];
    assert_eq!(text, lines.map(|line| line + "\n").concat());
    let none = good(&["query", "top", "hosts", "--from", "2023-11-14T22:13:21Z", "--store", file]);
    assert!(none.starts_with("nothing found: no values of group 'hosts'"), "{none}");
    assert!(refused(&["query", "series", "hosts", "--store", file]).contains("no counter group 'hosts'"));
}

/// Keeps the counters of some keys, and all of another group's, from being stored.
const NO_COUNTERS: &str = r#"
TrisulPlugin = {
  id = { name = "no counters", description = "d" },
  cg_monitor = {
    counter_guid = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E14}",
    onflushfilter = function(engine, timestamp, key, metrics) return key:sub(1, 5) ~= "0A.14" end,
  },
}
"#;

#[test]
fn keys_whose_counters_are_not_stored_are_taken_from_the_toppers() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("none.lua"), NO_COUNTERS).unwrap();
    let run = |store: &str, more: &[&str]| {
        good(&[&["run", "-q", "-r", DEMO, "-p", &path("ends.lua"), "--store", store], more].concat());
        let top = json(&["query", "top", GROUP, "--limit", "1000", "--json", "--store", store]);
        // What was divided by the length of a bucket may be a little off.
        let row =
            |row: &Value| (row["key"].as_str().unwrap().to_owned(), row["value"].as_f64().unwrap().round() as u64);
        let rows = top.as_array().unwrap();
        assert!(rows.iter().all(|row| row["error"] == 0));
        rows.iter().map(row).collect::<std::collections::BTreeMap<_, _>>()
    };
    for vartype in [".COUNTER", ".RATE_COUNTER"] {
        fs::write(path("ends.lua"), BOTH_ENDS.replace(".COUNTER, 4,", &format!("{vartype}, 1000,"))).unwrap();
        let [all_of, some_of] = ["all", "some"].map(|name| path(&format!("{name}{vartype}.db")));
        let all = run(&all_of, &[]);
        assert_eq!(run(&some_of, &["-p", &path("none.lua")]), all, "{vartype}");
        let inside = all.keys().filter(|key| key.starts_with("0A.14")).count();
        assert!(inside > 3 && inside < all.len(), "{all:?}");
        let counted = json(&["query", "keys", GROUP, "--limit", "1000", "--json", "--store", &some_of]);
        assert_eq!(counted.as_array().unwrap().len(), all.len() - inside);
    }
}

#[test]
fn keys_that_were_not_counted_in_the_range_are_not_among_its_first() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("ends.lua"), BOTH_ENDS.replace("4, 3,", "1000, 3,")).unwrap();
    fs::write(path("none.lua"), NO_COUNTERS).unwrap();
    let ends = ["run", "-q", "-r", DEMO, "-p", &path("ends.lua"), "--store"];
    good(&[&ends[..], &[&path("all.db")]].concat());
    good(&[&ends[..], &[&path("some.db"), "-p", &path("none.lua")]].concat());
    let [all, some] = ["all.db", "some.db"].map(|name| Reader::open(&folder.path().join(name)).unwrap());
    let texts = |answer: Answer| -> BTreeSet<String> {
        let counted = answer.rows.iter().filter(|row| row[3].number() != Some(0.0));
        counted.map(|row| row[0].text().unwrap().to_owned()).collect()
    };
    let (group, limit, begin) = (GROUP.to_owned(), 1_000, 1_768_467_600);
    let moments: Vec<Option<Timestamp>> =
        [None].into_iter().chain((0..=9).map(|ten| Some(Timestamp::new(begin + ten * 10, 0)))).collect();
    let (mut most, mut fewer) = (0, 0);
    for (from, to) in moments.iter().flat_map(|from| moments.iter().map(move |to| (*from, *to))) {
        let counted = |reader: &Reader| {
            texts(keys(reader, &KeysQuery { group: group.clone(), containing: None, from, to, limit }).unwrap())
        };
        let first = |reader: &Reader| {
            texts(top(reader, &TopQuery { group: group.clone(), meter: None, from, to, limit }).unwrap())
        };
        let of_all = counted(&all);
        assert_eq!(first(&all), of_all, "{from:?} to {to:?}");
        most = most.max(of_all.len());
        fewer += usize::from(of_all.len() < most);
        // Keys without counters are those that the script has votes on.
        let others: Vec<String> = first(&some).difference(&counted(&some)).cloned().collect();
        assert!(others.iter().all(|key| key.starts_with("0A.14")), "{from:?} to {to:?}: {others:?}");
    }
    assert!(fewer > 20, "{fewer}");
}

#[test]
fn where_the_first_meter_has_no_values_the_answer_says_that_it_was_meant() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("s.db");
    let store = store.to_str().unwrap();
    good(&["run", "-q", "-r", DEMO, "--builtin", "TLS CAs", "--store", store]);
    let top = |more: &[&str]| good(&[&["query", "top", "TLS CAs", "--store", store], more].concat());
    let none =
        "nothing found: no values of group 'TLS CAs' and meter 'Inter CA' (--meter names others) in this store\n";
    assert_eq!(top(&[]), none);
    assert!(top(&["--meter", "Root CA"]).contains("Example Trust Services"));
}
