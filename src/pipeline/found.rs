//! What becomes of the dissectors' findings: events of protocols, rows of the store, records.

use super::stored::is_stored;
use crate::api::{Record, ScriptId};
use crate::dissect::{DocumentKind, FindingKind, Findings, Protocol, ResourceKind};
use crate::flow::{Direction, Flow};
use crate::key::FlowTuple;
use crate::metrics::{FlowAttribute, HttpBodyEnd, Seen, SeenFile};
use crate::sink::eve::EveSender;
use crate::sink::{FlowOf, StoreSender};
use crate::time::Timestamp;

/// Whether an output of events is told of a finding.
pub(super) fn is_event(findings: &Findings, kind: &FindingKind) -> bool {
    match kind {
        FindingKind::Recognised { .. }
        | FindingKind::Certificate { .. }
        | FindingKind::HttpMessage { .. }
        | FindingKind::HttpEnd { .. }
        | FindingKind::DnsMessage { .. }
        | FindingKind::FingerprintText { .. }
        | FindingKind::File { .. } => true,
        FindingKind::Attribute { name, .. } => {
            let name = findings.bytes(*name);
            let kinds = [&b"TLS:"[..], b"QUIC:", b"SSH:"];
            kinds.iter().any(|kind| name.starts_with(kind)) && name != b"TLS:RECORD"
        }
        FindingKind::Resource { .. }
        | FindingKind::Document { .. }
        | FindingKind::HttpHeader { .. }
        | FindingKind::HttpBody { .. }
        | FindingKind::HostName { .. } => false,
    }
}

/// Tells an output of events of a finding of a flow, if it shows such ones.
pub(super) fn show(
    eve: &mut EveSender,
    time: Timestamp,
    (findings, kind): (&Findings, &FindingKind),
    (flow, origin): (&Flow, u16),
) {
    let (tuple, client) = (&flow.tuple, flow.asker());
    let of = (client, origin);
    let sender = |direction| match direction {
        Direction::ToServer => client,
        Direction::ToClient => client.other(),
    };
    match *kind {
        FindingKind::Recognised { protocol } => eve.sighting(time, tuple, of, Seen::Protocol(name_of(protocol))),
        FindingKind::Attribute { name, value } => {
            let seen = Seen::Attribute(eve.text(findings.bytes(name)), eve.text(findings.bytes(value)));
            eve.sighting(time, tuple, of, seen);
        }
        FindingKind::Certificate { der } => {
            let seen = Seen::Certificate(eve.text(findings.bytes(der)));
            eve.sighting(time, tuple, of, seen);
        }
        FindingKind::HttpMessage { transaction, direction, block } => {
            let (exchange, sender, block) = (transaction.0, sender(direction), eve.text(findings.bytes(block)));
            eve.sighting(time, tuple, of, Seen::HttpHeader { exchange, sender, block });
        }
        FindingKind::HttpEnd { transaction, direction, length, extent } => {
            let end = HttpBodyEnd { exchange: transaction.0, sender: sender(direction), length, extent };
            eve.sighting(time, tuple, of, Seen::HttpEnd(end));
        }
        FindingKind::DnsMessage { message } => {
            let message = eve.text(findings.bytes(message));
            eve.sighting(time, tuple, of, Seen::Dns(message));
        }
        FindingKind::FingerprintText { direction, text } => {
            let text = eve.text(findings.bytes(text));
            eve.sighting(time, tuple, of, Seen::FingerprintText(sender(direction), text));
        }
        FindingKind::File { direction, name, length, md5, place } => {
            let (sender, name) = (sender(direction), eve.text(findings.bytes(name)));
            eve.sighting(time, tuple, of, Seen::File(SeenFile { sender, name, length, md5, place }));
        }
        FindingKind::Resource { .. }
        | FindingKind::Document { .. }
        | FindingKind::HttpHeader { .. }
        | FindingKind::HttpBody { .. }
        | FindingKind::HostName { .. } => {}
    }
}

/// The name of a protocol in events.
const fn name_of(protocol: Protocol) -> &'static str {
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

/// Hands a finding to the store, if it keeps such ones.
pub(super) fn store(
    sender: &mut StoreSender,
    time: Timestamp,
    (findings, kind): (&Findings, &FindingKind),
    flow: Option<&FlowTuple>,
) {
    let (bytes, flow) = (|text| findings.bytes(text), FlowOf::from(flow));
    match *kind {
        FindingKind::Attribute { name, value } if is_stored(bytes(name)) => {
            sender.flow_attribute(time, flow, bytes(name), bytes(value));
        }
        FindingKind::Resource { kind, uri, label } => {
            sender.log_record((time, kind.group()), flow, bytes(uri), bytes(label));
        }
        FindingKind::Document { kind, text } => sender.full_text((time, kind.group()), flow, bytes(text)),
        _ => {}
    }
}

/// The record of a finding, and which module found it.
pub(super) fn record_of(
    findings: &Findings,
    kind: &FindingKind,
    flow: Option<&FlowTuple>,
) -> Option<(ScriptId, Record)> {
    let id = || flow.map(|flow| flow.id().as_bytes().to_vec()).unwrap_or_default();
    Some(match *kind {
        FindingKind::Attribute { name, value } => {
            let (name, value) = (findings.bytes(name), findings.bytes(value));
            let attribute = match flow {
                Some(flow) => FlowAttribute::of_flow(*flow, name, value),
                None => FlowAttribute::of_id(b"", name, value),
            };
            (module_of(name), Record::FlowAttribute(attribute))
        }
        FindingKind::Resource { kind, uri, label } => {
            let script = match kind {
                ResourceKind::Dns => ScriptId::NATIVE_DNS,
                ResourceKind::HttpUri => ScriptId::NATIVE_HTTP,
                ResourceKind::Certificate => ScriptId::NATIVE_TLS,
                ResourceKind::FileHash => ScriptId::NATIVE_FILE,
            };
            let (uri, label) = (findings.bytes(uri).to_vec(), findings.bytes(label).to_vec());
            (script, Record::Resource { guid: kind.group(), flow: id(), uri, label })
        }
        FindingKind::Document { kind, text } => {
            let script = match kind {
                DocumentKind::Certificate => ScriptId::NATIVE_TLS,
                DocumentKind::HttpHeader => ScriptId::NATIVE_HTTP,
                DocumentKind::Dns => ScriptId::NATIVE_DNS,
            };
            let text = findings.bytes(text).to_vec();
            (script, Record::Document { guid: kind.group(), flow: id(), text })
        }
        _ => return None,
    })
}

/// The module that announces an attribute.
fn module_of(name: &[u8]) -> ScriptId {
    match name {
        b"HTTP-Header" | b"Host" | b"User-Agent" | b"URI" | b"Content-Type" => ScriptId::NATIVE_HTTP,
        _ if name.starts_with(b"TLS:") => ScriptId::NATIVE_TLS,
        _ if name.starts_with(b"SSH:") => ScriptId::NATIVE_SSH,
        _ => ScriptId::NATIVE_FLOW,
    }
}
