//! Packets made to measure, and the events of flows as text.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::collections::HashMap;

use millstream::decode::{Decoder, Registry};
use millstream::flow::{
    Defrag, DefragLimits, Direction, FlowEvent, FlowHandle, FlowWants, Flows, FlowsConfig, Fragments, Happening, Want,
};
use millstream::packet::{Batch, LinkType, MAX_BATCH, Packet};
use millstream::time::Timestamp;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

pub const ALL: FlowWants = FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::Yes };

/// A raw IP packet, when it was captured, and how much of it was not.
#[derive(Clone, Debug)]
pub struct Raw {
    pub ms: i64,
    pub bytes: Vec<u8>,
    pub uncaptured: usize,
}

impl Raw {
    pub fn at(mut self, ms: i64) -> Self {
        self.ms = ms;
        self
    }

    /// Without its last bytes.
    pub fn cut(mut self, count: usize) -> Self {
        self.bytes.truncate(self.bytes.len() - count);
        self.uncaptured = count;
        self
    }
}

/// An IPv4 packet between 10.0.0.`src` and 10.0.0.`dst`.
pub fn ipv4(proto: u8, src: u8, dst: u8, content: &[u8]) -> Raw {
    ipv4_between(proto, [10, 0, 0, src], [10, 0, 0, dst], content)
}

pub fn ipv4_between(proto: u8, src: [u8; 4], dst: [u8; 4], content: &[u8]) -> Raw {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + content.len() as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, proto, 0, 0]);
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(content);
    Raw { ms: 0, bytes, uncaptured: 0 }
}

/// The packet, IPv4 with a header of 20 bytes, in fragments of `size` bytes of content, which is a multiple of eight.
pub fn fragments(raw: &Raw, id: u16, size: usize) -> Vec<Raw> {
    let (header, content) = raw.bytes.split_at(20);
    let count = content.len().div_ceil(size);
    let fragment = |(index, part): (usize, &[u8])| {
        let more = if index + 1 < count { 0x2000 } else { 0 };
        let mut bytes = [header, part].concat();
        bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        bytes[4..6].copy_from_slice(&id.to_be_bytes());
        bytes[6..8].copy_from_slice(&((index * size / 8) as u16 | more).to_be_bytes());
        Raw { ms: raw.ms, bytes, uncaptured: 0 }
    };
    content.chunks(size).enumerate().map(fragment).collect()
}

/// The same as IPv6, with a fragment header each.
pub fn fragments6(raw: &Raw, id: u32, size: usize) -> Vec<Raw> {
    let (header, content) = raw.bytes.split_at(20);
    let count = content.len().div_ceil(size);
    let fragment = |(index, part): (usize, &[u8])| {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend((8 + part.len() as u16).to_be_bytes());
        bytes.extend([44, 64]);
        for address in [&header[12..16], &header[16..20]] {
            bytes.extend([&[0xFD; 12][..], address].concat());
        }
        bytes.extend([header[9], 0]);
        bytes.extend(((index * size) as u16 | u16::from(index + 1 < count)).to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(part);
        Raw { ms: raw.ms, bytes, uncaptured: 0 }
    };
    content.chunks(size).enumerate().map(fragment).collect()
}

pub fn udp(src: (u8, u16), dst: (u8, u16), payload: &[u8]) -> Raw {
    let mut content = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
    content.extend((8 + payload.len() as u16).to_be_bytes());
    content.extend([0, 0]);
    content.extend(payload);
    ipv4(17, src.0, dst.0, &content)
}

/// One end of a connection that remembers its numbers.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub host: u8,
    pub port: u16,
    pub seq: u32,
    pub ack: u32,
}

/// A client 10.0.0.1:40000 and a server 10.0.0.2:80.
pub fn ends() -> (End, End) {
    (End { host: 1, port: 40_000, seq: 1_000, ack: 0 }, End { host: 2, port: 80, seq: 9_000, ack: 0 })
}

impl End {
    /// A segment with these numbers; nothing is remembered.
    pub fn segment(&self, to: &Self, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Raw {
        segment((self.host, self.port), (to.host, to.port), seq, ack, flags, 60_000, &[], payload)
    }

    /// The next segment of this end, acknowledging everything the other has sent.
    pub fn send(&mut self, to: &mut Self, flags: u8, payload: &[u8]) -> Raw {
        let ack = if flags & ACK == 0 { 0 } else { self.ack };
        let raw = self.segment(to, self.seq, ack, flags, payload);
        let len = payload.len() as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        self.seq = self.seq.wrapping_add(len);
        to.ack = self.seq;
        raw
    }
}

/// The three segments that open a connection.
pub fn handshake(client: &mut End, server: &mut End) -> Vec<Raw> {
    vec![client.send(server, SYN, b""), server.send(client, SYN | ACK, b""), client.send(server, ACK, b"")]
}

#[expect(clippy::too_many_arguments, reason = "the fields of a header")]
pub fn segment(
    src: (u8, u16),
    dst: (u8, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    options: &[u8],
    payload: &[u8],
) -> Raw {
    let mut content = [src.1.to_be_bytes(), dst.1.to_be_bytes()].concat();
    content.extend(seq.to_be_bytes());
    content.extend(ack.to_be_bytes());
    content.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
    content.extend(window.to_be_bytes());
    content.extend([0; 4]);
    content.extend(options);
    content.extend(payload);
    ipv4(6, src.0, dst.0, &content)
}

/// Puts packets through the flow stage in batches.
pub struct Run {
    pub flows: Flows,
    pub batch: Batch,
    decoder: Decoder,
    registry: Registry,
    pub defrag: Defrag,
    fragments: Fragments,
    names: HashMap<FlowHandle, usize>,
    /// Events as text, of all batches.
    pub log: Vec<String>,
}

impl Run {
    pub fn new() -> Self {
        Self::with(FlowsConfig::default(), ALL)
    }

    pub fn with(config: FlowsConfig, wants: FlowWants) -> Self {
        Self {
            flows: Flows::new(config, wants),
            batch: Batch::new(),
            decoder: Decoder::new(),
            registry: Registry::new(),
            defrag: Defrag::new(DefragLimits::default()),
            fragments: Fragments::default(),
            names: HashMap::new(),
            log: Vec::new(),
        }
    }

    /// One batch, without settling.
    pub fn batch(&mut self, packets: &[Raw]) {
        assert!(packets.len() <= MAX_BATCH);
        self.batch.clear();
        self.batch.buffer.clear();
        for raw in packets {
            let (offset, caplen) = (self.batch.buffer.len() as u32, raw.bytes.len() as u32);
            self.batch.buffer.extend_from_slice(&raw.bytes);
            let time = Timestamp::from_nanos(raw.ms * 1_000_000);
            self.batch.push(Packet::new(time, offset, caplen, caplen + raw.uncaptured as u32, LinkType::RAW, 0));
        }
        self.decoder.decode(&self.registry, &mut self.batch);
        self.fragments.take(&self.batch, &mut self.defrag);
        self.flows.process(&self.batch, &self.fragments);
        self.note();
    }

    /// All packets, in batches of one size; returns the events as text.
    pub fn feed(&mut self, packets: &[Raw]) -> Vec<String> {
        let from = self.log.len();
        for chunk in packets.chunks(MAX_BATCH) {
            self.batch(chunk);
            self.flows.settle();
        }
        self.log[from..].to_vec()
    }

    /// Ends everything.
    pub fn finish(&mut self) -> Vec<String> {
        let from = self.log.len();
        loop {
            let more = self.flows.finish();
            self.note();
            self.flows.settle();
            if more == Want::No {
                break;
            }
        }
        let counts = self.flows.counts();
        assert_eq!(counts.created, counts.ended() + counts.evicted());
        assert_eq!(self.flows.live(), 0);
        assert_eq!(self.flows.held(), 0);
        self.log[from..].to_vec()
    }

    /// Takes the events of the last call down.
    pub fn note(&mut self) {
        let events: Vec<FlowEvent> = self.flows.events().list().to_vec();
        let mut packet = 0;
        for event in events {
            assert!(self.flows.flow(event.flow).is_some(), "an event's flow is there until the batch is settled");
            assert!(event.packet >= packet, "events are in the order of packets");
            packet = event.packet;
            let count = self.names.len();
            let number = *self.names.entry(event.flow).or_insert(count);
            self.log.push(format!("{number} {}", self.describe(&event.what)));
        }
    }

    fn describe(&self, what: &Happening) -> String {
        let way = |direction: &Direction| match direction {
            Direction::ToServer => ">",
            Direction::ToClient => "<",
        };
        let text = |bytes| String::from_utf8_lossy(self.flows.events().bytes(&self.batch, bytes)).into_owned();
        match what {
            Happening::New => "new".to_owned(),
            Happening::Datagram { direction, bytes } => format!("{}{}", way(direction), text(*bytes)),
            Happening::Payload { direction, position, bytes } => {
                format!("{}{position}:{}", way(direction), text(*bytes))
            }
            Happening::Gap { direction, position, missing } => format!("{}{position}+{missing}", way(direction)),
            Happening::RoundTrip { micros } => format!("rtt {micros}"),
            Happening::Retransmission { direction } => format!("{}again", way(direction)),
            Happening::End { reason } => format!("end {}", reason.name()),
        }
    }
}
