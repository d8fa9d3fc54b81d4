//! Attributes that hellos give a flow.

use super::fingerprint::{Transport, ja3_hash, ja3_text, ja3s_text, ja4};
use super::hello::{ClientHello, ServerHello};
use crate::dissect::{AttributeKinds, Context, FindingKind};
use crate::flow::Direction;

/// Server name, protocols offered and fingerprints. QUIC has one version of TLS only, so there the offer is the agreement.
pub fn report_client_hello(cx: &mut Context<'_>, hello: &ClientHello<'_>, transport: Transport) {
    if !(cx.wants.attributes_of(AttributeKinds::TLS) | cx.wants.events).is_yes() {
        return;
    }
    if let Some(name) = hello.server_name() {
        cx.attribute("TLS:SNI", name);
    }
    let protocols: Vec<&[u8]> = hello.protocols().collect();
    if !protocols.is_empty() {
        cx.attribute("TLS:ALPN", &protocols.join(&b','));
    }
    if transport == Transport::Quic {
        cx.attribute("TLS:VERSION", version_name(hello.highest_version()).as_bytes());
    }
    if takes_fingerprints(cx) {
        let text = ja3_text(hello);
        fingerprint_text(cx, Direction::ToServer, &text);
        cx.attribute("TLS:JA3", ja3_hash(&text).as_bytes());
        cx.attribute("TLS:JA4", ja4(hello, transport).as_bytes());
    }
}

/// What was agreed on, and the fingerprint.
pub fn report_server_hello(cx: &mut Context<'_>, hello: &ServerHello<'_>, transport: Transport) {
    if !(cx.wants.attributes_of(AttributeKinds::TLS) | cx.wants.events).is_yes() {
        return;
    }
    cx.attribute("TLS:CIPHER", format!("{:04X}", hello.cipher()).as_bytes());
    if transport == Transport::Tcp {
        cx.attribute("TLS:VERSION", version_name(hello.agreed_version()).as_bytes());
    }
    if takes_fingerprints(cx) {
        let text = ja3s_text(hello);
        fingerprint_text(cx, Direction::ToClient, &text);
        cx.attribute("TLS:JA3S", ja3_hash(&text).as_bytes());
    }
}

fn fingerprint_text(cx: &mut Context<'_>, direction: Direction, text: &str) {
    if cx.wants.events.is_yes() {
        let text = cx.findings.text(text.as_bytes());
        cx.push(FindingKind::FingerprintText { direction, text });
    }
}

fn takes_fingerprints(cx: &Context<'_>) -> bool {
    (cx.wants.attributes_of(AttributeKinds::FINGERPRINTS) | cx.wants.events).is_yes()
}

fn version_name(version: u16) -> String {
    match version {
        0x0300 => "SSL 3.0".into(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        0x7F00..=0x7FFF => format!("TLS 1.3 draft {}", version & 0xFF),
        _ => format!("0x{version:04X}"),
    }
}
