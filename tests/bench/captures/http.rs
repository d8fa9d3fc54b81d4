//! A capture of downloads over HTTP, made up with a fixed seed: several connections at a time, each with a few responses
//! of 10 kB to 5 MB, every fourth of them compressed.

use std::io::{self, Write as _};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Output;
use super::flows::Numbers;

/// Connections whose packets come by turns.
const AT_ONCE: usize = 12;
/// Most responses of a connection.
const MOST_RESPONSES: usize = 6;
/// Bounds of a body as it is after decoding.
const SMALLEST: f64 = 10e3;
const LARGEST: f64 = 5e6;
const SEGMENT: usize = 1_460;
/// Segments in a row of one connection, at most.
const BURST: usize = 12;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Which end sends.
#[derive(Clone, Copy)]
enum Sender {
    Client,
    Server,
}

/// A connection under way.
struct Connection {
    number: u32,
    /// Next sequence number of the client and of the server.
    next: [u32; 2],
    responses: usize,
    /// What the server is sending.
    response: Vec<u8>,
    sent: usize,
}

impl Connection {
    fn open(number: u32, numbers: &mut Numbers, output: &mut Output) -> io::Result<Self> {
        let responses = 1 + numbers.below(MOST_RESPONSES);
        let mut connection = Self { number, next: [0; 2], responses, response: Vec::new(), sent: 0 };
        connection.packet(Sender::Client, SYN, b"", output)?;
        connection.packet(Sender::Server, SYN | ACK, b"", output)?;
        connection.packet(Sender::Client, ACK, b"", output)?;
        Ok(connection)
    }

    /// Asks for the next file.
    fn ask(&mut self, body: &Body, output: &mut Output) -> io::Result<()> {
        self.responses -= 1;
        let host = self.number % 50;
        let request = format!("GET /files/{} HTTP/1.1\r\nHost: www{host}.example.com\r\n\r\n", body.name);
        self.packet(Sender::Client, PUSH | ACK, request.as_bytes(), output)?;
        let coding = if body.is_compressed { "Content-Encoding: gzip\r\n" } else { "" };
        let length = body.bytes.len();
        let head = format!("HTTP/1.1 200 OK\r\nServer: example\r\n{coding}Content-Length: {length}\r\n\r\n");
        self.response = [head.as_bytes(), &body.bytes].concat();
        self.sent = 0;
        Ok(())
    }

    /// Sends some segments of the response, and the client acknowledges them.
    fn answer(&mut self, count: usize, output: &mut Output) -> io::Result<()> {
        let response = std::mem::take(&mut self.response);
        for segment in response[self.sent..].chunks(SEGMENT).take(count) {
            self.packet(Sender::Server, ACK, segment, output)?;
            self.sent += segment.len();
        }
        self.response = response;
        self.packet(Sender::Client, ACK, b"", output)
    }

    fn is_answered(&self) -> bool {
        self.sent == self.response.len()
    }

    fn close(&mut self, output: &mut Output) -> io::Result<()> {
        self.packet(Sender::Client, FIN | ACK, b"", output)?;
        self.packet(Sender::Server, FIN | ACK, b"", output)?;
        self.packet(Sender::Client, ACK, b"", output)
    }

    fn packet(&mut self, sender: Sender, flags: u8, payload: &[u8], output: &mut Output) -> io::Result<()> {
        let [_, _, high, low] = self.number.to_be_bytes();
        let client = ([10, 3, high, low], 40_000 + (self.number % 20_000) as u16);
        let server = ([172, 21, 0, 1 + (self.number % 50) as u8], 80);
        let (own, source, destination) = match sender {
            Sender::Client => (0, client, server),
            Sender::Server => (1, server, client),
        };
        let mut frame = Vec::with_capacity(54 + payload.len());
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        frame.extend((40 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(source.0);
        frame.extend(destination.0);
        frame.extend(u16::to_be_bytes(source.1));
        frame.extend(u16::to_be_bytes(destination.1));
        frame.extend(self.next[own].to_be_bytes());
        frame.extend(self.next[1 - own].to_be_bytes());
        frame.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        frame.extend(payload);
        frame.resize(frame.len().max(60), 0);
        self.next[own] += payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        output.packet(&frame, 0)
    }
}

/// A file that is asked for.
struct Body {
    name: u32,
    bytes: Vec<u8>,
    is_compressed: bool,
}

impl Body {
    fn new(name: u32, numbers: &mut Numbers) -> io::Result<Self> {
        let part = numbers.below(1 << 20) as f64 / f64::from(1 << 20);
        let length = (SMALLEST * (LARGEST / SMALLEST).powf(part)) as usize;
        let is_compressed = name.is_multiple_of(4);
        let mut bytes = Vec::with_capacity(length + 16);
        if !is_compressed {
            while bytes.len() < length {
                bytes.extend((numbers.below(1 << 31) as u32).to_be_bytes());
            }
            bytes.truncate(length);
            return Ok(Self { name, bytes, is_compressed });
        }
        while bytes.len() < length {
            writeln!(bytes, "{} is what line {} of file {name} says", numbers.below(100_000), bytes.len())?;
        }
        bytes.truncate(length);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&bytes)?;
        Ok(Self { name, bytes: encoder.finish()?, is_compressed })
    }
}

/// Downloads until the capture has about `wanted` bytes.
pub fn downloads(path: &Path, wanted: u64) -> io::Result<()> {
    let mut output = Output::create(path)?;
    let mut numbers = Numbers(3);
    let (mut connections, mut files) = (0, 0);
    let mut open: Vec<Connection> = Vec::new();
    loop {
        let is_full = output.bytes >= wanted;
        if !is_full && open.len() < AT_ONCE {
            open.push(Connection::open(connections, &mut numbers, &mut output)?);
            connections += 1;
        }
        if open.is_empty() {
            break;
        }
        let place = numbers.below(open.len());
        let connection = &mut open[place];
        if !connection.is_answered() {
            connection.answer(1 + numbers.below(BURST), &mut output)?;
        } else if connection.responses > 0 && !is_full {
            files += 1;
            connection.ask(&Body::new(files, &mut numbers)?, &mut output)?;
        } else {
            connection.close(&mut output)?;
            open.swap_remove(place);
        }
    }
    output.finish(path)
}
