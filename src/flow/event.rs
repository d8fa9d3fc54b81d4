//! What happens to flows, in the order of the packets that lead to it.

use super::Flow;
use crate::packet::Batch;
use crate::time::Timestamp;

/// A flow of the table. Slots are used again, generations are not: a handle of a flow that is gone finds nothing.
/// Generations count the flows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowHandle {
    /// Place in the table; dense, so that other stages can keep state in a vector beside it.
    pub slot: u32,
    /// Tells the flows apart that used the slot.
    pub generation: u32,
}

/// Which way bytes of a flow go. The client is the sender of the first SYN, else of the first packet; the sender of a
/// SYN-ACK that comes first is the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// The opposite one.
    #[inline]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 to the server, 1 to the client: an index for pairs of things.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

/// Whether the end that counts as the client is the one that asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roles {
    /// It is, as far as is known.
    #[default]
    Known,
    /// It is not: nobody saw a SYN, and the server sent the first packet seen.
    Turned,
}

impl Roles {
    /// What a direction is to those who speak.
    #[inline]
    #[must_use]
    pub const fn of(self, direction: Direction) -> Direction {
        match self {
            Self::Known => direction,
            Self::Turned => direction.other(),
        }
    }
}

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Both FINs were acknowledged.
    Fin,
    /// A valid RST.
    Rst,
    /// Nothing was seen for the idle timeout of its kind.
    Idle,
    /// It lasted longer than a flow may.
    Age,
    /// Its place in a full table was needed.
    Evicted,
    /// The input ended.
    End,
    /// A script said so.
    Script,
}

impl EndReason {
    /// The word in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Evicted => "evicted",
            Self::End => "end",
            Self::Script => "script",
        }
    }
}

/// Where bytes of an event lie: in the batch, or, if they came in fragments or had to wait for others, in the list of
/// events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// Range of [`Batch::bytes`].
    Packet {
        /// Offset.
        at: u32,
        /// Length.
        len: u32,
    },
    /// Range of the bytes the event list holds.
    Held {
        /// Offset.
        at: u32,
        /// Length.
        len: u32,
    },
    /// All of a piece that the event list keeps.
    Kept {
        /// Which one.
        piece: u32,
    },
}

impl Bytes {
    /// Some of them; of pieces that are kept, all.
    #[inline]
    pub(super) const fn part(self, from: u32, len: u32) -> Self {
        match self {
            Self::Packet { at, .. } => Self::Packet { at: at + from, len },
            Self::Held { at, .. } => Self::Held { at: at + from, len },
            Self::Kept { piece } => Self::Kept { piece },
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Happening {
    /// The first packet of a flow; first event of every flow.
    New,
    /// Payload of a packet of a flow without streams (anything but TCP); never empty.
    Datagram {
        /// Which way it goes.
        direction: Direction,
        /// The payload, as far as it was captured.
        bytes: Bytes,
    },
    /// The next bytes of a stream: one event per segment, in order, every byte once; never empty.
    Payload {
        /// Which stream.
        direction: Direction,
        /// Offset of the first byte in the stream.
        position: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Bytes of a stream that will never come; the next payload starts behind them.
    Gap {
        /// Which stream.
        direction: Direction,
        /// Offset of the first missing byte.
        position: u64,
        /// How many are missing.
        missing: u64,
    },
    /// The round trip time of the TCP handshake; once per flow.
    RoundTrip {
        /// Microseconds.
        micros: u64,
    },
    /// A segment with bytes that were seen before.
    Retransmission {
        /// Which stream.
        direction: Direction,
    },
    /// Last event of every flow.
    End {
        /// Why.
        reason: EndReason,
    },
}

/// One thing that happened to one flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowEvent {
    /// Index in the batch of the packet that led to it. Time-outs stand in front of the packet whose time made them due;
    /// [`FlowEvents::NO_PACKET`] when no packet did.
    pub packet: u32,
    /// The flow. It stays in the table, ended or not, until the stages are done with the batch.
    pub flow: FlowHandle,
    /// Packet time.
    pub time: Timestamp,
    /// What happened.
    pub what: Happening,
}

/// The events of one batch and the bytes that are in none of its packets.
#[derive(Debug, Default)]
pub struct FlowEvents {
    list: Vec<FlowEvent>,
    held: Vec<u8>,
    kept: Vec<Box<[u8]>>,
}

impl FlowEvents {
    /// Packet of an event that no packet led to.
    pub const NO_PACKET: u32 = u32::MAX;

    /// All events, in order.
    #[must_use]
    pub fn list(&self) -> &[FlowEvent] {
        &self.list
    }

    /// The bytes of an event.
    #[inline]
    #[must_use]
    pub fn bytes<'a>(&'a self, batch: &'a Batch, bytes: Bytes) -> &'a [u8] {
        match bytes {
            Bytes::Packet { at, len } => &batch.bytes()[at as usize..][..len as usize],
            Bytes::Held { at, len } => &self.held[at as usize..][..len as usize],
            Bytes::Kept { piece } => &self.kept[piece as usize],
        }
    }

    /// Adds an event.
    #[inline]
    pub fn push(&mut self, event: FlowEvent) {
        self.list.push(event);
    }

    /// Takes bytes in that are in no packet of the batch.
    pub fn hold(&mut self, bytes: &[u8]) -> Bytes {
        let at = self.held.len() as u32;
        self.held.extend_from_slice(bytes);
        Bytes::Held { at, len: bytes.len() as u32 }
    }

    /// The same with bytes that somebody has kept; they stay where they are.
    pub(super) fn keep(&mut self, bytes: Box<[u8]>) -> Bytes {
        self.kept.push(bytes);
        Bytes::Kept { piece: self.kept.len() as u32 - 1 }
    }

    /// Forgets everything but the room, of which a burst may have taken more than is good to keep.
    pub fn clear(&mut self) {
        self.list.clear();
        self.list.shrink_to(1 << 16);
        self.held.clear();
        self.held.shrink_to(4 << 20);
        self.kept.clear();
        self.kept.shrink_to(1 << 16);
    }
}

/// The flow of one packet of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFlow {
    /// The flow.
    pub flow: FlowHandle,
    /// Which way the packet goes.
    pub direction: Direction,
    /// Which end sent it.
    pub sender: crate::key::End,
}

/// What is asked of the flow stage; what nobody asks for is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowWants {
    /// Flow records at all: counters, states, [`Happening::New`] and [`Happening::End`].
    pub records: Want,
    /// Streams of TCP flows: [`Happening::Payload`] and [`Happening::Gap`].
    pub streams: Want,
    /// Payload of other flows.
    pub datagrams: Want,
}

impl FlowWants {
    /// What either asks for.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            records: self.records | other.records,
            streams: self.streams | other.streams,
            datagrams: self.datagrams | other.datagrams,
        }
    }

    /// Whether payload of any flow is asked for.
    #[must_use]
    pub const fn has_payload(&self) -> bool {
        self.streams.is_yes() || self.datagrams.is_yes()
    }
}

/// Whether something is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// By nobody.
    #[default]
    No,
    /// By somebody.
    Yes,
}

impl Want {
    /// True if somebody asks for it.
    #[inline]
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

impl std::ops::BitOr for Want {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.max(other)
    }
}

impl From<bool> for Want {
    fn from(wanted: bool) -> Self {
        if wanted { Self::Yes } else { Self::No }
    }
}

/// State bits of a flow, as the contract numbers them.
pub mod state {
    /// Always set.
    pub const INIT: u16 = 0x0001;
    /// A SYN was seen.
    pub const SEEN_SYN: u16 = 0x0002;
    /// A SYN-ACK was seen.
    pub const SEEN_SYN_ACK: u16 = 0x0004;
    /// The handshake was completed.
    pub const SEEN_SYN_ACK_ACK: u16 = 0x0008;
    /// The A end is the server.
    pub const A_END_SERVER: u16 = 0x0010;
    /// The Z end is the server.
    pub const Z_END_SERVER: u16 = 0x0020;
    /// A FIN was seen.
    pub const SEEN_FIN: u16 = 0x0040;
    /// A valid RST was seen.
    pub const SEEN_RST: u16 = 0x0080;
    /// Ended by a timeout.
    pub const TIMEDOUT: u16 = 0x0100;
    /// Evicted.
    pub const ERROR: u16 = 0x0200;
    /// One direction did not close.
    pub const INCOMPLETE: u16 = 0x0400;
    /// Properly ended.
    pub const TERMINATED: u16 = 0x0800;
}

/// Access to flows by handle: what stages behind the flow stage read.
pub trait FlowLookup {
    /// The flow, unless it is gone.
    fn flow(&self, handle: FlowHandle) -> Option<&Flow>;

    /// Asks the memory for a flow that is looked up soon.
    fn prefetch(&self, _handle: FlowHandle) {}
}
