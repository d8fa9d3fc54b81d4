//! The control connection of FTP: which data connections will come, and which files travel on them.

use std::net::IpAddr;

use super::dissector::{Appetite, Context, Expectation, Recognition, StreamDissector};
use super::lines::{Greeting, Lines, ReplyLine, Start, begins_with, greeting, reply};
use super::protocols::Head;
use crate::flow::Direction;
use crate::key::Host;

/// Longest name of a file that is kept.
const MAX_NAME: usize = 512;

/// Whether a stream is the control connection: by the greeting if it says so, else by the first command.
pub(super) fn recognise(direction: Direction, head: Head<'_>) -> Recognition {
    match direction {
        Direction::ToClient => match greeting(head) {
            Greeting::Files => Recognition::Yes,
            Greeting::Unclear => Recognition::Undecided,
            Greeting::Mail | Greeting::Other => Recognition::No,
        },
        Direction::ToServer => {
            let head = head.bytes;
            let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
                let begins = |word: &[u8]| {
                    head[..head.len().min(word.len())].eq_ignore_ascii_case(&word[..head.len().min(word.len())])
                };
                let may_be = [&b"USER "[..], b"AUTH ", b"FEAT\r\n"].into_iter().any(begins);
                return if may_be && head.len() < MAX_NAME { Recognition::Undecided } else { Recognition::No };
            };
            let line = head[..end].trim_ascii_end();
            // With more than a name it is a command of IRC.
            let names_user = begins_with(line, b"USER ") && !line[5..].contains(&b' ');
            let fits = names_user
                || [&b"AUTH TLS"[..], b"AUTH SSL", b"FEAT"].into_iter().any(|w| w.eq_ignore_ascii_case(line));
            if fits { Recognition::Yes } else { Recognition::No }
        }
    }
}

/// Where the next data connection will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Which way it connects.
    listener: Direction,
    port: u16,
}

/// A control connection.
#[derive(Debug, Default)]
pub(super) struct Ftp {
    lines: [Lines; 2],
    place: Option<Place>,
    announced: Option<Expectation>,
    /// The client asked for TLS.
    asks_tls: bool,
}

impl Ftp {
    fn command(&mut self, cx: &Context<'_>, line: &[u8]) {
        let (verb, argument) = match line.iter().position(|byte| *byte == b' ') {
            Some(blank) => (&line[..blank], line[blank + 1..].trim_ascii_start()),
            None => (line, &[][..]),
        };
        let is = |word: &str| verb.eq_ignore_ascii_case(word.as_bytes());
        // The address given is not looked at: it is that of the client, or behind a translation, or a trick.
        if is("PORT") {
            self.place = six_numbers(argument).map(|port| Place { listener: Direction::ToClient, port });
        } else if is("EPRT") {
            self.place = extended_port(argument).map(|port| Place { listener: Direction::ToClient, port });
        } else if is("RETR") || is("STOR") || is("APPE") || is("STOU") {
            self.announce(cx, Some(argument[..argument.len().min(MAX_NAME)].into()));
        } else if is("LIST") || is("NLST") || is("MLSD") {
            self.announce(cx, None);
        } else if is("AUTH") {
            self.asks_tls = true;
        }
    }

    fn announce(&mut self, cx: &Context<'_>, name: Option<Box<[u8]>>) {
        let Some(place) = self.place.take() else { return };
        let client = cx.client();
        let (client, server) = (cx.flow.tuple.host(client), cx.flow.tuple.host(client.other()));
        let (host, peer): (Host, Host) = match place.listener {
            Direction::ToClient => (client, server),
            Direction::ToServer => (server, client),
        };
        self.announced = Some(Expectation { host, port: place.port, peer, name });
    }

    fn answer(&mut self, line: &[u8]) -> Appetite {
        let Some((code, ReplyLine::Last)) = reply(line) else { return Appetite::More };
        let port = match code {
            227 => line.iter().skip(4).position(u8::is_ascii_digit).and_then(|at| six_numbers(&line[4 + at..])),
            229 => line.iter().position(|byte| *byte == b'(').and_then(|at| extended_port(&line[at + 1..])),
            234 if self.asks_tls => return Appetite::Restart { used: 0 },
            _ => return Appetite::More,
        };
        if let Some(port) = port {
            self.place = Some(Place { listener: Direction::ToServer, port });
        }
        Appetite::More
    }
}

/// The port of `h1,h2,h3,h4,p1,p2`.
fn six_numbers(text: &[u8]) -> Option<u16> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b',').unwrap_or(text.len());
    let mut numbers = [0; 6];
    let mut parts = text[..end].split(|byte| *byte == b',');
    for number in &mut numbers {
        *number = std::str::from_utf8(parts.next()?).ok()?.parse::<u8>().ok()?;
    }
    Some(u16::from_be_bytes([numbers[4], numbers[5]])).filter(|port| *port != 0)
}

/// The port of `|1|192.0.2.7|6275|` or `|||6275|`, with any separator.
fn extended_port(text: &[u8]) -> Option<u16> {
    let separator = *text.first()?;
    let mut parts = text[1..].split(|byte| *byte == separator);
    let _version = parts.next()?;
    let host = std::str::from_utf8(parts.next()?).ok()?;
    if !host.is_empty() && host.parse::<IpAddr>().is_err() {
        return None;
    }
    std::str::from_utf8(parts.next()?).ok()?.parse().ok().filter(|port| *port != 0)
}

impl StreamDissector for Ftp {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        let mut rest = bytes;
        let mut lines = std::mem::take(&mut self.lines[direction.index()]);
        while let Some(line) = lines.next(&mut rest) {
            if line.start == Start::Middle {
                continue;
            }
            match direction {
                Direction::ToServer => self.command(cx, line.text()),
                Direction::ToClient => {
                    if self.answer(line.text()) != Appetite::More {
                        return Appetite::Restart { used: bytes.len() - rest.len() };
                    }
                }
            }
        }
        self.lines[direction.index()] = lines;
        Appetite::More
    }

    fn gap(&mut self, _cx: &mut Context<'_>, direction: Direction, _position: u64, _missing: u64) -> Appetite {
        // What was said in between is not known, so the next place is not either; the one after that is.
        self.lines[direction.index()] = Lines::default();
        self.place = None;
        self.asks_tls = false;
        Appetite::More
    }

    fn end(&mut self, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum()
    }

    fn announced(&mut self) -> Option<Expectation> {
        self.announced.take()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dissect::rehearsal::{ALL, Rehearsal, check_pieces};
    use crate::flow::Direction::{ToClient, ToServer};
    use crate::flow::state;

    #[test]
    fn ports_are_read_in_all_their_forms() {
        assert_eq!(six_numbers(b"192,0,2,7,24,131"), Some(6_275));
        assert_eq!(six_numbers(b"192,0,2,7,24,131)."), Some(6_275));
        for wrong in [&b"192,0,2,7,24"[..], b"192,0,2,7,24,256", b"1,2,3,4,0,0", b"", b",,,,,"] {
            assert_eq!(six_numbers(wrong), None);
        }
        assert_eq!(extended_port(b"|1|192.0.2.7|6275|"), Some(6_275));
        assert_eq!(extended_port(b"|2|2001:db8::7|6275|"), Some(6_275));
        assert_eq!(extended_port(b"|||6275|)"), Some(6_275));
        for wrong in [&b""[..], b"|", b"|||", b"||x|6275|", b"|||70000|", b"|||0|"] {
            assert_eq!(extended_port(wrong), None);
        }
    }

    /// What is found when a control connection has said something and data comes to a port of the server.
    fn fetched(commands: &[(Direction, &str)], port: u16) -> Vec<String> {
        let mut rehearsal = Rehearsal::new(ALL);
        let control = rehearsal.connect(21);
        rehearsal.say(control, ToClient, b"220 an FTP server\r\n");
        for (direction, text) in commands {
            rehearsal.say(control, *direction, text.as_bytes());
        }
        let data = rehearsal.open_between(9, (6, [10, 0, 0, 1], 50_009, port), state::SEEN_SYN);
        rehearsal.say(data, ToClient, b"hello");
        rehearsal.end(data);
        rehearsal.run();
        rehearsal.found.into_iter().filter(|line| !line.ends_with('=')).collect()
    }

    #[test]
    fn data_connections_are_known_by_their_announcement() {
        let passive = (ToClient, "227 at (10,9,9,9,24,131)\r\n");
        let hash = "MD5:5d41402abc4b2a76b9719d911017c592 -> a/b.txt";
        assert_eq!(fetched(&[passive, (ToServer, "RETR a/b.txt\r\n")], 6_275), ["Ftp", "FtpData", hash]);
        assert_eq!(fetched(&[passive, (ToServer, "LIST\r\n")], 6_275), ["Ftp", "FtpData"]);
        assert_eq!(fetched(&[passive, (ToServer, "RETR a/b.txt\r\n")], 6_276), ["Ftp"]);
        assert_eq!(fetched(&[passive], 6_275), ["Ftp"]);
        let extended = (ToClient, "229 at (|||6275|)\r\n");
        assert_eq!(fetched(&[extended, (ToServer, "stor a/b.txt\r\n")], 6_275), ["Ftp", "FtpData", hash]);
    }

    #[test]
    fn an_announcement_is_for_the_two_hosts_that_talk_and_for_a_while() {
        for (from, seconds) in [([10, 0, 0, 3], 0), ([10, 0, 0, 1], 61)] {
            let mut rehearsal = Rehearsal::new(ALL);
            let control = rehearsal.connect(21);
            rehearsal.say(control, ToClient, b"220 an FTP server\r\n229 at (|||6275|)\r\n");
            rehearsal.say(control, ToServer, b"RETR a\r\n");
            rehearsal.now = crate::time::Timestamp::new(rehearsal.now.secs() + seconds, 0);
            let data = rehearsal.open_between(9, (6, from, 50_009, 6_275), state::SEEN_SYN);
            rehearsal.say(data, ToClient, b"hello");
            rehearsal.run();
            assert!(!rehearsal.found.iter().any(|line| line == "FtpData"), "{:?}", rehearsal.found);
        }
    }

    #[test]
    fn other_protocols_with_users_are_not_ftp() {
        assert_eq!(recognise(ToServer, Head::new(b"USER guest tolmoon tolsun :Ronnie\r\n")), Recognition::No);
        assert_eq!(recognise(ToClient, Head::new(b"+OK ready\r\n")), Recognition::No);
        assert_eq!(recognise(ToServer, Head::new(b"USER me\r\n")), Recognition::Yes);
        assert_eq!(recognise(ToServer, Head::new(b"US")), Recognition::Undecided);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            commands in proptest::collection::vec("(PORT 1,2,3,4,5,6|EPRT \\|1\\|1.2.3.4\\|9\\||RETR [a-z]*|AUTH TLS|[A-Z ]{0,9})\r\n", 0..6),
            replies in proptest::collection::vec("(227 \\(1,2,3,4,5,6\\)|229 \\(\\|\\|\\|7\\|\\)|234 go|[0-9 -]{0,9})\r\n", 0..6),
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
        ) {
            let said = [
                (ToClient, b"220 an FTP server\r\n".to_vec()),
                (ToServer, commands.concat().into_bytes()),
                (ToClient, replies.concat().into_bytes()),
                (ToServer, b"SSH-2.0-x\r\n".to_vec()),
            ];
            check_pieces(&said, &cuts)?;
        }
    }
}
