//! Whole captures: what must hold of any traffic.

use std::path::{Path, PathBuf};

use crate::capture_support::{Seen, real_captures};
use crate::harness::{Run, Setup, Values, file, run, values};
use millstream::decode::{self, Decoder};
use millstream::metrics::{RunTotals, Vartype};
use millstream::packet::{Batch, LinkType, Packet};
use millstream::time::Timestamp;

/// The captures of the project, and some of the real ones.
pub fn paths() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps");
    let listed = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|ext| ext == "pcap" || ext == "pcapng"));
        paths.sort();
        paths
    };
    let mut paths = listed(&own);
    if let Some(real) = real_captures() {
        let small = |path: &PathBuf| path.metadata().unwrap().len() < 1 << 20;
        paths.extend(listed(&real.join("good")).into_iter().filter(small).step_by(9));
        paths.extend(listed(&real.join("bad")).into_iter().filter(small).step_by(9));
    }
    paths
}

/// True for a capture of the project's own.
pub fn is_own(path: &Path) -> bool {
    path.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps"))
}

/// Groups that tell of the engine itself.
fn is_of_engine(group: &str) -> bool {
    group.starts_with("Meta ")
}

fn without_engine(mut values: Values) -> Values {
    values.retain(|(group, _), _| !is_of_engine(group));
    for ((group, _), row) in &mut values {
        if group == "Aggregates" {
            // Flows that outlive a bucket count in the next one where their engine sees a packet in it.
            row[2] = 0.0;
        }
    }
    values
}

#[test]
fn running_totals_are_zero_after_all_flows_ended() {
    for path in paths() {
        let Some(packets) = file(&path) else { continue };
        let run = run(&packets, &Setup::of(&["all", "Web Hosts", "SSH Hosts", "Email Hosts", "Unusual Traffic Hosts"]));
        for (group, index) in run.registry.counter_groups().zip(0..) {
            let running = group.meters.iter().filter(|meter| meter.vartype == Vartype::RunningCounter);
            let totals = RunTotals::of(&run.shard);
            let Some(of_group) = totals.group(millstream::metrics::GroupIndex(index)) else { continue };
            for meter in running {
                of_group.for_each(|key, row| {
                    let key = String::from_utf8_lossy(key);
                    assert_eq!(row[usize::from(meter.id)], 0.0, "{}: {key}", path.display());
                });
            }
        }
    }
}

#[test]
fn how_packets_fall_into_batches_changes_nothing() {
    for path in paths().into_iter().step_by(3) {
        let Some(packets) = file(&path) else { continue };
        let of = |batch| run(&packets, &Setup { batch, ..Setup::of(&["default"]) });
        let (whole, single, odd) = (of(256), of(1), of(7));
        let compared = |run: &Run| {
            let mut values = run.values();
            values.retain(|(group, _), _| !group.starts_with("Meta Counter"));
            values
        };
        assert_eq!(compared(&whole), compared(&single), "{}", path.display());
        assert_eq!(compared(&whole), compared(&odd), "{}", path.display());
    }
}

/// The flow of a packet decides on its engine.
fn engine_of(seen: &Seen) -> bool {
    let mut batch = Batch::new();
    batch.buffer.extend_from_slice(&seen.bytes);
    let len = seen.bytes.len() as u32;
    batch.push(Packet::new(Timestamp::EPOCH, 0, len, seen.wirelen, LinkType(seen.linktype), 0));
    Decoder::new().decode(&decode::Registry::new(), &mut batch);
    let (tuple, _) = decode::flow_tuple(&batch, &batch.packets()[0]);
    (tuple.port_a ^ tuple.port_z ^ u16::from(tuple.a[3] ^ tuple.z[3])) & 1 != 0
}

#[test]
fn two_engines_count_what_one_does() {
    for path in paths() {
        let Some(packets) = file(&path) else { continue };
        let setup = Setup::of(&["default"]);
        let one = run(&packets, &setup);
        let (left, right): (Vec<Seen>, Vec<Seen>) = packets.iter().cloned().partition(engine_of);
        let (left, right) = (run(&left, &setup), run(&right, &setup));
        let merged = RunTotals::merge(vec![RunTotals::of(&left.shard), RunTotals::of(&right.shard)]).unwrap();
        let (mut expected, mut found) = (without_engine(one.values()), without_engine(values(&one.registry, &merged)));
        // Counts of flows depend on the clock of an engine, which only its own packets move.
        for values in [&mut expected, &mut found] {
            for ((group, _), row) in values.iter_mut() {
                let of_flows: &[usize] = match &group[..] {
                    "Apps" => &[4, 7],
                    "NetworkLayerStats" => &[2, 3],
                    name if name.contains("Hosts") => &[4, 13],
                    _ => &[],
                };
                of_flows.iter().for_each(|&meter| row[meter] = 0.0);
            }
        }
        assert_eq!(found, expected, "{}", path.display());
    }
}
