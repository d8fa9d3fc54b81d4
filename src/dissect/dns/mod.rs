//! DNS over datagrams and over TCP: one resource per response or unanswered query, one document per message.
//!
//! Parses on its own, because every name can be hostile: labels, lengths and pointers are bounded, and what cannot be read
//! is shown as bytes. Names are text in the form of zone files: odd bytes are escaped, so no name holds white space.

mod data;
mod dissector;
mod kind;
mod message;
mod name;
mod outline;
mod pending;
mod text;

pub use outline::{DnsLine, DnsOutline, DnsSection};

pub(super) use dissector::{DnsDatagrams, DnsStream, recognise_datagram, recognise_stream};
