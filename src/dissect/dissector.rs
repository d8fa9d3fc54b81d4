//! The seam between the flow events and the protocols.

use super::finding::{DissectWants, FindingKind, Findings, Transaction};
use crate::flow::{Direction, Flow, FlowHandle, Roles};
use crate::key::{End, Host};
use crate::time::Timestamp;

/// Whether the first bytes of a stream are those of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognition {
    /// They are.
    Yes,
    /// They are not, whatever follows.
    No,
    /// Too few bytes to tell.
    Undecided,
}

/// Whether a dissector needs the rest of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// It does.
    More,
    /// It has all it wants, or the flow turned out not to speak its protocol; it is dropped, without [`StreamDissector::end`].
    Done,
    /// The flow changes its protocol (STARTTLS, CONNECT, Upgrade): what follows is recognised afresh, and the dissector is
    /// dropped as with `Done`. As an answer to anything but stream bytes it means `Done`.
    Restart {
        /// How many of the bytes just handed over belong to the old protocol.
        used: usize,
    },
}

/// A flow that another one announced: data connections of FTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Address that listens.
    pub host: Host,
    /// Port that listens.
    pub port: u16,
    /// Address of the other end.
    pub peer: Host,
    /// Name of the file that will travel, unless it is no file.
    pub name: Option<Box<[u8]>>,
}

/// What a dissector works with while it handles one event.
#[derive(Debug)]
pub struct Context<'a> {
    /// Index of the event.
    pub after: u32,
    /// Handle of the flow.
    pub handle: FlowHandle,
    /// The flow.
    pub flow: &'a Flow,
    /// Packet time.
    pub time: Timestamp,
    /// What is asked for.
    pub wants: &'a DissectWants,
    /// Takes what is found.
    pub findings: &'a mut Findings,
    /// Takes what went wrong.
    pub counts: &'a mut Counts,
    /// Number of the last HTTP transaction.
    pub transactions: &'a mut u64,
    /// What the directions that the dissector is told of are to those of the flow.
    pub roles: Roles,
    /// Takes the flow, if the end that counts as its client turns out to be the one who answers.
    pub turned: &'a mut Vec<FlowHandle>,
}

impl Context<'_> {
    /// Adds a finding about the flow.
    pub fn push(&mut self, kind: FindingKind) {
        self.findings.push(self.after, self.handle, kind);
    }

    /// Adds an attribute of the flow, if attributes are asked for, or the events that are made from them.
    pub fn attribute(&mut self, name: &str, value: &[u8]) {
        if (self.wants.attributes | self.wants.events).is_yes() {
            self.findings.attribute(self.after, self.handle, name, value);
        }
    }

    /// The end that is the client in the directions that the dissector is told of.
    pub const fn client(&self) -> End {
        match self.roles {
            Roles::Known => self.flow.client(),
            Roles::Turned => self.flow.client().other(),
        }
    }

    /// What goes this way can be told by its content to come from the end that asks.
    pub fn asks(&mut self, direction: Direction) {
        if self.roles.of(direction) == Direction::ToClient {
            self.turned.push(self.handle);
        }
    }

    /// Number of a new HTTP transaction.
    pub fn new_transaction(&mut self) -> Transaction {
        *self.transactions += 1;
        Transaction(*self.transactions)
    }
}

/// Takes one protocol apart in one flow, both directions. State it keeps is bounded.
pub trait StreamDissector: std::fmt::Debug {
    /// The next bytes of a stream, never empty.
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, position: u64, bytes: &[u8]) -> Appetite;

    /// Bytes of a stream that will never come.
    fn gap(&mut self, cx: &mut Context<'_>, direction: Direction, position: u64, missing: u64) -> Appetite;

    /// The flow ends.
    fn end(&mut self, cx: &mut Context<'_>);

    /// Bytes it holds beyond its own size, for the limit over all flows.
    fn held(&self) -> usize;

    /// Nobody wants an HTTP body any more, or one that is to come.
    fn decline_body(&mut self, _transaction: Transaction, _direction: Direction) {}

    /// When [`StreamDissector::wake`] is wanted; asked after every call.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// The time has come; it may have gone on for longer than was asked for.
    fn wake(&mut self, _cx: &mut Context<'_>) {}

    /// The next flow that was announced since it was last asked.
    fn announced(&mut self) -> Option<Expectation> {
        None
    }
}

/// Takes one protocol over datagrams apart in one flow. State it keeps is bounded.
pub trait DatagramDissector: std::fmt::Debug {
    /// The payload of the next datagram, never empty; cut off where the capture is.
    fn datagram(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> Appetite;

    /// The flow ends.
    fn end(&mut self, cx: &mut Context<'_>);

    /// Bytes it holds beyond its own size, for the limit over all flows.
    fn held(&self) -> usize;

    /// When [`DatagramDissector::wake`] is wanted; asked after every call.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    /// The time has come; it may have gone on for longer than was asked for.
    fn wake(&mut self, _cx: &mut Context<'_>) {}
}

/// Oddities met by the dissectors, by name. Names are fixed text, so the table stays small.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    list: Vec<(&'static str, u64)>,
}

impl Counts {
    /// Adds one to a counter.
    pub fn add(&mut self, name: &'static str) {
        match self.list.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.list.push((name, 1)),
        }
    }

    /// Each counter that is not zero, in order of first use.
    #[must_use]
    pub fn named(&self) -> &[(&'static str, u64)] {
        &self.list
    }
}
