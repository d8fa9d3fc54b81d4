//! The dissector: both directions of a flow, message by message.

use std::time::Duration;

use super::body::{Body, BodyTally, Content, Measure, Progress};
use super::framing::{Asked, Framing, codings, of_request, of_response};
use super::header::HeaderBlock;
use super::outstanding::Outstanding;
use super::recognise::can_begin;
use super::report::{self, Answer};
use super::side::{Collected, Patience, Side, State, TooMany};
use crate::dissect::{Appetite, AttributeKinds, Context, FindingKind, StreamDissector, Transaction};
use crate::flow::{Direction, Want};
use crate::time::Timestamp;

/// How long bytes wait for the other direction.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// HTTP/1 in one flow.
///
/// A response that comes before its request waits for it, and so does what follows a request that may change the
/// protocol; for a second and 64 KiB, then it is read as it is. Where a flow is met in its middle, what was asked before
/// that is not waited for: the next request is another one. Where nobody wants what HTTP says, only where it leads, a
/// flow that does not begin as one to a proxy, nor with an upgrade, is left alone.
#[derive(Debug, Default)]
pub struct Http {
    sides: [Side; 2],
    outstanding: Outstanding,
    /// Whether the connection has left HTTP.
    switched: Switched,
    /// Whether a request has come.
    has_begun: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Switched {
    #[default]
    No,
    Yes,
}

impl Http {
    /// For a flow from its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    const fn side(&mut self, direction: Direction) -> &mut Side {
        &mut self.sides[direction.index()]
    }

    /// True if the next message of a direction cannot be read before the other one has come further.
    fn is_blocked(&self, cx: &Context<'_>, direction: Direction) -> bool {
        let [client, server] = &self.sides;
        match direction {
            Direction::ToServer => {
                let waits = self.outstanding.last().is_some_and(|request| request.asked.waits());
                waits && client.patience == Patience::Left && !server.is_stopped()
            }
            Direction::ToClient => {
                let waits = self.outstanding.is_empty() && server.patience == Patience::Left && !client.is_stopped();
                waits && (self.has_begun || cx.flow.saw_syn())
            }
        }
    }

    /// Reads bytes up to the end or to where the direction is blocked; tells how many.
    fn read(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() && self.switched == Switched::No {
            let rest = &bytes[used..];
            used += match &mut self.side(direction).state {
                State::Stopped => rest.len(),
                State::Body(body) => {
                    let (len, progress) = body.data(cx, rest);
                    self.go_on(cx, direction, progress);
                    len
                }
                State::Header => self.header(cx, direction, rest),
                State::Between => {
                    // Line ends between messages are left over from the body before.
                    let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                    if blank < rest.len() {
                        if self.is_blocked(cx, direction) {
                            return used + blank;
                        }
                        self.side(direction).state = State::Header;
                    }
                    blank
                }
            };
        }
        used
    }

    fn go_on(&mut self, cx: &mut Context<'_>, direction: Direction, progress: Progress) {
        match progress {
            Progress::More => {}
            Progress::Complete => self.side(direction).state = State::Between,
            Progress::Lost => self.stop(cx, direction, "http body framing lost"),
        }
    }

    /// The rest of a direction is left alone.
    fn stop(&mut self, cx: &mut Context<'_>, direction: Direction, why: &'static str) {
        cx.counts.add(why);
        let side = self.side(direction);
        if let State::Body(body) = &mut side.state {
            body.end(cx);
        }
        side.stop();
    }

    /// Bytes of a header block; tells how many belong to it.
    fn header(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> usize {
        let side = self.side(direction);
        if let Some(end) = side.whole_block(bytes) {
            self.message(cx, direction, &bytes[..end]);
            return end;
        }
        match side.collect(bytes) {
            Collected::Whole(block, used) => {
                self.message(cx, direction, &block);
                self.side(direction).reuse(block);
                used
            }
            collected @ (Collected::Part | Collected::TooLong) => {
                // No need to wait for the end of what is no header.
                if side.first_line().is_some_and(|line| !can_begin(direction, &HeaderBlock::new(line))) {
                    self.stop(cx, direction, "http message unreadable");
                } else if matches!(collected, Collected::TooLong) {
                    cx.counts.add("http header too long");
                    // Without this message the other direction cannot be matched.
                    self.give_up(cx);
                }
                bytes.len()
            }
        }
    }

    /// A header block is complete.
    fn message(&mut self, cx: &mut Context<'_>, direction: Direction, block: &[u8]) {
        let header = HeaderBlock::new(block);
        if !can_begin(direction, &header) {
            self.stop(cx, direction, "http message unreadable");
            return;
        }
        match direction {
            Direction::ToServer => self.request(cx, block, &header),
            Direction::ToClient => self.response(cx, block, &header),
        }
    }

    fn request(&mut self, cx: &mut Context<'_>, block: &[u8], header: &HeaderBlock<'_>) {
        let direction = Direction::ToServer;
        if !std::mem::replace(&mut self.has_begun, true) && !cx.wants.http().is_yes() && !may_lead_on(header) {
            self.sides.iter_mut().for_each(Side::stop);
            return;
        }
        let transaction = cx.new_transaction();
        tell_header(cx, transaction, direction, block, header);
        self.remember(cx, transaction, header);
        let (framing, oddity) = of_request(header);
        if let Some(oddity) = oddity {
            cx.counts.add(oddity.name());
        }
        // Whoever waited for a request has one now.
        self.side(Direction::ToClient).patience = Patience::Left;
        self.begin_body(cx, direction, framing, header, Owner { transaction, body: Want::Yes });
    }

    fn remember(&mut self, cx: &mut Context<'_>, transaction: Transaction, header: &HeaderBlock<'_>) {
        let asked = Asked::of(header);
        if cx.wants.http_resources.is_yes() {
            let host = header.value(b"Host").unwrap_or_default();
            let host = if host.is_empty() { &b"-"[..] } else { &host };
            let agent = header.value(b"User-Agent").unwrap_or_default();
            let target = header.target();
            let version = if header.version().is_empty() { &b"HTTP/1.1"[..] } else { header.version() };
            let uri = [header.method(), b" ", host, b" ", target, b" ", version];
            self.outstanding.push(transaction, asked, cx.time, &uri, &agent);
        } else {
            self.outstanding.push(transaction, asked, cx.time, &[], b"");
        }
        while self.outstanding.is_full() {
            cx.counts.add("http requests without response dropped");
            self.outstanding.drop_first(|wording| report::resource(cx, wording, None));
        }
    }

    fn response(&mut self, cx: &mut Context<'_>, block: &[u8], header: &HeaderBlock<'_>) {
        let direction = Direction::ToClient;
        let status = header.status();
        if (100..=199).contains(&status) && status != 101 {
            let text = cx.findings.text(block);
            report::header(cx, direction, text, header);
            self.side(direction).state = State::Between;
            return;
        }
        let request = self.outstanding.first().map(|(request, _)| request);
        let owner = match request {
            Some(request) => Owner { transaction: request.transaction, body: request.body },
            None => {
                cx.counts.add("http responses without request");
                Owner { transaction: cx.new_transaction(), body: Want::Yes }
            }
        };
        let asked = request.map_or(Asked::Plain, |request| request.asked);
        tell_header(cx, owner.transaction, direction, block, header);
        if let Some((request, wording)) = self.outstanding.first() {
            report::resource(cx, wording, Some(Answer { status, asked: request.time }));
        }
        self.outstanding.answered();
        // Whoever waited for the answer has it now.
        self.side(Direction::ToServer).patience = Patience::Left;
        let (framing, oddity) = of_response(header, asked);
        if let Some(oddity) = oddity {
            cx.counts.add(oddity.name());
        }
        self.begin_body(cx, direction, framing, header, owner);
    }

    fn begin_body(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        framing: Framing,
        header: &HeaderBlock<'_>,
        owner: Owner,
    ) {
        let tally = cx.wants.events.is_yes().then(|| BodyTally::new(owner.transaction, direction));
        let measure = match framing {
            Framing::None => {
                self.side(direction).state = State::Between;
                tally.into_iter().for_each(|tally| tally.tell(cx));
                return;
            }
            Framing::Switch => {
                tally.into_iter().for_each(|tally| tally.tell(cx));
                self.switched = Switched::Yes;
                self.give_up(cx);
                return;
            }
            Framing::Unclear => {
                tally.into_iter().for_each(|tally| tally.tell(cx));
                self.stop(cx, direction, "http body framing lost");
                return;
            }
            Framing::Length(length) => Measure::Length(length),
            Framing::Chunked => Measure::Chunked(Default::default()),
            Framing::UntilClose => Measure::UntilClose,
        };
        let content = (cx.wants.http_bodies.is_yes() && owner.body.is_yes()).then(|| {
            let codings = codings(header);
            if codings.is_too_many() {
                cx.counts.add("http body in too many codings");
            }
            Content::new(owner.transaction, direction, &codings)
        });
        self.side(direction).state = State::Body(Body::new(measure, content, tally));
    }

    /// Reads what waited, as far as it need not wait any more: one direction may free the other.
    fn release(&mut self, cx: &mut Context<'_>) {
        loop {
            let mut freed = 0;
            for direction in [Direction::ToServer, Direction::ToClient] {
                if self.side(direction).waiting() > 0
                    && !self.is_blocked(cx, direction)
                    && self.switched == Switched::No
                {
                    let bytes = self.side(direction).take_waiting();
                    let used = self.read(cx, direction, &bytes);
                    self.side(direction).put_back(bytes, used);
                    freed += used;
                }
            }
            if freed == 0 {
                break;
            }
        }
    }

    /// Reads what waits for too long in any case.
    fn hurry(&mut self, cx: &mut Context<'_>, longest: Duration) {
        let mut late = 0;
        for side in &mut self.sides {
            if side.waiting_since().is_some_and(|since| cx.time.since(since) >= longest) {
                side.patience = Patience::Gone;
                late += 1;
            }
        }
        if late > 0 {
            self.release(cx);
        }
    }

    /// Ends everything that is open.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        for side in &mut self.sides {
            if let State::Body(body) = &mut side.state {
                body.end(cx);
            }
            let waiting = side.take_waiting();
            side.stop();
            // After a change of protocol these belong to the new one.
            side.put_back(waiting, 0);
        }
        self.outstanding.drain(|wording| report::resource(cx, wording, None));
    }

    /// What is to become of the flow, after `len` bytes of a direction were handed over.
    fn appetite(&mut self, cx: &mut Context<'_>, direction: Direction, len: usize) -> Appetite {
        if self.switched == Switched::Yes {
            let (mine, others) = (self.side(direction).waiting(), self.side(direction.other()).waiting());
            // Bytes of the new protocol that came in earlier segments cannot be handed back.
            return match len.checked_sub(mine) {
                Some(used) if others == 0 => Appetite::Restart { used },
                _ => Appetite::Done,
            };
        }
        if self.sides.iter().all(Side::is_stopped) {
            self.give_up(cx);
            return Appetite::Done;
        }
        Appetite::More
    }
}

/// Whether the first request of a connection lets another protocol be expected there: an upgrade or a tunnel now, or a
/// tunnel later, as a proxy is asked for whole addresses (RFC 9112 section 3.2.2).
fn may_lead_on(header: &HeaderBlock<'_>) -> bool {
    Asked::of(header).waits() || !header.target().starts_with(b"/")
}

/// Whose content a body is.
#[derive(Clone, Copy, Debug)]
struct Owner {
    transaction: Transaction,
    body: Want,
}

fn tell_header(
    cx: &mut Context<'_>,
    transaction: Transaction,
    direction: Direction,
    block: &[u8],
    header: &HeaderBlock<'_>,
) {
    let wants = cx.wants;
    if (wants.attributes_of(AttributeKinds::HTTP) | wants.http_documents | wants.http_headers | wants.events).is_yes() {
        let block = cx.findings.text(block);
        if wants.events.is_yes() {
            cx.push(FindingKind::HttpMessage { transaction, direction, block });
        }
        report::header(cx, direction, block, header);
        if wants.http_headers.is_yes() {
            cx.push(FindingKind::HttpHeader { transaction, direction, block });
        }
    }
}

impl StreamDissector for Http {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        self.hurry(cx, MAX_WAIT);
        let mut rest = bytes;
        if self.side(direction).waiting() == 0 {
            rest = &rest[self.read(cx, direction, rest)..];
        }
        if !rest.is_empty() && self.side(direction).wait(rest, cx.time) == Err(TooMany) {
            cx.counts.add("http directions too far apart");
            self.side(direction).patience = Patience::Gone;
            self.release(cx);
            self.read(cx, direction, rest);
        }
        self.release(cx);
        self.appetite(cx, direction, bytes.len())
    }

    fn gap(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, missing: u64) -> Appetite {
        self.hurry(cx, MAX_WAIT);
        if self.side(direction).waiting() > 0 {
            self.side(direction).patience = Patience::Gone;
            self.release(cx);
        }
        match &mut self.side(direction).state {
            State::Stopped => {}
            State::Body(body) => {
                let progress = body.gap(cx, missing);
                self.go_on(cx, direction, progress);
            }
            State::Between | State::Header => self.stop(cx, direction, "http hole in a header"),
        }
        self.release(cx);
        self.appetite(cx, direction, 0)
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.hurry(cx, Duration::ZERO);
        self.give_up(cx);
    }

    fn held(&self) -> usize {
        self.sides.iter().map(Side::held).sum::<usize>() + self.outstanding.held()
    }

    fn decline_body(&mut self, transaction: Transaction, direction: Direction) {
        self.side(direction).decline(transaction);
        if direction == Direction::ToClient {
            self.outstanding.decline(transaction);
        }
    }

    fn due(&self) -> Option<Timestamp> {
        self.sides.iter().filter_map(Side::waiting_since).min().map(|since| since.plus(MAX_WAIT))
    }

    fn wake(&mut self, cx: &mut Context<'_>) {
        self.hurry(cx, MAX_WAIT);
    }
}
