//! Answers against what was written, and the plans behind them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use super::{
    Cell, FlowOrder, KeysQuery, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, alerts, documents, edges,
    flows, keys, resources, runs, search, series, top, toppers,
};
use crate::guid::Guid;
use crate::metrics::{
    Alert, AlertKind, Column, CounterGroupDefinition, Document, Edge, FlushSink, Outcome, Registry, Resource, Session,
    Shard, ShardConfig, Stored,
};
use crate::sink::store::{RunEnd, Store, StoreOptions};
use crate::sink::{StoreSender, WhenFull};
use crate::time::Timestamp;

const GROUP: Guid = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3E}");
const APPS: Guid = Guid::literal("{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}");
const RECORDS: Guid = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3F}");
/// 2023-11-14, 22:00 UTC: hours and days begin and end within the rows.
const BEGIN: i64 = 1_699_999_200;
const MINUTES: i64 = 60 * 30;
const KEYS: usize = 20;

fn registry() -> Registry {
    let mut registry = Registry::new();
    let row = |id: f64, vartype: f64, name: &str| {
        let text = |text: &str| Column::Text(text.as_bytes().to_vec());
        let number = Column::Number;
        vec![number(id), number(vartype), number(10.0), number(0.0), text(name), text(""), text("")]
    };
    registry.define_counter_group(CounterGroupDefinition {
        guid: GROUP,
        name: b"Things".to_vec(),
        description: Vec::new(),
        bucketsize: Some(60.0),
        topper_bucketsize: None,
        resolver: None,
        meters: vec![
            row(0.0, 2.0, "Count"),
            row(1.0, 4.0, "Rate"),
            row(2.0, 9.0, "Mean"),
            row(3.0, 11.0, "Most"),
            row(4.0, 12.0, "Least"),
            row(5.0, 5.0, "Gauge"),
        ],
        keyinfo: vec![(b"key-3".to_vec(), b"the third".to_vec())],
    });
    registry
}

fn value(minute: i64, key: usize) -> f64 {
    ((minute * 31 + key as i64 * 17) % 97 + key as i64 * 3) as f64
}

/// A store with a row a minute and key, and some records of each kind.
fn filled() -> (TempDir, Reader) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let registry = Arc::new(registry());
    let options = StoreOptions::new(file.clone(), WhenFull::Block);
    let store = Store::open(&options, Arc::clone(&registry), &["made up".to_owned()], None).unwrap();
    let mut sender = store.sender();
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let group = registry.counter_index(GROUP).unwrap();
    for minute in 0..MINUTES {
        let now = Timestamp::new(BEGIN + minute * 60, 0);
        shard.advance(now, |bucket| sender.bucket(Arc::new(bucket)));
        sender.passed(now);
        for key in 0..KEYS {
            for meter in 0..6 {
                let text = format!("key-{key}");
                assert_eq!(shard.update(group, text.as_bytes(), meter, value(minute, key)), Outcome::Counted);
            }
        }
        if minute % 60 == 30 {
            records(&mut sender, now, minute);
        }
    }
    shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
    sender.label(GROUP, b"key-5", b"the fifth", None);
    drop(sender);
    let tally = store.close(RunEnd::default());
    assert_eq!(tally.lost(), 0);
    (folder, Reader::open(&file).unwrap())
}

fn records(sender: &mut StoreSender, time: Timestamp, minute: i64) {
    let flow = Session {
        id: format!("flow-{minute}").into_bytes(),
        start: time,
        end: time,
        bytes: [(minute as u64 * 7_919) % 10_007, 1],
        reason: "idle",
        ..Session::default()
    };
    sender.flow(Box::new(flow), Stored::Yes);
    let alert = Alert {
        time,
        group: RECORDS,
        flow: None,
        sigid: b"1".to_vec(),
        priority: 2.0,
        message: format!("alert {minute}").into_bytes(),
        classification: Vec::new(),
        status: b"ALARM".to_vec(),
        extra: Vec::new(),
        ack: 0,
        kind: AlertKind::Simple,
        ids: None,
    };
    sender.alert(Box::new(alert), Stored::Yes);
    let uri = format!("http://host-{minute}/").into_bytes();
    sender.resource(Box::new(Resource { time, group: RECORDS, flow: None, uri, label: b"GET".to_vec() }), Stored::Yes);
    let text = format!("a document about minute{minute} and other things").into_bytes();
    sender.document(Box::new(Document { time, group: RECORDS, flow: None, text }), Stored::Yes);
    let to_key = format!("key-{minute}").into_bytes();
    sender.edge(time, Edge { from_guid: GROUP, from_key: b"key-1".to_vec(), to_guid: GROUP, to_key });
}

/// A store with these updates of single keys and meters, by minute.
fn counted(rows: &[(i64, (&str, u32, f64))]) -> (TempDir, Reader) {
    let (folder, registry) = (TempDir::new().unwrap(), Arc::new(registry()));
    let file = folder.path().join("store.db");
    let options = StoreOptions::new(file.clone(), WhenFull::Block);
    let store = Store::open(&options, Arc::clone(&registry), &[], None).unwrap();
    let (mut sender, mut shard) = (store.sender(), Shard::new(&registry, ShardConfig::default()));
    let group = registry.counter_index(GROUP).unwrap();
    for &(minute, (key, meter, value)) in rows {
        let now = Timestamp::new(BEGIN + minute * 60, 0);
        shard.advance(now, |bucket| sender.bucket(Arc::new(bucket)));
        sender.passed(now);
        assert_eq!(shard.update(group, key.as_bytes(), meter, value), Outcome::Counted);
    }
    shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    (folder, Reader::open(&file).unwrap())
}

fn at(minute: i64) -> Option<Timestamp> {
    Some(Timestamp::new(BEGIN + minute * 60, 0))
}

/// What the meters have for a key over minutes, said plainly.
fn naive(meter: u32, key: usize, minutes: std::ops::Range<i64>) -> f64 {
    let mut values = minutes.map(|minute| value(minute, key));
    match meter {
        0 | 1 => values.sum(),
        2 => {
            let all: Vec<f64> = values.collect();
            all.iter().sum::<f64>() / all.len() as f64
        }
        3 => values.fold(f64::MIN, f64::max),
        4 => values.fold(f64::MAX, f64::min),
        _ => values.next_back().unwrap(),
    }
}

fn opened(file: &Path, registry: &Arc<Registry>) -> Store {
    Store::open(&StoreOptions::new(file.to_owned(), WhenFull::Block), Arc::clone(registry), &[], None).unwrap()
}

/// A store with these rows.
fn stored(fill: impl FnOnce(&mut StoreSender)) -> (TempDir, Reader) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let store = opened(&file, &Arc::new(registry()));
    let mut sender = store.sender();
    fill(&mut sender);
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    (folder, Reader::open(&file).unwrap())
}

#[test]
fn the_largest_keys_are_those_of_a_plain_sum_whatever_the_range() {
    let (_folder, reader) = filled();
    let ranges = [(0, MINUTES), (0, 1), (17, 18), (17, 140), (60, 120), (125, MINUTES), (100, 1_700), (121, 1_561)];
    for (from, to) in ranges {
        for meter in 0..6 {
            let query = TopQuery {
                group: "things".to_owned(),
                meter: Some(meter.to_string()),
                from: at(from),
                to: Some(Timestamp::new(BEGIN + to * 60 - 1, 0)),
                limit: 5,
            };
            let answer = top(&reader, &query).unwrap();
            let mut expected: Vec<f64> = (0..KEYS).map(|key| naive(meter, key, from..to)).collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            let found: Vec<f64> = answer.rows.iter().map(|row| row[3].number().unwrap()).collect();
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{from}..{to} meter {meter}: {found} {expected}");
            }
            assert_eq!(found.len(), 5);
        }
    }
}

#[test]
fn means_of_negative_values_are_negative_and_volumes_are_not() {
    let mut rows = Vec::new();
    // Minutes of -3 and 1, over hours that get rows of their own.
    for minute in 0..MINUTES {
        let value = if minute % 2 == 0 { -3.0 } else { 1.0 };
        rows.extend([("mixed", 2, value), ("mixed", 0, value), ("below", 2, -5.0)].map(|row| (minute, row)));
    }
    let (_folder, reader) = counted(&rows);
    for (from, to) in [(None, None), (None, at(59)), (at(4), at(7)), (at(30), at(1_000))] {
        let of = |meter: &str| {
            let query = TopQuery {
                group: "Things".to_owned(),
                meter: Some(meter.to_owned()),
                from,
                to: to.map(|to| Timestamp::new(to.secs() + 59, 0)),
                limit: 5,
            };
            let answer = top(&reader, &query).unwrap();
            answer.rows.iter().map(|row| (row[0].text().unwrap().to_owned(), row[3].number().unwrap())).collect()
        };
        let means: Vec<(String, f64)> = of("Mean");
        let of_mixed = if from == at(30) { (-3.0 * 486.0 + 485.0) / 971.0 } else { -1.0 };
        assert_eq!(means, [("mixed".to_owned(), of_mixed), ("below".to_owned(), -5.0)], "{from:?} {to:?}");
        let minutes =
            to.map_or(MINUTES, |to| (to.secs() - BEGIN) / 60 + 1) - from.map_or(0, |from| (from.secs() - BEGIN) / 60);
        assert_eq!(of("Count"), [("mixed".to_owned(), (minutes / 2) as f64)], "{from:?} {to:?}");
    }
    let query = SeriesQuery {
        group: "Things".to_owned(),
        key: Some("below".to_owned()),
        meter: Some("Mean".to_owned()),
        limit: 100,
        ..SeriesQuery::default()
    };
    let hours = series(&reader, &query).unwrap();
    assert!(hours.rows.len() >= 30 && hours.rows.iter().all(|row| row[2] == Cell::Real(-5.0)), "{hours:?}");
}

#[test]
fn what_an_earlier_run_left_without_coarse_rows_is_counted_all_the_same() {
    let (folder, reader) = filled();
    drop(reader);
    let file = folder.path().join("store.db");
    let registry = Arc::new(registry());
    let db = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT id FROM groups WHERE kind = 'counter' AND guid = ?1";
    let group: i64 = db.query_row(sql, [GROUP.to_string()], |row| row.get(0)).unwrap();
    db.execute_batch(&format!("DELETE FROM rolled; DELETE FROM counters_{group} WHERE level > 0")).unwrap();
    drop(db);
    // A later run adds some minutes to the last day.
    let store = opened(&file, &registry);
    let (mut sender, mut shard) = (store.sender(), Shard::new(&registry, ShardConfig::default()));
    let index = registry.counter_index(GROUP).unwrap();
    for minute in MINUTES..MINUTES + 10 {
        shard.advance(Timestamp::new(BEGIN + minute * 60, 0), |bucket| sender.bucket(Arc::new(bucket)));
        shard.update(index, b"key-1", 0, value(minute, 1));
    }
    shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    let reader = Reader::open(&file).unwrap();
    let query = TopQuery { group: "Things".to_owned(), limit: 100, ..TopQuery::default() };
    let answer = top(&reader, &query).unwrap();
    let of = |name: &str| answer.rows.iter().find(|row| row[0].text() == Some(name)).and_then(|row| row[3].number());
    assert_eq!(of("key-1"), Some(naive(0, 1, 0..MINUTES + 10)));
    assert_eq!(of("key-2"), Some(naive(0, 2, 0..MINUTES)));
}

#[test]
fn hours_and_days_get_rows_of_their_own_where_they_have_enough_parts() {
    // Minutes of three hours of a day, of four hours of the next one, and of the day after that.
    let first = (BEGIN / 86_400 + 1) * 86_400;
    let midnight = (first - BEGIN) / 60;
    let day = |day: i64, hours: i64, per_hour: i64| {
        let minute = move |hour, minute| (midnight + day * 24 * 60 + hour * 60 + minute, ("key", 0, 1.0));
        (0..hours).flat_map(move |hour| (0..per_hour).map(move |at| minute(hour, at)))
    };
    let rows: Vec<_> = day(0, 3, 10).chain(day(1, 4, 2)).chain(day(2, 1, 4)).collect();
    let (folder, _reader) = counted(&rows);
    let db = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let mut select = db.prepare("SELECT level, bucket FROM rolled ORDER BY level, bucket").unwrap();
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let found: Vec<(i64, i64)> = found.collect::<Result<_, _>>().unwrap();
    let of =
        |level: i64, day: i64| found.iter().filter(|(of, at)| *of == level && (at - first) / 86_400 == day).count();
    assert_eq!((of(86_400, 0), of(86_400, 1), of(86_400, 2)), (0, 1, 0));
    // Those of a day that has rows are all marked, also where there are few buckets or none.
    assert_eq!((of(3_600, 0), of(3_600, 1), of(3_600, 2)), (3, 24, 1));
}

#[test]
fn a_series_has_a_value_for_every_bucket_and_hours_where_there_are_too_many() {
    let (_folder, reader) = filled();
    let mut query = SeriesQuery {
        group: "{0b7d0e2c-6a31-4c0c-9f0e-3b1b7a1c2d3e}".to_owned(),
        key: Some("the third".to_owned()),
        meter: Some("COUNT".to_owned()),
        from: at(10),
        to: at(70),
        limit: 10_000,
    };
    // A label of the group is a name of the key too.
    let answer = series(&reader, &query).unwrap();
    let found: BTreeMap<i64, f64> =
        answer.rows.iter().map(|row| (row[0].number().unwrap() as i64, row[2].number().unwrap())).collect();
    let expected: BTreeMap<i64, f64> = (10..=70).map(|minute| (BEGIN + minute * 60, value(minute, 3))).collect();
    assert_eq!(found, expected);
    query.meter = Some("Rate".to_owned());
    let answer = series(&reader, &query).unwrap();
    assert_eq!(answer.rows[0][2], Cell::Real(value(10, 3) / 60.0));
    query.meter = None;
    (query.from, query.to, query.limit) = (None, None, 100);
    let hours = series(&reader, &query).unwrap();
    assert!(hours.rows.iter().all(|row| row[1] == Cell::Int(3_600)), "{hours:?}");
    let sum: f64 = hours.rows.iter().map(|row| row[2].number().unwrap()).sum();
    assert_eq!(sum, naive(0, 3, 0..MINUTES));
    query.key = None;
    let group: f64 = series(&reader, &query).unwrap().rows.iter().map(|row| row[2].number().unwrap()).sum();
    assert_eq!(group, (0..KEYS).map(|key| naive(0, key, 0..MINUTES)).sum::<f64>());
}

#[test]
fn keys_are_found_by_a_part_of_their_text_or_label() {
    let (_folder, reader) = filled();
    let found = |part: &str| {
        let query = KeysQuery {
            group: "Things".to_owned(),
            containing: Some(part.to_owned()),
            limit: 100,
            ..KeysQuery::default()
        };
        let answer = keys(&reader, &query).unwrap();
        answer.rows.iter().map(|row| row[0].text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("KEY-1").len(), 11);
    assert_eq!(found("fifth"), ["key-5"]);
    assert_eq!(found("nothing"), Vec::<String>::new());
}

#[test]
fn many_keys_are_found_in_the_same_order_as_few() {
    // Which ones are gone through one by one depends on how many there are.
    for count in [900, 3_000] {
        let texts = |key: usize| format!("key-{key}");
        let rows: Vec<String> = (0..count).map(texts).collect();
        let mut counts: Vec<(i64, (&str, u32, f64))> = rows.iter().map(|key| (0, (key.as_str(), 0, 2.0))).collect();
        counts.push((0, ("\u{c4}ther", 0, 1.0)));
        let (_folder, reader) = counted(&counts);
        let found = |containing: Option<&str>, limit: usize| {
            let containing = containing.map(str::to_owned);
            let query = KeysQuery { group: "Things".to_owned(), containing, limit, ..KeysQuery::default() };
            let answer = keys(&reader, &query).unwrap();
            answer.rows.into_iter().map(|row| row[0].text().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let mut expected = rows.clone();
        expected.push("\u{c4}ther".to_owned());
        expected.sort_unstable();
        assert_eq!(found(None, 10_000), expected);
        assert_eq!(found(None, 7), expected[..7]);
        assert_eq!(found(None, 0), expected[..0]);
        let with: Vec<String> = expected.iter().filter(|key| key.contains("y-77")).cloned().collect();
        assert_eq!(found(Some("Y-77"), 10_000), with);
        assert_eq!(found(Some("\u{e4}TH"), 5), ["\u{c4}ther"]);
        assert_eq!(found(Some("he third"), 5), ["key-3"]);
        assert_eq!(found(Some(""), 10_000), expected);
    }
}

#[test]
fn a_key_that_only_another_group_has_is_no_key() {
    let folder = TempDir::new().unwrap();
    let (file, registry) = (folder.path().join("store.db"), Arc::new(registry()));
    let store = opened(&file, &registry);
    let (mut sender, mut shard) = (store.sender(), Shard::new(&registry, ShardConfig::default()));
    let [things, apps] = [GROUP, APPS].map(|guid| registry.counter_index(guid).unwrap());
    for minute in 0..MINUTES {
        shard.advance(Timestamp::new(BEGIN + minute * 60, 0), |bucket| sender.bucket(Arc::new(bucket)));
        shard.update(things, b"key-1", 0, 1.0);
        shard.update(apps, if minute == 700 { b"p-0035" } else { b"p-0050" }, 0, 1.0);
    }
    shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    let reader = Reader::open(&file).unwrap();
    let ask = |group: &str, key: &str| {
        let (group, key) = (group.to_owned(), Some(key.to_owned()));
        series(&reader, &SeriesQuery { group, key, limit: 5_000, ..SeriesQuery::default() })
    };
    // As it is, by its number, and by the label that is shown for it.
    let sum = |key| -> f64 { ask("Apps", key).unwrap().rows.iter().filter_map(|row| row[2].number()).sum() };
    for key in ["p-0035", "53", "dns"] {
        assert_eq!(sum(key), sum("p-0035"), "{key}");
        assert!(sum(key) > 0.0, "{key}");
    }
    for (group, key) in [("Things", "p-0035"), ("Things", "53"), ("Things", "dns"), ("Apps", "key-1"), ("Apps", "imap")]
    {
        let said = ask(group, key).unwrap_err().to_string();
        assert!(said.contains(&format!("group {group} has no key '{key}'")), "{said}");
    }
}

#[test]
fn keys_are_found_by_the_label_of_their_group_or_its_resolver() {
    let mut registry = registry();
    let named = |guid: Guid, name: &[u8]| CounterGroupDefinition {
        guid,
        name: name.to_vec(),
        description: Vec::new(),
        bucketsize: Some(60.0),
        topper_bucketsize: None,
        resolver: Some(GROUP),
        meters: vec![
            [0.0, 2.0, 10.0, 0.0]
                .map(Column::Number)
                .into_iter()
                .chain(["Count", "", ""].map(|text| Column::Text(text.into())))
                .collect(),
        ],
        keyinfo: Vec::new(),
    };
    registry.define_counter_group(named(RECORDS, b"Resolved"));
    let registry = Arc::new(registry);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let store = opened(&file, &registry);
    let (mut sender, mut shard) = (store.sender(), Shard::new(&registry, ShardConfig::default()));
    let group = registry.counter_index(RECORDS).unwrap();
    shard.advance(Timestamp::new(BEGIN, 0), |_| {});
    for (key, value) in [("key-1", 1.0), ("key-2", 2.0), ("key-4", 4.0)] {
        shard.update(group, key.as_bytes(), 0, value);
    }
    shard.finish(|bucket| sender.bucket(Arc::new(bucket)));
    // Of several keys with one label that which the group has; what hides another label goes before.
    sender.label(GROUP, b"key-0", b"one", None);
    sender.label(GROUP, b"key-1", b"one", None);
    sender.label(GROUP, b"key-2", b"two", None);
    sender.label(RECORDS, b"key-2", b"hidden", None);
    drop(sender);
    assert_eq!(store.close(RunEnd::default()).lost(), 0);
    let reader = Reader::open(&file).unwrap();
    let ask = |key: &str| {
        let (group, key) = ("Resolved".to_owned(), Some(key.to_owned()));
        series(&reader, &SeriesQuery { group, key, limit: 10, ..SeriesQuery::default() })
    };
    for (key, value) in [("one", 1.0), ("hidden", 2.0), ("key-4", 4.0)] {
        assert_eq!(ask(key).unwrap().rows[0][2].number(), Some(value), "{key}");
    }
    assert!(ask("two").is_err());
    let query = TopQuery { group: "Resolved".to_owned(), limit: 3, ..TopQuery::default() };
    for row in &top(&reader, &query).unwrap().rows {
        assert!(row[2].text().is_none_or(|label| ask(label).is_ok()), "{row:?}");
    }
}

#[test]
fn records_come_latest_first_within_their_range() {
    let (_folder, reader) = filled();
    let query = RecordsQuery { from: at(60), to: at(300), limit: 3, ..RecordsQuery::default() };
    let times = |answer: &super::Answer| {
        answer.rows.iter().map(|row| (row[0].number().unwrap() as i64 - BEGIN) / 60).collect::<Vec<_>>()
    };
    for answer in [alerts(&reader, &query), resources(&reader, &query), documents(&reader, &query)] {
        assert_eq!(times(&answer.unwrap()), [270, 210, 150]);
    }
    assert_eq!(times(&flows(&reader, &query, FlowOrder::Time).unwrap()), [270, 210, 150]);
    let by_size = flows(&reader, &RecordsQuery { limit: 100, ..RecordsQuery::default() }, FlowOrder::Bytes).unwrap();
    let sizes: Vec<f64> = by_size.rows.iter().map(|row| row[3].number().unwrap()).collect();
    assert_eq!(sizes.len(), 30);
    assert!(sizes.is_sorted_by(|a, b| a >= b));
    let guid = RecordsQuery { group: Some(RECORDS.to_string()), limit: 100, ..RecordsQuery::default() };
    assert_eq!(alerts(&reader, &guid).unwrap().rows.len(), 30);
    let edge = RecordsQuery {
        group: Some("things".to_owned()),
        key: Some("key-1".to_owned()),
        limit: 100,
        ..RecordsQuery::default()
    };
    assert_eq!(edges(&reader, &edge).unwrap().rows.len(), 30);
    assert_eq!(runs(&reader, &RecordsQuery { limit: 5, ..RecordsQuery::default() }).unwrap().rows.len(), 1);
}

#[test]
fn few_flows_of_a_long_time_are_not_looked_for_among_all_of_them() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let store = opened(&file, &Arc::new(registry()));
    let mut sender = store.sender();
    for number in 0..6_000_i64 {
        // The first ten on one day, all others weeks later.
        let secs = BEGIN + if number < 10 { number } else { 3_000_000 + number / 10 };
        let time = Timestamp::new(secs, 0);
        let bytes = [(number as u64 * 7_919) % 10_007 + 1, 0];
        let id = format!("flow-{number}").into_bytes();
        let flow = Session { id, start: time, end: time, bytes, reason: "idle", ..Session::default() };
        sender.flow(Box::new(flow), Stored::Yes);
    }
    drop(sender);
    assert_eq!(store.close(RunEnd { span: at(0).zip(at(50_011)), ..RunEnd::default() }).lost(), 0);
    let sizes = |answer: &super::Answer| answer.rows.iter().map(|row| row[3].number().unwrap()).collect::<Vec<_>>();
    let naive = |numbers: std::ops::Range<u64>, limit| {
        let mut sizes: Vec<f64> = numbers.map(|number| ((number * 7_919) % 10_007 + 1) as f64).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        sizes.truncate(limit);
        sizes
    };
    let ask = |from, to, limit| {
        let reader = Reader::open(&file).unwrap();
        let query = RecordsQuery { from, to, limit, ..RecordsQuery::default() };
        let is_among_largest = super::flows::among_largest(&reader, &query).unwrap().is_some();
        (sizes(&flows(&reader, &query, FlowOrder::Bytes).unwrap()), is_among_largest)
    };
    assert_eq!(ask(at(0), at(40_000), 20), (naive(0..10, 20), false));
    assert_eq!(ask(at(1), at(40_000), 20), (Vec::new(), false));
    assert_eq!(ask(at(1), None, 20), (naive(10..6_000, 20), true));
    assert_eq!(ask(None, None, 10_000), (naive(0..6_000, 10_000), true));
    assert_eq!(ask(at(1), None, 10_000).0, naive(10..6_000, 10_000));
}

#[test]
fn edges_are_found_by_whatever_people_call_a_key() {
    let (_folder, reader) = stored(|sender| {
        for key in ["p-0050", "0A.00.00.02", "10.0.0.1", "key-3"] {
            let edge = Edge {
                from_guid: GROUP,
                from_key: key.as_bytes().to_vec(),
                to_guid: GROUP,
                to_key: format!("behind {key}").into_bytes(),
            };
            sender.edge(Timestamp::new(BEGIN, 0), edge);
        }
    });
    let found = |key: &str| {
        let (group, key) = (Some("things".to_owned()), Some(key.to_owned()));
        let answer = edges(&reader, &RecordsQuery { group, key, limit: 10, ..RecordsQuery::default() }).unwrap();
        answer.rows.iter().map(|row| row[4].text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (asked, key) in [
        ("p-0050", "p-0050"),
        ("80", "p-0050"),
        ("10.0.0.2", "0A.00.00.02"),
        ("10.0.0.1", "10.0.0.1"),
        ("the third", "key-3"),
    ] {
        assert_eq!(found(asked), [format!("behind {key}")], "{asked}");
    }
    assert!(found("10.0.0.3").is_empty());
}

#[test]
fn of_groups_with_one_name_none_is_taken_unasked() {
    let (_folder, reader) = counted(&[(0, ("key-1", 0, 1.0))]);
    let db = rusqlite::Connection::open(reader.path()).unwrap();
    let id: i64 = db.query_row("SELECT id FROM groups WHERE name = 'Things'", [], |row| row.get(0)).unwrap();
    let twin = |name: &str, guid: &str, twin: i64| {
        db.execute_batch(&format!(
            "INSERT INTO groups(id, kind, guid, name, description, bucketsize)
               VALUES({twin}, 'counter', '{guid}', '{name}', '', 60);
             INSERT INTO meters SELECT {twin}, id, vartype, name, units FROM meters WHERE grp = {id};
             CREATE TABLE counters_{twin} AS SELECT * FROM counters_{id}"
        ))
        .unwrap();
    };
    let ask = |group: &str| top(&reader, &TopQuery { group: group.to_owned(), limit: 5, ..TopQuery::default() });
    let other_case = "{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D4A}";
    twin("THINGS", other_case, id + 1_000);
    // Written as it is, a name is that of one group.
    assert!(ask("Things").is_ok() && ask("THINGS").is_ok());
    let said = ask("things").unwrap_err().to_string();
    assert!(said.contains(&GROUP.to_string()) && said.contains(other_case), "{said}");
    let same = "{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D4B}";
    twin("Things", same, id + 1_001);
    let said = ask("Things").unwrap_err().to_string();
    assert!(said.contains(&GROUP.to_string()) && said.contains(same) && !said.contains(other_case), "{said}");
    assert!(ask(same).is_ok() && ask(&GROUP.to_string()).is_ok());
    let group = |name: &str| RecordsQuery { group: Some(name.to_owned()), limit: 5, ..RecordsQuery::default() };
    assert!(edges(&reader, &group("Things")).is_err() && edges(&reader, &group(same)).is_ok());
}

#[test]
fn words_are_searched_for_and_what_cannot_be_read_is_said() {
    let (_folder, reader) = filled();
    let found = search(&reader, "minute90", None, None, 10).unwrap();
    assert_eq!(found.rows.len(), 1);
    assert!(found.cell(0, "snippet").unwrap().text().unwrap().contains("[minute90]"));
    assert_eq!(search(&reader, "document", None, None, 7).unwrap().rows.len(), 7);
    assert_eq!(search(&reader, "document", at(60), at(300), 100).unwrap().rows.len(), 4);
    assert_eq!(search(&reader, "about.minute90", None, None, 10).unwrap().rows.len(), 1);
    assert_eq!(
        search(&reader, "minute9* AND NOT minute90", None, None, 10).unwrap_err().to_string().lines().count(),
        1
    );
    for words in ["\"", "(", "a AND", "NEAR(", "*", "", "  ", "a \"b", "^", "{a}:b"] {
        assert!(matches!(search(&reader, words, None, None, 10), Err(QueryError::Words { .. })), "{words}");
    }
}

#[test]
fn documents_of_other_hours_do_not_hide_those_that_are_searched_for() {
    let (_folder, reader) = stored(|sender| {
        // As of captures that were read in any order: some of an hour, many of a later one, one of the first again.
        let seconds = (0..10).chain((0..5_100).map(|second| 20_000 + second)).chain([10]);
        for second in seconds {
            let time = Timestamp::new(BEGIN + second, 0);
            let text = format!("needle {second}").into_bytes();
            sender.document(Box::new(Document { time, group: RECORDS, flow: None, text }), Stored::Yes);
        }
    });
    let found = |from, to| search(&reader, "needle", from, to, 10_000).unwrap().rows.len();
    assert_eq!(found(at(0), at(1)), 11);
    assert_eq!(found(at(0), None), 5_000, "the latest are ranked");
    assert_eq!(found(None, at(1)), 11);
}

#[test]
fn documents_with_the_same_text_are_all_found_and_each_in_its_time() {
    let (_folder, reader) = stored(|sender| {
        let mut put = |second, text: &str| {
            let (time, text) = (Timestamp::new(BEGIN + second, 0), text.as_bytes().to_vec());
            sender.document(Box::new(Document { time, group: RECORDS, flow: None, text }), Stored::Yes);
        };
        // Texts that are numbers of rows are texts all the same.
        for second in 0..7_200 {
            put(second, if second % 3 == 0 { "certificate" } else { "1" });
        }
        put(7_150, "another certificate");
    });
    let second = |second: i64| Some(Timestamp::new(BEGIN + second, 0));
    let number = |sql: &str| -> i64 { reader.db.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(number("SELECT count(*) FROM documents"), 7_201);
    assert_eq!(number("SELECT count(*) FROM documents WHERE typeof(text) = 'text'"), 2 * 2 + 1);
    let found = |words: &str, from, to| {
        let rows = search(&reader, words, from, to, 10_000).unwrap().rows;
        rows.iter().map(|row| row[0].number().unwrap() as i64 - BEGIN).collect::<Vec<_>>()
    };
    assert_eq!(found("certificate", None, None).len(), 2_401);
    assert_eq!(found("1", None, None).len(), 4_800);
    assert_eq!(found("certificate", second(7_140), second(7_147)), [7_146, 7_143, 7_140]);
    assert_eq!(found("certificate", second(3_597), second(3_600)), [3_597, 3_600]);
    assert_eq!(found("another", None, None), [7_150]);
    let query = RecordsQuery { from: second(7_198), limit: 5, ..RecordsQuery::default() };
    let texts: Vec<Cell> = documents(&reader, &query).unwrap().rows.into_iter().map(|row| row[3].clone()).collect();
    assert_eq!(texts, [Cell::Text("1".to_owned()), Cell::Text("1".to_owned())]);
}

#[test]
fn of_words_that_are_everywhere_the_latest_documents_come_without_a_rank() {
    let (_folder, reader) = stored(|sender| {
        for second in 0..50_010 {
            let mark = if second % 10_000 == 0 { "seldom" } else { "else" };
            let text = format!("common {mark} {second}").into_bytes();
            let time = Timestamp::new(BEGIN + second, 0);
            sender.document(Box::new(Document { time, group: RECORDS, flow: None, text }), Stored::Yes);
        }
    });
    let found = |words: &str, from: i64, to: i64| {
        let time = |second: i64| Some(Timestamp::new(BEGIN + second, 0));
        let answer = search(&reader, words, time(from), time(to), 3).unwrap();
        let row = |row: &Vec<Cell>| (row[0].number().unwrap() as i64 - BEGIN, row[4] != Cell::Null);
        answer.rows.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(found("common", 0, 50_005), [(50_005, false), (50_004, false), (50_003, false)]);
    assert_eq!(found("seldom common", 0, 60_000).len(), 3);
    assert!(found("seldom common", 0, 60_000).iter().all(|(second, is_ranked)| second % 10_000 == 0 && *is_ranked));
    assert_eq!(found("common", 7_000, 7_001), [(7_001, false), (7_000, false)]);
    assert_eq!(found("\"common else\" seldom", 0, 60_000), []);
    assert_eq!(found("common", 60_000, 70_000), []);
}

#[test]
fn unknown_names_are_answered_with_those_there_are() {
    let (_folder, reader) = filled();
    let query = |group: &str, meter: &str| TopQuery {
        group: group.to_owned(),
        meter: Some(meter.to_owned()),
        limit: 1,
        ..TopQuery::default()
    };
    assert!(top(&reader, &query("thing", "0")).unwrap_err().to_string().contains("there are: Things"));
    assert!(top(&reader, &query("Things", "6")).unwrap_err().to_string().contains("2 (Mean)"));
    let missing = SeriesQuery { group: "Things".to_owned(), key: Some("key-99".to_owned()), ..SeriesQuery::default() };
    assert!(series(&reader, &missing).unwrap_err().to_string().contains("query keys 'Things'"));
}

#[test]
fn no_question_reads_a_whole_table() {
    let (_folder, reader) = filled();
    let all = RecordsQuery { limit: 5, ..RecordsQuery::default() };
    let some = RecordsQuery { from: at(60), to: at(300), ..all.clone() };
    let narrow = RecordsQuery { from: at(60), to: at(61), ..all.clone() };
    for query in [&all, &some, &narrow] {
        for group in [None, Some(RECORDS.to_string())] {
            let query = RecordsQuery { group, ..query.clone() };
            alerts(&reader, &query).unwrap();
            resources(&reader, &query).unwrap();
            documents(&reader, &query).unwrap();
        }
        for order in [FlowOrder::Bytes, FlowOrder::Time] {
            flows(&reader, query, order).unwrap();
        }
        for key in [None, Some("key-1".to_owned())] {
            edges(&reader, &RecordsQuery { group: Some("Things".to_owned()), key, ..query.clone() }).unwrap();
        }
        edges(&reader, query).unwrap();
        let (from, to, group) = (query.from, query.to, "Things".to_owned());
        top(&reader, &TopQuery { group: group.clone(), meter: None, from, to, limit: 5 }).unwrap();
        toppers(&reader, &TopQuery { group: group.clone(), meter: None, from, to, limit: 5 }).unwrap();
        for containing in [None, Some("3".to_owned())] {
            keys(&reader, &KeysQuery { group: group.clone(), containing, from, to, limit: 5 }).unwrap();
        }
        for key in ["key-2", "the third"] {
            let (group, key) = (group.clone(), Some(key.to_owned()));
            series(&reader, &SeriesQuery { group, key, meter: None, from, to, limit: 100 }).unwrap();
        }
        search(&reader, "document", from, to, 5).unwrap();
    }
    let asked = std::mem::take(&mut *reader.asked.borrow_mut());
    assert!(asked.len() > 50);
    for sql in asked {
        let mut explain = reader.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = explain.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get(3).unwrap();
            // As many rows as there are groups, meters or runs; FTS5 is an index of its own.
            let small = [
                "groups",
                "meters",
                "runs",
                "m",
                "g",
                "pragma_table_info",
                "f",
                "s",
                "documents_fts",
                "document_hours",
                "open_flows",
                "job_ends",
            ];
            let mut words = step.split_whitespace();
            let scans = words.next() == Some("SCAN") && !step.contains("USING");
            assert!(!scans || small.contains(&words.next().unwrap_or_default()), "{step}: {sql}");
            let few =
                ["documents_fts", "flows_start", "open_flows", "tracked", "toppers", "FROM groups", "FROM meters"]
                    .iter()
                    .any(|part| sql.contains(part));
            let sorts = step.contains("TEMP B-TREE") && !few;
            assert!(!sorts, "{step}: {sql}");
        }
    }
}
