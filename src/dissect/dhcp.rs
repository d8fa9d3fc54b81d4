//! DHCP for IPv4: the names that hosts give themselves.

use super::dissector::{Appetite, Context, DatagramDissector, Recognition};
use super::finding::FindingKind;
use crate::flow::Direction;

/// The fixed part and the cookie that the options follow.
const FIXED: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

/// Longest name of a host.
const MAX_NAME: usize = 255;

/// Whether a datagram is a message about an Ethernet host.
pub(super) fn recognise(_direction: Direction, bytes: &[u8]) -> Recognition {
    let fits = matches!(bytes, [1 | 2, 1, 6, ..]) && bytes.get(236..FIXED) == Some(&COOKIE);
    if fits { Recognition::Yes } else { Recognition::No }
}

/// Every message stands for itself.
#[derive(Debug)]
pub(super) struct Dhcp;

/// What the options say.
#[derive(Default)]
struct Options<'a> {
    host_name: Option<&'a [u8]>,
    /// Flags and name of option 81.
    full_name: Option<(u8, &'a [u8])>,
    requested: Option<[u8; 4]>,
}

fn options(mut bytes: &[u8]) -> Options<'_> {
    let mut found = Options::default();
    loop {
        bytes = match bytes {
            [0, rest @ ..] => rest,
            [255, ..] | [] | [_] => return found,
            [code, len, rest @ ..] => {
                let Some((value, rest)) = rest.split_at_checked(usize::from(*len)) else { return found };
                match (*code, value) {
                    (12, [_, ..]) => found.host_name = Some(value),
                    (50, [a, b, c, d]) => found.requested = Some([*a, *b, *c, *d]),
                    // Flags, two result codes that mean nothing any more, the name.
                    (81, [flags, _, _, name @ ..]) if !name.is_empty() => found.full_name = Some((*flags, name)),
                    _ => {}
                }
                rest
            }
        };
    }
}

/// The name of option 81: text, or labels with their lengths if the flag says so (RFC 4702, 2.1).
fn full_name(text: &mut Vec<u8>, flags: u8, mut name: &[u8]) {
    if flags & 4 == 0 {
        text.extend_from_slice(name);
        return;
    }
    let mark = text.len();
    while let [len @ 1..=63, rest @ ..] = name {
        let Some((label, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
        if text.len() > mark {
            text.push(b'.');
        }
        text.extend_from_slice(label);
        name = rest;
    }
}

impl DatagramDissector for Dhcp {
    fn datagram(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> Appetite {
        if !cx.wants.host_names.is_yes() || recognise(direction, bytes) != Recognition::Yes {
            return Appetite::More;
        }
        let options = options(&bytes[FIXED..]);
        let address = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).ok().filter(|address| *address != [0; 4]);
        // The one assigned, the one asked for, the one it has.
        let ip = address(16).or(options.requested).or(address(12));
        let mark = cx.findings.mark();
        let text = cx.findings.writer();
        match (options.host_name, options.full_name) {
            (Some(name), _) => text.extend_from_slice(name),
            (None, Some((flags, name))) => full_name(text, flags, name),
            (None, None) => return Appetite::More,
        }
        // Some end it like a string of C.
        while text.len() > mark && text.last() == Some(&0) {
            text.pop();
        }
        text.truncate(mark + MAX_NAME);
        let name = cx.findings.since(mark);
        if !name.is_empty()
            && let Ok(mac) = <[u8; 6]>::try_from(&bytes[28..34])
        {
            cx.push(FindingKind::HostName { mac, ip, name });
        }
        Appetite::More
    }

    fn end(&mut self, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dissect::rehearsal::{ALL, Rehearsal};
    use crate::flow::Direction::ToServer;

    fn message(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 0x42]);
        bytes[236..].copy_from_slice(&COOKIE);
        bytes.extend(options);
        bytes
    }

    fn found(options: &[u8]) -> Vec<String> {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.exchange(67);
        rehearsal.say(flow, ToServer, &message(options));
        rehearsal.run();
        rehearsal.found[1..].to_vec()
    }

    #[test]
    fn the_name_comes_with_the_address_asked_for() {
        let expected = ["[2, 0, 0, 0, 0, 42] Some([10, 0, 0, 7]) laptop"];
        assert_eq!(found(b"\x35\x01\x03\0\x32\x04\x0A\0\0\x07\x0C\x07laptop\0\xFF"), expected);
        assert_eq!(found(b"\x32\x04\x0A\0\0\x07\x51\x09\0\0\0laptop"), expected);
        assert_eq!(found(b"\x51\x0E\x04\0\0\x02my\x06laptop\0\xFF"), ["[2, 0, 0, 0, 0, 42] None my.laptop"]);
    }

    #[test]
    fn without_a_name_nothing_is_found() {
        for options in [&b"\xFF"[..], b"\x0C\x00\xFF", b"\x0C\x09short", b"\x0C\x01\0\xFF", b"\x0C", b"\x51\x02\0\0"] {
            assert_eq!(found(options), Vec::<String>::new());
        }
    }

    proptest! {
        #[test]
        fn any_options_are_survived(options in proptest::collection::vec(any::<u8>(), 0..200)) {
            found(&options);
        }
    }
}
