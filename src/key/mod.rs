//! Text and binary forms of keys: hosts, ports, MAC addresses, flow ids. Exact, because scripts cut and compare them.
//!
//! Knows nothing of packets, groups or Lua. Everything here is a plain value: no allocation, no clock, no state.
//! Invariant: a key made here is ASCII with upper-case hexadecimal digits, and [`BinaryKey`] and its text determine each
//! other.

mod binary;
mod flow_text;
mod hex;
mod host;
mod inline;
mod tuple;

pub use binary::{BinaryKey, KeyKind, canonical};
pub use flow_text::{FlowLine, FlowText, protocol_name};
pub use host::{Host, mac_key, parse_mac, parse_port, port_key};
pub use inline::{Inline, KeyText};
pub use tuple::{End, FlowIdText, FlowTuple, IpVersion, has_ports};
