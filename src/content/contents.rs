//! From findings to what scripts are told of HTTP: headers to vote on, raw bytes, pieces of bodies, ends.

use std::collections::VecDeque;
use std::rc::Rc;

use super::counts::ContentCounts;
use super::held::{Held, Piece};
use super::name::file_name;
use crate::dissect::http::HeaderBlock;
use crate::dissect::{Dissectors, FindingKind, Findings, Protocol, Text, Transaction};
use crate::flow::{Bytes, Direction, Flow, FlowEvents, FlowHandle, FlowLookup, Happening, Roles, Want};
use crate::key::FlowText;

/// Exchanges that may be open; the flow table holds more flows, but hardly as many with a request under way.
const MAX_EXCHANGES: usize = 100_000;
/// Exchanges of one flow that may be open: requests sent ahead of their responses.
const MAX_OF_FLOW: usize = 1_024;
/// Bytes of headers kept for later callbacks.
const MAX_HEADER_BYTES: usize = 64 << 20;

/// The headers of a request and its response, as far as they were seen.
#[derive(Debug, Default)]
pub struct Parts {
    /// Block of the request; empty if none was seen.
    pub request: Box<[u8]>,
    /// Block of the response; empty while it has not arrived.
    pub response: Box<[u8]>,
}

/// Bytes of a stream.
#[derive(Debug)]
pub enum RawBytes {
    /// Where the events have them.
    Stream(Bytes),
    /// Kept until now.
    Kept(Box<[u8]>),
}

/// A piece of a body.
#[derive(Debug)]
pub struct Body {
    /// The transaction.
    pub transaction: Transaction,
    /// Number of the content, unique within the engine's run.
    pub number: u64,
    /// Offset in the decoded body.
    pub position: u64,
    /// The bytes, in the findings; empty at the end.
    pub bytes: Text,
    /// Full name of the file that the content has or would have.
    pub path: Rc<str>,
}

/// What is told.
#[derive(Debug)]
pub enum ItemKind {
    /// Bytes of a flow that speaks HTTP.
    Raw {
        /// Offset in the stream.
        position: u64,
        /// The bytes.
        bytes: RawBytes,
    },
    /// A complete header.
    Header {
        /// The transaction.
        transaction: Transaction,
    },
    /// A piece of a body.
    Body(Body),
    /// A flow that spoke HTTP ended.
    End,
}

/// One thing told, and where it belongs.
#[derive(Debug)]
pub struct Item {
    /// Index of the flow event it comes after; [`Dissectors::NO_EVENT`] for none.
    pub after: u32,
    /// Index of the finding it was made from; `None` for what stands before all findings of the event (raw bytes) or
    /// behind them (the end).
    pub finding: Option<u32>,
    /// The flow.
    pub flow: FlowHandle,
    /// Which way the bytes went.
    pub direction: Direction,
    /// Place of the exchange, dense: votes on it are kept beside. Meaningless for raw bytes and ends.
    pub exchange: u32,
    /// The headers so far.
    pub parts: Rc<Parts>,
    /// What.
    pub kind: ItemKind,
}

/// A request and its response.
#[derive(Debug, Default)]
struct Exchange {
    parts: Rc<Parts>,
    /// Bytes of headers counted for it.
    kept: usize,
    /// By direction: number and path of the body once it has begun.
    bodies: [Option<(u64, Rc<str>)>; 2],
    /// By direction: begun and not ended.
    open: [bool; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Speaks {
    #[default]
    Unknown,
    Http,
    Other,
}

/// What is known of a flow.
#[derive(Debug, Default)]
struct FlowState {
    generation: u32,
    speaks: Speaks,
    /// What the directions of its streams are to those who speak.
    roles: Roles,
    held: Held,
    /// Its exchanges, by transaction.
    exchanges: VecDeque<(Transaction, u32)>,
}

/// The exchanges of all flows of an engine, and what is told of them in a batch.
#[derive(Debug)]
pub struct Contents {
    directory: String,
    /// In front of numbers in names, so that engines do not meet.
    prefix: String,
    raw: Want,
    items: Vec<Item>,
    exchanges: Vec<Exchange>,
    free: Vec<u32>,
    /// Places that are free once the batch is done with.
    ended: Vec<u32>,
    /// Places that were taken in the batch.
    begun: Vec<u32>,
    flows: Vec<FlowState>,
    /// Flows that keep bytes since this batch.
    undecided: Vec<FlowHandle>,
    numbers: u64,
    header_bytes: usize,
    held_bytes: usize,
    nothing: Rc<Parts>,
    counts: ContentCounts,
}

impl Contents {
    /// For the files of a directory and an engine; `raw` says whether the bytes of streams are told too.
    #[must_use]
    pub fn new(directory: &str, engine: u32, raw: Want) -> Self {
        Self {
            directory: directory.to_owned(),
            prefix: if engine == 0 { String::new() } else { format!("{engine}-") },
            raw,
            items: Vec::new(),
            exchanges: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            begun: Vec::new(),
            flows: Vec::new(),
            undecided: Vec::new(),
            numbers: 0,
            header_bytes: 0,
            held_bytes: 0,
            nothing: Rc::default(),
            counts: ContentCounts::default(),
        }
    }

    /// Takes what happened in a batch and what was found in it; replaces the items.
    pub fn process(
        &mut self,
        events: &FlowEvents,
        bytes_of: impl Fn(Bytes) -> Box<[u8]>,
        dissectors: &Dissectors,
        flows: &impl FlowLookup,
    ) {
        self.begin();
        let findings = dissectors.findings();
        let mut next = 0;
        for (index, event) in events.list().iter().enumerate() {
            let after = index as u32;
            if let Happening::Payload { direction, position, bytes } = event.what
                && self.raw.is_yes()
            {
                self.payload(after, event.flow, direction, position, bytes, &bytes_of);
            }
            while findings.list().get(next).is_some_and(|finding| finding.after <= after) {
                self.found(next, findings, flows);
                next += 1;
            }
            if matches!(event.what, Happening::End { .. }) {
                self.end(after, event.flow);
            }
        }
        for index in next..findings.list().len() {
            self.found(index, findings, flows);
        }
        let mut undecided = std::mem::take(&mut self.undecided);
        for flow in undecided.drain(..) {
            if !dissectors.follows(flow).is_yes() {
                let state = self.flow(flow);
                if state.speaks == Speaks::Unknown {
                    state.speaks = Speaks::Other;
                    self.drop_held(flow);
                }
            }
        }
        self.undecided = undecided;
    }

    /// What is told, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Places of exchanges that began in the batch: nothing has been said about these.
    #[must_use]
    pub fn begun(&self) -> &[u32] {
        &self.begun
    }

    /// Number of places there have been so far.
    #[must_use]
    pub fn places(&self) -> usize {
        self.exchanges.len()
    }

    /// True if a flow was recognised as HTTP.
    #[must_use]
    pub fn is_http(&self, flow: FlowHandle) -> bool {
        let state = self.flows.get(flow.slot as usize);
        state.is_some_and(|state| state.generation == flow.generation && state.speaks == Speaks::Http)
    }

    /// Nobody wants a body any more; no end of it will be found.
    pub fn decline(&mut self, flow: FlowHandle, transaction: Transaction, direction: Direction) {
        if let Some(place) = self.place_of(flow, transaction) {
            self.exchanges[place as usize].open[direction.index()] = false;
        }
    }

    /// What limits cut off.
    #[must_use]
    pub const fn counts(&self) -> &ContentCounts {
        &self.counts
    }

    fn begin(&mut self) {
        self.items.clear();
        self.begun.clear();
        for place in self.ended.drain(..) {
            let exchange = std::mem::take(&mut self.exchanges[place as usize]);
            self.header_bytes -= exchange.kept;
            self.free.push(place);
        }
    }

    /// The state of a flow; a new one if another flow had its slot.
    fn flow(&mut self, flow: FlowHandle) -> &mut FlowState {
        let slot = flow.slot as usize;
        if slot >= self.flows.len() {
            self.flows.resize_with(slot + 1, FlowState::default);
        }
        if self.flows[slot].generation != flow.generation {
            // Flows that ended have left nothing behind; this is for those whose end was not told.
            let mut left = std::mem::take(&mut self.flows[slot]);
            left.held.take(&mut self.held_bytes);
            self.ended.extend(left.exchanges.into_iter().map(|(_, place)| place));
            self.flows[slot].generation = flow.generation;
        }
        &mut self.flows[slot]
    }

    fn payload(
        &mut self,
        after: u32,
        flow: FlowHandle,
        direction: Direction,
        position: u64,
        bytes: Bytes,
        bytes_of: impl Fn(Bytes) -> Box<[u8]>,
    ) {
        let state = self.flow(flow);
        match state.speaks {
            Speaks::Other => {}
            Speaks::Http => {
                let direction = state.roles.of(direction);
                let kind = ItemKind::Raw { position, bytes: RawBytes::Stream(bytes) };
                self.tell(after, None, flow, direction, kind);
            }
            Speaks::Unknown => {
                let piece = Piece { direction, position, bytes: bytes_of(bytes) };
                let state = &mut self.flows[flow.slot as usize];
                if state.held.is_empty() || self.undecided.last() != Some(&flow) {
                    self.undecided.push(flow);
                }
                state.held.push(piece, &mut self.held_bytes, &mut self.counts);
            }
        }
    }

    fn drop_held(&mut self, flow: FlowHandle) {
        let state = &mut self.flows[flow.slot as usize];
        state.held.take(&mut self.held_bytes);
    }

    fn found(&mut self, index: usize, findings: &Findings, flows: &impl FlowLookup) {
        let Some(finding) = findings.list().get(index) else { return };
        let (after, flow, number) = (finding.after, finding.flow, Some(index as u32));
        match finding.kind {
            FindingKind::Recognised { protocol: Protocol::Http } => self.recognised(after, number, flow, flows),
            FindingKind::Recognised { .. } => {
                let state = self.flow(flow);
                if state.speaks == Speaks::Unknown {
                    state.speaks = Speaks::Other;
                    self.drop_held(flow);
                }
            }
            FindingKind::HttpHeader { transaction, direction, block } => {
                self.recognised(after, number, flow, flows);
                let block = findings.bytes(block);
                // Where the protocol changes there is no content to vote on.
                if direction == Direction::ToClient && HeaderBlock::new(block).status() == 101 {
                    return;
                }
                if let Some(place) = self.header(flow, transaction, direction, block) {
                    self.tell_of(after, number, flow, direction, place, ItemKind::Header { transaction });
                }
            }
            FindingKind::HttpBody { transaction, direction, position, bytes } => {
                let Some(place) = self.place_of(flow, transaction) else { return };
                let (number_of_content, path) = self.body(place, flow, direction, flows);
                self.exchanges[place as usize].open[direction.index()] = !bytes.is_empty();
                let body = Body { transaction, number: number_of_content, position, bytes, path };
                self.tell_of(after, number, flow, direction, place, ItemKind::Body(body));
            }
            _ => {}
        }
    }

    /// A flow speaks HTTP: what came before that is known is told now.
    fn recognised(&mut self, after: u32, finding: Option<u32>, flow: FlowHandle, flows: &impl FlowLookup) {
        let state = self.flow(flow);
        if state.speaks == Speaks::Http {
            return;
        }
        state.speaks = Speaks::Http;
        let roles = flows.flow(flow).map_or(Roles::Known, Flow::roles);
        state.roles = roles;
        let slot = flow.slot as usize;
        for piece in self.flows[slot].held.take(&mut self.held_bytes) {
            let kind = ItemKind::Raw { position: piece.position, bytes: RawBytes::Kept(piece.bytes) };
            self.tell(after, finding, flow, roles.of(piece.direction), kind);
        }
    }

    /// Keeps a header; the place of its exchange.
    fn header(
        &mut self,
        flow: FlowHandle,
        transaction: Transaction,
        direction: Direction,
        block: &[u8],
    ) -> Option<u32> {
        let place = match self.place_of(flow, transaction) {
            Some(place) => place,
            None => self.open(flow, transaction)?,
        };
        if direction == Direction::ToClient {
            self.retire_before(flow, transaction);
        }
        let exchange = &mut self.exchanges[place as usize];
        let mut parts = Parts { request: exchange.parts.request.clone(), response: Box::default() };
        match direction {
            Direction::ToServer => parts.request = block.into(),
            Direction::ToClient => parts.response = block.into(),
        }
        let size = parts.request.len() + parts.response.len();
        if self.header_bytes + size > MAX_HEADER_BYTES + exchange.kept {
            // What cannot be kept is not shown either: a header looks the same in all callbacks.
            self.counts.headers_dropped += 1;
            return Some(place);
        }
        self.header_bytes = self.header_bytes + size - exchange.kept;
        exchange.kept = size;
        exchange.parts = Rc::new(parts);
        Some(place)
    }

    fn open(&mut self, flow: FlowHandle, transaction: Transaction) -> Option<u32> {
        if self.flow(flow).exchanges.len() >= MAX_OF_FLOW {
            self.forget_oldest(flow);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.exchanges.len() >= MAX_EXCHANGES => {
                self.counts.exchanges_refused += 1;
                return None;
            }
            None => {
                self.exchanges.push(Exchange::default());
                (self.exchanges.len() - 1) as u32
            }
        };
        self.begun.push(place);
        self.flow(flow).exchanges.push_back((transaction, place));
        Some(place)
    }

    fn forget_oldest(&mut self, flow: FlowHandle) {
        let state = &mut self.flows[flow.slot as usize];
        let idle = |&(_, place): &(Transaction, u32)| self.exchanges[place as usize].open == [false; 2];
        if let Some(index) = state.exchanges.iter().position(idle)
            && let Some((_, place)) = state.exchanges.remove(index)
        {
            self.counts.exchanges_forgotten += 1;
            self.ended.push(place);
        }
    }

    /// Responses come in order: exchanges before that of a response are over, but for bodies that are still open.
    fn retire_before(&mut self, flow: FlowHandle, transaction: Transaction) {
        let Self { flows, exchanges, ended, .. } = self;
        flows[flow.slot as usize].exchanges.retain(|&(number, place)| {
            let over = number < transaction && exchanges[place as usize].open == [false; 2];
            if over {
                ended.push(place);
            }
            !over
        });
    }

    fn place_of(&mut self, flow: FlowHandle, transaction: Transaction) -> Option<u32> {
        let state = self.flow(flow);
        state.exchanges.iter().rev().find(|(number, _)| *number == transaction).map(|(_, place)| *place)
    }

    /// Number and path of a body, given when it begins.
    fn body(&mut self, place: u32, flow: FlowHandle, direction: Direction, flows: &impl FlowLookup) -> (u64, Rc<str>) {
        let exchange = &mut self.exchanges[place as usize];
        if let Some((number, path)) = &exchange.bodies[direction.index()] {
            return (*number, Rc::clone(path));
        }
        self.numbers += 1;
        let number = self.numbers;
        let request = HeaderBlock::new(&exchange.parts.request);
        let host = match request.value(b"Host").filter(|host| !host.is_empty()) {
            Some(host) => host.into_owned(),
            None => flows.flow(flow).map_or_else(Vec::new, |flow| {
                let id = flow.tuple.id();
                FlowText::new(id.as_bytes()).ipz_readable().as_bytes().to_vec()
            }),
        };
        let name = file_name(&host, request.target(), &format!("{}{number}", self.prefix));
        let path: Rc<str> = format!("{}/{name}", self.directory).into();
        exchange.bodies[direction.index()] = Some((number, Rc::clone(&path)));
        (number, path)
    }

    fn end(&mut self, after: u32, flow: FlowHandle) {
        if (flow.slot as usize) >= self.flows.len() {
            return;
        }
        let state = self.flow(flow);
        let speaks = std::mem::take(&mut state.speaks);
        let exchanges = std::mem::take(&mut state.exchanges);
        self.ended.extend(exchanges.into_iter().map(|(_, place)| place));
        self.drop_held(flow);
        if speaks == Speaks::Http {
            self.tell(after, None, flow, Direction::ToServer, ItemKind::End);
        }
    }

    fn tell(&mut self, after: u32, finding: Option<u32>, flow: FlowHandle, direction: Direction, kind: ItemKind) {
        let parts = Rc::clone(&self.nothing);
        self.items.push(Item { after, finding, flow, direction, exchange: u32::MAX, parts, kind });
    }

    fn tell_of(
        &mut self,
        after: u32,
        finding: Option<u32>,
        flow: FlowHandle,
        direction: Direction,
        exchange: u32,
        kind: ItemKind,
    ) {
        let parts = Rc::clone(&self.exchanges[exchange as usize].parts);
        self.items.push(Item { after, finding, flow, direction, exchange, parts, kind });
    }
}

#[cfg(test)]
mod tests {
    use super::{Contents, Exchange, MAX_EXCHANGES, MAX_HEADER_BYTES};
    use crate::content::ContentCounts;
    use crate::dissect::Transaction;
    use crate::flow::{Direction, FlowHandle, Want};

    const FLOW: FlowHandle = FlowHandle { slot: 3, generation: 1 };
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

    fn contents() -> Contents {
        Contents::new("/dir", 0, Want::No)
    }

    /// Lets the places be taken again of exchanges that are over.
    fn end(contents: &mut Contents, flow: FlowHandle) {
        contents.end(0, flow);
        contents.begin();
    }

    #[test]
    fn exchanges_beyond_the_limit_are_counted_and_open_ones_go_on() {
        let mut contents = contents();
        let open = contents.header(FLOW, Transaction(0), Direction::ToServer, REQUEST);
        assert_eq!(open, Some(0));
        contents.exchanges.resize_with(MAX_EXCHANGES, Exchange::default);
        let other = FlowHandle { slot: 4, generation: 1 };
        for (number, direction) in [(0, Direction::ToServer), (0, Direction::ToClient), (1, Direction::ToServer)] {
            assert_eq!(contents.header(other, Transaction(number), direction, REQUEST), None);
        }
        assert_eq!(contents.counts, ContentCounts { exchanges_refused: 3, ..ContentCounts::default() });
        assert_eq!((contents.places(), contents.header_bytes), (MAX_EXCHANGES, REQUEST.len()));
        assert_eq!(contents.header(FLOW, Transaction(0), Direction::ToClient, RESPONSE), Some(0));
        end(&mut contents, FLOW);
        assert_eq!(contents.header(other, Transaction(2), Direction::ToServer, REQUEST), Some(0));
        assert_eq!(contents.counts.exchanges_refused, 3);
    }

    #[test]
    fn headers_beyond_the_limit_are_counted_and_look_empty() {
        let mut contents = contents();
        // Other exchanges have taken all but the room of a request.
        let taken = MAX_HEADER_BYTES - REQUEST.len();
        contents.header_bytes = taken;
        let shown = |contents: &Contents, place: Option<u32>| {
            let parts = &contents.exchanges[place.unwrap() as usize].parts;
            (parts.request.to_vec(), parts.response.to_vec())
        };
        let first = contents.header(FLOW, Transaction(0), Direction::ToServer, REQUEST);
        assert_eq!((contents.header_bytes, contents.counts), (MAX_HEADER_BYTES, ContentCounts::default()));
        contents.header(FLOW, Transaction(0), Direction::ToClient, RESPONSE);
        assert_eq!(shown(&contents, first), (REQUEST.to_vec(), Vec::new()));
        assert_eq!(contents.counts.headers_dropped, 1);

        let other = FlowHandle { slot: 4, generation: 1 };
        let second = contents.header(other, Transaction(0), Direction::ToServer, REQUEST);
        assert_eq!(shown(&contents, second), (Vec::new(), Vec::new()));
        assert_eq!(contents.counts, ContentCounts { headers_dropped: 2, ..ContentCounts::default() });
        assert_eq!(contents.header_bytes, MAX_HEADER_BYTES);

        end(&mut contents, FLOW);
        assert_eq!(contents.header_bytes, taken);
        contents.header(other, Transaction(0), Direction::ToClient, RESPONSE);
        assert_eq!(shown(&contents, second), (Vec::new(), RESPONSE.to_vec()));
        end(&mut contents, other);
        assert_eq!((contents.header_bytes, contents.counts.headers_dropped), (taken, 2));
    }
}
