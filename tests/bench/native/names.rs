//! Names that are asked for: questions of DNS over UDP, and servers that TLS clients name in their first message.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::tuple::{Segment, Side, Tuple};
use super::{Layers, Totals, Work, be16};

const DNS: usize = 0;
const TLS: usize = 1;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// Bytes of a direction looked at for a hello, at most.
const LARGEST_HELLO: usize = 16 << 10;

/// How far a direction of a connection has been read.
#[derive(Default)]
enum Reading {
    /// Nothing was sent yet.
    #[default]
    Ahead,
    /// A hello whose end is missing.
    Hello(Vec<u8>),
    /// It was found, or there is none.
    Done,
}

#[derive(Default)]
struct Stream {
    next: Option<u32>,
    reading: Reading,
}

/// Names and how often each was asked for. Streams are read in order until it is clear what they begin with; segments
/// that come too early are dropped, and sent again if it matters.
#[derive(Default)]
pub struct Names {
    names: [HashMap<Vec<u8>, u64, FixedState>; 2],
    streams: HashMap<Tuple, [Stream; 2], FixedState>,
    scratch: Vec<u8>,
}

impl Names {
    fn add(&mut self, kind: usize, name: &[u8]) {
        match self.names[kind].get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.names[kind].insert(name.to_vec(), 1);
            }
        }
    }

    /// The first question of a DNS message that is no answer.
    fn question(&mut self, message: &[u8]) -> Option<()> {
        if message.len() < 12 || be16(message, 2)? >= 0x8000 || be16(message, 4)? == 0 {
            return None;
        }
        let mut name = std::mem::take(&mut self.scratch);
        name.clear();
        let mut at = 12;
        let complete = loop {
            let Some(&length) = message.get(at) else { break false };
            let length = usize::from(length);
            if length == 0 {
                break true;
            }
            let Some(label) = message.get(at + 1..at + 1 + length).filter(|_| length <= 63 && at <= 267) else {
                break false;
            };
            if !name.is_empty() {
                name.push(b'.');
            }
            name.extend(label.iter().map(u8::to_ascii_lowercase));
            at += 1 + length;
        };
        if complete {
            self.add(DNS, &name);
        }
        self.scratch = name;
        complete.then_some(())
    }

    fn segment(&mut self, tuple: Tuple, side: Side, segment: &Segment, payload: &[u8]) {
        if segment.flags & RST != 0 {
            self.streams.remove(&tuple);
            return;
        }
        let stream = &mut self.streams.entry(tuple).or_default()[side.index()];
        if segment.flags & SYN != 0 {
            *stream = Stream { next: Some(segment.seq.wrapping_add(1)), reading: Reading::Ahead };
            return;
        }
        if payload.is_empty() || matches!(stream.reading, Reading::Done) {
            if segment.flags & FIN != 0 {
                stream.reading = Reading::Done;
            }
            return;
        }
        let next = stream.next.unwrap_or(segment.seq);
        let known = next.wrapping_sub(segment.seq) as usize;
        let Some(fresh) = payload.get(known..).filter(|fresh| !fresh.is_empty()) else { return };
        stream.next = Some(next.wrapping_add(fresh.len() as u32));
        let mut held = match std::mem::take(&mut stream.reading) {
            Reading::Hello(held) => held,
            _ => Vec::new(),
        };
        let (found, wants_more) = if held.is_empty() {
            server_name(fresh)
        } else {
            held.extend_from_slice(fresh);
            server_name(&held)
        };
        let found = found.map(<[u8]>::to_ascii_lowercase);
        stream.reading = match wants_more {
            true if held.len() < LARGEST_HELLO => {
                if held.is_empty() {
                    held.extend_from_slice(fresh);
                }
                Reading::Hello(held)
            }
            _ => Reading::Done,
        };
        if let Some(name) = found {
            self.add(TLS, &name);
        }
    }

    fn look(&mut self, packet: &[u8], layers: &Layers) -> Option<()> {
        let (tuple, side, segment) = Tuple::of(packet, layers)?;
        let segment = segment?;
        let payload = packet.get(segment.at..)?;
        let payload = &payload[..payload.len().min(segment.payload as usize)];
        if tuple.is_tcp() {
            self.segment(tuple, side, &segment, payload);
        } else if tuple.is_udp() && tuple.has_port(53) {
            self.question(payload);
        }
        Some(())
    }
}

/// The name in a client hello at the start of a stream, and whether more bytes are needed to tell.
fn server_name(stream: &[u8]) -> (Option<&[u8]>, bool) {
    let fits = |at: usize, is: fn(u8) -> bool| stream.get(at).is_none_or(|&byte| is(byte));
    if !fits(0, |b| b == 22) || !fits(1, |b| b == 3) || !fits(2, |b| b <= 4) || !fits(5, |b| b == 1) {
        return (None, false);
    }
    let Some(length) = be16(stream, 3) else { return (None, true) };
    match stream.get(5..5 + usize::from(length)) {
        Some(record) => (name_in_hello(record), false),
        None => (None, true),
    }
}

fn name_in_hello(record: &[u8]) -> Option<&[u8]> {
    // Type and length, version, random number.
    let mut at = 4 + 2 + 32;
    at += 1 + usize::from(*record.get(at)?);
    at += 2 + usize::from(be16(record, at)?);
    at += 1 + usize::from(*record.get(at)?);
    let end = (at + 2 + usize::from(be16(record, at)?)).min(record.len());
    at += 2;
    while at + 4 <= end {
        let (kind, length) = (be16(record, at)?, usize::from(be16(record, at + 2)?));
        let body = record.get(at + 4..at + 4 + length)?;
        if kind == 0 {
            // Length of the list, type of the name, its length.
            let name = usize::from(be16(body, 3)?);
            return body.get(5..5 + name).filter(|name| !name.is_empty());
        }
        at += 4 + length;
    }
    None
}

impl Work for Names {
    fn packet(&mut self, _: u64, _: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        self.look(bytes, &layers);
    }

    fn totals(self) -> Totals {
        let [dns, tls] = self.names;
        let of = |kind: usize, names: HashMap<Vec<u8>, u64, FixedState>| {
            names.into_iter().map(move |(name, count)| ((String::from_utf8_lossy(&name).into_owned(), kind), count))
        };
        of(DNS, dns).chain(of(TLS, tls)).collect()
    }
}
