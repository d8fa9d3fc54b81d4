//! What is known of one flow.

use super::event::{Direction, Roles, state};
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
    /// Bits of [`state`] and, above them, some of the table's own; [`Flow::shown_state`] is what others are told.
    pub state: u16,
}

/// Bits of [`Flow::state`] that nobody else is told of.
pub(super) mod own {
    /// The client is the end that the bits of the contract call the server: nobody saw a SYN, and the server is a guess.
    pub const CLIENT_SWAPPED: u16 = 0x8000;
    /// TCP that is more than an attempt to connect.
    pub const ESTABLISHED: u16 = 0x4000;
    /// Its last event is out.
    pub const ENDED: u16 = 0x2000;
    /// There is a connection for it; without one, TCP is a SYN that nobody answered.
    pub const CONNECTION: u16 = 0x1000;
    /// Nothing shows that the client is the one who answers. Lies where others are told of a bit that is always set.
    pub const AS_SEEN: u16 = super::state::INIT;
    /// All of them.
    pub const ALL: u16 = 0xF000 | AS_SEEN;
}

impl Flow {
    /// A flow before its first packet is counted. The Z end is taken for the server.
    #[must_use]
    pub const fn new(tuple: FlowTuple, first: Timestamp) -> Self {
        Self {
            tuple,
            first,
            last: first,
            bytes: [0; 2],
            packets: [0; 2],
            payload: [0; 2],
            setup_rtt: 0,
            retransmissions: 0,
            state: state::INIT | state::Z_END_SERVER,
        }
    }

    /// The state as the contract numbers it.
    #[inline]
    #[must_use]
    pub const fn shown_state(&self) -> u16 {
        self.state & !own::ALL | state::INIT
    }

    /// The end that is the server by the state bits: the receiver of the SYN, or else the Z end.
    #[inline]
    #[must_use]
    pub const fn server(&self) -> End {
        if self.state & state::A_END_SERVER != 0 { End::A } else { End::Z }
    }

    /// The end that is the client: the sender of the first SYN, or else of the first packet. Without a SYN it may be the
    /// very end that [`Flow::server`] guesses to be the server.
    #[inline]
    #[must_use]
    pub const fn client(&self) -> End {
        if self.state & own::CLIENT_SWAPPED != 0 { self.server() } else { self.server().other() }
    }

    /// Whether the client is the one who asks.
    #[inline]
    #[must_use]
    pub const fn roles(&self) -> Roles {
        if self.state & own::AS_SEEN != 0 { Roles::Known } else { Roles::Turned }
    }

    /// The end that asks: the client, unless nobody saw a SYN and what the flow carries tells otherwise. Directions are
    /// those of [`Flow::client`] all the same.
    #[inline]
    #[must_use]
    pub const fn asker(&self) -> End {
        match self.roles() {
            Roles::Known => self.client(),
            Roles::Turned => self.client().other(),
        }
    }

    /// Whether the flow was seen from its beginning, which tells who is the client.
    #[inline]
    #[must_use]
    pub const fn saw_syn(&self) -> bool {
        self.has(state::SEEN_SYN | state::SEEN_SYN_ACK)
    }

    /// What the flow carries shows that the client answers. A SYN tells better.
    pub const fn turn(&mut self) {
        if !self.saw_syn() {
            self.state &= !own::AS_SEEN;
        }
    }

    /// Which way packets of an end go.
    #[inline]
    #[must_use]
    pub fn direction_of(&self, sender: End) -> Direction {
        if sender == self.client() { Direction::ToServer } else { Direction::ToClient }
    }

    /// Somebody is known to have been sent the SYN.
    pub(super) const fn set_server(&mut self, server: End) {
        self.state &= !(own::CLIENT_SWAPPED | state::A_END_SERVER | state::Z_END_SERVER);
        self.state |= own::AS_SEEN
            | match server {
                End::A => state::A_END_SERVER,
                End::Z => state::Z_END_SERVER,
            };
    }

    /// Names the client without touching the guess who is the server.
    pub(super) fn set_client(&mut self, client: End) {
        self.state &= !own::CLIENT_SWAPPED;
        if client == self.server() {
            self.state |= own::CLIENT_SWAPPED;
        }
    }

    #[inline]
    pub(super) const fn has(&self, bits: u16) -> bool {
        self.state & bits != 0
    }

    /// Packets of both directions.
    #[inline]
    pub(super) const fn all_packets(&self) -> u64 {
        self.packets[0].saturating_add(self.packets[1])
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Flow, Roles, state};
    use crate::key::{End, FlowTuple};
    use crate::time::Timestamp;

    #[test]
    fn a_flow_that_is_turned_keeps_its_directions_and_its_state() {
        let (tuple, sender) = FlowTuple::v4(6, [10, 0, 0, 1], [10, 0, 0, 2], 80, 50_000);
        let mut flow = Flow::new(tuple, Timestamp::EPOCH);
        flow.set_client(sender);
        let before = flow.shown_state();
        assert_eq!((flow.client(), flow.asker(), flow.roles()), (End::Z, End::Z, Roles::Known));
        flow.turn();
        flow.turn();
        assert_eq!((flow.client(), flow.asker(), flow.roles()), (End::Z, End::A, Roles::Turned));
        assert_eq!((flow.direction_of(End::Z), flow.shown_state()), (Direction::ToServer, before));
        // A SYN that comes late tells who asks, and nothing turns it.
        flow.state |= state::SEEN_SYN;
        flow.set_server(End::A);
        flow.turn();
        assert_eq!((flow.client(), flow.asker(), flow.roles()), (End::Z, End::Z, Roles::Known));
    }
}
