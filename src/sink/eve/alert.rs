//! Alert events.

use super::ends::Ends;
use super::formatter::{head, push_timestamp};
use super::item::AlertItem;
use super::json::Object;
use crate::metrics::{Alert, FlowSoFar};

/// Severity of an alert whose priority is no severity: the lowest in use.
const LOWEST: u64 = 3;

/// Who an alert is about; `None` if it does not say.
pub(super) fn ends(item: &AlertItem) -> Option<Ends> {
    let mut ends = Ends::of_id(item.alert.flow.as_deref()?, item.facts.client)?;
    // Other systems say themselves who is the source.
    if let Some(ids) = &item.alert.ids {
        let address = |end| ends.tuple.host(end).readable();
        let port = |end| ends.tuple.port(end).to_string();
        let is_source = |end| address(end).as_bytes() == ids.source_ip && port(end).as_bytes() == ids.source_port;
        if !is_source(ends.source) && is_source(ends.source.other()) {
            ends.source = ends.source.other();
        }
    }
    Some(ends)
}

/// The objects of an event.
pub(super) fn write(item: &AlertItem, ends: Option<Ends>, object: &mut Object<'_>) {
    let alert = &item.alert;
    object.object("alert", |object| {
        object.text("action", b"allowed");
        object.count("gid", 1);
        object.count("signature_id", signature_id(alert));
        let rev = alert.ids.as_ref().and_then(|ids| number(&ids.sig_rev)).unwrap_or(1);
        object.count("rev", rev);
        object.text("signature", if alert.message.is_empty() { &alert.sigid } else { &alert.message });
        object.text("category", &alert.classification);
        object.count("severity", severity(alert.priority));
    });
    if let (Some(ends), Some(client)) = (ends, item.facts.client) {
        object.text("direction", if ends.source == client { b"to_server" } else { b"to_client" });
        if let Some(so_far) = &item.so_far {
            object.object("flow", |object| flow(so_far, Ends { source: client, ..ends }, object));
        }
    }
    object.object("plugin", |object| {
        object.text("kind", alert.kind.name().as_bytes());
        object.text("script", item.script.as_bytes());
        object.text("group", &item.group);
        object.text("guid", alert.group.to_string().as_bytes());
        object.text("sigid", &alert.sigid);
        object.text("status", &alert.status);
        object.some_text("extra", &alert.extra);
    });
}

/// What the flow had counted when the alert was raised.
fn flow(so_far: &FlowSoFar, ends: Ends, object: &mut Object<'_>) {
    let (client, server) = (ends.source as usize, ends.source.other() as usize);
    object.count("pkts_toserver", so_far.packets[client]);
    object.count("pkts_toclient", so_far.packets[server]);
    object.count("bytes_toserver", so_far.bytes[client]);
    object.count("bytes_toclient", so_far.bytes[server]);
    object.raw("start", |out| push_timestamp(out, so_far.start));
    ends.write_addresses(object);
}

/// The object that tells of an alert by itself, as a line of events does but for flow, input and line end.
#[must_use]
pub fn alert_body(item: &AlertItem) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    let ends = ends(item);
    let told = ends.map(|ends| (ends, ends.identity(item.facts)));
    head(&mut object, item.alert.time, "alert", told.as_ref(), None);
    write(item, ends, &mut object);
    object.end();
    out
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// A signature id that is a number is that; from any other a number is made that is always the same.
fn signature_id(alert: &Alert) -> u64 {
    number(&alert.sigid)
        .filter(|id| *id <= u64::from(u32::MAX))
        .unwrap_or_else(|| u64::from(crc32fast::hash(&alert.sigid) | 0x8000_0000))
}

fn severity(priority: f64) -> u64 {
    if (1.0..=255.0).contains(&priority) { priority as u64 } else { LOWEST }
}

#[cfg(test)]
mod tests {
    use super::{alert_body, severity};
    use crate::guid::Guid;
    use crate::metrics::{Alert, AlertKind, FlowFacts};
    use crate::sink::eve::AlertItem;
    use crate::time::Timestamp;

    fn item(sigid: &[u8], flow: Option<&[u8]>) -> AlertItem {
        let alert = Alert {
            time: Timestamp::new(1_768_467_630, 123_456_000),
            group: Guid::from_u128(1),
            flow: flow.map(<[u8]>::to_vec),
            sigid: sigid.to_vec(),
            priority: 1.0,
            message: b"a \xFF \"b\"".to_vec(),
            classification: b"c".to_vec(),
            status: b"ALARM".to_vec(),
            extra: Vec::new(),
            ack: 0,
            kind: AlertKind::Full,
            ids: None,
        };
        AlertItem { alert, script: "x.lua".to_owned(), group: b"g".to_vec(), facts: FlowFacts::default(), so_far: None }
    }

    #[test]
    fn an_alert_is_an_object_with_the_fields_of_the_schema() {
        let flow = &b"06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016"[..];
        let json: serde_json::Value = serde_json::from_slice(&alert_body(&item(b"2001", Some(flow)))).unwrap();
        assert_eq!(json["timestamp"], "2026-01-15T09:00:30.123456+0000");
        assert_eq!((&json["src_ip"], &json["dest_port"]), (&"192.168.1.2".into(), &22.into()));
        assert_eq!((&json["alert"]["signature_id"], &json["alert"]["severity"]), (&2001.into(), &1.into()));
        assert_eq!(json["plugin"]["kind"], "full");
    }

    #[test]
    fn names_become_numbers_that_stay_the_same() {
        let id = |sigid| serde_json::from_slice::<serde_json::Value>(&alert_body(&item(sigid, None))).unwrap();
        let named = id(b"bad-host");
        assert_eq!(named["alert"]["signature_id"], id(b"bad-host")["alert"]["signature_id"]);
        assert!(named["alert"]["signature_id"].as_u64().unwrap() >= 1 << 31);
        assert!(named.get("src_ip").is_none());
        assert_eq!([0.0, 2.0, f64::NAN, 1e9].map(severity), [3, 2, 3, 3]);
    }
}
