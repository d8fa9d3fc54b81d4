//! What is fed to all dissectors at once.

use millstream::dissect::{DissectWants, Dissectors, FindingKind, Findings};
use millstream::flow::{
    Direction, EndReason, Flow, FlowEvent, FlowEvents, FlowHandle, FlowLookup, Happening, Want, state,
};
use millstream::key::FlowTuple;
use millstream::packet::Batch;
use millstream::time::Timestamp;

/// A conversation of one flow: a first byte says whether it is TCP; then each thing said has a byte of direction and of what
/// goes missing in front of it, and two of length. Found in order, forgotten at the end, and the same in single bytes.
pub fn conversation(bytes: &[u8]) {
    let [first, rest @ ..] = bytes else { return };
    let proto = if first & 1 == 0 { 6 } else { 17 };
    let whole = dissect_pieces(proto, rest, usize::MAX);
    if proto == 6 {
        assert_eq!(whole, dissect_pieces(proto, rest, 1), "the pieces of a stream do not matter");
    }
}

struct OneFlow(FlowHandle, Flow);

impl FlowLookup for OneFlow {
    fn flow(&self, handle: FlowHandle) -> Option<&Flow> {
        (handle == self.0).then_some(&self.1)
    }
}

fn dissect_pieces(proto: u8, mut bytes: &[u8], largest: usize) -> Vec<String> {
    let handle = FlowHandle { slot: 0, generation: 0 };
    let (tuple, _) = FlowTuple::v4(proto, [10, 0, 0, 1], [10, 0, 0, 2], 50_000, 7);
    let time = Timestamp::new(1_000, 0);
    let flow = Flow {
        tuple,
        first: time,
        last: time,
        bytes: [0; 2],
        packets: [0; 2],
        payload: [0; 2],
        setup_rtt: 0,
        retransmissions: 0,
        state: state::INIT | state::SEEN_SYN | state::SEEN_FIN | state::Z_END_SERVER,
    };
    let lookup = OneFlow(handle, flow);
    let mut events = FlowEvents::default();
    let event = |what| FlowEvent { packet: 0, flow: handle, time, what };
    events.push(event(Happening::New));
    let mut positions = [0; 2];
    while let [kind, high, low, rest @ ..] = bytes {
        let direction = if kind & 1 == 0 { Direction::ToServer } else { Direction::ToClient };
        let (said, later) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(rest.len()));
        bytes = later;
        let position = &mut positions[direction.index()];
        let missing = u64::from(kind >> 5);
        if proto == 6 && missing > 0 {
            events.push(event(Happening::Gap { direction, position: *position, missing }));
            *position += missing;
        }
        for piece in said.chunks(if proto == 6 { largest } else { usize::MAX }) {
            let bytes = events.hold(piece);
            events.push(event(match proto {
                6 => Happening::Payload { direction, position: *position, bytes },
                _ => Happening::Datagram { direction, bytes },
            }));
            *position += piece.len() as u64;
        }
    }
    events.push(event(Happening::End { reason: EndReason::Fin }));
    let mut dissectors = Dissectors::new(everything());
    dissectors.process(&Batch::new(), &events, &lookup);
    assert_eq!(dissectors.held(), 0, "flows that have ended hold nothing");
    let findings = dissectors.findings();
    assert!(findings.list().is_sorted_by_key(|finding| finding.after));
    findings.list().iter().map(|finding| dissected(findings, finding.kind)).collect()
}

/// A finding with the bytes of its texts in place of where they lie.
fn dissected(findings: &Findings, kind: FindingKind) -> String {
    let text = |text| findings.bytes(text).escape_ascii().to_string();
    match kind {
        FindingKind::Recognised { protocol } => format!("{protocol:?}"),
        FindingKind::Attribute { name, value } => format!("{} {}", text(name), text(value)),
        FindingKind::Resource { kind, uri, label } => format!("{kind:?} {} {}", text(uri), text(label)),
        FindingKind::Document { kind, text: all } => format!("{kind:?} {}", text(all)),
        FindingKind::HostName { mac, ip, name } => format!("{mac:?} {ip:?} {}", text(name)),
        FindingKind::HttpHeader { transaction, direction, block } => {
            format!("{transaction:?} {direction:?} {}", text(block))
        }
        // How a body is cut may depend on the pieces.
        FindingKind::HttpBody { .. } => String::new(),
    }
}

fn everything() -> DissectWants {
    DissectWants {
        attributes: Want::Yes,
        tls_records: Want::Yes,
        dns_resources: Want::Yes,
        http_resources: Want::Yes,
        certificate_resources: Want::Yes,
        file_hashes: Want::Yes,
        dns_documents: Want::Yes,
        http_documents: Want::Yes,
        certificate_documents: Want::Yes,
        http_headers: Want::Yes,
        http_bodies: Want::No,
        host_names: Want::Yes,
        protocols: Want::Yes,
    }
}
