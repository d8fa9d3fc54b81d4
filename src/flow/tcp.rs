//! What one TCP connection is known to have sent: sequence numbers, acknowledgements, windows.
//!
//! Sequence numbers are compared modulo 2^32; stream positions are 64 bits. Nothing is taken for certain that only one of
//! the ends said: either may be missing in the capture.

use super::assembler::Assembler;
use crate::key::End;
use crate::memory::{make_room, prefetch_whole};
use crate::time::Timestamp;

/// The fields of a TCP header that count here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    /// Window scale option.
    pub(super) scale: Option<u8>,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Largest scale (RFC 7323, section 2.3), and the one assumed where the option was not seen.
const MAX_SCALE: u8 = 14;
/// What a segment may lie beyond the window that was seen, because an acknowledgement was missed.
const SLACK: u32 = 1 << 16;
/// What counts of a window for resets: a guessed one would let any reset in.
const LARGEST_RESET_WINDOW: i32 = 1 << 20;
/// Farthest ahead a segment may be when no window is known.
const FARTHEST: u32 = 1 << 30;

impl Header {
    /// Of the header, with its options.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; 20] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_be_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let flags = fixed[13];
        let len = usize::from(fixed[12] >> 4) * 4;
        let scale = if flags & SYN != 0 { bytes.get(20..len).and_then(scale) } else { None };
        Some(Self { seq: word(4), ack: word(8), flags, window: u16::from_be_bytes([fixed[14], fixed[15]]), scale })
    }

    pub(super) const fn has_syn(&self) -> bool {
        self.flags & SYN != 0
    }

    pub(super) const fn has_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(super) const fn has_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    pub(super) const fn has_rst(&self) -> bool {
        self.flags & RST != 0
    }

    /// A SYN that opens a connection.
    pub(super) const fn opens(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// A SYN that answers one.
    pub(super) const fn answers(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN | ACK
    }

    /// Sequence number of the first payload byte.
    pub(super) const fn data_seq(&self) -> u32 {
        self.seq.wrapping_add(self.has_syn() as u32)
    }
}

/// The window scale among options.
fn scale(mut options: &[u8]) -> Option<u8> {
    while let [kind, rest @ ..] = options {
        options = match (kind, rest) {
            (0, _) => return None,
            (1, _) => rest,
            (3, [3, shift, ..]) => return Some((*shift).min(MAX_SCALE)),
            (_, [len, ..]) if *len >= 2 => options.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
    None
}

/// `a` minus `b`, where both are at most half of the numbers apart.
pub(super) const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// One end as a sender.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Stream position of `next`.
    pub(super) position: u64,
    /// What comes after missing bytes; none while everything is in order.
    pub(super) assembler: Option<Box<Assembler>>,
    /// Sequence number behind the last byte seen.
    pub(super) next: u32,
    /// Highest acknowledgement it sent.
    pub(super) ack: u32,
    /// Highest sequence number it allowed the other end.
    pub(super) edge: u32,
    /// Sequence number behind its FIN.
    pub(super) fin: u32,
    // Sequence number of another SYN with which it answered.
    rival: u32,
    flags: u8,
    scale: u8,
}

mod known {
    pub(super) const NEXT: u8 = 0x01;
    pub(super) const ACK: u8 = 0x02;
    pub(super) const FIN: u8 = 0x04;
    pub(super) const SYN: u8 = 0x08;
    pub(super) const SCALE: u8 = 0x10;
    /// The last byte seen was sent to a receiver without room.
    pub(super) const PROBE: u8 = 0x20;
    /// It sent a SYN that answers one.
    pub(super) const ANSWER: u8 = 0x40;
    /// It sent two such ones with different numbers.
    pub(super) const RIVAL: u8 = 0x80;
}

/// How a segment stands to the window of the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In it, or before it.
    Fits,
    /// Beyond it, or before the first byte, or behind the FIN.
    Outside,
}

impl Side {
    pub(super) const fn knows_next(&self) -> bool {
        self.flags & known::NEXT != 0
    }

    pub(super) const fn knows_ack(&self) -> bool {
        self.flags & known::ACK != 0
    }

    pub(super) const fn knows_fin(&self) -> bool {
        self.flags & known::FIN != 0
    }

    pub(super) const fn sent_syn(&self) -> bool {
        self.flags & known::SYN != 0
    }

    /// The first byte of its stream has this number.
    pub(super) fn start(&mut self, seq: u32) {
        self.next = seq;
        self.flags |= known::NEXT;
    }

    /// It sent a SYN. Its stream may be known already from the answer to that.
    pub(super) fn syn(&mut self, seq: u32, scale: Option<u8>) {
        if !self.knows_next() {
            self.start(seq.wrapping_add(1));
        }
        self.flags |= known::SYN;
        if let Some(scale) = scale {
            self.flags |= known::SCALE;
            self.scale = scale;
        }
    }

    /// The SYN it sent answers one.
    pub(super) const fn note_answer(&mut self) {
        self.flags |= known::ANSWER;
    }

    /// True if it answers again, to the same SYN of `other` but with another number, and nothing is known of what follows.
    pub(super) fn answers_anew(&self, header: &Header, other: &Self) -> bool {
        header.answers()
            && self.flags & known::ANSWER != 0
            && !self.has_begun()
            && !self.is_syn_again(header)
            && u64::from(header.ack.wrapping_sub(other.first_seq())) <= other.position
    }

    /// Its stream begins behind another SYN. The one before may turn out to be the one that counts.
    pub(super) const fn change_syn(&mut self, seq: u32) {
        self.rival = self.next.wrapping_sub(1);
        self.next = seq.wrapping_add(1);
        self.flags |= known::RIVAL;
    }

    /// The other end acknowledges: of two SYNs, that is the one that counts.
    pub(super) fn choose_syn(&mut self, ack: u32) {
        if self.flags & known::RIVAL != 0 && !self.has_begun() && self.rival.wrapping_add(1) == ack {
            self.change_syn(self.rival);
        }
    }

    /// True if anything was seen of it behind its SYN.
    const fn has_begun(&self) -> bool {
        self.position > 0 || self.assembler.is_some() || self.knows_fin()
    }

    /// True if it sent this SYN, or this answer to one, before.
    pub(super) const fn repeats_syn(&self, header: &Header) -> bool {
        let sent = if header.has_ack() { known::ANSWER } else { known::SYN };
        let is_rival = self.flags & known::RIVAL != 0 && self.rival == header.seq;
        self.flags & sent != 0 && (self.is_syn_again(header) || is_rival)
    }

    /// Sequence number of the first byte.
    pub(super) const fn first_seq(&self) -> u32 {
        self.next.wrapping_sub(self.position as u32)
    }

    /// True if this is the SYN of the bytes that are known.
    pub(super) const fn is_syn_again(&self, header: &Header) -> bool {
        self.knows_next() && header.seq.wrapping_add(1) == self.first_seq()
    }

    /// True for the single byte that asks a receiver without room whether it has some by now.
    pub(super) const fn is_window_probe(&self, other: &Self, seq: u32, len: u32) -> bool {
        len == 1 && seq == self.next && other.knows_ack() && distance(other.edge, self.next) <= 0
    }

    /// True if a segment begins with the byte of a probe that may not have been accepted.
    pub(super) const fn repeats_probe(&self, seq: u32) -> bool {
        self.flags & known::PROBE != 0 && seq == self.next.wrapping_sub(1)
    }

    pub(super) fn close(&mut self, fin: u32) {
        self.fin = fin;
        self.flags |= known::FIN;
    }

    /// Notes acknowledgement and window. `other` is the side that is spoken to.
    pub(super) fn acknowledge(&mut self, header: &Header, other: &Self) {
        if !header.has_ack() {
            return;
        }
        // The window of a SYN is never scaled, and scales count only if both ends gave one.
        let scale = if header.has_syn() || other.sent_syn() && other.flags & known::SCALE == 0 {
            0
        } else if !self.sent_syn() {
            MAX_SCALE
        } else {
            self.scale
        };
        let edge = header.ack.wrapping_add(u32::from(header.window) << scale);
        if !self.knows_ack() {
            (self.ack, self.edge) = (header.ack, edge);
            self.flags |= known::ACK;
            return;
        }
        if distance(header.ack, self.ack) > 0 {
            self.ack = header.ack;
        }
        if distance(edge, self.edge) > 0 {
            self.edge = edge;
        }
    }

    /// Whether a segment of this side fits, as far as is known what `other` is ready for.
    pub(super) fn place(&self, other: &Self, seq: u32, len: u32) -> Place {
        if !self.knows_next() {
            return Place::Fits;
        }
        let ahead = distance(seq, self.next);
        let fits = if ahead > 0 {
            let farthest = if other.knows_ack() {
                let window = other.edge.wrapping_sub(other.ack).clamp(SLACK, FARTHEST / 2);
                // An edge behind what was seen is one of which the newer ones were missed.
                let edge = if distance(other.edge, self.next) > 0 { other.edge } else { self.next };
                i64::from(distance(edge, self.next)) + i64::from(window)
            } else {
                i64::from(FARTHEST)
            };
            i64::from(ahead) <= farthest
        } else {
            // A keep-alive stands just before the first byte.
            self.position as i64 + i64::from(ahead) + i64::from(len) >= 0
        };
        // The FIN stands behind the last byte and before the acknowledgements that follow it.
        let last = self.fin.wrapping_sub(u32::from(len > 0));
        let behind_fin = self.knows_fin() && distance(seq.wrapping_add(len), last) > 0;
        if fits && !behind_fin { Place::Fits } else { Place::Outside }
    }

    /// True if a reset of this side may end the connection: it must lie where `other` expects the next byte, or in its
    /// window. A side never heard of may refuse what `other` sent, or is believed.
    pub(super) fn may_reset(&self, header: &Header, other: &Self) -> bool {
        let in_window = || {
            let window = distance(other.edge, other.ack).clamp(1, LARGEST_RESET_WINDOW);
            (0..=window).contains(&distance(header.seq, other.ack))
        };
        if !self.knows_next() {
            return match (header.has_ack(), other.knows_next()) {
                (true, true) => distance(other.next, header.ack).unsigned_abs() <= 1,
                _ => !other.knows_ack() || in_window(),
            };
        }
        let ahead = distance(header.seq, self.next);
        matches!(ahead, 0 | 1)
            || if other.knows_ack() { in_window() } else { ahead.unsigned_abs() <= u32::from(u16::MAX) }
    }

    /// True if the FIN of `other` is acknowledged.
    pub(super) fn has_acknowledged_fin_of(&self, other: &Self) -> bool {
        self.knows_ack() && other.knows_fin() && distance(self.ack, other.fin) >= 0
    }

    /// True for a keep-alive: nothing or one byte, just before what comes next.
    pub(super) const fn is_keep_alive(&self, seq: u32, len: u32) -> bool {
        len <= 1 && seq == self.next.wrapping_sub(1)
    }

    /// Stream position of a sequence number.
    pub(super) fn position_of(&self, seq: u32) -> i64 {
        (self.position as i64).saturating_add(i64::from(distance(seq, self.next)))
    }

    /// Bytes up to `seq` were seen.
    pub(super) const fn reach(&mut self, seq: u32) {
        let ahead = distance(seq, self.next);
        if ahead > 0 {
            self.next = seq;
            self.position += ahead as u64;
            self.flags &= !known::PROBE;
        }
    }

    /// The last byte seen was a probe.
    pub(super) const fn note_probe(&mut self) {
        self.flags |= known::PROBE;
    }
}

/// A SYN that does not belong to the connection, and may be the beginning of the next one.
#[derive(Debug)]
pub(super) struct StraySyn {
    pub(super) sender: End,
    pub(super) seq: u32,
    pub(super) scale: Option<u8>,
    /// When it came first and last.
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// When the packet before it came.
    pub(super) before: Timestamp,
    pub(super) packets: u32,
    /// Of all these packets.
    pub(super) bytes: u64,
    pub(super) payload: u64,
}

impl StraySyn {
    /// Of a header, before its packet is counted.
    pub(super) const fn new(sender: End, header: &Header, now: Timestamp) -> Self {
        let Header { seq, scale, .. } = *header;
        Self { sender, seq, scale, first: now, last: now, before: now, packets: 0, bytes: 0, payload: 0 }
    }

    /// True if a segment answers it.
    pub(super) fn is_answered(&self, sender: End, header: &Header) -> bool {
        header.answers() && sender != self.sender && header.ack == self.seq.wrapping_add(1)
    }
}

/// What is known of both ends, in two lines of the cache.
#[derive(Debug, Default)]
#[repr(align(32))]
pub(super) struct Connection {
    /// A and Z.
    pub(super) sides: [Side; 2],
    /// Microseconds from the start of the flow to the last SYN of the client.
    pub(super) syn_at: u32,
    /// The last SYN that does not belong to the connection.
    pub(super) stray_syn: Option<Box<StraySyn>>,
    /// Nobody wants its streams.
    pub(super) is_stopped: bool,
}

impl Connection {
    /// The side of an end.
    #[inline]
    pub(super) const fn side(&self, end: End) -> &Side {
        &self.sides[end as usize]
    }

    /// The sides of a sender and of the other end.
    #[inline]
    pub(super) const fn both(&self, sender: End) -> [&Side; 2] {
        [self.side(sender), self.side(sender.other())]
    }

    /// The sides of a sender and of the other end.
    #[inline]
    pub(super) const fn pair(&mut self, sender: End) -> [&mut Side; 2] {
        let [a, z] = &mut self.sides;
        match sender {
            End::A => [a, z],
            End::Z => [z, a],
        }
    }
}

/// Bytes of a connection.
pub(super) const CONNECTION_BYTES: usize = size_of::<Connection>();

const _: () = assert!(CONNECTION_BYTES <= 96, "any place at a multiple of 32 is in two lines");

/// Connections by index; those that are over make room for new ones.
#[derive(Debug, Default)]
pub(super) struct Connections {
    list: Vec<Connection>,
    free: Vec<u32>,
    // How many of them have a stray SYN.
    strays: usize,
}

impl Connections {
    pub(super) fn add(&mut self, connection: Connection) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.list[index as usize] = connection;
                // The one that is used next was left long ago.
                self.free.last().into_iter().for_each(|next| self.prefetch(*next));
                index
            }
            None => {
                make_room(&mut self.list, 1);
                self.list.push(connection);
                self.list.len() as u32 - 1
            }
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Connection {
        &self.list[index as usize]
    }

    /// Asks the memory for a connection, which is needed soon.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        prefetch_whole(self.get(index));
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Connection {
        &mut self.list[index as usize]
    }

    /// What is kept of a SYN that does not belong to a connection: the last one, in the place of the one before.
    pub(super) fn stray_syn(&mut self, index: u32, sender: End, header: &Header, now: Timestamp) -> &mut StraySyn {
        let stray = &mut self.list[index as usize].stray_syn;
        self.strays += usize::from(stray.is_none());
        let new = || StraySyn::new(sender, header, now);
        let known = stray.get_or_insert_with(|| Box::new(new()));
        if known.seq != header.seq || known.sender != sender {
            **known = new();
        }
        known
    }

    /// Takes out the SYN that a segment answers.
    pub(super) fn take_stray_syn(&mut self, index: u32, sender: End, header: &Header) -> Option<Box<StraySyn>> {
        let stray = self.get_mut(index).stray_syn.take_if(|stray| stray.is_answered(sender, header))?;
        self.strays -= 1;
        Some(stray)
    }

    /// Nobody gets the streams of those in which something waits for missing bytes.
    pub(super) fn stop_those_with_holes(&mut self) {
        for connection in &mut self.list {
            connection.is_stopped |= connection.sides.iter().any(|side| side.assembler.is_some());
        }
    }

    /// Takes one out; the room is used again.
    pub(super) fn remove(&mut self, index: u32) {
        let connection = self.get_mut(index);
        connection.sides.iter_mut().for_each(|side| side.assembler = None);
        let stray = connection.stray_syn.take();
        self.strays -= usize::from(stray.is_some());
        self.free.push(index);
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        let strays = self.strays * size_of::<StraySyn>();
        (self.list.len() - self.free.len()) * (CONNECTION_BYTES + size_of::<u32>()) + strays
    }
}
