//! Flows and streams of captures: what the files of `pcaps/` show, and the streams tshark finds in real ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use capture_support::real_captures;
use millstream::capture::{FileOptions, FileSource, Fill, Source};
use millstream::decode::{Decoder, Registry};
use millstream::flow::{
    Defrag, DefragLimits, EndReason, FlowCounts, FlowHandle, FlowWants, Flows, FlowsConfig, Fragments, Happening, Want,
};
use millstream::key::End;
use millstream::packet::Batch;

/// One flow and what came out of it.
#[derive(Clone, Debug, Default)]
struct Seen {
    proto: u8,
    client: (String, u16),
    server: (String, u16),
    /// To the server and to the client.
    streams: [Vec<u8>; 2],
    segments: [usize; 2],
    gaps: u64,
    repeats: usize,
    rtt: Option<u64>,
    end: Option<EndReason>,
    /// Number of the packet in the capture, from 1, and the length of each.
    datagrams: Vec<(usize, u32)>,
}

/// Puts a capture through the flow stage.
fn run(path: &Path) -> (Vec<Seen>, FlowCounts) {
    // What is no capture has no flows.
    let Ok(mut source) = FileSource::open(&[path.to_path_buf()], &FileOptions::default()) else {
        return Default::default();
    };
    let wants = FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::Yes };
    let mut flows = Flows::new(FlowsConfig::default(), wants);
    let (mut decoder, registry, mut batch) = (Decoder::new(), Registry::new(), Batch::new());
    let (mut order, mut seen) = (Vec::new(), HashMap::new());
    let (mut defrag, mut fragments) = (Defrag::new(DefragLimits::default()), Fragments::default());
    let mut before = 0;
    while let Ok(fill) = source.fill(&mut batch) {
        match fill {
            Fill::Packets => {
                decoder.decode(&registry, &mut batch);
                fragments.take(&batch, &mut defrag);
                flows.process(&batch, &fragments);
                note(&flows, &batch, before, &mut order, &mut seen);
                flows.settle();
                before += batch.len();
            }
            Fill::Idle => {}
            Fill::End => break,
        }
    }
    loop {
        let more = flows.finish();
        note(&flows, &batch, before, &mut order, &mut seen);
        flows.settle();
        if more == Want::No {
            break;
        }
    }
    let counts = flows.counts();
    assert_eq!(counts.created, counts.ended() + counts.evicted(), "{}", path.display());
    assert_eq!((flows.live(), flows.held()), (0, 0), "{}", path.display());
    (order.iter().map(|handle| seen[handle].clone()).collect(), counts)
}

fn note(
    flows: &Flows,
    batch: &Batch,
    before: usize,
    order: &mut Vec<FlowHandle>,
    seen: &mut HashMap<FlowHandle, Seen>,
) {
    for event in flows.events().list() {
        let flow = flows.flow(event.flow).unwrap();
        let entry = seen.entry(event.flow).or_default();
        match event.what {
            Happening::New => {
                order.push(event.flow);
                let end = |end: End| (IpAddr::from(flow.tuple.host(end)).to_string(), flow.tuple.port(end));
                entry.proto = flow.tuple.proto;
                (entry.client, entry.server) = (end(flow.client()), end(flow.client().other()));
            }
            Happening::Payload { direction, position, bytes } => {
                let stream = &mut entry.streams[direction.index()];
                if entry.gaps == 0 {
                    assert_eq!(position, stream.len() as u64);
                }
                stream.extend_from_slice(flows.events().bytes(batch, bytes));
                entry.segments[direction.index()] += 1;
            }
            Happening::Gap { missing, .. } => entry.gaps += missing,
            Happening::RoundTrip { micros } => entry.rtt = Some(micros),
            Happening::Retransmission { .. } => entry.repeats += 1,
            Happening::End { reason } => entry.end = Some(reason),
            Happening::Datagram { bytes, .. } => {
                let len = flows.events().bytes(batch, bytes).len() as u32;
                entry.datagrams.push((before + event.packet as usize + 1, len));
            }
        }
    }
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

/// The TCP flows of a capture.
fn tcp_flows(path: &Path) -> Vec<Seen> {
    run(path).0.into_iter().filter(|flow| flow.proto == 6).collect()
}

#[test]
fn keystrokes_come_one_segment_each() {
    let flows = tcp_flows(&own("ssh-session.pcap"));
    assert_eq!(flows.len(), 1);
    let flow = &flows[0];
    assert!(flow.streams[0].starts_with(b"SSH-2.0") && flow.streams[1].starts_with(b"SSH-2.0"));
    assert_eq!((flow.gaps, flow.repeats, flow.end), (0, 0, Some(EndReason::Fin)));
    assert!(flow.segments[0] > 30 && flow.rtt.is_some());
}

#[test]
fn a_lost_segment_and_a_needless_one_are_both_retransmissions() {
    let flows = tcp_flows(&own("tcp-retransmission.pcap"));
    assert_eq!(flows.len(), 1);
    assert_eq!((flows[0].gaps, flows[0].end), (0, Some(EndReason::Fin)));
    assert!(flows[0].repeats >= 1, "{}", flows[0].repeats);
}

#[test]
fn out_of_order_segments_are_no_retransmissions() {
    let flows = tcp_flows(&own("tcp-out-of-order.pcap"));
    assert_eq!((flows.len(), flows[0].gaps, flows[0].repeats), (1, 0, 0));
    assert_eq!(flows[0].end, Some(EndReason::Fin));
}

#[test]
fn of_overlaps_with_different_bytes_the_first_stay_and_are_counted() {
    let (flows, counts) = run(&own("tcp-overlap.pcap"));
    assert_eq!((flows.len(), flows[0].gaps), (1, 0));
    assert!(counts.overlaps > 0, "{counts:?}");
}

#[test]
fn a_scan_is_one_flow_for_each_port() {
    let (flows, counts) = run(&own("port-scan.pcap"));
    assert!(flows.len() >= 144, "{}", flows.len());
    assert!(counts.ended_rst > 0);
}

#[test]
fn a_tunnel_is_one_flow_whatever_it_carries() {
    // All of them carry the same conversations, which tshark looks into; here the outermost header counts.
    let own_flows = |name: &str| -> Vec<(u8, u16)> {
        let mut kinds: Vec<_> = run(&own(name)).0.iter().map(|flow| (flow.proto, flow.server.1)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(own_flows("gre.pcap"), [(47, 0)]);
    assert_eq!(own_flows("ip-in-ip.pcap"), [(4, 0), (41, 0)]);
    for (name, port) in [("vxlan.pcap", 4_789), ("geneve.pcap", 6_081), ("gtp-u.pcap", 2_152)] {
        let kinds = own_flows(name);
        assert!(!kinds.is_empty() && kinds.iter().all(|(proto, _)| *proto == 17), "{name}: {kinds:?}");
        assert!(kinds.iter().any(|(_, server)| *server == port), "{name}: {kinds:?}");
    }
    for name in ["vlan.pcap", "qinq.pcap", "mpls.pcap", "pppoe.pcap"] {
        let kinds = own_flows(name);
        assert!(kinds.contains(&(6, 80)) && kinds.contains(&(17, 53)), "{name}: {kinds:?}");
    }
}

#[test]
fn overlaps_give_the_same_streams_in_every_run() {
    let mut paths = vec![own("tcp-overlap.pcap"), own("tcp-out-of-order.pcap")];
    if let Some(directory) = real_captures() {
        for folder in ["good", "bad"] {
            let entries = std::fs::read_dir(directory.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            paths.extend(entries.filter(|path| path.to_string_lossy().contains("overlap")));
        }
    }
    for path in &paths {
        let ((first, counts), (second, again)) = (run(path), run(path));
        assert_eq!(counts, again, "{}", path.display());
        assert_eq!(format!("{first:?}"), format!("{second:?}"), "{}", path.display());
    }
    assert!(run(&own("tcp-overlap.pcap")).1.overlaps > 0);
}

#[test]
fn every_capture_keeps_the_balance() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(own("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    if let Some(directory) = real_captures() {
        for folder in ["good", "bad"] {
            paths.extend(std::fs::read_dir(directory.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    paths.sort();
    let mut flows = 0;
    for path in &paths {
        flows += run(path).0.len();
    }
    assert!(flows > 400, "{flows}");
}

/// Captures whose streams tshark and we see alike, by the beginnings of their names.
const KINDS: [&str; 24] = [
    "s-http",
    "s-smtp",
    "s-ldap",
    "s-mqtt31",
    "s-pgsql",
    "s-smb2",
    "s-tls",
    "s-tcp",
    "s-websocket",
    "s-dnp3",
    "s-ftp",
    "s-rfb",
    "s-pop3",
    "s-irc",
    "s-telnet",
    "s-ssh",
    "s-modbus",
    "s-dcerpc",
    "t-bgp",
    "t-whois",
    "t-resp",
    "s-rdp",
    "s-krb5",
    "s-alert",
];
/// Captures compared, and streams of each.
const COMPARED: usize = 30;
const STREAMS: usize = 12;

/// Bytes by sender, of both ends in order.
type Conversation = BTreeMap<(String, u16), Vec<u8>>;

fn conversation(flow: &Seen) -> Conversation {
    let [to_server, to_client] = flow.streams.clone();
    BTreeMap::from([(flow.client.clone(), to_server), (flow.server.clone(), to_client)])
}

/// The streams tshark follows.
fn followed(path: &Path) -> Option<Vec<Conversation>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-q", "-r"]).arg(path);
    for stream in 0..STREAMS {
        command.args(["-z", &format!("follow,tcp,raw,{stream}")]);
    }
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut list: Vec<(usize, Conversation)> = Vec::new();
    for block in text.split("Follow: tcp,raw").skip(1) {
        let mut nodes = Vec::new();
        let mut bytes = [Vec::new(), Vec::new()];
        let mut number = 0;
        for line in block.lines() {
            if let Some(filter) = line.strip_prefix("Filter: tcp.stream eq ") {
                number = filter.trim().parse().unwrap();
            } else if let Some((_, node)) = line.strip_prefix("Node ").and_then(|rest| rest.split_once(": ")) {
                let (host, port) = node.rsplit_once(':')?;
                nodes.push((host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or(0)));
            } else if !line.starts_with('=') {
                let side = usize::from(line.starts_with('\t'));
                bytes[side].extend(unhex(line.trim()));
            }
        }
        let [one, other] = nodes.try_into().ok()?;
        if one != other {
            let [first, second] = bytes;
            list.push((number, BTreeMap::from([(one, first), (other, second)])));
        }
    }
    list.sort_by_key(|(number, _)| *number);
    Some(list.into_iter().map(|(_, conversation)| conversation).collect())
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks_exact(2)
        .map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

#[test]
fn streams_are_those_of_tshark() {
    let mut paths: Vec<PathBuf> =
        ["tcp-out-of-order.pcap", "tcp-retransmission.pcap", "ssh-session.pcap", "http-files.pcap"].map(own).into();
    match real_captures() {
        Some(directory) => {
            let mut real: Vec<PathBuf> = std::fs::read_dir(directory.join("good"))
                .unwrap()
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.metadata().unwrap().len() < 300_000)
                .map(|entry| entry.path())
                .filter(|path| {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    KINDS.iter().any(|kind| name.starts_with(kind))
                })
                .collect();
            real.sort();
            let step = real.len().div_ceil(COMPARED).max(1);
            paths.extend(real.into_iter().step_by(step));
        }
        None => eprintln!("skipped: no real captures beside the checkout"),
    }
    let (mut compared, mut without_data, mut failures) = (0, 0, Vec::new());
    for path in &paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(theirs) = followed(path) else {
            eprintln!("skipped: tshark does not run");
            return;
        };
        let flows = tcp_flows(path);
        // Where bytes are missing, each program says so in its own way; what it took for a second connection as well.
        for flow in flows.iter().filter(|flow| flow.gaps == 0) {
            let ours = conversation(flow);
            let same_ends: Vec<&Conversation> = theirs.iter().filter(|their| their.keys().eq(ours.keys())).collect();
            if same_ends.is_empty() {
                continue;
            }
            if ours.values().all(Vec::is_empty) {
                without_data += 1;
                continue;
            }
            compared += 1;
            if !same_ends.contains(&&ours) {
                let lens = |conversation: &Conversation| conversation.values().map(Vec::len).collect::<Vec<_>>();
                let found: Vec<_> = same_ends.iter().map(|their| lens(their)).collect();
                failures.push(format!("{name}: {:?}: {:?}, tshark {found:?}", ours.keys(), lens(&ours)));
            }
        }
    }
    eprintln!("{compared} streams compared, {without_data} without data, {} differ", failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 4, "{compared}");
}

/// Captures with fragments that tshark joins. Left out are those where it joins what is longer than a packet can be, what
/// contradicts an end seen before, and fragments of fragments.
const FRAGMENTED: [&str; 12] = [
    "bad/g-fragevil.pcap",
    "bad/s-defrag__bug-6887-defrag-eth-vlan-ipv4-tcp-syn__frag-eth-vlan-ip-tcp-syn.pcap",
    "bad/s-defrag__bug-6887-defrag-eth-vlan-ipv6-tcp__frag-eth-vlan-ipv6-tcp.pcap",
    "bad/s-defrag__bug-6887-defrag-ipv4-tcp-syn__frag-ip-tcp-syn.pcap",
    "bad/s-defrag__bug-6887-defrag-ppp-ipv6-tcp__frag-ppp-ipv6-tcp.pcap",
    "bad/s-exception-policy-defrag-01__ipv4frags.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-17__frag-17.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-18__frag-18.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-1__frag-1.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-4__frag-4.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-6__frag-6.pcap",
    "bad/s-ipv6-evasion__ipv6-malformed-fragments-8__frag-8.pcap",
];

/// The packets that complete a datagram other than TCP, and the bytes of its flow in each, as tshark has them.
fn completed(path: &Path) -> Option<Vec<(usize, u32)>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r"]).arg(path).args(["-Y", "ip.reassembled.length or ipv6.reassembled.length"]);
    command.args(["-T", "fields", "-e", "frame.number", "-e", "ip.reassembled.length"]);
    command.args(["-e", "ipv6.reassembled.length", "-e", "udp.length", "-e", "tcp.len", "-e", "frame.protocols"]);
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut list = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [frame, v4, v6, udp, tcp, protocols] = fields[..] else { continue };
        let ips = protocols.split(':').filter(|name| matches!(*name, "ip" | "ipv6")).count();
        let joined: Option<u32> = [v4, v6].iter().find_map(|text| text.parse().ok());
        if let (Ok(frame), Some(joined), "", 1) = (frame.parse(), joined, tcp, ips) {
            list.push((frame, udp.parse().map_or(joined, |len: u32| len - 8)));
        }
    }
    Some(list)
}

#[test]
fn datagrams_are_joined_where_tshark_joins_them() {
    let mut paths = vec![own("fragments-ipv4.pcap"), own("fragments-ipv6.pcap")];
    match real_captures() {
        Some(directory) => paths.extend(FRAGMENTED.iter().map(|name| directory.join(name))),
        None => eprintln!("skipped: no real captures beside the checkout"),
    }
    let (mut compared, mut failures) = (0, Vec::new());
    for path in &paths {
        let Some(theirs) = completed(path) else {
            eprintln!("skipped: tshark does not run");
            return;
        };
        let ours: Vec<(usize, u32)> = run(path).0.into_iter().flat_map(|flow| flow.datagrams).collect();
        compared += theirs.len();
        let name = path.file_name().unwrap().to_string_lossy();
        failures.extend(theirs.iter().filter(|their| !ours.contains(their)).map(|their| {
            let at: Vec<_> = ours.iter().filter(|(frame, _)| *frame == their.0).collect();
            format!("{name}: tshark {their:?}, ours {at:?}")
        }));
    }
    eprintln!("{compared} datagrams compared");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 7, "{compared}");
}
