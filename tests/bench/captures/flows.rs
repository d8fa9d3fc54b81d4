//! Captures of many flows, made up from a counter: half of them TCP connections with a handshake and an end, half UDP.

use std::io;
use std::path::Path;

use super::Output;

/// Flows whose packets come by turns, at random.
const AT_ONCE: usize = 50_000;
/// Hosts that open flows, and hosts they go to.
const CLIENTS: u32 = 30_000;
const SERVERS: u32 = 4_000;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PUSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// The same numbers every time.
pub struct Numbers(pub u64);

impl Numbers {
    /// A number below a limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.0 >> 32) * limit as u64) >> 32) as usize
    }
}

/// Who sends a packet.
#[derive(Clone, Copy)]
enum Sender {
    Client,
    Server,
}

/// A flow under way.
#[derive(Clone, Copy)]
struct Flow {
    number: u32,
    sent: u32,
}

impl Flow {
    fn new(number: u32) -> Self {
        Self { number, sent: 0 }
    }

    fn is_tcp(self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// How many packets it has: seven for TCP, one to five for UDP.
    fn length(self) -> u32 {
        if self.is_tcp() { 7 } else { 1 + self.number / 2 % 5 }
    }

    /// The port it goes to: HTTP, TLS and others for TCP, DNS and another for UDP.
    fn service(self) -> u16 {
        const TCP: [u16; 4] = [80, 443, 443, 8_443];
        const UDP: [u16; 2] = [53, 40_001];
        let kind = (self.number / 10) as usize;
        if self.is_tcp() { TCP[kind % TCP.len()] } else { UDP[kind % UDP.len()] }
    }

    /// Writes its next packet into `frame`.
    fn next(&mut self, frame: &mut Vec<u8>) {
        let step = self.sent;
        self.sent += 1;
        let sender = if step.is_multiple_of(2) { Sender::Client } else { Sender::Server };
        let mut transport = Vec::with_capacity(64);
        if self.is_tcp() {
            self.segment(step, &mut transport);
            self.frame(6, sender, &transport, frame);
        } else {
            self.datagram(step, &mut transport);
            self.frame(17, sender, &transport, frame);
        }
    }

    /// TCP behind the ports: handshake, a request, a response, both ends.
    fn segment(self, step: u32, out: &mut Vec<u8>) {
        let http = self.service() == 80;
        let request = format!("GET /{:06} HTTP/1.1\r\n\r\n", self.number % 1_000_000);
        let request = if http { request.as_bytes() } else { &[0x5A; 30] };
        let response = if http { &b"HTTP/1.1 204 No Content\r\n\r\n"[..] } else { &[0xA5; 27] };
        let (asked, answered) = (1 + request.len() as u32, 1 + response.len() as u32);
        let (seq, ack, flags, payload): (u32, u32, u8, &[u8]) = match step {
            0 => (0, 0, SYN, b""),
            1 => (0, 1, SYN | ACK, b""),
            2 => (1, 1, PUSH | ACK, request),
            3 => (1, asked, PUSH | ACK, response),
            4 => (asked, answered, FIN | ACK, b""),
            5 => (answered, asked + 1, FIN | ACK, b""),
            _ => (asked + 1, answered + 1, ACK, b""),
        };
        out.extend(seq.to_be_bytes());
        out.extend(ack.to_be_bytes());
        out.extend([0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        out.extend(payload);
    }

    /// UDP behind the ports: questions and answers of DNS, or bytes that mean nothing.
    fn datagram(self, step: u32, out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(40);
        if self.service() == 53 {
            payload.extend((step as u16 / 2).to_be_bytes());
            payload.extend(if step.is_multiple_of(2) { [0x01, 0x00] } else { [0x81, 0x80] });
            payload.extend([0, 1, 0, 0, 0, 0, 0, 0, 6]);
            payload.extend(format!("h{:05}", self.number / 2 % 20_000).as_bytes());
            payload.extend(b"\x07example\x03com\0\0\x01\0\x01");
        } else {
            payload.extend([0xC3; 32]);
        }
        out.extend((8 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(payload);
    }

    fn frame(self, protocol: u8, sender: Sender, transport: &[u8], frame: &mut Vec<u8>) {
        // The factor has no divisor in common with the number of clients: each client and port comes once.
        let client = (u64::from(self.number) * 7_919 % u64::from(CLIENTS)) as u32;
        let [_, _, high, low] = client.to_be_bytes();
        let (client, port) = ([10, 1, high, low], 1_024 + (self.number / CLIENTS) as u16);
        let [_, _, high, low] = (self.number.wrapping_mul(2_654_435_761) % SERVERS).to_be_bytes();
        let (server, service) = ([172, 20, high, low], self.service());
        let (source, destination) = match sender {
            Sender::Client => ((client, port), (server, service)),
            Sender::Server => ((server, service), (client, port)),
        };
        frame.clear();
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        frame.extend((24 + transport.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend(source.0);
        frame.extend(destination.0);
        frame.extend(source.1.to_be_bytes());
        frame.extend(destination.1.to_be_bytes());
        frame.extend(transport);
        frame.resize(frame.len().max(60), 0);
    }
}

/// Flows of five packets on average, as many as fit into `wanted` packets, some tens of thousands at a time.
pub fn many(path: &Path, wanted: u64) -> io::Result<()> {
    let mut output = Output::create(path)?;
    let mut numbers = Numbers(1);
    let mut frame = Vec::new();
    let total = (wanted / 5) as u32;
    let mut next = total.min(AT_ONCE as u32);
    let mut flows: Vec<Flow> = (0..next).map(Flow::new).collect();
    while !flows.is_empty() {
        let place = numbers.below(flows.len());
        let flow = &mut flows[place];
        flow.next(&mut frame);
        output.packet(&frame, 0)?;
        if flow.sent == flow.length() {
            if next < total {
                *flow = Flow::new(next);
                next += 1;
            } else {
                flows.swap_remove(place);
            }
        }
    }
    output.finish(path)
}

/// `wanted` packets of `count` UDP flows, none of which ends; first one of each, then at random.
pub fn live(path: &Path, count: u32, wanted: u64) -> io::Result<()> {
    let mut output = Output::create(path)?;
    // A packet of each flow every few seconds, however many there are: none is silent long enough to end.
    output.step_micros = 2;
    let mut numbers = Numbers(2);
    let mut frame = Vec::new();
    for packet in 0..wanted {
        let number = if packet < u64::from(count) { packet as u32 } else { numbers.below(count as usize) as u32 };
        // Odd numbers are UDP, and those of this service mean nothing to a dissector.
        let mut flow = Flow { number: 20 * (number / 5) + 11 + 2 * (number % 5), sent: (packet % 2) as u32 };
        flow.next(&mut frame);
        output.packet(&frame, 0)?;
    }
    output.finish(path)
}
