//! QUIC in one flow.

use super::crypto_stream::{CryptoStream, Inserted};
use super::frame::next_crypto;
use super::keys::{Keys, Sender};
use super::packet::{Packet, next};
use super::version::{Kind, Version};
use crate::dissect::tls::{ClientHello, Cursor, ServerHello, Transport, report_client_hello, report_server_hello};
use crate::dissect::{Appetite, Context, DatagramDissector};
use crate::flow::Direction;

/// Datagrams of a flow that are looked at. Hellos come in the first few.
const MAX_DATAGRAMS: u16 = 64;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Takes QUIC apart until both hellos are found. Which side is the client is read from whose packets open.
#[derive(Debug, Default)]
pub struct Quic {
    connection: Option<Connection>,
    datagrams: u16,
    client_hello: Seen,
    server_hello: Seen,
    /// Packets without their protection.
    room: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    No,
    Yes,
}

/// What is known once a packet of the client has been opened.
#[derive(Debug)]
struct Connection {
    version: Version,
    /// Which way the client sends.
    from_client: Direction,
    client: Side,
    server: Side,
}

#[derive(Debug)]
struct Side {
    keys: Keys,
    stream: CryptoStream,
    /// Bytes of the stream that messages have been read from.
    read: usize,
}

/// An Initial packet.
#[derive(Clone, Copy)]
struct Initial<'a> {
    version: Version,
    destination: &'a [u8],
    whole: &'a [u8],
    number_at: usize,
}

impl Side {
    fn new(keys: Keys) -> Self {
        Self { keys, stream: CryptoStream::default(), read: 0 }
    }

    /// Type and body of the next complete message.
    fn message(&mut self) -> Option<(u8, &[u8])> {
        let mut cursor = Cursor::new(self.stream.contiguous().get(self.read..)?);
        let before = cursor.rest().len();
        let (kind, body) = (cursor.number8()?, cursor.vector24()?);
        self.read += before - cursor.rest().len();
        Some((kind, body))
    }
}

impl Quic {
    /// For a new flow.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn initial(&mut self, cx: &mut Context<'_>, direction: Direction, packet: Initial<'_>) {
        if let Some(connection) = self.connection.as_mut().filter(|connection| connection.version == packet.version) {
            let side = connection.side(direction);
            if let Some(body) = side.keys.open(packet.whole, packet.number_at, &mut self.room) {
                collect(cx, side, body);
                self.messages(cx, direction);
                return;
            }
        }
        // A first packet, or one that answers a retry or a list of versions: its own id gives the keys, and the
        // handshake starts again.
        if self.server_hello == Seen::No
            && let Some(mut client) = Keys::derive(packet.version, packet.destination, Sender::Client)
            && let Some(server) = Keys::derive(packet.version, packet.destination, Sender::Server)
            && let Some(body) = client.open(packet.whole, packet.number_at, &mut self.room)
        {
            let mut client = Side::new(client);
            cx.asks(direction);
            collect(cx, &mut client, body);
            let (version, server) = (packet.version, Side::new(server));
            self.connection = Some(Connection { version, from_client: direction, client, server });
            self.messages(cx, direction);
            return;
        }
        cx.counts.add("quic_initial_not_opened");
    }

    fn messages(&mut self, cx: &mut Context<'_>, direction: Direction) {
        let Some(connection) = &mut self.connection else { return };
        let version = connection.version;
        let side = connection.side(direction);
        while let Some((kind, body)) = side.message() {
            match kind {
                CLIENT_HELLO if self.client_hello == Seen::No => match ClientHello::parse(body) {
                    Some(hello) => {
                        self.client_hello = Seen::Yes;
                        cx.attribute("QUIC:VERSION", version.name().as_bytes());
                        report_client_hello(cx, &hello, Transport::Quic);
                    }
                    None => cx.counts.add("quic_hello_unreadable"),
                },
                SERVER_HELLO if self.server_hello == Seen::No => match ServerHello::parse(body) {
                    Some(hello) if hello.is_retry() => {}
                    Some(hello) => {
                        self.server_hello = Seen::Yes;
                        report_server_hello(cx, &hello, Transport::Quic);
                    }
                    None => cx.counts.add("quic_hello_unreadable"),
                },
                _ => {}
            }
        }
    }
}

impl Connection {
    fn side(&mut self, direction: Direction) -> &mut Side {
        if direction == self.from_client { &mut self.client } else { &mut self.server }
    }
}

fn collect(cx: &mut Context<'_>, side: &mut Side, body: &[u8]) {
    let mut cursor = Cursor::new(body);
    while let Some(crypto) = next_crypto(&mut cursor) {
        if side.stream.insert(crypto.offset, crypto.bytes) == Inserted::OverLimit {
            cx.counts.add("quic_crypto_over_limit");
        }
    }
}

impl DatagramDissector for Quic {
    fn datagram(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> Appetite {
        let mut rest = bytes;
        while let Some(packet) = next(&mut rest) {
            if let Packet::Long { version, kind: Kind::Initial, destination, whole, number_at } = packet {
                self.initial(cx, direction, Initial { version, destination, whole, number_at });
            }
        }
        self.datagrams = self.datagrams.saturating_add(1);
        let found = self.client_hello == Seen::Yes && self.server_hello == Seen::Yes;
        if found || self.datagrams >= MAX_DATAGRAMS { Appetite::Done } else { Appetite::More }
    }

    fn end(&mut self, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        let streams = self.connection.iter().flat_map(|connection| [&connection.client, &connection.server]);
        self.room.capacity() + streams.map(|side| side.stream.held() + size_of::<Side>()).sum::<usize>()
    }
}
