//! What protocol events are made from, out of what the dissectors found.

use crate::dissect::{Finding, FindingKind, Findings, Protocol};
use crate::flow::{Direction, Flow, FlowLookup};
use crate::key::End;
use crate::metrics::{HttpBodyEnd, Seen, SeenFile, Sighting, Span};

/// What an output of events is told of a finding, if anything; its texts go into `buffer`.
pub(super) fn sighting_of(
    findings: &Findings,
    finding: &Finding,
    flows: &impl FlowLookup,
    buffer: &mut Vec<u8>,
) -> Option<Sighting> {
    let flow = flows.flow(finding.flow)?;
    let sender = |direction| sender(flow, direction);
    let mut bytes = |text| Span::put(buffer, findings.bytes(text));
    let seen = match finding.kind {
        FindingKind::Recognised { protocol } => Seen::Protocol(name(protocol)),
        FindingKind::Attribute { name, value } => {
            let text = findings.bytes(name);
            let is_shown = text.starts_with(b"TLS:") || text.starts_with(b"SSH:");
            if !is_shown || text == b"TLS:RECORD" {
                return None;
            }
            Seen::Attribute(bytes(name), bytes(value))
        }
        FindingKind::Certificate { der } => Seen::Certificate(bytes(der)),
        FindingKind::HttpMessage { transaction, direction, block } => {
            Seen::HttpHeader { exchange: transaction.0, sender: sender(direction), block: bytes(block) }
        }
        FindingKind::HttpEnd { transaction, direction, length, extent } => {
            Seen::HttpEnd(HttpBodyEnd { exchange: transaction.0, sender: sender(direction), length, extent })
        }
        FindingKind::DnsMessage { direction, message } => Seen::Dns(sender(direction), bytes(message)),
        FindingKind::FingerprintText { direction, text } => Seen::FingerprintText(sender(direction), bytes(text)),
        FindingKind::File { name, length, md5, place } => {
            Seen::File(SeenFile { name: bytes(name), length, md5, place })
        }
        FindingKind::Resource { .. }
        | FindingKind::Document { .. }
        | FindingKind::HttpHeader { .. }
        | FindingKind::HttpBody { .. }
        | FindingKind::HostName { .. } => return None,
    };
    Some(Sighting { flow: flow.tuple, client: flow.client(), seen })
}

fn sender(flow: &Flow, direction: Direction) -> End {
    match direction {
        Direction::ToServer => flow.client(),
        Direction::ToClient => flow.client().other(),
    }
}

/// The name of a protocol in events.
const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Tls => "tls",
        Protocol::Quic => "quic",
        Protocol::Dns => "dns",
        Protocol::Ssh => "ssh",
        Protocol::Smtp => "smtp",
        Protocol::Ftp => "ftp",
        Protocol::FtpData => "ftp-data",
        Protocol::Dhcp => "dhcp",
    }
}
