//! Measurements, not tests: how fast rows are written, and how soon questions are answered on a large store.
//!
//! `cargo nextest run --release --test store_speed --run-ignored all --no-capture`
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::guid::Guid;
use millstream::metrics::{Column, CounterGroupDefinition, FlushSink, Registry, Session, Shard, ShardConfig, Stored};
use millstream::sink::store_query::{
    Answer, FlowOrder, KeysQuery, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, flows, keys, series, top,
};
use millstream::sink::{RunEnd, Store, StoreOptions, WhenFull};
use millstream::time::{Stopwatch, Timestamp};
use tempfile::TempDir;

const GROUP: Guid = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3E}");
const BEGIN: i64 = 1_700_000_000;

fn registry() -> Registry {
    let mut registry = Registry::new();
    let text = |text: &str| Column::Text(text.as_bytes().to_vec());
    let row = |id: f64| {
        vec![
            Column::Number(id),
            Column::Number(2.0),
            Column::Number(10.0),
            Column::Number(0.0),
            text("m"),
            text(""),
            text(""),
        ]
    };
    registry.define_counter_group(CounterGroupDefinition {
        guid: GROUP,
        name: b"Things".to_vec(),
        description: Vec::new(),
        bucketsize: Some(60.0),
        topper_bucketsize: None,
        resolver: None,
        meters: (0..5).map(|id| row(f64::from(id))).collect(),
        keyinfo: Vec::new(),
    });
    registry
}

/// Counters of `keys` keys a minute, and as many flows as asked for.
fn fill(file: &Path, minutes: i64, keys: i64, flow_count: i64) -> (u64, Duration) {
    let registry = Arc::new(registry());
    let options = StoreOptions::new(file.to_owned(), WhenFull::Block);
    let store = Store::open(&options, Arc::clone(&registry), &[], None).unwrap();
    let mut sender = store.sender();
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let group = registry.counter_index(GROUP).unwrap();
    let watch = Stopwatch::start();
    for minute in 0..minutes {
        let now = Timestamp::new(BEGIN + minute * 60, 0);
        shard.advance(now, |bucket| sender.bucket(bucket));
        sender.passed(now);
        for key in 0..keys {
            let number = (key * 7 + minute) % (keys * 2);
            let text = format!("{:02X}.{:02X}.{:02X}.01", number & 0xFF, (number >> 8) & 0xFF, number >> 16);
            for meter in 0..5 {
                shard.update(group, text.as_bytes(), meter, ((key * 31 + minute) % 5_000) as f64);
            }
        }
    }
    shard.finish(|bucket| sender.bucket(bucket));
    for number in 0..flow_count {
        let time = Timestamp::new(BEGIN + number * minutes * 60 / flow_count.max(1), 0);
        let flow = Session {
            id: format!(
                "06A:0A.00.{:02X}.{:02X}:p-{:04X}_0A.00.00.02:p-0050",
                number & 0xFF,
                number >> 8 & 0xFF,
                number & 0xFFFF
            )
            .into_bytes(),
            start: time,
            end: time,
            bytes: [(number as u64).wrapping_mul(2_654_435_761) % 1_000_000, 200],
            reason: "idle",
            ..Session::default()
        };
        sender.flow(&flow, Stored::Yes);
    }
    drop(sender);
    let tally = store.close(RunEnd::default());
    (tally.written, watch.elapsed())
}

#[test]
#[ignore = "a measurement"]
fn how_fast_rows_are_written() {
    for (what, minutes, keys, flow_count) in
        [("counters", 500, 2_000, 0), ("counters, many keys", 20, 50_000, 0), ("flows", 1, 1, 1_000_000)]
    {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("store.db");
        let (rows, time) = fill(&file, minutes, keys, flow_count);
        let size = std::fs::metadata(&file).unwrap().len();
        let rate = rows as f64 / time.as_secs_f64();
        eprintln!("{what}: {rows} rows in {time:?}, {rate:.0} rows/s, {} bytes a row", size / rows);
    }
}

fn timed(what: &str, mut ask: impl FnMut() -> Result<Answer, QueryError>) {
    let mut times: Vec<Duration> = Vec::new();
    let mut rows = 0;
    for _ in 0..5 {
        let watch = Stopwatch::start();
        rows = ask().unwrap().rows.len();
        times.push(watch.elapsed());
    }
    times[1..].sort();
    eprintln!("{what}: {rows} rows, first {:?}, then {:?}", times[0], times[2]);
}

#[test]
#[ignore = "a measurement"]
fn how_soon_questions_are_answered_on_ten_million_rows() {
    let kept = std::env::var_os("MILLSTREAM_STORE");
    let folder = TempDir::new().unwrap();
    let file = kept.as_ref().map_or_else(|| folder.path().join("store.db"), |path| Path::new(path).to_owned());
    if !file.exists() {
        let (rows, time) = fill(&file, 8_000, 1_000, 2_000_000);
        eprintln!("{rows} rows in {time:?}");
    }
    let reader = Reader::open(&file).unwrap();
    let group = || "Things".to_owned();
    let (from, to) =
        (Some(Timestamp::new(BEGIN + 12_345 * 7, 0)), Some(Timestamp::new(BEGIN + 8_000 * 60 - 12_345, 0)));
    timed("top, everything", || top(&reader, &TopQuery { group: group(), limit: 10, ..TopQuery::default() }));
    timed("top, a range", || top(&reader, &TopQuery { group: group(), from, to, limit: 10, ..TopQuery::default() }));
    timed("keys, a range", || {
        keys(&reader, &KeysQuery { group: group(), from, to, limit: 100, ..KeysQuery::default() })
    });
    let key = || Some("01.00.00.01".to_owned());
    timed("series, by minute", || {
        series(&reader, &SeriesQuery { group: group(), key: key(), limit: 10_000, ..SeriesQuery::default() })
    });
    timed("series, by hour", || {
        series(&reader, &SeriesQuery { group: group(), key: key(), limit: 1_000, from, to, ..SeriesQuery::default() })
    });
    let all = RecordsQuery { limit: 20, ..RecordsQuery::default() };
    let some = RecordsQuery { from, to, ..all.clone() };
    let hour = RecordsQuery { from, to: from.map(|from| from.plus(Duration::from_secs(600))), ..all.clone() };
    timed("flows, the largest", || flows(&reader, &all, FlowOrder::Bytes));
    timed("flows, the largest of a range", || flows(&reader, &some, FlowOrder::Bytes));
    timed("flows, the largest of ten minutes", || flows(&reader, &hour, FlowOrder::Bytes));
    timed("flows, the latest", || flows(&reader, &some, FlowOrder::Time));
}
