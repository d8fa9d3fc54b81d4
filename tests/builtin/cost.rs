//! What metering costs per packet and group. Prints; run it in a release build on a quiet machine.

use std::io::Write;
use std::path::Path;

use crate::capture_support::Seen;
use crate::frames::{ACK, ether, ipv4, tcp};
use crate::harness::{file, seen};
use millstream::builtin::{Builtin, BuiltinPlan, BuiltinSettings, Stretch};
use millstream::decode::{self, Decoder};
use millstream::flow::{FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::metrics::{Level, Registry, Shard, ShardConfig};
use millstream::packet::{Batch, LinkType, MAX_BATCH, Packet};
use millstream::time::Timestamp;

const ROUNDS: usize = 2_000;

/// 256 packets of `flows` connections.
fn mix(flows: usize) -> Vec<Seen> {
    let packet = |i: usize| {
        let flow = i * 7 % flows;
        let host = format!("10.0.{}.{}", flow / 250, flow % 250 + 1);
        let server = format!("93.184.{}.{}", flow % 13, flow % 29 + 1);
        let port = 20_000 + flow as u16;
        let bytes = if i.is_multiple_of(2) {
            ether(&ipv4(&host, &server, 6, &tcp((port, 443), ACK, &[], &[0; 100])))
        } else {
            ether(&ipv4(&server, &host, 6, &tcp((443, port), ACK, &[], &[0; 1_000])))
        };
        seen(0, bytes)
    };
    (0..MAX_BATCH).map(packet).collect()
}

/// Nanoseconds per packet.
fn cost(packets: &[Seen], on: &[&str]) -> f64 {
    let registry = Registry::new();
    let settings = BuiltinSettings { on: on.iter().map(ToString::to_string).collect(), off: Vec::new() };
    let selection = settings.resolve(&registry).unwrap();
    let mut builtin = Builtin::new(&registry, &selection, BuiltinPlan::default());
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let wants = FlowWants { records: Want::Yes, ..FlowWants::default() };
    let mut flows = Flows::new(FlowsConfig::default(), wants);
    let mut batches = Vec::new();
    for chunk in packets.chunks(MAX_BATCH) {
        let mut batch = Batch::new();
        for seen in chunk {
            let offset = batch.buffer.len() as u32;
            batch.buffer.extend_from_slice(&seen.bytes);
            let caplen = seen.bytes.len() as u32;
            batch.push(Packet::new(Timestamp::EPOCH, offset, caplen, seen.wirelen, LinkType(seen.linktype), 0));
        }
        Decoder::new().decode(&decode::Registry::new(), &mut batch);
        batches.push(batch);
    }
    shard.advance(Timestamp::EPOCH, |_| {});
    let rounds = (ROUNDS / batches.len()).max(1);
    let (mut spent, mut count) = (0, 0);
    for batch in &batches {
        flows.process(batch, &Fragments::default());
        let mut stretch = Stretch { batch, from: 0, to: batch.len(), events: flows.events().list() };
        builtin.run(&stretch, &flows, &[], &mut shard);
        // The flows are there now: what is left is the packets.
        stretch.events = &[];
        let before = on_cpu();
        for _ in 0..rounds {
            builtin.run(&stretch, &flows, &[], &mut shard);
        }
        spent += on_cpu() - before;
        count += rounds * batch.len();
        flows.settle();
    }
    spent as f64 / count as f64
}

/// Nanoseconds this thread has run, so that a busy machine does not show.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "a measurement"]
fn cost_per_packet_and_group() {
    let demo = file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/demo.pcap")).unwrap();
    let inputs = [("8 flows a batch", mix(8)), ("256 flows a batch", mix(256)), ("demo.pcap", demo)];
    let registry = Registry::new();
    let mut text = String::new();
    for (name, packets) in &inputs {
        text.push_str(&format!("{name}: all {:.1} ns\n", cost(packets, &["all"])));
        for group in registry.counter_groups().filter(|group| group.level == Level::Native) {
            let group = String::from_utf8_lossy(&group.name).into_owned();
            text.push_str(&format!("  {group:<20} {:6.1} ns\n", cost(packets, &[&group])));
        }
    }
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
