//! What the flow stage costs: `bench-flows [CASE]...`, all cases without arguments. Packets are made in memory, and only the
//! flow stage is timed, not decoding. Prints packets per second and memory in use. Time is that of the wall: on a busy
//! machine compare the user time of whole runs with that of a `none` case, which makes and decodes the same packets.
//!
//! `records-N` and `streams-N` are TCP segments in order, of N flows by turns at random; `million` opens a million UDP flows, which
//! is more than the table takes; `flood` is a thousand active connections in the middle of ten million SYNs.

use std::io;
use std::time::Duration;

use millstream::decode::{Decoder, Registry};
use millstream::flow::{FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::packet::{Batch, LinkType, MAX_BATCH, Packet};
use millstream::time::{Stopwatch, Timestamp};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

const RECORDS: FlowWants = FlowWants { records: Want::Yes, streams: Want::No, datagrams: Want::No };

/// The flow stage and what feeds it.
struct Bench {
    flows: Flows,
    decoder: Decoder,
    registry: Registry,
    batch: Batch,
    spent: Duration,
    packets: u64,
    micros: i64,
}

impl Bench {
    fn new(wants: FlowWants) -> Self {
        Self {
            flows: Flows::new(FlowsConfig::default(), wants),
            decoder: Decoder::new(),
            registry: Registry::new(),
            batch: Batch::new(),
            spent: Duration::ZERO,
            packets: 0,
            micros: 0,
        }
    }

    /// Adds a packet of an Ethernet frame; a full batch is processed.
    fn push(&mut self, protocol: u8, source: [u8; 4], sport: u16, transport: &[u8]) {
        let start = self.batch.buffer.len();
        let buffer = &mut self.batch.buffer;
        buffer.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
        buffer.extend((20 + 4 + transport.len() as u16).to_be_bytes());
        buffer.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        buffer.extend(source);
        buffer.extend([10, 0, 0, 1]);
        buffer.extend(sport.to_be_bytes());
        buffer.extend(80u16.to_be_bytes());
        buffer.extend(transport);
        let len = (buffer.len() - start) as u32;
        self.micros += 1;
        let time = Timestamp::from_nanos(self.micros * 1_000);
        self.batch.push(Packet::new(time, start as u32, len, len, LinkType::ETHERNET, 0));
        if self.batch.len() == MAX_BATCH {
            self.process();
        }
    }

    fn tcp(&mut self, source: [u8; 4], sport: u16, seq: u32, flags: u8, payload: &[u8]) {
        let mut transport = [0; 80];
        transport[..4].copy_from_slice(&seq.to_be_bytes());
        transport[8..12].copy_from_slice(&[0x50, flags, 255, 255]);
        transport[16..16 + payload.len()].copy_from_slice(payload);
        self.push(6, source, sport, &transport[..16 + payload.len()]);
    }

    fn process(&mut self) {
        self.decoder.decode(&self.registry, &mut self.batch);
        let none = Fragments::default();
        let watch = Stopwatch::start();
        self.flows.process(&self.batch, &none);
        self.flows.settle();
        self.spent += watch.elapsed();
        self.packets += self.batch.len() as u64;
        self.batch.clear();
        self.batch.buffer.clear();
    }

    fn report(&self, out: &mut impl io::Write, name: &str) -> io::Result<()> {
        let nanos = self.spent.as_nanos() as f64 / self.packets as f64;
        let (live, memory) = (self.flows.live(), self.flows.memory() >> 20);
        writeln!(out, "{name}: {nanos:.0} ns a packet, {:.1} M/s, {live} flows, {memory} MiB", 1_000.0 / nanos)
    }
}

/// Segments of `count` connections, in no order that a cache could foresee.
fn segments(count: u32, wants: FlowWants, packets: u32) -> Bench {
    let mut bench = Bench::new(wants);
    let mut seqs = vec![1u32; count as usize];
    for number in 0..count {
        let (source, sport) = client(number);
        bench.tcp(source, sport, 0, SYN, b"");
    }
    bench.process();
    (bench.spent, bench.packets) = (Duration::ZERO, 0);
    let mut random = 1u32;
    for _ in 0..packets {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = ((u64::from(random) * u64::from(count)) >> 32) as u32;
        let (source, sport) = client(number);
        let seq = &mut seqs[number as usize];
        bench.tcp(source, sport, *seq, ACK, b"0123456789abcdef");
        *seq = seq.wrapping_add(16);
    }
    bench
}

fn client(number: u32) -> ([u8; 4], u16) {
    let [_, b, c, d] = (number / 16).to_be_bytes();
    ([172, b, c, d], 1_024 + (number % 16) as u16)
}

fn million() -> Bench {
    let mut bench = Bench::new(RECORDS);
    for number in 0..1_000_000 {
        let (source, sport) = client(number);
        bench.push(17, source, sport, &[0, 8, 0, 0]);
    }
    bench
}

fn flood(out: &mut impl io::Write) -> io::Result<Bench> {
    let mut bench = Bench::new(RECORDS);
    for number in 0..10_000_000u32 {
        bench.tcp(
            [(11 + (number >> 24)) as u8, (number >> 16) as u8, (number >> 8) as u8, number as u8],
            999,
            7,
            SYN,
            b"",
        );
        // Each connection says something every 100,000 packets.
        if number % 100 == 0 {
            let (source, sport) = client(number / 100 % 1_000);
            bench.tcp(source, sport, 1 + number / 100_000, ACK, b"x");
        }
    }
    bench.process();
    let counts = bench.flows.counts();
    writeln!(out, "flood: evicted {} half-open, {} established", counts.evicted_half_open, counts.evicted_tcp)?;
    Ok(bench)
}

fn main() -> io::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|other| other == name);
    for count in [1_000, 100_000, 400_000] {
        for (name, records, streams) in
            [("none", Want::No, Want::No), ("records", Want::Yes, Want::No), ("streams", Want::Yes, Want::Yes)]
        {
            let name = format!("{name}-{count}");
            if is_chosen(&name) {
                segments(count, FlowWants { records, streams, datagrams: Want::No }, 4_000_000)
                    .report(&mut out, &name)?;
            }
        }
    }
    if is_chosen("million") {
        million().report(&mut out, "million")?;
    }
    if is_chosen("flood") {
        let bench = flood(&mut out)?;
        bench.report(&mut out, "flood")?;
    }
    Ok(())
}
