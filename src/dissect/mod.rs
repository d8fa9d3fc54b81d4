//! Takes application protocols apart: stream bytes and datagrams in, attributes, resources, documents and contents out.
//!
//! Knows flows, nothing of scripts or outputs. Runs on the engine thread over the flow events of a batch. Invariants: no
//! input panics; memory per flow and per event is bounded, and what a bound cuts off is counted; what nobody asks for is
//! not run.
//!
//! Decompression, hashes, ciphers, DER and PEM are libraries'. The readers of messages are our own: those of libraries take a
//! whole message that lies in one piece and refuse it where one field is wrong, and most make values of all of its fields.
//! Here messages come in segments with holes, what stands before the damage counts, and a field is read when somebody
//! asks for it. Tests hold them against such libraries and other programs (`httparse`, openssl, tshark).

mod attribute_kinds;
mod dhcp;
mod dissector;
mod dns;
mod driver;
mod expected;
mod file_hash;
mod finding;
mod ftp;
mod ftp_data;
pub mod http;
mod lines;
mod mime;
mod protocols;
pub mod quic;
mod recogniser;
#[cfg(test)]
mod rehearsal;
mod slots;
mod smtp;
mod ssh;
mod timers;
pub mod tls;
mod turned;
pub mod x509;

pub use attribute_kinds::AttributeKinds;
pub use dissector::{Appetite, Context, Counts, DatagramDissector, Expectation, Recognition, StreamDissector};
pub use dns::{DnsLine, DnsOutline, DnsSection};
pub use driver::Dissectors;
pub use finding::{
    DissectWants, DocumentKind, Finding, FindingKind, Findings, Protocol, ResourceKind, Text, Transaction, Unwanted,
};
