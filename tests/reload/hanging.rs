//! Versions that do not come back from a function of the C library while they are loaded.

use std::fs;
use std::time::Duration;

use super::{Bench, LIMIT, counted, counter, counting, keys, packets};

/// A pattern that takes longer than anybody waits.
const HANG: &str = "local _ = ('a'):rep(40):find(('a*'):rep(40) .. 'b')";

/// Scheduling policy of threads that run while nothing else would.
const SCHED_IDLE: u32 = 5;

/// Names and scheduling policies of the threads of a process.
fn threads_of(process: u32) -> Vec<(String, u32)> {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    let policy = |stat: String| {
        // The third field is behind the name in brackets; the policy is the 41st.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        Some((name, rest.split_whitespace().nth(38)?.parse().ok()?))
    };
    stats.filter_map(policy).collect()
}

#[test]
fn a_version_that_hangs_in_c_holds_up_neither_packets_nor_the_end() {
    let mut bench = Bench::start(counting(""), &[]);
    bench.write("count.lua", &counter("v2", &format!("io.open('hangs', 'w'):close() {HANG}"), ""));
    bench.running.signal("HUP");
    let hangs = bench.place.path("hangs");
    bench.running.until("it hangs", |_| hangs.exists());
    bench.some_packets();
    bench.running.signal("TERM");
    let (place, ended) = (bench.place, bench.running.wait(LIMIT));
    ended.exits(0);
    assert!(ended.took < Duration::from_secs(6), "{:?}", ended.took);
    let (all, sum) = counted(&place);
    assert_eq!((keys(&all), sum), (vec!["v1"], packets(&ended.report())));
}

#[test]
fn a_version_that_hangs_in_c_is_given_up_and_others_are_loaded() {
    let mut bench = Bench::start(counting(""), &["--callback-budget", "500"]);
    bench.write("count.lua", &counter("v2", HANG, ""));
    bench.fails("does not return from a C function");
    bench.running.until("its thread runs only while nothing else would", |running| {
        threads_of(running.id()).iter().any(|(name, policy)| name == "probing" && *policy == SCHED_IDLE)
    });
    bench.write("count.lua", &counter("v3", "", ""));
    bench.reload();
    bench.some_packets();
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (all, sum) = counted(&place);
    assert_eq!((keys(&all), sum), (vec!["v1", "v3"], packets(&ended.report())));
}

#[test]
fn once_two_versions_hang_no_third_one_is_executed() {
    let mut bench = Bench::start(counting(""), &["--callback-budget", "300"]);
    for version in ["v2", "v3"] {
        bench.write("count.lua", &counter(version, HANG, ""));
        bench.fails("does not return from a C function");
    }
    bench.write("count.lua", &counter("v4", "io.open('executed', 'w'):close()", ""));
    bench.fails("two versions have not returned from a C function so far");
    let executed = bench.place.path("executed");
    let (place, ended) = bench.stop();
    ended.exits(1);
    assert!(!executed.exists());
    let (all, sum) = counted(&place);
    assert_eq!((keys(&all), sum), (vec!["v1"], packets(&ended.report())));
}
