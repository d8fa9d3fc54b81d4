//! Runs metering over packets as the pipeline does: flows, stretches within one bucket, flow counters.

use std::collections::BTreeMap;

use millstream::builtin::{
    Builtin, BuiltinPlan, BuiltinSettings, CounterCommand, Fact, FactKind, FlowCounters, FoundLabel, RaisedAlert,
    Stretch,
};
use millstream::capture::{FileOptions, FileSource};
use millstream::decode::{self, Decoder};
use millstream::flow::{Flows, FlowsConfig, Fragments};
use millstream::metrics::{Registry, RunTotals, Shard, ShardConfig, Snapshot};
use millstream::packet::{Batch, LinkType, MAX_BATCH, Packet};
use millstream::time::Timestamp;

use crate::capture_support::{Seen, drain};

/// Something that happens at a packet of the run, by its number.
pub type At<T> = (usize, T);

/// What is metered, and what is found and said on the way.
#[derive(Default)]
pub struct Setup {
    pub on: Vec<&'static str>,
    pub home: Option<&'static str>,
    /// Facts about the flow of the packet.
    pub facts: Vec<At<FactKind<'static>>>,
    /// Commands of scripts; their packet is filled in.
    pub commands: Vec<At<CounterCommand>>,
    pub alerts: Vec<RaisedAlert<'static>>,
    /// Packets per batch.
    pub batch: usize,
}

impl Setup {
    pub fn of(on: &[&'static str]) -> Self {
        Self { on: on.to_vec(), batch: MAX_BATCH, ..Self::default() }
    }
}

/// What a run leaves behind.
pub struct Run {
    pub registry: Registry,
    pub shard: Shard,
    pub snapshots: Vec<Snapshot>,
    pub labels: Vec<FoundLabel>,
}

/// Values by group, key and meter.
pub type Values = BTreeMap<(String, String), Vec<f64>>;

/// An Ethernet packet at a second.
pub fn seen(secs: i64, bytes: Vec<u8>) -> Seen {
    let wirelen = bytes.len() as u32;
    Seen { nanos: secs * 1_000_000_000, bytes, wirelen, linktype: LinkType::ETHERNET.0, origin: 0 }
}

/// The packets of a file; what is damaged ends them.
pub fn file(path: &std::path::Path) -> Option<Vec<Seen>> {
    let mut source = FileSource::open(&[path.to_owned()], &FileOptions::default()).ok()?;
    Some(drain(&mut source).0)
}

pub fn run(packets: &[Seen], setup: &Setup) -> Run {
    let registry = Registry::new();
    let on = setup.on.iter().map(ToString::to_string).collect();
    let selection = BuiltinSettings { on, off: Vec::new() }.resolve(&registry).unwrap();
    let home = setup.home.map_or_else(Default::default, |text| text.parse().unwrap());
    let plan = BuiltinPlan { home, origins: vec!["eth0".to_owned()], probe: "probe0".to_owned() };
    let mut builtin = Builtin::new(&registry, &selection, plan);
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let mut flows = Flows::new(FlowsConfig::default(), builtin.flow_wants());
    let protocols = decode::Registry::new();
    let (mut decoder, mut counters) = (Decoder::new(), FlowCounters::new());
    let mut snapshots = Vec::new();
    let mut now = Timestamp::EPOCH;
    for (number, chunk) in packets.chunks(setup.batch.max(1)).enumerate() {
        let base = number * setup.batch.max(1);
        let mut batch = batch_of(chunk);
        decoder.decode(&protocols, &mut batch);
        flows.process(&batch, &Fragments::default());
        let mut from = 0;
        while from < batch.len() {
            let first = batch.packets()[from].ts.max(now);
            if first >= shard.next_boundary() {
                builtin.close(first, &mut shard);
                shard.advance(first, |snapshot| snapshots.push(snapshot));
            }
            let mut to = from + 1;
            now = now.max(batch.packets()[from].ts);
            while to < batch.len() && batch.packets()[to].ts < shard.next_boundary() {
                now = now.max(batch.packets()[to].ts);
                to += 1;
            }
            let facts: Vec<Fact<'_>> = setup
                .facts
                .iter()
                .filter(|(at, _)| (base + from..base + to).contains(at))
                .map(|&(at, kind)| {
                    let packet = at - base;
                    Fact { packet: packet as u32, flow: flows.of_packet(packet).unwrap().flow, kind }
                })
                .collect();
            let stretch = Stretch { batch: &batch, from, to, events: flows.events().list() };
            builtin.run(&stretch, &flows, &facts, &mut shard);
            let mut commands = builtin.take_commands();
            for (at, command) in setup.commands.iter().filter(|(at, _)| (base + from..base + to).contains(at)) {
                commands.push(CounterCommand { packet: (at - base) as u32, ..command.clone() });
            }
            commands.sort_by_key(|command| command.packet);
            counters.run(&batch, from..to, &mut commands, &mut flows, &mut shard);
            assert!(commands.is_empty());
            from = to;
        }
        flows.settle();
    }
    for alert in &setup.alerts {
        builtin.alert(alert, &mut shard);
    }
    loop {
        let more = flows.finish();
        builtin.flow_events(flows.events().list(), &flows, &mut shard);
        flows.settle();
        if !more.is_yes() {
            break;
        }
    }
    builtin.finish(&mut shard);
    shard.finish(|snapshot| snapshots.push(snapshot));
    Run { registry, shard, snapshots, labels: builtin.take_labels() }
}

/// The packets as a batch.
pub fn batch_of(packets: &[Seen]) -> Batch {
    let mut batch = Batch::new();
    for seen in packets {
        let offset = batch.buffer.len() as u32;
        batch.buffer.extend_from_slice(&seen.bytes);
        let ts = Timestamp::from_nanos(seen.nanos);
        let caplen = seen.bytes.len() as u32;
        batch.push(Packet::new(ts, offset, caplen, seen.wirelen, LinkType(seen.linktype), seen.origin));
    }
    batch
}

/// The values of the run, of all groups.
pub fn values(registry: &Registry, totals: &RunTotals) -> Values {
    let mut values = Values::new();
    for (group, index) in registry.counter_groups().zip(0..) {
        let name = String::from_utf8_lossy(&group.name).into_owned();
        let Some(group) = totals.group(millstream::metrics::GroupIndex(index)) else { continue };
        group.for_each(|key, row| {
            values.insert((name.clone(), String::from_utf8_lossy(key).into_owned()), row.to_vec());
        });
    }
    values
}

impl Run {
    pub fn values(&self) -> Values {
        values(&self.registry, &RunTotals::of(&self.shard))
    }

    /// Values of one key that are not zero, by meter.
    pub fn key(&self, group: &str, key: &str) -> Vec<(usize, f64)> {
        let values = self.values();
        let row = values.get(&(group.to_owned(), key.to_owned())).cloned().unwrap_or_default();
        row.into_iter().enumerate().filter(|(_, value)| *value != 0.0).collect()
    }

    /// Keys of a group.
    pub fn keys(&self, group: &str) -> Vec<String> {
        self.values().into_keys().filter(|(of, _)| of == group).map(|(_, key)| key).collect()
    }

    /// Values of a key in each bucket, in order of the buckets.
    pub fn buckets(&self, group: &str, key: &str, meter: usize) -> Vec<f64> {
        let mut found = Vec::new();
        for snapshot in &self.snapshots {
            let name = &self.registry.counter_group(snapshot.group()).unwrap().name;
            if name == group.as_bytes() {
                snapshot.for_each(|of, row| found.extend((of == key.as_bytes()).then(|| row[meter])));
            }
        }
        found
    }
}
