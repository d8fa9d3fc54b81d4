//! Versions that do not come back from a function of the C library while they are loaded.

use std::time::Duration;

use super::{Bench, LIMIT, counted, counter, counting, keys, packets};

/// A pattern that takes longer than anybody waits.
const HANG: &str = "local _ = ('a'):rep(40):find(('a*'):rep(40) .. 'b')";

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
    bench.write("count.lua", &counter("v3", "", ""));
    bench.reload();
    bench.some_packets();
    let (place, ended) = bench.stop();
    ended.exits(1);
    let (all, sum) = counted(&place);
    assert_eq!((keys(&all), sum), (vec!["v1", "v3"], packets(&ended.report())));
}
