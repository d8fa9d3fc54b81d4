//! TLS in one flow.

use super::cursor::Cursor;
use super::fingerprint::Transport;
use super::handshake::{Keep, Message, Messages, message};
use super::hello::{ClientHello, ServerHello};
use super::record::{RecordHead, Records, Skipped, Step, content};
use super::report::{report_client_hello, report_server_hello};
use crate::dissect::x509::{self, Owner};
use crate::dissect::{Appetite, Context, StreamDissector};
use crate::flow::Direction;

const RECORD_ATTRIBUTE: &str = "TLS:RECORD";

/// Takes TLS apart. Which side is the client is read from the hellos, not from who sent the first packet.
#[derive(Debug)]
pub struct Tls {
    sides: [Side; 2],
    found: Found,
}

/// One direction.
#[derive(Debug)]
struct Side {
    direction: Direction,
    records: Records,
    messages: Messages,
    /// Start of a record that is announced whole.
    partial: Vec<u8>,
    head: RecordHead,
    handling: Handling,
    keys: Keys,
    role: Option<Owner>,
    chain: Seen,
}

/// What is done with the body of the current record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handling {
    StepOver,
    Messages,
    Announce,
}

/// Whether a direction has begun to encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    None,
    /// The record that changes keys was sent; in TLS 1.3 it means nothing.
    Changed,
    /// Application data was sent.
    InUse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    No,
    Yes,
}

/// What both directions share.
#[derive(Debug)]
struct Found {
    client_hello: Seen,
    server_hello: Seen,
    /// The server, or its request for another hello, chose a version that hides the rest of the handshake.
    hidden: Seen,
}

impl Side {
    const fn new(direction: Direction) -> Self {
        Self {
            direction,
            records: Records::new(),
            messages: Messages::new(),
            partial: Vec::new(),
            head: RecordHead { kind: 0, version: [0; 2], length: 0 },
            handling: Handling::StepOver,
            keys: Keys::None,
            role: None,
            chain: Seen::No,
        }
    }

    /// True if nothing that can be read follows in this direction.
    fn is_over(&self, found: &Found) -> bool {
        self.records.is_lost()
            || self.messages.is_torn()
            || match self.keys {
                Keys::None => found.hidden == Seen::Yes && found.server_hello == Seen::Yes,
                Keys::Changed => found.hidden == Seen::No || found.server_hello == Seen::Yes,
                Keys::InUse => true,
            }
    }

    fn data(&mut self, cx: &mut Context<'_>, found: &mut Found, mut bytes: &[u8]) {
        while let Some(step) = self.records.next(&mut bytes) {
            match step {
                Step::Start(head) => self.start(cx, found, head),
                Step::Body(part) => self.body(cx, found, part),
                Step::End => self.finish(cx),
                Step::Lost => {
                    cx.counts.add("tls_not_a_record");
                    self.give_up();
                    return;
                }
            }
        }
    }

    fn give_up(&mut self) {
        self.messages.tear();
        self.partial = Vec::new();
    }

    fn start(&mut self, cx: &Context<'_>, found: &Found, head: RecordHead) {
        self.head = head;
        let announce = if cx.wants.tls_records.is_yes() { Handling::Announce } else { Handling::StepOver };
        let readable = match self.keys {
            Keys::None => true,
            Keys::Changed => found.hidden == Seen::Yes,
            Keys::InUse => false,
        };
        self.handling = match head.kind {
            content::OLD_HELLO => Handling::StepOver,
            content::APPLICATION_DATA => {
                self.keys = Keys::InUse;
                Handling::StepOver
            }
            content::HANDSHAKE if self.messages.is_torn() => Handling::StepOver,
            content::HANDSHAKE if readable => Handling::Messages,
            content::CHANGE_CIPHER_SPEC => {
                if self.keys == Keys::None {
                    self.keys = Keys::Changed;
                }
                announce
            }
            _ => announce,
        };
    }

    fn body(&mut self, cx: &mut Context<'_>, found: &mut Found, part: &[u8]) {
        match self.handling {
            Handling::StepOver => {}
            Handling::Announce if part.len() == self.head.length => announce(cx, self.head, part),
            Handling::Announce => {
                self.partial.extend_from_slice(part);
                if self.partial.len() == self.head.length {
                    announce(cx, self.head, &self.partial);
                }
            }
            Handling::Messages => self.messages(cx, found, part),
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if self.handling == Handling::Announce && self.head.length == 0 {
            announce(cx, self.head, &[]);
        }
        // Records that wait are rare: most fit the segments they come in.
        self.partial = Vec::new();
    }

    fn messages(&mut self, cx: &mut Context<'_>, found: &mut Found, mut part: &[u8]) {
        let keep = if cx.wants.tls_records.is_yes() { Keep::All } else { Keep::Known };
        while let Some(next) = self.messages.next(&mut part, keep) {
            let Message::Complete { kind, whole } = next else {
                cx.counts.add("tls_message_over_limit");
                continue;
            };
            if keep == Keep::All {
                announce(cx, self.head, whole);
            }
            let body = whole.get(4..).unwrap_or_default();
            match kind {
                message::CLIENT_HELLO => {
                    self.role = Some(Owner::Client);
                    client_hello(cx, found, self.direction, body);
                }
                message::SERVER_HELLO => {
                    self.role = Some(Owner::Server);
                    server_hello(cx, found, self.direction, body);
                }
                message::CERTIFICATE if self.chain == Seen::No && found.hidden == Seen::No => {
                    self.chain = Seen::Yes;
                    certificates(cx, self.role.unwrap_or(Owner::Server), body);
                }
                _ => {}
            }
        }
    }

    fn gap(&mut self, cx: &mut Context<'_>, missing: u64) {
        if self.records.is_lost() {
            return;
        }
        match self.records.skip(missing) {
            Skipped::InRecord if self.handling == Handling::StepOver => {}
            Skipped::InRecord => {
                cx.counts.add("tls_gap_in_record");
                if self.handling == Handling::Messages {
                    self.messages.tear();
                }
                self.partial = Vec::new();
                self.handling = Handling::StepOver;
            }
            Skipped::Lost => {
                cx.counts.add("tls_gap_between_records");
                self.give_up();
            }
        }
    }
}

/// One record, or a message as if it had a record of its own. The length of a message that no record could hold is given
/// as the highest there is.
fn announce(cx: &mut Context<'_>, head: RecordHead, body: &[u8]) {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let name = cx.findings.text(RECORD_ATTRIBUTE.as_bytes());
    let mark = cx.findings.mark();
    let out = cx.findings.writer();
    out.push(head.kind);
    out.extend_from_slice(&head.version);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    let value = cx.findings.since(mark);
    cx.push(crate::dissect::FindingKind::Attribute { name, value });
}

fn client_hello(cx: &mut Context<'_>, found: &mut Found, direction: Direction, body: &[u8]) {
    if found.client_hello == Seen::Yes {
        return;
    }
    let Some(hello) = ClientHello::parse(body) else {
        cx.counts.add("tls_hello_unreadable");
        return;
    };
    found.client_hello = Seen::Yes;
    cx.asks(direction);
    report_client_hello(cx, &hello, Transport::Tcp);
}

fn server_hello(cx: &mut Context<'_>, found: &mut Found, direction: Direction, body: &[u8]) {
    if found.server_hello == Seen::Yes {
        return;
    }
    let Some(hello) = ServerHello::parse(body) else {
        cx.counts.add("tls_hello_unreadable");
        return;
    };
    cx.asks(direction.other());
    if hello.hides_what_follows() {
        found.hidden = Seen::Yes;
    }
    if hello.is_retry() {
        return;
    }
    found.server_hello = Seen::Yes;
    report_server_hello(cx, &hello, Transport::Tcp);
}

fn certificates(cx: &mut Context<'_>, owner: Owner, body: &[u8]) {
    let Some(list) = Cursor::new(body).vector24() else {
        cx.counts.add("tls_certificates_unreadable");
        return;
    };
    let mut list = Cursor::new(list);
    x509::report(cx, owner, std::iter::from_fn(|| list.vector24()));
}

impl Tls {
    /// For a new flow.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sides: [Side::new(Direction::ToServer), Side::new(Direction::ToClient)],
            found: Found { client_hello: Seen::No, server_hello: Seen::No, hidden: Seen::No },
        }
    }

    fn appetite(&self, cx: &Context<'_>) -> Appetite {
        let done = match cx.wants.tls_records.is_yes() {
            true => self.sides.iter().all(|side| side.records.is_lost()),
            false => self.sides.iter().all(|side| side.is_over(&self.found)),
        };
        if done { Appetite::Done } else { Appetite::More }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamDissector for Tls {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        let side = &mut self.sides[direction.index()];
        if !side.records.is_lost() {
            side.data(cx, &mut self.found, bytes);
        }
        self.appetite(cx)
    }

    fn gap(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, missing: u64) -> Appetite {
        self.sides[direction.index()].gap(cx, missing);
        self.appetite(cx)
    }

    fn end(&mut self, _cx: &mut Context<'_>) {}

    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.messages.held() + side.partial.capacity()).sum()
    }
}
