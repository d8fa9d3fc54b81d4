//! What protocol events are made from: pieces of protocols as they went by.

use crate::key::{End, FlowTuple};

/// Something that was seen in a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The flow.
    pub flow: FlowTuple,
    /// Which end of it is the client.
    pub client: End,
    /// What was seen.
    pub seen: Seen,
}

/// What is missing of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nothing.
    #[default]
    Whole,
    /// Its end.
    Cut,
    /// Something in the middle.
    Gaps,
}

/// An HTTP message is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpBodyEnd {
    /// Number of the exchange within its engine.
    pub exchange: u64,
    /// Who sent it.
    pub sender: End,
    /// Bytes of its body, without transfer encoding.
    pub length: u64,
    /// What is missing.
    pub extent: Extent,
}

/// A file that was hashed as it went by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenFile {
    /// Its name as the protocol gives it.
    pub name: Vec<u8>,
    /// Bytes.
    pub length: u64,
    /// Its hash.
    pub md5: [u8; 16],
    /// Number of what it was a part of, a message in mail, within its flow, from 0.
    pub place: u64,
}

/// A piece of a protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The flow speaks a protocol.
    Protocol(&'static str),
    /// A flow attribute of TLS or SSH: name and value.
    Attribute(Vec<u8>, Vec<u8>),
    /// The text that JA3 (of the client) or JA3S is the hash of, and whose it is.
    FingerprintText(End, Vec<u8>),
    /// The certificate that a server shows, as DER.
    Certificate(Vec<u8>),
    /// The header of an HTTP message, as on the wire.
    HttpHeader {
        /// Number of the exchange within its engine.
        exchange: u64,
        /// Who sent it.
        sender: End,
        /// The block.
        block: Vec<u8>,
    },
    /// An HTTP message is over.
    HttpEnd(HttpBodyEnd),
    /// A DNS message as on the wire, and who sent it.
    Dns(End, Vec<u8>),
    /// A file.
    File(Box<SeenFile>),
}

impl Sighting {
    /// Bytes it holds beyond its own size.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.seen {
            Seen::Protocol(_) | Seen::HttpEnd(_) => 0,
            Seen::Attribute(name, value) => name.len() + value.len(),
            Seen::Certificate(bytes)
            | Seen::HttpHeader { block: bytes, .. }
            | Seen::Dns(_, bytes)
            | Seen::FingerprintText(_, bytes) => bytes.len(),
            Seen::File(file) => file.name.len(),
        }
    }
}
