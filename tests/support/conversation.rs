//! TCP conversations made by hand: sequence numbers and times are kept, everything else is up to the test.

use super::Capture;
use super::frames::{ACK, FIN, PSH, RST, SYN, ether, ipv4};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client = 0,
    Server = 1,
}

use Side::{Client, Server};

/// One connection between 10.0.0.5 and 10.0.0.9; a packet every ten milliseconds from second 100 on.
#[derive(Clone, Debug)]
pub struct Conversation {
    ports: (u16, u16),
    next: [u32; 2],
    millis: u32,
    capture: Capture,
}

impl Conversation {
    /// Before the first packet.
    pub fn new(client_port: u16, server_port: u16) -> Self {
        Self { ports: (client_port, server_port), next: [1_000, 50_000], millis: 100_000, capture: Capture::new() }
    }

    /// A connection that is established.
    pub fn open(client_port: u16, server_port: u16) -> Self {
        Self::new(client_port, server_port).flags(Client, SYN).flags(Server, SYN | ACK).flags(Client, ACK)
    }

    /// Goes on with another connection in the same capture.
    pub fn then(mut self, client_port: u16, server_port: u16) -> Self {
        self.ports = (client_port, server_port);
        self.next = [1_000, 50_000];
        self.flags(Client, SYN).flags(Server, SYN | ACK).flags(Client, ACK)
    }

    /// Goes on with an earlier connection, in which nothing was said so far.
    pub fn again(mut self, client_port: u16, server_port: u16) -> Self {
        self.ports = (client_port, server_port);
        self.next = [1_001, 50_001];
        self
    }

    /// Lets time pass.
    pub fn wait(mut self, secs: u32) -> Self {
        self.millis += secs * 1_000;
        self
    }

    /// A segment without data.
    pub fn flags(mut self, from: Side, flags: u8) -> Self {
        let at = self.next[from as usize];
        if flags & (SYN | FIN) != 0 {
            self.next[from as usize] += 1;
        }
        self.segment(from, at, flags, b"")
    }

    /// The next data.
    pub fn says(mut self, from: Side, data: &[u8]) -> Self {
        let at = self.next[from as usize];
        self.next[from as usize] += data.len() as u32;
        self.segment(from, at, PSH | ACK, data)
    }

    /// The next data from the client.
    pub fn client(self, data: &[u8]) -> Self {
        self.says(Client, data)
    }

    /// The next data from the server.
    pub fn server(self, data: &[u8]) -> Self {
        self.says(Server, data)
    }

    /// Data at `offset` bytes beyond what was sent, which goes on from there.
    pub fn ahead(self, from: Side, offset: u32, data: &[u8]) -> Self {
        let at = self.next[from as usize].wrapping_add(offset);
        self.segment(from, at, PSH | ACK, data)
    }

    /// Says that `count` bytes sent with [`Conversation::ahead`] count as sent.
    pub fn sent(mut self, from: Side, count: u32) -> Self {
        self.next[from as usize] += count;
        self
    }

    /// Both sides close.
    pub fn close(self) -> Self {
        self.flags(Client, FIN | ACK).flags(Server, FIN | ACK).flags(Client, ACK)
    }

    /// The client resets.
    pub fn reset(self) -> Self {
        self.flags(Client, RST | ACK)
    }

    /// Adds any other frame.
    pub fn frame(mut self, frame: Vec<u8>) -> Self {
        self.millis += 10;
        let (secs, micros) = (self.millis / 1_000, self.millis % 1_000 * 1_000);
        self.capture = self.capture.at_micros(secs, micros, frame);
        self
    }

    fn segment(self, from: Side, seq: u32, flags: u8, data: &[u8]) -> Self {
        let (client, server) = self.ports;
        let (ports, source, destination) = match from {
            Client => ((client, server), "10.0.0.5", "10.0.0.9"),
            Server => ((server, client), "10.0.0.9", "10.0.0.5"),
        };
        let ack = if flags & ACK == 0 { 0 } else { self.next[1 - from as usize] };
        let head =
            [&ports.0.to_be_bytes()[..], &ports.1.to_be_bytes(), &seq.to_be_bytes(), &ack.to_be_bytes()].concat();
        let segment = [&head[..], &[0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0], data].concat();
        self.frame(ether(&ipv4(source, destination, 6, &segment)))
    }

    /// The capture.
    pub fn capture(self) -> Capture {
        self.capture
    }
}
