//! Captures against the same counts made from what tshark says of each packet.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::captures::{is_own, paths};
use crate::harness::{Setup, file, run};

const FIELDS: [&str; 19] = [
    "frame.len",
    "frame.protocols",
    "eth.src",
    "eth.dst",
    "eth.type",
    "vlan.etype",
    "vlan.id",
    "ieee8021ad.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.frag_offset",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
];

/// The fields of each packet, the first occurrence of each.
fn rows(path: &Path) -> Option<Vec<BTreeMap<&'static str, String>>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(path).args(["-T", "fields", "-E", "occurrence=f", "-o", "ip.defragment:FALSE"]);
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE"]);
    FIELDS.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(|line| FIELDS.into_iter().zip(line.split('\t').map(str::to_owned)).collect()).collect())
}

type Sums = BTreeMap<(&'static str, String), Vec<f64>>;

fn add(sums: &mut Sums, group: &'static str, key: String, meters: &[(usize, f64)]) {
    let row = sums.entry((group, key)).or_insert_with(|| vec![0.0; 4]);
    meters.iter().for_each(|&(meter, value)| row[meter] += value);
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn host_key(address: &str) -> Option<String> {
    let parsed: std::net::IpAddr = address.parse().ok()?;
    Some(millstream::key::Host::from(parsed).key().to_string())
}

fn expected(rows: &[BTreeMap<&'static str, String>]) -> Sums {
    let mut sums = Sums::new();
    for row in rows {
        let get = |field: &str| row.get(field).map_or("", String::as_str);
        let Some(len) = number(get("frame.len")).map(|len| len as f64) else { continue };
        let (source, destination) = (get("eth.src").to_uppercase(), get("eth.dst").to_uppercase());
        let layers: Vec<&str> = get("frame.protocols").split(':').collect();
        let starts_with_ethernet = layers.first() == Some(&"eth");
        if starts_with_ethernet && !source.is_empty() {
            add(&mut sums, "Mac", source.clone(), &[(0, len)]);
            add(&mut sums, "Mac", destination.clone(), &[(1, len)]);
            let is_first = source <= destination;
            let pair = if is_first { format!("{source}_{destination}") } else { format!("{destination}_{source}") };
            add(&mut sums, "Dir Mac", pair, &[(0, len), (if is_first { 1 } else { 2 }, len)]);
        }
        if starts_with_ethernet && let Some(ethertype) = number(get("eth.type")) {
            add(&mut sums, "LinkLayerStats", format!("{ethertype:04X}"), &[(0, len), (1, 1.0)]);
            let tag = match ethertype {
                0x8100 => number(get("vlan.id")),
                0x88A8 => number(get("ieee8021ad.id")),
                _ => None,
            };
            if let Some(id) = tag {
                add(&mut sums, "VLANStats", id.to_string(), &[(0, len)]);
            }
        }
        let outermost = layers.iter().find(|layer| matches!(**layer, "ip" | "ipv6"));
        let (group, ends, proto) = match outermost {
            Some(&"ip") => ("Hosts", (get("ip.src"), get("ip.dst")), number(get("ip.proto"))),
            Some(_) => ("HostsIPv6", (get("ipv6.src"), get("ipv6.dst")), number(get("ipv6.nxt"))),
            None => continue,
        };
        if let (Some(source), Some(destination)) = (host_key(ends.0), host_key(ends.1)) {
            add(&mut sums, group, source, &[(0, len), (2, len), (3, 1.0)]);
            add(&mut sums, group, destination, &[(0, len), (1, len), (3, 1.0)]);
        }
        if let Some(proto) = proto {
            add(&mut sums, "NetworkLayerStats", format!("{proto:02X}"), &[(0, len), (1, 1.0)]);
        }
        let message = match proto {
            Some(1) => (number(get("icmp.type")), number(get("icmp.code"))),
            Some(58) => (number(get("icmpv6.type")), number(get("icmpv6.code"))),
            _ => (None, None),
        };
        if let (Some(kind), Some(code)) = message {
            add(&mut sums, "ICMP Types", format!("{kind:02X}/{code:02X}"), &[(0, len), (1, 1.0)]);
        }
    }
    sums
}

/// Captures that tshark reads differently, or in which the first occurrence of a field is not the outermost header's.
fn is_comparable(rows: &[BTreeMap<&'static str, String>], packets: usize) -> bool {
    // Extension headers stand in front of the protocol.
    let plain = |row: &BTreeMap<&'static str, String>| {
        let extension = row.get("ipv6.nxt").is_some_and(|next| matches!(&next[..], "0" | "43" | "44" | "60" | "51"));
        let protocols = row.get("frame.protocols").map_or("", String::as_str);
        // Not whole, or read by rules that decoding does not know.
        let odd = ["malformed", "wlan", "erspan", "nsh", "pw", "teredo", "unreassembled", "pktap"];
        !extension && !odd.iter().any(|odd| protocols.contains(odd))
    };
    rows.len() == packets && rows.iter().all(plain)
}

/// Captures that tshark reads otherwise, by a part of their name, and why.
const DIFFERENT: [(&str, &str); 3] = [
    ("asan", "made to break readers, which then differ in where they stop"),
    ("ipopts", "with a source route, tshark takes the last address of the route for the destination"),
    ("pcap-orig-0", "records that claim an original length of 0: tshark believes it, we count what was captured"),
];

#[test]
fn counts_of_captures_are_those_of_tshark() {
    if Command::new("tshark").arg("--version").output().is_err() {
        std::io::stderr().write_all(b"skipped: tshark is not installed\n").unwrap();
        return;
    }
    let on = ["Hosts", "HostsIPv6", "Mac", "Dir Mac", "LinkLayerStats", "NetworkLayerStats", "VLANStats", "ICMP Types"];
    let (mut compared, mut failures) = (0, Vec::new());
    let (own, real): (Vec<_>, Vec<_>) = paths().into_iter().partition(|path| is_own(path));
    // Starting tshark takes longer than the comparison: all of the project's captures, some of the real ones.
    for path in own.into_iter().chain(real.into_iter().step_by(3)) {
        let Some(packets) = file(&path) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if DIFFERENT.iter().any(|(part, _)| name.contains(part)) {
            continue;
        }
        let Some(rows) = rows(&path) else { continue };
        if packets.is_empty() || !is_comparable(&rows, packets.len()) {
            continue;
        }
        compared += 1;
        let mut found = Sums::new();
        for ((group, key), row) in run(&packets, &Setup::of(&on)).values() {
            let Some(group) = on.iter().find(|name| **name == group) else { continue };
            let mut row: Vec<f64> = row.into_iter().chain([0.0; 4]).take(4).collect();
            if *group == "NetworkLayerStats" {
                row[2..].fill(0.0);
            }
            if !(*group == "LinkLayerStats" && packets.iter().any(|packet| packet.linktype != 1))
                && row.iter().any(|&v| v != 0.0)
            {
                found.insert((group, key), row);
            }
        }
        let mut expected = expected(&rows);
        if packets.iter().any(|packet| packet.linktype != 1) {
            // Links without EtherTypes are counted by IP version, which tshark has no field for.
            expected.retain(|(group, _), _| *group != "LinkLayerStats");
        }
        for key in found.keys().chain(expected.keys()) {
            if found.get(key) != expected.get(key) {
                failures.push(format!("{name} {key:?}: {:?}, tshark {:?}", found.get(key), expected.get(key)));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 10, "{compared}");
}
