//! What is reported of a chain of certificates.

use data_encoding::HEXLOWER;
use pem_rfc7468::LineEnding;
use sha1::{Digest as _, Sha1};

use super::certificate::Certificate;
use super::text::write_text;
use crate::dissect::{AttributeKinds, Context, DocumentKind, FindingKind, ResourceKind};

/// Certificates of one chain; further ones are left out and counted.
pub const MAX_CERTIFICATES: usize = 16;
/// Bytes of one certificate; larger ones are left out and counted.
pub const MAX_CERTIFICATE: usize = 64 * 1024;

/// Whose certificates they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The server's: they name the organisations of the flow.
    Server,
    /// The client's.
    Client,
}

/// One certificate of the chain.
struct Link<'a> {
    bytes: &'a [u8],
    outline: Option<Certificate<'a>>,
}

/// Reports a chain, leaf first: attributes, a resource and a document, as far as they are asked for.
pub fn report<'a>(cx: &mut Context<'_>, owner: Owner, chain: impl Iterator<Item = &'a [u8]>) {
    let mut links: Vec<Link<'a>> = Vec::new();
    for bytes in chain {
        if links.len() == MAX_CERTIFICATES {
            cx.counts.add("tls_certificates_over_limit");
            break;
        }
        if bytes.len() > MAX_CERTIFICATE {
            cx.counts.add("tls_certificate_too_large");
            continue;
        }
        let outline = Certificate::parse(bytes);
        if outline.is_none() {
            cx.counts.add("tls_certificate_unreadable");
        }
        links.push(Link { bytes, outline });
    }
    if links.is_empty() {
        return;
    }
    if owner == Owner::Server {
        organisations(cx, &links);
        if cx.wants.events.is_yes()
            && let Some(leaf) = links.first()
        {
            let der = cx.findings.text(leaf.bytes);
            cx.push(FindingKind::Certificate { der });
        }
    }
    if cx.wants.certificate_resources.is_yes() {
        resource(cx, &links);
    }
    if cx.wants.certificate_documents.is_yes() {
        document(cx, &links);
    }
}

fn organisations(cx: &mut Context<'_>, links: &[Link<'_>]) {
    if !cx.wants.attributes_of(AttributeKinds::TLS).is_yes() {
        return;
    }
    let leaf = links.first().and_then(|link| link.outline);
    if let Some(name) = leaf.and_then(|leaf| leaf.subject().organisation()) {
        cx.attribute("TLS:O", &name);
    }
    let last = links.last().and_then(|link| link.outline);
    if let Some(name) = last.and_then(|last| last.issuer().organisation()) {
        cx.attribute("TLS:CA:ROOT", &name);
    }
    // A root in the chain is no intermediate.
    let between = links.iter().skip(1).filter_map(|link| link.outline).filter(|one| one.subject() != one.issuer());
    for name in between.filter_map(|one| one.subject().organisation()) {
        cx.attribute("TLS:CA:INTER", &name);
    }
}

fn resource(cx: &mut Context<'_>, links: &[Link<'_>]) {
    let mark = cx.findings.mark();
    let out = cx.findings.writer();
    for link in links {
        summary(out, link);
        out.extend_from_slice(b"---\n");
    }
    let uri = cx.findings.since(mark);
    let mark = cx.findings.mark();
    links.iter().for_each(|link| pem(cx.findings.writer(), link.bytes));
    let label = cx.findings.since(mark);
    cx.push(FindingKind::Resource { kind: ResourceKind::Certificate, uri, label });
}

fn document(cx: &mut Context<'_>, links: &[Link<'_>]) {
    let mark = cx.findings.mark();
    let out = cx.findings.writer();
    for link in links {
        summary(out, link);
        if let Some(outline) = &link.outline {
            write_text(out, outline);
        }
        pem(out, link.bytes);
    }
    let text = cx.findings.since(mark);
    cx.push(FindingKind::Document { kind: DocumentKind::Certificate, text });
}

fn summary(out: &mut Vec<u8>, link: &Link<'_>) {
    out.extend_from_slice(b"SHA1:");
    out.extend_from_slice(HEXLOWER.encode(&Sha1::digest(link.bytes)).as_bytes());
    out.extend_from_slice(b"\nNAME:");
    if let Some(outline) = &link.outline {
        out.extend_from_slice(outline.subject().one_line().as_bytes());
    }
    out.push(b'\n');
}

fn pem(out: &mut Vec<u8>, bytes: &[u8]) {
    const LABEL: &str = "CERTIFICATE";
    let Ok(length) = pem_rfc7468::encoded_len(LABEL, LineEnding::LF, bytes) else { return };
    let mark = out.len();
    out.resize(mark + length, 0);
    let Some(room) = out.get_mut(mark..) else { return };
    let written = pem_rfc7468::encode(LABEL, LineEnding::LF, bytes, room).map_or(0, str::len);
    out.truncate(mark + written);
    out.push(b'\n');
}
