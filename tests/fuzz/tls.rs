//! Targets for TLS, QUIC and certificates.

use millstream::dissect::quic::Quic;
use millstream::dissect::tls::Tls;
use millstream::dissect::x509::{Certificate, MAX_CERTIFICATE, write_text};
use millstream::dissect::{
    Appetite, Context, Counts, DatagramDissector, DissectWants, FindingKind, Findings, StreamDissector,
};
use millstream::flow::{Direction, Flow, FlowHandle, Roles, Want};
use millstream::key::FlowTuple;
use millstream::time::Timestamp;

/// Pieces of a conversation: a byte whose lowest bit is the direction, two of length, the bytes.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = (Direction, &[u8])> {
    std::iter::from_fn(move || {
        let ([way, high, low], rest) = bytes.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        bytes = rest;
        Some((if way & 1 == 0 { Direction::ToServer } else { Direction::ToClient }, piece))
    })
}

/// Hands out a context for each call of a dissector, and checks what was found.
fn with_context(mut run: impl FnMut(&mut Context<'_>)) {
    let wants = DissectWants {
        attributes: Want::Yes,
        tls_records: Want::Yes,
        certificate_resources: Want::Yes,
        certificate_documents: Want::Yes,
        ..DissectWants::default()
    };
    let (mut findings, mut counts, mut transactions) = (Findings::default(), Counts::default(), 0);
    run(&mut Context {
        after: 0,
        handle: FlowHandle { slot: 0, generation: 0 },
        flow: &Flow::new(FlowTuple::NO_IP, Timestamp::EPOCH),
        time: Timestamp::EPOCH,
        wants: &wants,
        findings: &mut findings,
        counts: &mut counts,
        transactions: &mut transactions,
        roles: Roles::Known,
        turned: &mut Vec::new(),
    });
    for finding in findings.list() {
        if let FindingKind::Attribute { name, value } = finding.kind {
            assert!(findings.bytes(name).is_ascii());
            assert!(findings.bytes(value).len() <= 5 + 4 + (256 << 10));
        }
    }
}

/// Both directions of a TLS connection; an empty piece is a hole of a few bytes.
pub fn tls(bytes: &[u8]) {
    let mut tls = Tls::new();
    with_context(|cx| {
        for (direction, piece) in pieces(bytes) {
            let appetite = match piece {
                [] => tls.gap(cx, direction, 0, 7),
                _ => tls.data(cx, direction, 0, piece),
            };
            assert!(tls.held() <= 2 * ((512 << 10) + (64 << 10)), "{}", tls.held());
            if appetite == Appetite::Done {
                return;
            }
        }
    });
}

/// Datagrams of a QUIC connection.
pub fn quic(bytes: &[u8]) {
    let mut quic = Quic::new();
    with_context(|cx| {
        for (direction, piece) in pieces(bytes).filter(|(_, piece)| !piece.is_empty()) {
            if quic.datagram(cx, direction, piece) == Appetite::Done {
                return;
            }
            assert!(quic.held() <= 512 << 10, "{}", quic.held());
        }
    });
}

/// A certificate: text of lines without control characters, and not much more of it than there are bytes.
pub fn x509_text(bytes: &[u8]) {
    let bytes = bytes.get(..MAX_CERTIFICATE).unwrap_or(bytes);
    let Some(certificate) = Certificate::parse(bytes) else { return };
    let mut text = Vec::new();
    write_text(&mut text, &certificate);
    assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{}", String::from_utf8_lossy(&text));
    assert!(text.len() <= 16 * bytes.len() + (64 << 10), "{} of {}", text.len(), bytes.len());
    assert!(certificate.subject().one_line().is_ascii());
    let organisation = certificate.issuer().organisation();
    assert!(organisation.is_none_or(|name| name.len() <= 3 * bytes.len()));
}
