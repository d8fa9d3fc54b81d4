//! The control connection of FTP: which data connections will come, and which files travel on them.

use std::net::IpAddr;

use super::dissector::{Appetite, Context, Expectation, Recognition, StreamDissector};
use super::lines::{Lines, ReplyLine, Start, begins_with, contains, reply};
use crate::flow::Direction;
use crate::key::Host;

/// Longest name of a file that is kept.
const MAX_NAME: usize = 512;

/// Whether a stream is the control connection: by the greeting if it says so, else by the first command.
pub(super) fn recognise(direction: Direction, head: &[u8], _position: u64) -> Recognition {
    match direction {
        Direction::ToClient => {
            let greeting = [b"220 ", b"220-"].into_iter().any(|start| start.starts_with(&head[..head.len().min(4)]));
            match head.len() {
                _ if !greeting => Recognition::No,
                4.. if contains(head, b"FTP") && !contains(head, b"SMTP") => Recognition::Yes,
                _ => Recognition::Undecided,
            }
        }
        Direction::ToServer => {
            let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
                let begins = |word: &[u8]| {
                    head[..head.len().min(word.len())].eq_ignore_ascii_case(&word[..head.len().min(word.len())])
                };
                let may_be = [&b"USER "[..], b"AUTH ", b"FEAT\r\n"].into_iter().any(begins);
                return if may_be { Recognition::Undecided } else { Recognition::No };
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
        let client = cx.flow.client();
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
