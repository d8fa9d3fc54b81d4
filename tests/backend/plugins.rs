//! The plugins of the project that run on the backend.

use crate::support::frames::{ether, ipv4, udp};
use crate::support::{Bench, Capture};

const NEW_HOSTS: &str = include_str!("../../plugins/new-hosts.lua");
const LONG_FLOWS: &str = include_str!("../../plugins/long-flows.lua");

fn packet(source: &str) -> Vec<u8> {
    ether(&ipv4(source, "10.0.0.9", 17, &udp((5000, 6000), b"x")))
}

#[test]
fn a_new_host_of_the_home_networks_raises_an_alert_after_the_first_minute() {
    let capture = Capture::new()
        .at(100, packet("10.0.0.5"))
        .at(130, packet("10.0.0.6"))
        .at(170, packet("10.0.0.77"))
        .at(171, packet("203.0.113.9"))
        .at(300, packet("10.0.0.77"));
    let outcome = Bench::new().plugin("new-hosts.lua", NEW_HOSTS).args(&["--builtin", "Hosts"]).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.fields("alert", &["message", "side"]), ["new host 10.0.0.77\tbackend"]);
    assert_eq!(outcome.fields("stored", &["what", "message", "stored"]), ["alert\tnew host 10.0.0.77\ttrue"]);
}

#[test]
fn long_flows_are_ranked_by_their_length() {
    let capture = (0..=100)
        .step_by(20)
        .fold(Capture::new(), |capture, at| capture.at(100 + at, packet("10.0.0.5")))
        .at(201, packet("10.0.0.6"));
    let outcome = Bench::new().plugin("long-flows.lua", LONG_FLOWS).run(&capture);
    outcome.exits(0);
    assert_eq!(outcome.fields("flow_tracker", &["tracker", "metric"]), ["Long flows\t100"]);
}
