//! SSH: the banners and the fingerprints of the key exchange.

use md5::{Digest, Md5};

use super::dissector::{Appetite, Context, Recognition, StreamDissector};
use super::file_hash::push_hex;
use super::finding::FindingKind;
use super::protocols::Head;
use crate::flow::Direction;

/// Longest banner, line end included (RFC 4253, 4.2).
const MAX_BANNER: usize = 255;

/// Most lines, and bytes of them, that a server may say before its banner.
const MAX_LINES: usize = 64;
const MAX_BEFORE: usize = 4_096;

/// Longest packet that every implementation takes (RFC 4253, 6.1).
const MAX_PACKET: usize = 35_000;

/// Packets in which the key exchange has to begin.
const MAX_PACKETS: u8 = 4;

/// Length of a packet, length of its padding, and the kind of message.
const HEADER: usize = 6;

/// `SSH_MSG_KEXINIT`.
const KEX_INIT: u8 = 20;

/// Kind and cookie in front of the lists.
const COOKIE: usize = 17;

/// Whether a stream begins with a banner. A server may say something else first (RFC 4253, 4.2), which could be any text:
/// there the client decides.
pub(super) fn recognise(direction: Direction, head: Head<'_>) -> Recognition {
    match (banner(head.bytes), direction) {
        (Recognition::No, Direction::ToClient) if may_lead_to_banner(head) => Recognition::Undecided,
        (recognition, _) => recognition,
    }
}

/// Whether a line is a banner.
fn banner(line: &[u8]) -> Recognition {
    match (line, b"SSH-".starts_with(line)) {
        ([b'S', b'S', b'H', b'-', b'1' | b'2', b'.', ..], _) => Recognition::Yes,
        (_, true) | ([b'S', b'S', b'H', b'-'] | [b'S', b'S', b'H', b'-', b'1' | b'2'], _) => Recognition::Undecided,
        _ => Recognition::No,
    }
}

/// Whether lines have a banner behind them, or may have one once more is there. What was looked at before has one or is text,
/// and is not read again line by line: a server may say the first lines byte by byte.
fn may_lead_to_banner(Head { bytes, looked, .. }: Head<'_>) -> bool {
    let (known, _) = bytes.split_at(looked.min(bytes.len()));
    let is_banner = |at: usize| banner(&known[at + 1..]) == Recognition::Yes;
    if memchr::memmem::find_iter(known, b"\nSSH-").any(is_banner) {
        return true;
    }
    let mut at = memchr::memrchr(b'\n', known).map_or(0, |end| end + 1);
    let mut before = Before { lines: memchr::memchr_iter(b'\n', &known[..at]).count(), bytes: at };
    for line in bytes[at..].split_inclusive(|byte| *byte == b'\n') {
        if banner(line) != Recognition::No {
            return true;
        }
        let read = known.len().saturating_sub(at).min(line.len());
        if before.add(line.len(), &line[read..]) == Err(NoGreeting) {
            return false;
        }
        at += line.len();
    }
    true
}

/// How much a server has said before its banner.
#[derive(Debug, Default)]
struct Before {
    lines: usize,
    bytes: usize,
}

/// What was said is too much, or no text.
#[derive(Debug, PartialEq, Eq)]
struct NoGreeting;

impl Before {
    /// One more line of so many bytes, of which these are not known to be text.
    fn add(&mut self, len: usize, bytes: &[u8]) -> Result<(), NoGreeting> {
        self.lines += 1;
        self.bytes += len;
        let is_text = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
        let fits = self.lines <= MAX_LINES && self.bytes <= MAX_BEFORE;
        if fits && bytes.iter().all(is_text) { Ok(()) } else { Err(NoGreeting) }
    }
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Banner,
    /// As many packets have been seen.
    Packets(u8),
    /// Nothing more is to be found.
    Over,
}

#[derive(Debug)]
struct Side {
    phase: Phase,
    before: Before,
    /// A banner or packet that is not complete.
    partial: Vec<u8>,
}

/// Both sides of a connection.
#[derive(Debug)]
pub(super) struct Ssh {
    sides: [Side; 2],
}

impl Default for Ssh {
    fn default() -> Self {
        let side = || Side { phase: Phase::Banner, before: Before::default(), partial: Vec::new() };
        Self { sides: [side(), side()] }
    }
}

impl Side {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) {
        if self.phase == Phase::Over {
            return;
        }
        let mut joined = std::mem::take(&mut self.partial);
        let mut bytes = if joined.is_empty() {
            bytes
        } else {
            joined.extend_from_slice(bytes);
            &joined
        };
        while let Some(used) = self.step(cx, direction, bytes) {
            bytes = &bytes[used..];
        }
        if self.phase != Phase::Over {
            self.partial = bytes.to_vec();
        }
    }

    /// Takes a banner or a packet from the front; gives its length if it is complete.
    fn step(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> Option<usize> {
        match self.phase {
            Phase::Over => None,
            Phase::Banner => {
                let is_banner = bytes.starts_with(&b"SSH-"[..bytes.len().min(4)]);
                let longest = if is_banner { MAX_BANNER } else { MAX_BEFORE };
                let window = &bytes[..bytes.len().min(longest)];
                let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
                    if window.len() == longest {
                        cx.counts.add("ssh banners too long");
                        self.phase = Phase::Over;
                    }
                    return None;
                };
                let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
                if line.starts_with(b"SSH-") {
                    let name = match direction {
                        Direction::ToServer => "SSH:BANNER:CLIENT",
                        Direction::ToClient => "SSH:BANNER:SERVER",
                    };
                    cx.attribute(name, line);
                    let is_second = line.starts_with(b"SSH-2.") || line.starts_with(b"SSH-1.99");
                    self.phase = if is_second { Phase::Packets(0) } else { Phase::Over };
                } else if direction == Direction::ToServer
                    || self.before.add(end + 1, &window[..=end]) == Err(NoGreeting)
                {
                    cx.counts.add("ssh banners missing");
                    self.phase = Phase::Over;
                    return None;
                }
                Some(end + 1)
            }
            Phase::Packets(seen) => {
                let header: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
                let [l0, l1, l2, l3, padding, kind] = *header;
                let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
                if !(2..=MAX_PACKET).contains(&len) || usize::from(padding) + 1 >= len {
                    cx.counts.add("ssh packets refused");
                    self.phase = Phase::Over;
                    return None;
                }
                let packet = bytes.get(..4 + len)?;
                self.phase = if kind == KEX_INIT {
                    key_exchange(cx, direction, &packet[5..packet.len() - usize::from(padding)]);
                    Phase::Over
                } else if seen + 1 < MAX_PACKETS {
                    Phase::Packets(seen + 1)
                } else {
                    Phase::Over
                };
                Some(packet.len())
            }
        }
    }
}

/// HASSH: the hash over the lists of a side for key exchange, encryption, authentication and compression.
fn key_exchange(cx: &mut Context<'_>, direction: Direction, message: &[u8]) {
    // The lists stand in pairs: to the server, to the client. A fingerprint takes the direction its side sends.
    let (name, wanted) = match direction {
        Direction::ToServer => ("SSH:HASSH", [0, 2, 4, 6]),
        Direction::ToClient => ("SSH:HASSH:SERVER", [0, 3, 5, 7]),
    };
    let mark = cx.findings.mark();
    let mut rest = message.get(COOKIE..).unwrap_or_default();
    for index in 0..8 {
        let list = rest.split_first_chunk::<4>();
        let list = list.and_then(|(len, behind)| behind.split_at_checked(u32::from_be_bytes(*len) as usize));
        let Some((list, behind)) = list else {
            cx.findings.writer().truncate(mark);
            return cx.counts.add("ssh packets refused");
        };
        rest = behind;
        if wanted.contains(&index) {
            let text = cx.findings.writer();
            if index > 0 {
                text.push(b';');
            }
            text.extend_from_slice(list);
        }
    }
    let text = cx.findings.since(mark);
    let hash = Md5::digest(cx.findings.bytes(text));
    if cx.wants.events.is_yes() {
        cx.push(FindingKind::FingerprintText { direction, text });
    }
    let mut text = Vec::with_capacity(32);
    push_hex(&mut text, &hash);
    cx.attribute(name, &text);
}

impl StreamDissector for Ssh {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        self.sides[direction.index()].data(cx, direction, bytes);
        if self.sides.iter().all(|side| side.phase == Phase::Over) { Appetite::Done } else { Appetite::More }
    }

    fn gap(&mut self, _cx: &mut Context<'_>, _direction: Direction, _position: u64, _missing: u64) -> Appetite {
        Appetite::Done
    }

    fn end(&mut self, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.partial.capacity()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Head, MAX_BEFORE, MAX_LINES, recognise};
    use crate::dissect::dissector::Recognition;
    use crate::dissect::rehearsal::{Said, check_pieces, overheard};
    use crate::flow::Direction::{ToClient, ToServer};

    fn key_exchange(lists: [&str; 10]) -> Vec<u8> {
        let mut message = [&[20][..], &[7; 16]].concat();
        for list in lists {
            message.extend((list.len() as u32).to_be_bytes());
            message.extend(list.as_bytes());
        }
        message.extend([0; 5]);
        [&(message.len() as u32 + 5).to_be_bytes()[..], &[4], &message, &[0; 4]].concat()
    }

    fn session() -> Vec<Said> {
        let lists = ["kex", "host", "enc-there", "enc-back", "mac-there", "mac-back", "none", "zlib", "", ""];
        let client = [b"SSH-2.0-client\r\n", &key_exchange(lists)[..]].concat();
        let server = [b"SSH-2.0-server a comment\n", &key_exchange(lists)[..]].concat();
        vec![(ToServer, client), (ToClient, server), (ToServer, vec![0xFF; 100])]
    }

    #[test]
    fn banners_and_fingerprints_are_attributes() {
        // md5sum of "kex;enc-there;mac-there;none" and of "kex;enc-back;mac-back;zlib".
        assert_eq!(
            overheard(&session()),
            [
                "=",
                "Ssh",
                "SSH:BANNER:CLIENT=SSH-2.0-client",
                "SSH:HASSH=7b51f6c45645719e762ee97763219368",
                "SSH:BANNER:SERVER=SSH-2.0-server a comment",
                "SSH:HASSH:SERVER=9ccfd41a22b842e79716e14488ff4462",
                "^D=",
            ]
        );
    }

    #[test]
    fn a_server_may_say_something_else_before_its_banner() {
        let [client, server, rest]: [Said; 3] = session().try_into().unwrap();
        let welcome = format!("Welcome\r\nto this\n{}\r\n", "\u{fc}".repeat(300));
        let server = (ToClient, [welcome.as_bytes(), &server.1].concat());
        let mut expected = overheard(&session());
        assert_eq!(overheard(&[client.clone(), server.clone(), rest.clone()]), expected);
        // The same in the order of time, one thing said after the other.
        expected[2..].sort();
        let mut found = overheard(&[server, client, rest]);
        found[2..].sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_said_before_a_banner_is_bounded_and_of_the_server() {
        let banners = |welcome: &[u8], client: &[u8]| {
            let server = [welcome, b"SSH-2.0-s\r\n"].concat();
            let one = overheard(&[(ToClient, server.clone()), (ToServer, client.to_vec())]);
            let other = overheard(&[(ToServer, client.to_vec()), (ToClient, server)]);
            [one, other].map(|found| found.iter().filter(|line| line.contains("BANNER:SERVER")).count())
        };
        let client = b"SSH-2.0-c\r\n";
        assert_eq!(banners(&b"a\r\n".repeat(MAX_LINES), client), [1, 1]);
        assert_eq!(banners(&b"a\r\n".repeat(MAX_LINES + 1), client), [0, 0]);
        let line = |len| [&b"x".repeat(len - 1)[..], b"\n"].concat();
        assert_eq!(banners(&line(MAX_BEFORE), client), [1, 1]);
        assert_eq!(banners(&line(MAX_BEFORE + 1), client), [0, 0]);
        assert_eq!(banners(b"no\0text\r\n", client), [0, 0]);
        // Where the client says anything else, it may be a text that only mentions one.
        assert_eq!(banners(b"Welcome\r\n", b"hello\r\n"), [0, 0]);
        let chatty = [&b"Welcome\r\n"[..], client].concat();
        assert_eq!(overheard(&[(ToServer, chatty.clone())]), ["=", "^D="]);
        let found = overheard(&[(ToClient, b"SSH-2.0-s\r\n".to_vec()), (ToServer, chatty)]);
        assert_eq!(found, ["=", "Ssh", "SSH:BANNER:SERVER=SSH-2.0-s", "^D="]);
    }

    #[test]
    fn other_greetings_are_still_those_of_their_protocols() {
        for (greeting, command, protocol) in [
            ("220-Welcome\r\n220 x ESMTP\r\n", "EHLO a\r\n", "Smtp"),
            ("220-Welcome\r\n220 here\r\n", "USER a\r\n", "Ftp"),
        ] {
            let found = overheard(&[(ToClient, greeting.into()), (ToServer, command.into())]);
            assert_eq!(found[1], protocol, "{found:?}");
        }
    }

    #[test]
    fn a_banner_without_end_and_a_packet_of_absurd_length_end_it() {
        let endless = [&b"SSH-2.0-"[..], &[b'x'; 1_000]].concat();
        assert_eq!(overheard(&[(ToServer, endless)]), ["=", "Ssh", "^D="]);
        let absurd = b"SSH-2.0-a\r\n\xFF\xFF\xFF\xFF\x04\x14".to_vec();
        assert_eq!(overheard(&[(ToServer, absurd)]), ["=", "Ssh", "SSH:BANNER:CLIENT=SSH-2.0-a", "^D="]);
    }

    #[test]
    fn what_was_looked_at_before_is_not_read_again() {
        // Whoever read it would find that it is no text.
        let head = |looked| Head { looked, ..Head::new(b"ok\nno\0text more") };
        assert_eq!(recognise(ToClient, head(6)), Recognition::Undecided);
        assert_eq!(recognise(ToClient, head(5)), Recognition::No);
        // Behind a banner there may be anything: the client decides.
        let head = Head { looked: 15, ..Head::new(b"ok\nSSH-2.0-s\r\n\0\0\x04\x14") };
        assert_eq!(recognise(ToClient, head), Recognition::Undecided);
    }

    proptest! {
        #[test]
        fn looking_at_what_is_new_tells_as_much_as_looking_at_all(
            text in "(a|SSH|-|2\\.|\\r?\\n|\0){0,80}", cuts in proptest::collection::vec(0usize..200, 1..20),
        ) {
            let mut ends = [cuts, vec![usize::MAX]].concat();
            ends.sort_unstable();
            let mut looked = 0;
            for end in ends {
                let bytes = &text.as_bytes()[..end.min(text.len())];
                let anew = recognise(ToClient, Head::new(bytes));
                prop_assert_eq!(anew, recognise(ToClient, Head { looked, ..Head::new(bytes) }));
                if anew != Recognition::Undecided {
                    break;
                }
                looked = bytes.len();
            }
        }

        #[test]
        fn pieces_do_not_matter(
            cuts in proptest::collection::vec(any::<usize>(), 0..8), at in 0usize..200, byte: u8,
        ) {
            check_pieces(&session(), &cuts)?;
            let mut damaged = session();
            damaged[1].1[at % 100] = byte;
            check_pieces(&damaged, &cuts)?;
        }
    }
}
