//! Runs a single dissector over a capture, with streams put together as simply as can be.
#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use millstream::capture::{FileOptions, FileSource, Fill, Source};
use millstream::decode::{Decoder, Registry, flow_tuple, payload_range};
use millstream::dissect::{
    Appetite, Context, Counts, DatagramDissector, DissectWants, Dissectors, FindingKind, Findings, StreamDissector,
};
use millstream::flow::{
    Direction, EndReason, Flow, FlowEvent, FlowEvents, FlowHandle, FlowLookup, Happening, Roles, Want, state,
};
use millstream::key::{End, FlowTuple};
use millstream::packet::{Batch, builtin};
use millstream::time::Timestamp;

/// Payload of one flow, in order.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub tuple: FlowTuple,
    pub pieces: Vec<(Direction, Vec<u8>)>,
}

/// Everything asked for.
pub fn all_wants() -> DissectWants {
    DissectWants {
        attributes: Want::Yes,
        tls_records: Want::Yes,
        certificate_resources: Want::Yes,
        certificate_documents: Want::Yes,
        ..DissectWants::default()
    }
}

/// A file of the captures of this project.
pub fn own_capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

/// The folder of shared captures, or a note that tests over it are skipped.
pub fn shared_captures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    if !folder.is_dir() {
        eprintln!("skipped: no captures in {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Output of a program, or a note that the test is skipped.
pub fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

#[derive(Default)]
struct Stream {
    next: Option<u32>,
    waiting: BTreeMap<u32, Vec<u8>>,
}

/// The flows of a capture in order of their first packet. TCP segments are put in order; holes end a direction.
pub fn conversations(path: &Path) -> Vec<Conversation> {
    let registry = Registry::new();
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    let mut source = FileSource::open(&[path.to_path_buf()], &FileOptions::default()).expect("a capture");
    let mut places: HashMap<FlowTuple, usize> = HashMap::new();
    let mut found: Vec<(Conversation, End, [Stream; 2])> = Vec::new();
    while let Ok(Fill::Packets) = source.fill(&mut batch) {
        decoder.decode(&registry, &mut batch);
        for packet in batch.packets() {
            let (tuple, sender) = flow_tuple(&batch, packet);
            let Some(payload) = payload_range(&batch, packet) else { continue };
            let data = batch.packet_bytes(packet);
            let bytes = &data[payload.start as usize..][..payload.len as usize];
            let tcp = batch.find_layer(packet, builtin::TCP).map(|layer| &data[layer.offset as usize..]);
            let is_answer = tcp.is_some_and(|tcp| tcp[13] & 0x12 == 0x12);
            let place = *places.entry(tuple).or_insert_with(|| {
                let client = if is_answer { sender.other() } else { sender };
                found.push((Conversation { tuple, pieces: Vec::new() }, client, Default::default()));
                found.len() - 1
            });
            let (conversation, client, streams) = &mut found[place];
            let direction = if sender == *client { Direction::ToServer } else { Direction::ToClient };
            let Some(tcp) = tcp else {
                if !bytes.is_empty() {
                    conversation.pieces.push((direction, bytes.to_vec()));
                }
                continue;
            };
            let stream = &mut streams[direction.index()];
            let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
            if tcp[13] & 2 != 0 {
                stream.next = Some(sequence.wrapping_add(1));
                continue;
            }
            let mut next = *stream.next.get_or_insert(sequence);
            if !bytes.is_empty() {
                stream.waiting.insert(sequence.wrapping_sub(next), bytes.to_vec());
            }
            let waiting: Vec<(u32, Vec<u8>)> = std::mem::take(&mut stream.waiting).into_iter().collect();
            let base = next;
            for (offset, bytes) in waiting {
                let begin = base.wrapping_add(offset);
                let ahead = begin.wrapping_sub(next) as i32;
                if ahead > 0 {
                    stream.waiting.insert(begin, bytes);
                } else if let Some(new) = bytes.get(ahead.unsigned_abs() as usize..).filter(|new| !new.is_empty()) {
                    next = next.wrapping_add(new.len() as u32);
                    conversation.pieces.push((direction, new.to_vec()));
                }
            }
            // Kept under their distance from what comes next.
            stream.waiting = std::mem::take(&mut stream.waiting)
                .into_iter()
                .map(|(begin, bytes)| (begin.wrapping_sub(next), bytes))
                .collect();
            stream.next = Some(next);
        }
    }
    found.into_iter().map(|(conversation, ..)| conversation).collect()
}

/// What a dissector is given and what it gives.
#[derive(Debug, Default)]
pub struct Bench {
    pub findings: Findings,
    pub counts: Counts,
    transactions: u64,
}

/// One finding in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Attribute(String, Vec<u8>),
    Resource(String, String),
    Document(String),
}

impl Bench {
    fn with<T>(&mut self, wants: &DissectWants, tuple: FlowTuple, run: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let flow = Flow::new(tuple, Timestamp::EPOCH);
        run(&mut Context {
            after: 0,
            handle: FlowHandle { slot: 0, generation: 0 },
            flow: &flow,
            time: Timestamp::EPOCH,
            wants,
            findings: &mut self.findings,
            counts: &mut self.counts,
            transactions: &mut self.transactions,
            roles: Roles::Known,
            turned: &mut Vec::new(),
        })
    }

    /// Feeds a stream dissector; true if it wanted all of it.
    pub fn stream(&mut self, wants: &DissectWants, dissector: &mut dyn StreamDissector, talk: &Conversation) -> bool {
        let mut positions = [0; 2];
        for (direction, bytes) in &talk.pieces {
            let position = &mut positions[direction.index()];
            let appetite = self.with(wants, talk.tuple, |cx| dissector.data(cx, *direction, *position, bytes));
            if appetite != Appetite::More {
                return false;
            }
            *position += bytes.len() as u64;
        }
        self.with(wants, talk.tuple, |cx| dissector.end(cx));
        true
    }

    /// Tells a stream dissector of bytes that never come.
    pub fn gap(
        &mut self,
        wants: &DissectWants,
        dissector: &mut dyn StreamDissector,
        direction: Direction,
        missing: u64,
    ) -> Appetite {
        self.with(wants, FlowTuple::NO_IP, |cx| dissector.gap(cx, direction, 0, missing))
    }

    /// Feeds a datagram dissector.
    pub fn datagrams(&mut self, wants: &DissectWants, dissector: &mut dyn DatagramDissector, talk: &Conversation) {
        for (direction, bytes) in &talk.pieces {
            if self.with(wants, talk.tuple, |cx| dissector.datagram(cx, *direction, bytes)) != Appetite::More {
                return;
            }
        }
        self.with(wants, talk.tuple, |cx| dissector.end(cx));
    }

    /// What was found so far.
    pub fn found(&self) -> Vec<Found> {
        found_in(&self.findings)
    }
}

fn found_in(findings: &Findings) -> Vec<Found> {
    let text = |text| String::from_utf8_lossy(findings.bytes(text)).into_owned();
    let one = |kind| match kind {
        FindingKind::Attribute { name, value } => Found::Attribute(text(name), findings.bytes(value).to_vec()),
        FindingKind::Resource { uri, label, .. } => Found::Resource(text(uri), text(label)),
        FindingKind::Document { text: page, .. } => Found::Document(text(page)),
        other => panic!("not of these dissectors: {other:?}"),
    };
    findings.list().iter().map(|finding| one(finding.kind)).collect()
}

struct OneFlow(Flow);

impl FlowLookup for OneFlow {
    fn flow(&self, _handle: FlowHandle) -> Option<&Flow> {
        Some(&self.0)
    }
}

/// What all dissectors together find in a conversation over TCP that was seen from its beginning.
pub fn found_by_all(wants: &DissectWants, talk: &Conversation) -> Vec<Found> {
    let handle = FlowHandle { slot: 0, generation: 0 };
    let new = Flow::new(talk.tuple, Timestamp::EPOCH);
    let flow = OneFlow(Flow { state: new.state | state::SEEN_SYN, ..new });
    let mut events = FlowEvents::default();
    let happen = |events: &mut FlowEvents, what| {
        events.push(FlowEvent { packet: 0, flow: handle, time: Timestamp::EPOCH, what })
    };
    happen(&mut events, Happening::New);
    let mut positions = [0; 2];
    for (direction, piece) in &talk.pieces {
        let bytes = events.hold(piece);
        let position = &mut positions[direction.index()];
        happen(&mut events, Happening::Payload { direction: *direction, position: *position, bytes });
        *position += piece.len() as u64;
    }
    happen(&mut events, Happening::End { reason: EndReason::Fin });
    let mut dissectors = Dissectors::new(*wants);
    dissectors.process(&Batch::new(), &events, &flow);
    found_in(dissectors.findings())
}

/// Values of an attribute, in order.
pub fn values<'a>(found: &'a [Found], wanted: &str) -> Vec<&'a [u8]> {
    let value = |one: &'a Found| match one {
        Found::Attribute(name, value) if name == wanted => Some(&value[..]),
        _ => None,
    };
    found.iter().filter_map(value).collect()
}

/// The same as text; the first one, or nothing.
pub fn first_text(found: &[Found], wanted: &str) -> String {
    values(found, wanted).first().map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}
