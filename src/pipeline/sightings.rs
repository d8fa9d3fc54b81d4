//! What protocol events are made from, out of what the dissectors found.

use crate::dissect::{Finding, FindingKind, Findings, Protocol};
use crate::flow::{Direction, Flow, FlowLookup};
use crate::key::End;
use crate::metrics::{HttpBodyEnd, Seen, SeenFile, Sighting};

/// What an output of events is told of a finding, if anything.
pub(super) fn sighting_of(findings: &Findings, finding: &Finding, flows: &impl FlowLookup) -> Option<Sighting> {
    let flow = flows.flow(finding.flow)?;
    let sender = |direction| sender(flow, direction);
    let bytes = |text| findings.bytes(text).to_vec();
    let seen = match finding.kind {
        FindingKind::Recognised { protocol } => Seen::Protocol(name(protocol)),
        FindingKind::Attribute { name, value } => {
            let name = findings.bytes(name);
            let is_shown = name.starts_with(b"TLS:") || name.starts_with(b"SSH:");
            if !is_shown || name == b"TLS:RECORD" {
                return None;
            }
            Seen::Attribute(name.to_vec(), bytes(value))
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
            Seen::File(Box::new(SeenFile { name: bytes(name), length, md5, place }))
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
