//! Flow events.

use super::formatter::push_timestamp;
use super::item::FlowItem;
use super::json::{Object, Truth};
use crate::key::End;

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
            for (name, bits) in [("syn", bit::SYN), ("fin", bit::FIN), ("rst", bit::RST), ("ack", bit::SYN_ACK)] {
                if has(bits) {
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
