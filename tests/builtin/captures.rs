//! Whole captures: what must hold of any traffic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use millstream::metrics::{RunTotals, Vartype};
use serde_json::Value;

use crate::capture_support::real_captures;
use crate::e2e::{self, Place};
use crate::harness::{Run, Setup, file, run};

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

/// What was counted: what each key came to in each bucket, and in all. The counters' own group tells of their tables, of which
/// each engine has its own.
fn counted(events: &[Value]) -> BTreeMap<String, String> {
    let own = "{4D88CC23-2883-4DEA-A313-A23B60FE8BDA}";
    let of = |event: &Value| {
        let (at, value) = match event["ev"].as_str()? {
            "counter" => (&event["bucket"], &event["values"]),
            "counter_total" => (&event["meter"], &event["sum"]),
            _ => return None,
        };
        Some((format!("{} {} {} {at}", event["ev"], event["guid"], event["key"]), value.to_string()))
    };
    events.iter().filter(|event| event["guid"] != own).filter_map(of).collect()
}

/// Runs files with so many engines.
fn engines(place: &Place, files: &[&Path], engines: usize) -> BTreeMap<String, String> {
    let (events, number) = (place.path(&format!("{engines}.jsonl")), engines.to_string());
    let files = files.iter().flat_map(|file| ["-r", file.to_str().unwrap()]);
    let more = ["--engines", &number, "--builtin", "default", "--no-store", "-q", "--events", events.to_str().unwrap()];
    place.run(&files.chain(more).collect::<Vec<_>>(), Duration::from_secs(30));
    counted(&e2e::events(&events))
}

#[test]
fn several_engines_count_what_one_does() {
    let paths: Vec<PathBuf> = paths().into_iter().filter(|path| file(path).is_some()).collect();
    let alone: Vec<&PathBuf> = paths.iter().step_by(2).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let place = Place::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(path) = alone.get(index) else { break };
                    let [one, some] = [1, 2 + index % 2].map(|count| engines(&place, &[path], count));
                    let differing = one.iter().find(|(key, value)| some.get(*key) != Some(*value));
                    assert!(one.len() == some.len() && differing.is_none(), "{}: {differing:?}", path.display());
                }
            });
        }
    });
    // All of them, in the order of their packets.
    let (place, all) = (Place::new(), paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let one = engines(&place, &all, 1);
    assert!(one.len() > 1_000, "{}", one.len());
    for count in [2, 3] {
        assert!(engines(&place, &all, count) == one, "{count} engines");
    }
}
