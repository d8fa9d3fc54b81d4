//! Text and binary forms of keys: hosts, ports, MAC addresses, flow ids. Exact, because scripts cut and compare them.
//! And which hosts are inside.
//!
//! Knows nothing of packets, groups or Lua. Everything here is a plain value: no clock, no state, and but for the list of
//! home networks no allocation.
//! Invariant: a key made here is ASCII with upper-case hexadecimal digits, and [`BinaryKey`] and its text determine each
//! other.

mod binary;
mod flow_text;
mod hex;
mod host;
mod inline;
mod network;
mod tuple;

pub use binary::{BinaryKey, KeyKind, canonical};
pub use flow_text::{FlowLine, FlowText, protocol_name};
pub use host::{Host, mac_key, parse_mac, parse_port, port_key};
pub use inline::{Inline, KeyText};
pub use network::{HomeNets, Network, NetworkError, mask_v4};
pub use tuple::{End, FlowIdText, FlowTuple, IpVersion, has_ports};
