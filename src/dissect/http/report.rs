//! What is told of headers: attributes, documents, resources.

use super::header::HeaderBlock;
use super::outstanding::Wording;
use crate::dissect::{AttributeKinds, Context, DocumentKind, FindingKind, ResourceKind, Text};
use crate::flow::Direction;
use crate::time::Timestamp;

/// Tells of a header what the contract lists, in its order. Nothing is told of an interim response but attributes and
/// the document.
pub(super) fn header(cx: &mut Context<'_>, direction: Direction, block: Text, header: &HeaderBlock<'_>) {
    if cx.wants.attributes_of(AttributeKinds::HTTP).is_yes() {
        attribute(cx, "HTTP-Header", block);
        let fields: &[(&str, &[u8])] = match direction {
            Direction::ToServer => &[("Host", b"Host"), ("User-Agent", b"User-Agent")],
            Direction::ToClient => &[("Content-Type", b"Content-Type")],
        };
        for (name, field) in fields {
            if let Some(value) = header.value(field) {
                cx.attribute(name, &value);
            }
        }
        if direction == Direction::ToServer {
            cx.attribute("URI", header.target());
        }
    }
    if cx.wants.http_documents.is_yes() {
        cx.push(FindingKind::Document { kind: DocumentKind::HttpHeader, text: block });
    }
}

fn attribute(cx: &mut Context<'_>, name: &str, value: Text) {
    let name = cx.findings.text(name.as_bytes());
    cx.push(FindingKind::Attribute { name, value });
}

/// A request and its response, as far as there is one: status and when its header was complete, and that of the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// Status code.
    pub status: u16,
    /// When the header of the request was complete.
    pub asked: Timestamp,
}

/// Tells the resource of a transaction.
pub(super) fn resource(cx: &mut Context<'_>, wording: Wording<'_>, answer: Option<Answer>) {
    if !cx.wants.http_resources.is_yes() {
        return;
    }
    let uri = cx.findings.text(wording.uri);
    let label = match answer {
        None => Text::default(),
        Some(Answer { status, asked }) => {
            let mark = cx.findings.mark();
            let micros = cx.time.since(asked).as_micros();
            let agent = if wording.agent.is_empty() { b"-" } else { wording.agent };
            let out = cx.findings.writer();
            out.extend_from_slice(format!("status:{status} usec:{micros} ua:").as_bytes());
            out.extend_from_slice(agent);
            cx.findings.since(mark)
        }
    };
    cx.push(FindingKind::Resource { kind: ResourceKind::HttpUri, uri, label });
}
