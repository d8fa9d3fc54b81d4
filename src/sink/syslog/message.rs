//! An alert as a message.

use crate::key::FlowText;
use crate::sink::eve::AlertItem;
use crate::sink::iso_time::push_time;

/// Longest message; what every receiver takes.
pub const MAX_MESSAGE: usize = 2_048;
/// Longest value of a parameter, escapes included.
const MAX_VALUE: usize = 192;
/// Facility local0.
const FACILITY: u8 = 16;
/// Name and number under which parameters of our own stand. The number is that of examples, which belongs to nobody.
const ELEMENT: &str = "alert@32473";

/// Who sends.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Name of the machine, or `-`.
    pub host: String,
    /// Number of the process.
    pub process: u32,
}

/// The message of an alert.
pub(super) fn of_alert(sender: &Sender, item: &AlertItem) -> Vec<u8> {
    let alert = &item.alert;
    // Error, warning, notice.
    let severity = match alert.priority {
        p if p <= 1.0 => 3,
        p if p <= 2.0 => 4,
        _ => 5,
    };
    let mut out = format!("<{}>1 ", FACILITY * 8 + severity).into_bytes();
    push_time(&mut out, alert.time);
    out.extend_from_slice(format!("Z {} millstream {} alert [{ELEMENT}", sender.host, sender.process).as_bytes());
    let flow = FlowText::new(alert.flow.as_deref().unwrap_or_default());
    let (a_ip, a_port) = (flow.ipa_readable(), flow.porta_readable());
    let (z_ip, z_port) = (flow.ipz_readable(), flow.portz_readable());
    let parameters: [(&str, &[u8]); 9] = [
        ("sigid", &alert.sigid[..]),
        ("group", &item.group[..]),
        ("script", item.script.as_bytes()),
        ("class", &alert.classification[..]),
        ("status", &alert.status[..]),
        ("a_ip", a_ip.as_bytes()),
        ("a_port", a_port.as_bytes()),
        ("z_ip", z_ip.as_bytes()),
        ("z_port", z_port.as_bytes()),
    ];
    for (name, value) in parameters {
        if !value.is_empty() {
            out.extend_from_slice(format!(" {name}=\"").as_bytes());
            push_value(&mut out, value);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"] ");
    let room = MAX_MESSAGE - out.len().min(MAX_MESSAGE);
    push_text(&mut out, &alert.message, room);
    out
}

/// A value of a parameter: quotes, backslashes and closing brackets are escaped.
fn push_value(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = out.len() + MAX_VALUE;
    for c in plain(bytes, MAX_VALUE) {
        let is_special = matches!(c, '"' | '\\' | ']');
        if out.len() + c.len_utf8() + usize::from(is_special) > end {
            break;
        }
        if is_special {
            out.push(b'\\');
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

fn push_text(out: &mut Vec<u8>, bytes: &[u8], room: usize) {
    let mut left = room;
    for c in plain(bytes, room) {
        let Some(rest) = left.checked_sub(c.len_utf8()) else { return };
        left = rest;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The characters of a text that may hold anything: control characters become blanks.
fn plain(bytes: &[u8], limit: usize) -> impl Iterator<Item = char> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]).into_owned();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::{MAX_MESSAGE, Sender, of_alert};
    use crate::guid::Guid;
    use crate::metrics::{Alert, AlertKind, FlowFacts};
    use crate::sink::eve::AlertItem;
    use crate::time::Timestamp;

    fn item(message: &[u8]) -> AlertItem {
        let alert = Alert {
            time: Timestamp::new(1_768_467_630, 0),
            group: Guid::from_u128(1),
            flow: Some(b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016".to_vec()),
            sigid: b"a\"]\\b".to_vec(),
            priority: 2.0,
            message: message.to_vec(),
            classification: Vec::new(),
            status: b"ALARM".to_vec(),
            extra: Vec::new(),
            ack: 0,
            kind: AlertKind::Simple,
            ids: None,
        };
        AlertItem { alert, script: "x.lua".to_owned(), group: b"g".to_vec(), facts: FlowFacts::default(), so_far: None }
    }

    #[test]
    fn a_message_has_the_parts_of_the_standard() {
        let sender = Sender { host: "probe".to_owned(), process: 7 };
        let text = String::from_utf8(of_alert(&sender, &item(b"bad\nthing"))).unwrap();
        assert_eq!(
            text,
            "<132>1 2026-01-15T09:00:30.000000Z probe millstream 7 alert [alert@32473 sigid=\"a\\\"\\]\\\\b\" group=\"g\" \
             script=\"x.lua\" status=\"ALARM\" a_ip=\"192.168.1.2\" a_port=\"2964\" z_ip=\"209.216.249.58\" \
             z_port=\"22\"] bad thing"
        );
    }

    #[test]
    fn a_message_is_never_too_long() {
        let sender = Sender { host: "probe".to_owned(), process: 7 };
        for byte in [b'x', 0xFF, b']'] {
            let mut item = item(&vec![byte; 100_000]);
            item.alert.sigid = vec![byte; 100_000];
            item.alert.classification = vec![byte; 100_000];
            let message = of_alert(&sender, &item);
            assert!(message.len() <= MAX_MESSAGE && std::str::from_utf8(&message).is_ok(), "{}", message.len());
        }
    }
}
