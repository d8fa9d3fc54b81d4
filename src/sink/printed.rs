//! One line for people on each alert, resource, document and flow.

use super::iso_time::push_time;
use super::steering::steers;
use crate::key::FlowText;
use crate::metrics::{Alert, Document, Resource, Session};
use crate::time::Timestamp;

/// Longest text of a line; the rest is cut off.
const MAX_TEXT: usize = 512;

/// What is printed as it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrintKinds {
    /// Alerts.
    pub alerts: bool,
    /// Resources.
    pub resources: bool,
    /// Full-text documents.
    pub documents: bool,
    /// Flows at their end.
    pub flows: bool,
}

fn begin(out: &mut Vec<u8>, time: Timestamp, kind: &str) {
    push_time(out, time);
    out.extend_from_slice(b"  ");
    out.extend_from_slice(kind.as_bytes());
}

/// Appends text that may hold anything: what could move the cursor or make another line is shown as a blank, invalid
/// UTF-8 as the replacement character.
fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    let cut = &bytes[..bytes.len().min(MAX_TEXT)];
    for c in String::from_utf8_lossy(cut).chars() {
        let shown = if steers(c) { ' ' } else { c };
        out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if bytes.len() > MAX_TEXT {
        out.extend_from_slice("…".as_bytes());
    }
}

fn push_flow(out: &mut Vec<u8>, flow: &[u8]) {
    let flow = FlowText::new(flow);
    if flow.is_malformed() {
        return;
    }
    let end = |out: &mut Vec<u8>, ip: &[u8], port: &[u8]| {
        out.extend_from_slice(ip);
        out.push(b' ');
        push(out, port);
    };
    out.extend_from_slice(b"  ");
    end(out, flow.ipa_readable().as_bytes(), flow.porta_readable().as_bytes());
    out.extend_from_slice(b" > ");
    end(out, flow.ipz_readable().as_bytes(), flow.portz_readable().as_bytes());
}

/// An alert.
pub fn alert(out: &mut Vec<u8>, alert: &Alert, script: &str) {
    begin(out, alert.time, "alert");
    out.extend_from_slice(format!("  priority {}  [", alert.priority).as_bytes());
    push(out, script.as_bytes());
    out.extend_from_slice(b"] ");
    push(out, &alert.sigid);
    out.extend_from_slice(b": ");
    push(out, &alert.message);
    push_flow(out, alert.flow.as_deref().unwrap_or_default());
}

/// A resource.
pub fn resource(out: &mut Vec<u8>, resource: &Resource, group: &[u8]) {
    begin(out, resource.time, "resource");
    out.extend_from_slice(b"  [");
    push(out, group);
    out.extend_from_slice(b"] ");
    push(out, &resource.uri);
    if !resource.label.is_empty() {
        out.extend_from_slice(b" = ");
        push(out, &resource.label);
    }
    push_flow(out, resource.flow.as_deref().unwrap_or_default());
}

/// A full-text document.
pub fn document(out: &mut Vec<u8>, document: &Document, group: &[u8]) {
    begin(out, document.time, "document");
    out.extend_from_slice(b"  [");
    push(out, group);
    out.extend_from_slice(b"] ");
    push(out, &document.text);
    push_flow(out, document.flow.as_deref().unwrap_or_default());
}

/// A flow at its end.
pub fn flow(out: &mut Vec<u8>, flow: &Session) {
    begin(out, flow.end, "flow");
    push_flow(out, &flow.id);
    let (packets, bytes): (u64, u64) = (flow.packets.iter().sum(), flow.bytes.iter().sum());
    let secs = flow.end.since(flow.start).as_secs_f64();
    out.extend_from_slice(format!("  {packets} packets  {bytes} bytes  {secs:.3} s  {}", flow.reason).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{document, flow, push};
    use crate::guid::Guid;
    use crate::metrics::{Document, Session};
    use crate::time::Timestamp;

    #[test]
    fn what_traffic_says_cannot_make_lines_or_move_the_cursor() {
        let mut out = Vec::new();
        push(&mut out, b"a\nb\x1b[2J\xFF\r\xE2\x80\xAEx");
        assert_eq!(String::from_utf8(out).unwrap(), "a b [2J\u{FFFD}  x");
        let mut long = Vec::new();
        push(&mut long, &[b'x'; 2_000]);
        assert!(long.len() < 600);
    }

    #[test]
    fn flows_and_documents_are_one_line() {
        let id = b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016".to_vec();
        let session = Session {
            id: id.clone(),
            start: Timestamp::new(10, 0),
            end: Timestamp::new(12, 500_000_000),
            packets: [3, 4],
            bytes: [100, 200],
            reason: "fin",
            ..Session::default()
        };
        let mut out = Vec::new();
        flow(&mut out, &session);
        let expected = "1970-01-01T00:00:12.500000  flow  192.168.1.2 2964 > 209.216.249.58 22  7 packets  300 bytes  2.500 s  fin";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let text =
            Document { time: Timestamp::EPOCH, group: Guid::from_u128(1), flow: Some(id), text: b"a\nb".to_vec() };
        let mut out = Vec::new();
        document(&mut out, &text, b"Group");
        assert!(String::from_utf8(out).unwrap().starts_with("1970-01-01T00:00:00.000000  document  [Group] a b  192"));
    }
}
