//! Flow events.

use super::formatter::push_timestamp;
use super::item::FlowItem;
use super::json::{Object, Truth};
use crate::key::End;
use crate::metrics::Session;

/// State bits of flows.
mod bit {
    pub const SYN: u16 = 0x0002;
    pub const SYN_ACK: u16 = 0x0004;
    pub const HANDSHAKE: u16 = 0x0008;
    pub const FIN: u16 = 0x0040;
    pub const RST: u16 = 0x0080;
    pub const TERMINATED: u16 = 0x0800;
}

const TCP: u8 = 6;

/// The objects of an event.
pub(super) fn write(item: &FlowItem, client: End, proto: Option<u8>, alerted: Truth, object: &mut Object<'_>) {
    let flow = &item.flow;
    let [to_server, to_client] = if client == End::A { [0, 1] } else { [1, 0] };
    let state = state_of(item, proto);
    object.object("flow", |object| {
        object.count("pkts_toserver", flow.packets[to_server]);
        object.count("pkts_toclient", flow.packets[to_client]);
        object.count("bytes_toserver", flow.bytes[to_server]);
        object.count("bytes_toclient", flow.bytes[to_client]);
        object.raw("start", |out| push_timestamp(out, flow.start));
        object.raw("end", |out| push_timestamp(out, flow.end));
        object.count("age", flow.end.since(flow.start).as_secs());
        object.text("state", state.as_bytes());
        object.text("reason", reason(flow.reason).as_bytes());
        object.flag("alerted", alerted);
    });
    if !flow.tags.is_empty() {
        object.object("plugin", |object| object.texts("tags", flow.tags.split(|&byte| byte == b'|')));
    }
    if proto == Some(TCP) {
        object.object("tcp", |object| {
            let has = |bits: u16| flow.state & bits != 0;
            for (name, seen) in [
                ("syn", has(bit::SYN)),
                ("fin", has(bit::FIN)),
                ("rst", has(bit::RST)),
                ("ack", has_acknowledged(flow)),
            ] {
                if seen {
                    object.flag(name, Truth::Yes);
                }
            }
            let state = match () {
                () if has(bit::TERMINATED | bit::RST) => "closed",
                () if has(bit::FIN) => "fin_wait1",
                () if has(bit::HANDSHAKE) || !has(bit::SYN) => "established",
                () if has(bit::SYN_ACK) => "syn_recv",
                () => "syn_sent",
            };
            object.text("state", state.as_bytes());
        });
    }
}

/// Whether a segment must have carried ACK, as all do but a SYN that opens and a reset of one that has it (RFC 9293, 3.10.7).
/// One hint is not enough: what goes one way without payload may be a scan that minds no rules, and a SYN may have payload
/// itself (RFC 7413).
fn has_acknowledged(flow: &Session) -> bool {
    let has = |bits: u16| flow.state & bits != 0;
    let is_answered = flow.packets.iter().all(|packets| *packets > 0);
    let is_data = flow.payload.iter().any(|bytes| *bytes > 0);
    let is_more_than_a_syn = !has(bit::SYN) || has(bit::FIN | bit::RST);
    let hints = [is_answered, is_data, is_more_than_a_syn].into_iter().filter(|hint| *hint).count();
    has(bit::SYN_ACK | bit::HANDSHAKE) || hints >= 2
}

fn state_of(item: &FlowItem, proto: Option<u8>) -> &'static str {
    let flow = &item.flow;
    if proto == Some(TCP) {
        return match flow.state {
            state if state & (bit::TERMINATED | bit::RST) != 0 => "closed",
            state if state & bit::HANDSHAKE != 0 || state & bit::SYN == 0 => "established",
            _ => "new",
        };
    }
    if flow.packets.iter().all(|packets| *packets > 0) { "established" } else { "new" }
}

/// The schema has few reasons: a connection that was closed is one that is told of when its time is over.
fn reason(name: &str) -> &'static str {
    match name {
        "end" => "shutdown",
        "evicted" | "script" => "forced",
        _ => "timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::{TCP, bit, write};
    use crate::key::End;
    use crate::metrics::{FlowFacts, Session};
    use crate::sink::eve::FlowItem;
    use crate::sink::eve::json::{Object, Truth};
    use crate::time::Timestamp;

    /// What an event says of ACK in a flow with these state bits, packets of both ends and payload of A.
    fn ack(state: u16, packets: [u64; 2], payload: u64) -> Option<bool> {
        let flow = Session { state, packets, payload: [payload, 0], ..Session::default() };
        let item = FlowItem { time: Timestamp::EPOCH, flow, tuple: None, facts: FlowFacts::default() };
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        write(&item, End::A, Some(TCP), Truth::No, &mut object);
        object.end();
        serde_json::from_slice::<serde_json::Value>(&out).unwrap()["tcp"]["ack"].as_bool()
    }

    #[test]
    fn ack_is_told_of_where_a_segment_must_have_had_it() {
        assert_eq!(ack(bit::SYN | bit::SYN_ACK, [1, 1], 0), Some(true));
        assert_eq!(ack(bit::SYN | bit::SYN_ACK | bit::HANDSHAKE | bit::FIN | bit::TERMINATED, [5, 4], 90), Some(true));
        // A port that is closed.
        assert_eq!(ack(bit::SYN | bit::RST, [1, 1], 0), Some(true));
        // Seen from the middle on, and one way only.
        assert_eq!(ack(0, [3, 2], 0), Some(true));
        assert_eq!(ack(0, [3, 0], 90), Some(true));
        assert_eq!(ack(bit::SYN | bit::FIN, [4, 0], 90), Some(true));
        // A SYN without an answer, its bytes included; a lone reset; a FIN that tries a port.
        for (state, payload) in [(bit::SYN, 0), (bit::SYN, 90), (bit::RST, 0), (bit::FIN, 0)] {
            assert_eq!(ack(state, [2, 0], payload), None, "{state:#x} {payload}");
        }
    }
}
