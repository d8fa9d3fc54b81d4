//! Plugins that fail: what happens to them, and that nothing happens to the packets and to the others.

#[path = "faults/hostile.rs"]
mod hostile;
#[path = "faults/loading.rs"]
mod loading;
#[path = "faults/runaway.rs"]
mod runaway;
mod support;

use support::{Bench, Capture, GROUP, IPV4, Outcome};

/// A plugin that counts every packet; its totals must never suffer from another plugin.
fn witness(bench: Bench) -> Bench {
    bench.group().counter(
        "witness.lua",
        IPV4,
        "",
        &format!("engine:update_counter('{GROUP}', 'seen', 0, 1) engine:update_counter_bytes('{GROUP}', 'seen', 1)"),
    )
}

/// Fails unless the witness saw every packet of the capture.
#[track_caller]
fn undisturbed(outcome: &Outcome, capture: &Capture) {
    let seen =
        outcome.total(GROUP, "seen", 0).unwrap_or_else(|| panic!("the witness counted nothing: {}", outcome.stderr));
    assert_eq!(seen.updates, capture.len() as u64, "stderr:\n{}", outcome.stderr);
    assert_eq!(outcome.packets(), Some(capture.len() as u64));
}

/// Fails unless a fault of the script is in the log with file, line and callback, and in a `fault` event.
#[track_caller]
fn named(outcome: &Outcome, script: &str, callback: &str, part: &str) {
    let log = outcome.logged("ERROR", part);
    assert!(
        log.iter().any(|text| text.starts_with(&format!("{callback}: "))),
        "no ERROR of {callback} with '{part}':\n{}",
        outcome.stderr
    );
    let faults = outcome.by("fault", script);
    assert!(
        faults
            .iter()
            .any(|event| event["callback"] == callback && event["message"].as_str().is_some_and(|m| m.contains(part))),
        "no fault of {callback} with '{part}': {faults:?}"
    );
    assert!(outcome.stderr.contains(&format!("ERROR [{script}] {callback}: ")), "{}", outcome.stderr);
}
