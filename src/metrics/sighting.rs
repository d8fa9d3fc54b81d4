//! What protocol events are made from: pieces of protocols as they went by.
//!
//! Their texts lie in a buffer beside them, one for many: there are several of them for every flow, and each would otherwise
//! be allocated by one thread and freed by another.

use crate::key::{End, FlowTuple};
use crate::time::Timestamp;

/// A stretch of the buffer that goes with sightings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    at: u32,
    len: u32,
}

impl Span {
    /// Takes bytes into a buffer.
    pub fn put(buffer: &mut Vec<u8>, bytes: &[u8]) -> Self {
        let at = buffer.len() as u32;
        buffer.extend_from_slice(bytes);
        Self { at, len: bytes.len() as u32 }
    }

    /// What was added to a buffer since it was so long.
    #[must_use]
    pub fn since(buffer: &[u8], from: usize) -> Self {
        Self { at: from as u32, len: (buffer.len() - from) as u32 }
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes; none if the buffer is another one.
    #[must_use]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        let at = self.at as usize;
        buffer.get(at..at + self.len as usize).unwrap_or_default()
    }

    /// Moves it to another buffer, behind what is there.
    pub fn carry(&mut self, from: &[u8], to: &mut Vec<u8>) {
        *self = Self::put(to, self.of(from));
    }
}

/// Something that was seen in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The flow.
    pub flow: FlowTuple,
    /// Which end of it is the client.
    pub client: End,
    /// Where its first packet came from: index of a file or an interface.
    pub origin: u16,
    /// What was seen.
    pub seen: Seen,
}

/// What is known of a flow besides its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFacts {
    /// The end that is the client.
    pub client: Option<End>,
    /// Where its first packet came from: index of a file or an interface.
    pub origin: Option<u16>,
    /// Type and code of the first message, of ICMP.
    pub icmp: Option<[u8; 2]>,
}

/// What a flow has counted up to some packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSoFar {
    /// Time of its first packet.
    pub start: Timestamp,
    /// Packets sent by A and by Z.
    pub packets: [u64; 2],
    /// Wire bytes sent by A and by Z.
    pub bytes: [u64; 2],
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenFile {
    /// Who sent it.
    pub sender: End,
    /// Its name as the protocol gives it.
    pub name: Span,
    /// Bytes.
    pub length: u64,
    /// Its hash.
    pub md5: [u8; 16],
    /// Number of what it was a part of, a message in mail, within its flow, from 0.
    pub place: u64,
}

/// A piece of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The flow speaks a protocol.
    Protocol(&'static str),
    /// A flow attribute of TLS, QUIC or SSH: name and value.
    Attribute(Span, Span),
    /// The text that JA3 (of the client), JA3S or HASSH is the hash of, and whose it is.
    FingerprintText(End, Span),
    /// The certificate that a server shows, as DER.
    Certificate(Span),
    /// The header of an HTTP message, as on the wire.
    HttpHeader {
        /// Number of the exchange within its engine.
        exchange: u64,
        /// Who sent it.
        sender: End,
        /// The block.
        block: Span,
    },
    /// An HTTP message is over.
    HttpEnd(HttpBodyEnd),
    /// A DNS message as on the wire.
    Dns(Span),
    /// A file.
    File(SeenFile),
}
