//! What metering costs per packet and group.

use std::path::Path;

use millstream::builtin::{Builtin, BuiltinPlan, BuiltinSettings, Stretch};
use millstream::capture::{FileOptions, FileSource, Fill, Source};
use millstream::decode::{self, Decoder};
use millstream::flow::{FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::metrics::{Level, Registry, Shard, ShardConfig};
use millstream::packet::{Batch, LinkType, MAX_BATCH, Packet};
use millstream::time::Timestamp;

use crate::frames::{ACK, ether, ipv4, tcp};
use crate::{Failure, Outcome, REPEATS, clock, each, figure};

/// Runs over each batch in all, shared by the batches.
const ROUNDS: usize = 2_000;

/// Adds a packet; all are of one time, so that no bucket closes meanwhile.
fn push(batch: &mut Batch, bytes: &[u8], wirelen: u32, linktype: LinkType) {
    let offset = batch.buffer.len() as u32;
    batch.buffer.extend_from_slice(bytes);
    batch.push(Packet::new(Timestamp::EPOCH, offset, bytes.len() as u32, wirelen, linktype, 0));
}

/// 256 packets of `flows` connections.
fn mix(flows: usize) -> Vec<Batch> {
    let mut batch = Batch::new();
    for i in 0..MAX_BATCH {
        let flow = i * 7 % flows;
        let host = format!("10.0.{}.{}", flow / 250, flow % 250 + 1);
        let server = format!("93.184.{}.{}", flow % 13, flow % 29 + 1);
        let port = 20_000 + flow as u16;
        let bytes = if i.is_multiple_of(2) {
            ether(&ipv4(&host, &server, 6, &tcp((port, 443), ACK, &[], &[0; 100])))
        } else {
            ether(&ipv4(&server, &host, 6, &tcp((443, port), ACK, &[], &[0; 1_000])))
        };
        push(&mut batch, &bytes, bytes.len() as u32, LinkType::ETHERNET);
    }
    vec![batch]
}

/// The packets of a file.
fn of_file(path: &Path) -> Result<Vec<Batch>, Failure> {
    let mut source = FileSource::open(&[path.to_owned()], &FileOptions::default())?;
    let (mut read, mut batches) = (Batch::new(), Vec::new());
    loop {
        match source.fill(&mut read)? {
            Fill::End => return Ok(batches),
            Fill::Idle => {}
            Fill::Packets => {
                let mut batch = Batch::new();
                for packet in read.packets() {
                    push(&mut batch, read.packet_bytes(packet), packet.wirelen, packet.linktype);
                }
                batches.push(batch);
            }
        }
    }
}

/// Nanoseconds per packet.
fn cost(batches: &[Batch], on: &str) -> Result<f64, Failure> {
    let registry = Registry::new();
    let settings = BuiltinSettings { on: vec![on.to_owned()], off: Vec::new() };
    let selection = settings.resolve(&registry)?;
    let mut builtin = Builtin::new(&registry, &selection, BuiltinPlan::default());
    let mut shard = Shard::new(&registry, ShardConfig::default());
    let wants = FlowWants { records: Want::Yes, ..FlowWants::default() };
    let mut flows = Flows::new(FlowsConfig::default(), wants);
    shard.advance(Timestamp::EPOCH, |_| {});
    let rounds = (ROUNDS / batches.len() / REPEATS).max(1);
    let (mut spent, mut count) = ([std::time::Duration::ZERO; REPEATS], 0);
    for batch in batches {
        flows.process(batch, &Fragments::default());
        let mut stretch = Stretch { batch, from: 0, to: batch.len(), events: flows.events().list() };
        builtin.run(&stretch, &flows, &[], &mut shard);
        // The flows are there now: what is left is the packets.
        stretch.events = &[];
        for spent in &mut spent {
            let before = clock::thread_cpu();
            for _ in 0..rounds {
                builtin.run(&stretch, &flows, &[], &mut shard);
            }
            *spent += clock::thread_cpu() - before;
        }
        count += (rounds * batch.len()) as u64;
        flows.settle();
    }
    Ok(clock::median(spent.map(|spent| each(spent, count))))
}

pub fn run() -> Outcome {
    let demo = of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/demo.pcap"))?;
    let registry = Registry::new();
    for (name, mut batches) in [("8-flows", mix(8)), ("256-flows", mix(256)), ("demo", demo)] {
        for batch in &mut batches {
            Decoder::new().decode(&decode::Registry::new(), batch);
        }
        figure(&format!("metering/{name}"), cost(&batches, "all")?, "ns/packet")?;
        for group in registry.counter_groups().filter(|group| group.level == Level::Native) {
            let group = String::from_utf8_lossy(&group.name).into_owned();
            let title = format!("metering/{name}/group/{}", group.replace(' ', "-"));
            figure(&title, cost(&batches, &group)?, "ns/packet")?;
        }
    }
    Ok(())
}
