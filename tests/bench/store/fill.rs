//! Rows to write, made before they are written.

use std::path::Path;
use std::sync::Arc;

use millstream::guid::Guid;
use millstream::metrics::{
    Alert, AlertKind, Column, CounterGroupDefinition, Document, FlushSink, Registry, Resource, Session, Shard,
    ShardConfig, Snapshot, Stored,
};
use millstream::sink::{RunEnd, Store, StoreOpenError, StoreOptions, StoreTally, WhenFull};
use millstream::time::Timestamp;

const GROUP: Guid = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3E}");
const RECORDS: Guid = Guid::literal("{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3F}");
/// Where stream time begins.
pub const BEGIN: i64 = 1_700_000_000;
/// Minutes of the large store.
pub const MINUTES: i64 = 6_000;
const METERS: u32 = 5;

/// How much of everything, spread over the minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amounts {
    /// The first minute.
    pub from: i64,
    /// Minutes with a bucket each.
    pub minutes: i64,
    /// Keys counted in each bucket, out of twice as many.
    pub keys: i64,
    /// Flows.
    pub flows: i64,
    /// Alerts.
    pub alerts: i64,
    /// Resources.
    pub resources: i64,
    /// Documents.
    pub documents: i64,
}

/// Six million counters, two million flows, two million records of other kinds, in parts that fit into memory.
pub fn ten_million() -> impl Iterator<Item = Amounts> {
    let parts = 10;
    (0..parts).map(move |part| Amounts {
        from: part * MINUTES / parts,
        minutes: MINUTES / parts,
        keys: 1_000,
        flows: 2_000_000 / parts,
        alerts: 500_000 / parts,
        resources: 1_000_000 / parts,
        documents: 500_000 / parts,
    })
}

/// What is ready to be written.
#[derive(Debug, Default)]
pub struct Made {
    buckets: Vec<Snapshot>,
    flows: Vec<Session>,
    alerts: Vec<Alert>,
    resources: Vec<Resource>,
    documents: Vec<Document>,
}

/// Opens a store for writing.
///
/// # Errors
/// As [`Store::open`].
pub fn open(file: &Path) -> Result<Store, StoreOpenError> {
    let options = StoreOptions::new(file.to_owned(), WhenFull::Block);
    Store::open(&options, Arc::new(registry()), &[], None)
}

fn registry() -> Registry {
    let mut registry = Registry::new();
    let text = |text: &str| Column::Text(text.as_bytes().to_vec());
    let number = Column::Number;
    let row =
        |id: u32| vec![number(f64::from(id)), number(2.0), number(10.0), number(0.0), text("m"), text(""), text("")];
    registry.define_counter_group(CounterGroupDefinition {
        guid: GROUP,
        name: b"Things".to_vec(),
        description: Vec::new(),
        bucketsize: Some(60.0),
        topper_bucketsize: None,
        resolver: None,
        meters: (0..METERS).map(row).collect(),
        keyinfo: Vec::new(),
    });
    registry
}

fn key(number: i64) -> String {
    format!("{:02X}.{:02X}.{:02X}.01", number & 0xFF, (number >> 8) & 0xFF, number >> 16)
}

fn flow_id(number: i64) -> Vec<u8> {
    let (low, high, port) = (number & 0xFF, number >> 8 & 0xFF, number & 0xFFFF);
    format!("06A:0A.00.{high:02X}.{low:02X}:p-{port:04X}_0A.00.00.02:p-0050").into_bytes()
}

/// Every third document has `third`, one in a thousand `rare`.
fn text(number: i64) -> Vec<u8> {
    let third = if number % 3 == 0 { "third" } else { "other" };
    let rare = if number % 1_000 == 0 { "rare" } else { "usual" };
    let host = (number * 7_919) % 50_021;
    format!(
        "GET /path/{number} HTTP/1.1 Host: host-{host}.example.com User-Agent: Mozilla/5.0 ({third}; {rare}) \
         Accept: text/html,application/xhtml+xml Accept-Encoding: gzip Connection: keep-alive word{}",
        number % 977
    )
    .into_bytes()
}

/// Makes the rows.
pub fn make(amounts: &Amounts) -> Made {
    let mut made = Made::default();
    let registry = registry();
    let Some(group) = registry.counter_index(GROUP) else { return made };
    let mut shard = Shard::new(&registry, ShardConfig::default());
    for minute in amounts.from..amounts.from + amounts.minutes {
        shard.advance(Timestamp::new(BEGIN + minute * 60, 0), |bucket| made.buckets.push(bucket));
        for number in 0..amounts.keys {
            let text = key((number * 7 + minute) % (amounts.keys * 2));
            for meter in 0..METERS {
                shard.update(group, text.as_bytes(), meter, ((number * 31 + minute) % 5_000) as f64);
            }
        }
    }
    shard.finish(|bucket| made.buckets.push(bucket));
    let nanos = amounts.minutes.max(1) * 60_000_000_000;
    let time = |number: i64, of: i64| {
        Timestamp::from_nanos((BEGIN + amounts.from * 60) * 1_000_000_000 + nanos / of.max(1) * number)
    };
    let flow = |number: i64| {
        let start = time(number, amounts.flows);
        let bytes = [(number as u64).wrapping_mul(2_654_435_761) % 1_000_000, 200];
        Session { id: flow_id(number), start, end: start, bytes, reason: "idle", ..Session::default() }
    };
    made.flows = (0..amounts.flows).map(flow).collect();
    let alert = |number: i64| Alert {
        time: time(number, amounts.alerts),
        group: RECORDS,
        flow: Some(flow_id(number)),
        sigid: b"1".to_vec(),
        priority: 2.0,
        message: format!("alert {number}").into_bytes(),
        classification: Vec::new(),
        status: b"ALARM".to_vec(),
        extra: Vec::new(),
        ack: 0,
        kind: AlertKind::Simple,
        ids: None,
    };
    made.alerts = (0..amounts.alerts).map(alert).collect();
    let resource = |number: i64| Resource {
        time: time(number, amounts.resources),
        group: RECORDS,
        flow: Some(flow_id(number)),
        uri: format!("http://host-{}.example.com/path/{number}", number % 5_000).into_bytes(),
        label: b"GET".to_vec(),
    };
    made.resources = (0..amounts.resources).map(resource).collect();
    let document = |number: i64| Document {
        time: time(number, amounts.documents),
        group: RECORDS,
        flow: Some(flow_id(number)),
        text: text(number),
    };
    made.documents = (0..amounts.documents).map(document).collect();
    made
}

impl Made {
    /// Sends everything and waits until it is written.
    pub fn send(self, store: Store) -> StoreTally {
        let mut sender = store.sender();
        for bucket in self.buckets {
            let end = bucket.end();
            sender.bucket(Arc::new(bucket));
            sender.passed(end);
        }
        self.flows.iter().for_each(|flow| sender.flow(Box::new(flow.clone()), Stored::Yes));
        self.alerts.iter().for_each(|alert| sender.alert(Box::new(alert.clone()), Stored::Yes));
        self.resources.iter().for_each(|resource| sender.resource(Box::new(resource.clone()), Stored::Yes));
        self.documents.iter().for_each(|document| sender.document(Box::new(document.clone()), Stored::Yes));
        drop(sender);
        store.close(RunEnd::default())
    }
}
