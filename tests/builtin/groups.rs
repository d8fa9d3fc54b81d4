//! Each group on packets made by hand.

use crate::capture_support::Seen;
use crate::frames::{ACK, FIN, SYN, ether, ethernet, icmp, ipv4, ipv6, sized, tcp, udp, vlan};
use crate::harness::{Run, Setup, batch_of, run, seen};
use millstream::builtin::{Builtin, BuiltinPlan, BuiltinSettings, RaisedAlert, Stretch};
use millstream::decode::{self, Decoder};
use millstream::flow::{Flows, FlowsConfig, Fragments};
use millstream::guid::Guid;
use millstream::metrics::{Registry, Shard, ShardConfig, Tallies};
use millstream::time::Timestamp;

const INSIDE: &str = "10.0.0.5";
const PEER: &str = "10.0.0.9";
const OUTSIDE: &str = "8.8.8.8";

fn frame(source: &str, destination: &str, ports: (u16, u16), payload: usize) -> Vec<u8> {
    ether(&ipv4(source, destination, 17, &udp(ports, &vec![b'.'; payload])))
}

fn segment(source: &str, destination: &str, ports: (u16, u16), flags: u8) -> Vec<u8> {
    ether(&ipv4(source, destination, 6, &tcp(ports, flags, &[], b"")))
}

fn meter(packets: &[Seen], on: &[&'static str]) -> Run {
    run(packets, &Setup::of(on))
}

fn with_destination(mut frame: Vec<u8>, mac: [u8; 6]) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac);
    frame
}

#[test]
fn aggregates_know_the_ways_through_the_home_networks() {
    let packets = [
        seen(0, frame(OUTSIDE, INSIDE, (53, 1000), 58)),
        seen(0, frame(INSIDE, OUTSIDE, (1000, 53), 8)),
        seen(1, frame(INSIDE, PEER, (1000, 53), 18)),
        seen(1, frame(OUTSIDE, "9.9.9.9", (1000, 53), 28)),
        seen(1, ethernet(0x0806, &[0; 46])),
    ];
    let run = meter(&packets, &["Aggregates"]);
    assert_eq!(run.key("Aggregates", "TOTALBW"), [(0, 340.0), (1, 5.0), (2, 3.0), (5, 340.0), (8, 280.0)]);
    assert_eq!(run.key("Aggregates", "DIR_INTOHOME"), [(0, 100.0), (1, 1.0), (5, 100.0), (8, 100.0)]);
    assert_eq!(run.key("Aggregates", "DIR_OUTOFHOME"), [(0, 50.0), (1, 1.0), (5, 50.0), (8, 50.0)]);
    assert_eq!(run.key("Aggregates", "DIR_INTERNAL"), [(0, 60.0), (1, 1.0), (5, 60.0), (8, 60.0)]);
    assert_eq!(run.key("Aggregates", "DIR_TRANSIT"), [(0, 70.0), (1, 1.0), (5, 70.0), (8, 70.0)]);
}

#[test]
fn broadcasts_multicasts_and_fragments_are_told_apart() {
    let multicast = ipv6("fe80::1", "ff02::fb", 17, &udp((5353, 5353), &[0; 38]));
    let mut fragment = frame(INSIDE, PEER, (7, 9), 58);
    fragment[20] = 0x20;
    let packets = [
        seen(0, with_destination(frame(INSIDE, "255.255.255.255", (68, 67), 58), [0xFF; 6])),
        seen(0, with_destination(frame(INSIDE, "10.0.0.255", (137, 137), 58), [0xFF; 6])),
        seen(0, with_destination(frame(INSIDE, "224.0.0.251", (5353, 5353), 58), [1, 0, 0x5E, 0, 0, 0xFB])),
        seen(0, with_destination(ether(&multicast), [0x33, 0x33, 0, 0, 0, 0xFB])),
        seen(0, fragment),
    ];
    let run = meter(&packets, &["Aggregates"]);
    let expected = [(0, 500.0), (1, 5.0), (2, 5.0), (3, 200.0), (4, 200.0), (5, 100.0), (6, 200.0), (7, 200.0)];
    assert_eq!(run.key("Aggregates", "TOTALBW"), [&expected[..], &[(8, 100.0), (9, 1.0)]].concat());
}

#[test]
fn active_sessions_of_a_bucket_are_those_it_began_with_and_those_that_began_in_it() {
    let at = |secs, port| seen(secs, frame(INSIDE, PEER, (port, 53), 8));
    let packets = [at(10, 1000), at(50, 1001), at(61, 1000), at(70, 1002), at(120, 1000)];
    let run = meter(&packets, &["Aggregates"]);
    // In the third bucket 1001 has been silent for 60 s, which its first packet tells.
    assert_eq!(run.buckets("Aggregates", "TOTALBW", 2), [2.0, 3.0, 3.0]);
}

#[test]
fn hosts_are_counted_as_sender_and_as_receiver() {
    let packets = [
        seen(0, segment(INSIDE, OUTSIDE, (4000, 80), SYN)),
        seen(0, segment(OUTSIDE, INSIDE, (80, 4000), SYN | ACK)),
        seen(0, segment(INSIDE, OUTSIDE, (4000, 80), ACK)),
    ];
    let run = meter(&packets, &["Hosts", "Internal Hosts", "External Hosts"]);
    let client = [(0, 162.0), (1, 54.0), (2, 108.0), (3, 3.0), (7, 162.0), (8, 1.0), (13, 1.0)];
    let server = [(0, 162.0), (1, 108.0), (2, 54.0), (3, 3.0), (6, 162.0), (9, 1.0), (10, 1.0), (13, 1.0)];
    assert_eq!(run.key("Hosts", "0A.00.00.05"), client);
    assert_eq!(run.key("Hosts", "08.08.08.08"), server);
    assert_eq!(run.key("Internal Hosts", "0A.00.00.05"), client);
    assert_eq!(run.key("External Hosts", "08.08.08.08"), server);
    assert_eq!((run.keys("Internal Hosts").len(), run.keys("External Hosts").len()), (1, 1));
}

#[test]
fn ipv6_hosts_have_a_group_of_their_own() {
    let packet = ether(&ipv6("fe80::1", "2001:db8::2", 17, &udp((1000, 53), &[0; 38])));
    let run = meter(&[seen(0, packet), seen(0, frame(INSIDE, PEER, (1, 2), 0))], &["Hosts", "HostsIPv6"]);
    assert_eq!(run.keys("Hosts"), ["0A.00.00.05", "0A.00.00.09"]);
    let [source, destination] = ["FE800000000000000000000000000001", "20010DB8000000000000000000000002"];
    assert_eq!(run.key("HostsIPv6", source), [(0, 100.0), (2, 100.0), (3, 1.0), (7, 100.0), (13, 1.0)]);
    assert_eq!(run.key("HostsIPv6", destination), [(0, 100.0), (1, 100.0), (3, 1.0), (6, 100.0), (13, 1.0)]);
}

#[test]
fn active_flows_go_up_with_the_first_packet_and_down_with_the_end() {
    let packets = [
        seen(0, segment(INSIDE, OUTSIDE, (4000, 80), SYN)),
        seen(1, segment(OUTSIDE, INSIDE, (80, 4000), SYN | ACK)),
        seen(1, frame(INSIDE, OUTSIDE, (5000, 53), 0)),
        seen(130, segment(INSIDE, OUTSIDE, (4001, 80), SYN)),
        seen(260, frame(PEER, "10.0.0.7", (1, 2), 0)),
    ];
    let run = meter(&packets, &["Hosts", "Apps", "NetworkLayerStats"]);
    assert_eq!(run.buckets("Hosts", "0A.00.00.05", 4), [2.0, 2.0, 1.0, 1.0, 0.0]);
    assert_eq!(run.buckets("NetworkLayerStats", "06", 2), [1.0, 1.0, 1.0, 1.0, 0.0]);
    assert_eq!(run.key("Hosts", "0A.00.00.05").last(), Some(&(13, 3.0)));
    assert_eq!(run.key("Apps", "p-0050"), [(0, 162.0), (2, 54.0), (3, 108.0), (4, 2.0)]);
    assert!(run.values().iter().all(|((group, _), row)| group != "Hosts" || row[4] == 0.0));
}

#[test]
fn the_application_is_where_the_syn_went_else_the_lower_port() {
    let packets = [
        // To the higher port.
        seen(0, segment(INSIDE, OUTSIDE, (1000, 8080), SYN)),
        seen(0, segment(OUTSIDE, INSIDE, (8080, 1000), SYN | ACK)),
        // No SYN.
        seen(0, segment(INSIDE, OUTSIDE, (1001, 8080), ACK)),
        // Only the answer: the receiver of the SYN is not seen to have got it.
        seen(0, segment(OUTSIDE, INSIDE, (9090, 1002), SYN | ACK)),
        // The SYN comes late: it begins another flow, counted where it belongs.
        seen(0, segment(INSIDE, OUTSIDE, (1003, 7070), ACK)),
        seen(0, segment(INSIDE, OUTSIDE, (1003, 7070), SYN)),
        seen(0, segment(INSIDE, OUTSIDE, (1003, 7070), ACK)),
        seen(0, frame(INSIDE, PEER, (9000, 53), 0)),
        // No ports.
        seen(0, ether(&ipv4(INSIDE, PEER, 1, &icmp(8, 0, &[0; 4])))),
    ];
    let run = meter(&packets, &["Apps"]);
    assert_eq!(run.keys("Apps"), ["p-0035", "p-03E9", "p-03EA", "p-03EB", "p-1B9E", "p-1F90"]);
    assert_eq!(run.key("Apps", "p-1F90"), [(0, 108.0), (2, 54.0), (3, 54.0), (4, 1.0)]);
    assert_eq!(run.key("Apps", "p-1B9E"), [(0, 108.0), (3, 108.0), (4, 1.0)]);
    assert_eq!(run.key("Apps", "p-03EB"), [(0, 54.0), (3, 54.0), (4, 1.0)]);
    assert_eq!(run.key("Apps", "p-0035"), [(0, 42.0), (4, 1.0), (5, 42.0)]);
}

#[test]
fn layers_addresses_tags_and_messages_have_their_keys() {
    let packets = [
        seen(0, sized(100)),
        seen(0, vlan(&[7, 9], &ipv4(INSIDE, PEER, 1, &icmp(8, 0, &[0; 54])))),
        seen(0, ethernet(0x0806, &[0; 46])),
        seen(0, ether(&ipv6("fe80::1", "fe80::2", 58, &icmp(135, 0, &[0; 42])))),
        // A length in place of a type: LLC without SNAP, then with.
        seen(0, ethernet(0x0026, &[0x42; 38])),
        seen(0, ethernet(0x0026, &[&[0xAA, 0xAA, 3, 0, 0, 0, 0x88, 0xCC], &[0; 30][..]].concat())),
    ];
    let on = ["NetworkLayerStats", "LinkLayerStats", "Mac", "Dir Mac", "VLANStats", "ICMP Types"];
    let run = meter(&packets, &on);
    assert_eq!(run.keys("NetworkLayerStats"), ["01", "11", "3A"]);
    assert_eq!(run.key("NetworkLayerStats", "11"), [(0, 100.0), (1, 1.0), (3, 1.0)]);
    assert_eq!(run.keys("LinkLayerStats"), ["0800", "0806", "8100", "86DD", "88CC"]);
    assert_eq!(run.key("LinkLayerStats", "0800"), [(0, 100.0), (1, 1.0)]);
    let all = 100.0 + 100.0 + 60.0 + 100.0 + 52.0 + 52.0;
    assert_eq!(run.key("Mac", "02:00:00:00:00:0A"), [(0, all)]);
    assert_eq!(run.key("Mac", "02:00:00:00:00:0F"), [(1, all)]);
    assert_eq!(run.key("Dir Mac", "02:00:00:00:00:0A_02:00:00:00:00:0F"), [(0, all), (1, all)]);
    assert_eq!((run.keys("VLANStats"), run.key("VLANStats", "7")), (vec!["7".to_owned()], vec![(0, 100.0)]));
    assert_eq!(run.keys("ICMP Types"), ["08/00", "87/00"]);
    assert_eq!(run.key("ICMP Types", "08/00"), [(0, 100.0), (1, 1.0)]);
}

#[test]
fn the_lower_address_of_a_pair_is_first_whoever_sends() {
    let mut back = sized(60);
    back[..12].rotate_left(6);
    let run = meter(&[seen(0, sized(100)), seen(0, back)], &["Dir Mac"]);
    assert_eq!(run.key("Dir Mac", "02:00:00:00:00:0A_02:00:00:00:00:0F"), [(0, 160.0), (1, 100.0), (2, 60.0)]);
}

#[test]
fn optional_groups_count_what_they_are_for() {
    let packets = [
        seen(0, segment(INSIDE, OUTSIDE, (4000, 443), SYN)),
        seen(0, segment(PEER, OUTSIDE, (4000, 25), SYN)),
        seen(0, segment("10.0.0.1", OUTSIDE, (4000, 22), SYN)),
        seen(0, segment("10.0.0.2", OUTSIDE, (40_000, 31_337), SYN)),
        seen(0, ether(&ipv4("10.0.0.3", PEER, 47, &[0; 20]))),
    ];
    let on = [
        "Web Hosts",
        "Email Hosts",
        "SSH Hosts",
        "Unusual Traffic Hosts",
        "Interfaces",
        "Subnets",
        "System Performance",
    ];
    let run = meter(&packets, &on);
    assert_eq!(run.keys("Web Hosts"), ["08.08.08.08", "0A.00.00.05"]);
    assert_eq!(run.keys("Email Hosts"), ["08.08.08.08", "0A.00.00.09"]);
    assert_eq!(run.keys("SSH Hosts"), ["08.08.08.08", "0A.00.00.01"]);
    assert_eq!(run.keys("Unusual Traffic Hosts"), ["08.08.08.08", "0A.00.00.02"]);
    assert_eq!(run.key("Interfaces", "eth0"), [(0, 270.0), (1, 5.0)]);
    assert_eq!(run.key("Subnets", "10.0.0.0/8"), [(0, 324.0), (1, 54.0), (2, 270.0), (3, 5.0)]);
    assert_eq!(run.key("System Performance", "probe0"), [(10, 5.0)]);
    let hosts = run.key("Web Hosts", "0A.00.00.05");
    assert_eq!(hosts, [(0, 54.0), (2, 54.0), (3, 1.0), (7, 54.0), (8, 1.0), (13, 1.0)]);
}

#[test]
fn alerts_are_counted_by_what_they_say_and_on_both_hosts() {
    let alert = RaisedAlert {
        ends: None,
        group: Guid::literal("{B5F1DECB-51D5-4395-B71B-6FA730B772D9}"),
        flow: b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016",
        sigid: b"sig-1",
        classification: b"trojan",
        priority: 2.0,
    };
    let wide = RaisedAlert {
        flow: b"11B:FE80000000000000BA2A72FFFECC5E33:p-14E9_FF0200000000000000000000000000FB:p-14E9",
        classification: b"",
        ..alert
    };
    let alerts =
        vec![alert, RaisedAlert { flow: b"", priority: 1.0, ..alert }, wide, RaisedAlert { flow: b"?", ..alert }];
    let setup = Setup { alerts, ..Setup::of(&["default"]) };
    let run = run(&[seen(0, sized(100))], &setup);
    assert_eq!(run.key("Alert Signatures", "sig-1"), [(0, 4.0)]);
    assert_eq!(run.keys("Alert Classes"), ["trojan"]);
    assert_eq!(run.key("Alert Classes", "trojan"), [(0, 3.0)]);
    assert_eq!(run.key("Alert Priorities", "2"), [(0, 3.0)]);
    assert_eq!(run.key("Alert Priorities", "1"), [(0, 1.0)]);
    assert_eq!(run.key("Hosts", "C0.A8.01.02"), [(5, 1.0)]);
    assert_eq!(run.key("Internal Hosts", "C0.A8.01.02"), [(5, 1.0)]);
    assert_eq!(run.key("Hosts", "D1.D8.F9.3A"), [(12, 1.0)]);
    assert_eq!(run.key("HostsIPv6", "FF0200000000000000000000000000FB"), [(12, 1.0)]);
}

#[test]
fn the_meta_groups_tell_of_keys_and_flows() {
    let packets = [
        seen(0, segment(INSIDE, OUTSIDE, (4000, 80), SYN)),
        seen(0, segment(OUTSIDE, INSIDE, (80, 4000), SYN | ACK)),
        seen(1, segment(INSIDE, OUTSIDE, (4000, 80), ACK)),
        seen(1, segment(INSIDE, OUTSIDE, (4000, 80), FIN | ACK)),
        seen(61, frame(PEER, INSIDE, (4000, 53), 0)),
        seen(140, frame(PEER, INSIDE, (4001, 53), 0)),
    ];
    let run = meter(&packets, &["NetworkLayerStats", "Apps", "Meta Counter Group", "Meta Session Group"]);
    let layers = "{E89BCD56-30AD-40F5-B1C8-8B7683F440BD}";
    let of = |meter| run.buckets("Meta Counter Group", layers, meter);
    assert_eq!(of(0), [1.0, 2.0, 2.0], "keys held");
    assert_eq!(of(5), [1.0, 1.0, 0.0], "new keys");
    assert_eq!(of(4), of(7), "all of them are flushed");
    assert!(of(6).iter().all(|&hits| hits > 0.0));
    // Buckets of Apps are longer, so that its keys are flushed once.
    let apps = "{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}";
    assert_eq!(run.buckets("Meta Counter Group", apps, 4), [0.0, 0.0, 2.0]);
    let sessions = |meter| run.buckets("Meta Session Group", "{99A78737-4B41-4387-8F31-8077DB917336}", meter);
    assert_eq!(sessions(2), [1.0, 1.0, 1.0], "new");
    assert_eq!(sessions(4).iter().sum::<f64>(), 2.0, "expired: the first two");
    assert_eq!(sessions(6).iter().sum::<f64>(), 3.0, "flushed");
    assert_eq!(sessions(0)[0], 1.0, "still there when the first bucket ended");
}

#[test]
fn sums_reach_the_shard_when_it_is_to_be_read_or_keeps_tallies() {
    for (tallies, at_once) in [(Tallies::Off, 0), (Tallies::On, 2)] {
        let registry = Registry::new();
        let settings = BuiltinSettings { on: vec!["Hosts".to_owned()], off: Vec::new() };
        let mut builtin = Builtin::new(&registry, &settings.resolve(&registry).unwrap(), BuiltinPlan::default());
        let mut shard = Shard::new(&registry, ShardConfig { tallies, ..ShardConfig::default() });
        let mut flows = Flows::new(FlowsConfig::default(), builtin.flow_wants());
        let mut batch = batch_of(&[seen(0, frame(INSIDE, OUTSIDE, (1000, 53), 8))]);
        Decoder::new().decode(&decode::Registry::new(), &mut batch);
        flows.process(&batch, &Fragments::default());
        shard.advance(Timestamp::EPOCH, |_| {});
        let stretch = Stretch { batch: &batch, from: 0, to: 1, events: flows.events().list() };
        builtin.run(&stretch, &flows, &[], &mut shard);
        let hosts = registry.counter_index(Guid::literal("{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}")).unwrap();
        assert_eq!(shard.open_keys(hosts), at_once, "{tallies:?}");
        builtin.flush(&mut shard);
        assert_eq!(shard.open_keys(hosts), 2, "{tallies:?}");
    }
}
