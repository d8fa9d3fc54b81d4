//! What is known of one flow.

use super::event::{Direction, state};
use crate::key::{End, FlowTuple};
use crate::time::Timestamp;

/// One flow of the table: identity, counters, state. What few flows have (tags, streams) is kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Identity.
    pub tuple: FlowTuple,
    /// Time of its first packet.
    pub first: Timestamp,
    /// Time of its last packet.
    pub last: Timestamp,
    /// Wire bytes sent by A and by Z.
    pub bytes: [u64; 2],
    /// Packets sent by A and by Z.
    pub packets: [u64; 2],
    /// Transport payload bytes sent by A and by Z.
    pub payload: [u64; 2],
    /// Handshake round trip, microseconds; 0 if unknown.
    pub setup_rtt: u32,
    /// Retransmitted segments.
    pub retransmissions: u32,
    /// Bits of [`state`].
    pub state: u16,
}

impl Flow {
    /// The end that is the client.
    #[inline]
    #[must_use]
    pub const fn client(&self) -> End {
        if self.state & state::A_END_SERVER != 0 { End::Z } else { End::A }
    }

    /// Which way packets of an end go.
    #[inline]
    #[must_use]
    pub fn direction_of(&self, sender: End) -> Direction {
        if sender == self.client() { Direction::ToServer } else { Direction::ToClient }
    }
}
