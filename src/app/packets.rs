//! `millstream packets`: takes packets out of a packet store.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use super::Outcome;
use super::cli::PacketsArgs;
use super::moment;
use crate::capture::{Filter, FilterError};
use crate::decode::{self, Decoder, Registry};
use crate::flow::{Defrag, DefragLimits};
use crate::key::{End, FlowTuple, Host};
use crate::packet::{Batch, Packet};
use crate::sink::{
    CaptureWriter, RecordError, Selection, StoredPacket, StoredPackets, flow_mark, host_mark, query_packets,
};
use crate::time::Timestamp;

/// Flows listed at most; more are only counted.
const MAX_LISTED: usize = 100_000;

/// Packets of one flow.
#[derive(Clone, Debug, Serialize)]
struct Line {
    flow: String,
    packets: u64,
    bytes: u64,
    first: f64,
    last: f64,
    /// As it was, for people to read.
    #[serde(skip)]
    begin: Timestamp,
}

/// What matched.
#[derive(Debug, Default, Serialize)]
struct Found {
    packets: u64,
    bytes: u64,
    first: Option<f64>,
    last: Option<f64>,
    /// In order of their first packet.
    flows: Vec<Line>,
    /// Packets of flows beyond those listed.
    unlisted: u64,
}

/// Which packets are asked for, beyond their time.
struct Wanted {
    flow: Option<FlowTuple>,
    hosts: Vec<Host>,
    ports: Vec<u16>,
    filter: Option<Filter>,
}

/// Lists or writes the packets of a store that match.
///
/// # Errors
/// When the store cannot be read, an argument makes no sense, or the output cannot be written.
pub fn packets(args: &PacketsArgs) -> anyhow::Result<Outcome> {
    let mut store = query_packets(&args.directory)?;
    let mut wanted = wanted(args)?;
    store.select(selection(args, &wanted, store.span())?);
    match &args.write {
        Some(path) if path.as_os_str() == "-" => {
            let found = copy(&mut store, &mut wanted, CaptureWriter::pcap(io::stdout().lock()))?;
            log::info!("{} packets written", found.packets);
        }
        Some(path) => {
            let file = File::create(path).with_context(|| format!("{}: cannot be written", path.display()))?;
            let out = BufWriter::new(file);
            let is_ng = path.extension().is_some_and(|ext| ext == "pcapng");
            let writer = if is_ng { CaptureWriter::pcapng(out)? } else { CaptureWriter::pcap(out) };
            let found = copy(&mut store, &mut wanted, writer)?;
            say_written(&found, path, args)?;
        }
        None => list(&mut store, &mut wanted, args)?,
    }
    for damage in store.damage() {
        log::warn!("{damage}");
    }
    Ok(if store.is_whole() { Outcome::Good } else { Outcome::Flawed })
}

fn wanted(args: &PacketsArgs) -> anyhow::Result<Wanted> {
    let flow = match &args.flow {
        Some(text) => match FlowTuple::from_id(text.as_bytes()) {
            Some(tuple) => Some(tuple),
            None => bail!("--flow {text}: not a flow id, which looks like 06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016"),
        },
        None => None,
    };
    let mut hosts = Vec::new();
    for text in &args.host {
        match Host::from_readable(text) {
            Some(host) => hosts.push(host),
            None => bail!("--host {text}: not an address, which looks like 192.168.1.2 or fe80::1"),
        }
    }
    Ok(Wanted { flow, hosts, ports: args.port.clone(), filter: args.filter.as_deref().map(Filter::new) })
}

fn selection(args: &PacketsArgs, wanted: &Wanted, span: Option<(Timestamp, Timestamp)>) -> anyhow::Result<Selection> {
    let latest = span.map_or(Timestamp::EPOCH, |(_, last)| last);
    let (from, to) = moment::range(args.from.as_deref(), args.to.as_deref(), latest)?;
    let marks = wanted.flow.iter().map(flow_mark).chain(wanted.hosts.iter().map(host_mark)).collect();
    Ok(Selection { marks, from, to })
}

/// Decodes packets one by one and says which match.
struct Sieve<'a> {
    wanted: &'a mut Wanted,
    registry: Registry,
    decoder: Decoder,
    defrag: Defrag,
    batch: Batch,
}

impl<'a> Sieve<'a> {
    fn new(wanted: &'a mut Wanted) -> Self {
        let (registry, decoder) = (Registry::new(), Decoder::new());
        Self { wanted, registry, decoder, defrag: Defrag::new(DefragLimits::default()), batch: Batch::new() }
    }

    /// The flow of a packet, if it matches.
    fn take(&mut self, stored: &StoredPacket<'_>) -> Result<Option<FlowTuple>, FilterError> {
        if let Some(filter) = &mut self.wanted.filter
            && !filter.passes(stored.linktype, stored.bytes, stored.wirelen)?
        {
            return Ok(None);
        }
        let batch = &mut self.batch;
        batch.clear();
        batch.buffer.clear();
        batch.buffer.extend_from_slice(stored.bytes);
        let caplen = stored.bytes.len() as u32;
        batch.push(Packet::new(stored.time, 0, caplen, stored.wirelen, stored.linktype, 0));
        self.decoder.decode(&self.registry, batch);
        let packet = batch.packets()[0];
        let mut flow = decode::flow_tuple(batch, &packet).0;
        if let Some(fragment) = decode::fragment_info(batch, &packet) {
            let added = self.defrag.add(&fragment, batch.packet_bytes(&packet), packet.ts);
            if let Some((proto, sport, dport)) = added.transport {
                flow = fragment.key.flow(proto, sport, dport).0;
            }
        }
        let ends = [flow.host(End::A), flow.host(End::Z)];
        let ports = [flow.port(End::A), flow.port(End::Z)];
        let matches = self.wanted.flow.is_none_or(|wanted| wanted == flow)
            && self.wanted.hosts.iter().all(|host| ends.contains(host))
            && self.wanted.ports.iter().all(|port| ports.contains(port));
        Ok(matches.then_some(flow))
    }
}

fn copy<W: Write>(
    store: &mut StoredPackets,
    wanted: &mut Wanted,
    mut writer: CaptureWriter<W>,
) -> anyhow::Result<Found> {
    let (mut sieve, mut found) = (Sieve::new(wanted), Found::default());
    while let Some(stored) = store.next_packet()? {
        if sieve.take(&stored)?.is_some() {
            writer.packet(stored.linktype, stored.time, stored.wirelen, stored.bytes).map_err(plain)?;
            found.count(&stored);
        }
    }
    writer.finish()?;
    Ok(found)
}

/// Errors of the output as themselves: that nobody reads it any more is no failure.
fn plain(error: RecordError) -> anyhow::Error {
    match error {
        RecordError::Io(error) => error.into(),
        mixed @ RecordError::Mixed { .. } => mixed.into(),
    }
}

impl Found {
    fn count(&mut self, stored: &StoredPacket<'_>) {
        let time = stored.time.as_secs_f64();
        self.packets += 1;
        self.bytes += u64::from(stored.wirelen);
        self.first.get_or_insert(time);
        self.last = Some(time);
    }
}

fn list(store: &mut StoredPackets, wanted: &mut Wanted, args: &PacketsArgs) -> anyhow::Result<()> {
    let (mut sieve, mut found) = (Sieve::new(wanted), Found::default());
    let mut places: HashMap<FlowTuple, usize> = HashMap::new();
    while let Some(stored) = store.next_packet()? {
        let Some(flow) = sieve.take(&stored)? else { continue };
        found.count(&stored);
        let time = stored.time.as_secs_f64();
        let place = match places.get(&flow) {
            Some(place) => *place,
            None if found.flows.len() >= MAX_LISTED => {
                found.unlisted += 1;
                continue;
            }
            None => {
                let flow_id = flow.id().to_string();
                let begin = stored.time;
                found.flows.push(Line { flow: flow_id, packets: 0, bytes: 0, first: time, last: time, begin });
                places.insert(flow, found.flows.len() - 1);
                found.flows.len() - 1
            }
        };
        let line = &mut found.flows[place];
        line.packets += 1;
        line.bytes += u64::from(stored.wirelen);
        line.last = time;
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &found)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{} packets, {} bytes, {} flows", found.packets, found.bytes, found.flows.len())?;
    for line in &found.flows {
        let time = moment::text(line.begin);
        writeln!(out, "{time}  {}  {} packets  {} bytes", line.flow, line.packets, line.bytes)?;
    }
    if found.unlisted > 0 {
        writeln!(out, "and {} packets of further flows", found.unlisted)?;
    }
    if found.packets > 0 {
        writeln!(out, "to write them to a capture file: add -w FILE.pcap")?;
    }
    Ok(())
}

fn say_written(found: &Found, path: &Path, args: &PacketsArgs) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, found)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{} packets, {} bytes written to {}", found.packets, found.bytes, path.display())?;
    }
    Ok(())
}
