//! The report as files and terminals get it.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails by panicking")]

use millstream::guid::Guid;
use millstream::metrics::{
    Alert, AlertKind, Column, CounterGroupDefinition, Edge, FlowRecord, FlowStatement, KeyNotes, Records, Registry,
    RunTotals, Shard, ShardConfig, Tallies,
};
use millstream::sink::{
    Charset, ColourMode, Damage, DamagedInput, JobLatency, Jobs, NamedCount, PluginReport, Report, Run, TextStyle,
    Verdict, collect_groups, collect_records,
};
use millstream::time::Timestamp;

const GUID: Guid = Guid::literal("{0B1C2D3E-0000-4000-8000-00000000ABCD}");
const FLOW: &[u8] = b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016";

fn group() -> (Registry, millstream::metrics::GroupIndex) {
    let number = Column::Number;
    let text = |t: &str| Column::Text(t.as_bytes().to_vec());
    let mut registry = Registry::new();
    registry.define_counter_group(CounterGroupDefinition {
        guid: GUID,
        name: b"Query types".to_vec(),
        description: Vec::new(),
        bucketsize: None,
        topper_bucketsize: None,
        resolver: None,
        meters: vec![
            vec![number(0.0), number(2.0), number(20.0), number(0.0), text("Queries"), text("queries seen"), text("q")],
            vec![number(1.0), number(4.0), number(20.0), text("Bytes"), text("bytes"), text("Bps")],
            vec![number(2.0), number(9.0), Column::Absent, Column::Absent, Column::Absent, Column::Absent, text("us")],
        ],
        keyinfo: vec![(b"A".to_vec(), b"IPv4 address".to_vec())],
    });
    let index = registry.counter_index(GUID).unwrap();
    (registry, index)
}

fn sample() -> Report {
    let (registry, index) = group();
    let mut shard = Shard::new(&registry, ShardConfig { tallies: Tallies::On, ..ShardConfig::default() });
    let hosts = registry.counter_index("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}".parse().unwrap()).unwrap();
    let apps = registry.counter_index("{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}".parse().unwrap()).unwrap();
    for (host, bytes) in [(1u8, 4_000_000.0), (2, 1_500_000.0), (3, 700.0)] {
        shard.update_binary(hosts, millstream::key::KeyKind::Host4, &[10, 0, 0, host], 0, bytes);
    }
    shard.update(apps, b"p-01BB", 0, 123_456.0);
    for (key, queries) in [(&b"A"[..], 7.0), (b"AAAA", 2.0), (b"evil\x1B[31m\xE2\x80\xAE\xFF", 1.0)] {
        shard.update(index, key, 0, queries);
        shard.update(index, key, 1, queries * 64.0);
        shard.update(index, key, 2, 12.5);
    }
    shard.finish(|_| ());
    let mut records = Records::new(10);
    records.notes.set_label(registry.counter_group(hosts).unwrap().guid, b"0A.00.00.01", b"file server", None);
    for message in ["first", "second"] {
        records.alerts.add(|| Alert {
            time: Timestamp::new(5, 0),
            group: "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}".parse().unwrap(),
            flow: Some(FLOW.to_vec()),
            sigid: b"scan".to_vec(),
            priority: 2.0,
            message: message.as_bytes().to_vec(),
            classification: Vec::new(),
            status: Alert::DEFAULT_STATUS.to_vec(),
            kind: AlertKind::Simple,
            extra: Vec::new(),
            ack: 0,
            ids: None,
        });
    }
    let edge = Edge { from_guid: GUID, from_key: b"A".to_vec(), to_guid: Guid::from_u128(7), to_key: b"x".to_vec() };
    records.edges.add(Timestamp::EPOCH, &edge);
    records.edges.add(Timestamp::EPOCH, &edge);
    records.add_flow_record(FlowRecord { flow: FLOW.to_vec(), statement: FlowStatement::Tag(b"t".to_vec()) });
    Report {
        run: Run {
            packets: 14_200,
            bytes: 9_876_543,
            first: Some(100.0),
            last: Some(412.4),
            duration_secs: 312.4,
            wall_secs: 0.41,
            wall_longest_batch_secs: 0.002,
            engines: 1,
            inputs: vec!["a.pcap".into()],
        },
        drops: vec![NamedCount { name: "key_reserved".into(), count: 3 }],
        damage: Damage {
            inputs: vec![DamagedInput { input: "a.pcap".into(), reason: "record cut at byte 4711".into() }],
        },
        groups: collect_groups(&registry, &RunTotals::of(&shard), &records.notes, 10),
        records: collect_records(&registry, &records, 1),
        jobs: Some(Jobs {
            submitted: 12,
            ended: vec![
                NamedCount { name: "done".into(), count: 11 },
                NamedCount { name: "timed_out".into(), count: 1 },
            ],
            workers: 2,
            latency: Some(JobLatency { p50_us: 4.2, p99_us: 87.0, max_us: 1_300.0 }),
            plugins: Vec::new(),
        }),
        plugins: vec![PluginReport {
            version: None,
            name: "dns.lua".into(),
            calls: 14_200,
            ns_per_call: 12.4,
            errors: 1,
            share: 0.034,
            memory_bytes: 812_000,
            ..PluginReport::default()
        }],
        verdict: Verdict { exit_code: 2, reasons: vec!["dns.lua: 1 error".into()] },
        ..Report::default()
    }
}

fn text(style: TextStyle) -> String {
    let mut out = Vec::new();
    sample().write_text(&mut out, style).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_text_of_a_report_is_aligned_and_plain_for_a_pipe() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics_report.txt");
    let text = text(TextStyle::default());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&golden).unwrap());
}

#[test]
fn nothing_in_a_capture_steers_a_terminal_and_width_is_kept() {
    for charset in [Charset::Ascii, Charset::Unicode] {
        for width in [40, 60, 80, 132] {
            let text = text(TextStyle { colour: ColourMode::Never, charset, width });
            assert!(
                !text.contains(['\x1B', '\u{202E}', '\u{FF}'])
                    || charset == Charset::Unicode && !text.contains(['\x1B', '\u{202E}'])
            );
            if width >= 80 {
                let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
                assert!(widest.chars().count() <= width, "{widest}");
            }
            assert_eq!(text.is_ascii(), charset == Charset::Ascii);
        }
    }
    let coloured = text(TextStyle { colour: ColourMode::Always, charset: Charset::Unicode, width: 100 });
    let mut plain = String::new();
    let mut parts = coloured.split("\x1B[");
    plain.push_str(parts.next().unwrap());
    for part in parts {
        plain.push_str(part.split_once('m').unwrap().1);
    }
    assert_eq!(plain, text(TextStyle { colour: ColourMode::Never, charset: Charset::Unicode, width: 100 }));
}

#[test]
fn the_json_document_has_documented_names() {
    let mut out = Vec::new();
    sample().write_json(&mut out).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value["version"], 1);
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["version", "run", "drops", "notes", "damage", "groups", "records", "jobs", "plugins", "verdict"]
    );
    assert_eq!(value["run"]["wall_packets_per_sec"], 14_200.0 / 0.41);
    assert_eq!(value["run"]["wall_longest_batch_secs"], 0.002);
    assert_eq!(value["groups"][0]["name"], "Hosts");
    let top = &value["groups"][0]["meters"][0]["top"][0];
    assert_eq!(
        (&top["key"], &top["readable"], &top["label"]),
        (&"0A.00.00.01".into(), &"10.0.0.1".into(), &"file server".into())
    );
    assert_eq!(top["value"], 4_000_000.0);
    assert_eq!(value["groups"][1]["meters"][0]["top"][0]["readable"], "443");
    assert_eq!(value["groups"][2]["keys"]["seen"], 3);
    assert_eq!(value["groups"][2]["meters"][2]["top"][0]["share"], serde_json::Value::Null);
    assert_eq!(value["records"]["alerts"]["count"], 2);
    assert_eq!(value["records"]["edges"]["distinct"], 1);
}

#[test]
fn an_empty_report_is_short() {
    let mut out = Vec::new();
    Report::default().write_text(&mut out, TextStyle::default()).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "0 packets, 0 B\n  packet time  0 s, 0 packets/s\n  run time     0 s, 0 packets/s, 0 bit/s\n\nok\n"
    );
    assert!(
        collect_groups(
            &Registry::new(),
            &RunTotals::of(&Shard::new(&Registry::new(), ShardConfig::default())),
            &KeyNotes::default(),
            5
        )
        .is_empty()
    );
}
