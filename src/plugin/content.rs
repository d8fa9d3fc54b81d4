//! Who wants which content of HTTP, and the files that are handed to scripts.

use std::collections::VecDeque;
use std::rc::Rc;

use super::frontend::FlowTap;
use crate::api::{EngineContext, Event, Exchange, Occasion, Rank, Record, ScriptId, Side, Stamp, Topic, voice};
use crate::content::{ContentCounts, Extent, FileRules, Files, Finished, Item, ItemKind, Parts};
use crate::dissect::Transaction;
use crate::flow::{Direction, FlowHandle};
use crate::key::FlowTuple;

const FILE: u32 = Topic::HttpFile.bit();
const BODY: u32 = Topic::HttpPayload.bit() | FILE;

/// A body that no script wants, or wants any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declined {
    /// The flow.
    pub flow: FlowHandle,
    /// The transaction.
    pub transaction: Transaction,
    /// Request or response.
    pub direction: Direction,
}

/// A file for `onfile_http`.
#[derive(Debug)]
pub(super) struct Due {
    finished: Finished,
    at: Occasion,
    flow: FlowHandle,
    tuple: Option<FlowTuple>,
    direction: Direction,
    place: u32,
    parts: Rc<Parts>,
}

impl Due {
    /// What scripts are told.
    pub fn event(&self) -> Event<'_> {
        let (length, is_chunk) =
            (self.finished.file.len() as f64, f64::from(u8::from(self.finished.extent == Extent::Chunk)));
        Event {
            topic: Topic::HttpFile,
            at: self.at,
            tuple: self.tuple.as_ref(),
            bytes: &[],
            text: self.finished.file.path().as_bytes(),
            direction: self.direction.index() as i32,
            numbers: [length, is_chunk, 0.0, 0.0],
            exchange: Some(Exchange {
                place: self.place,
                request: &self.parts.request,
                response: &self.parts.response,
            }),
        }
    }
}

/// True if a script that hears one of the topics has said nothing against a body.
fn wants(taps: &[FlowTap], topics: u32, flow: FlowHandle, exchange: u32, direction: Direction) -> bool {
    taps.iter().any(|tap| {
        tap.hears(topics)
            && tap.voice(flow.slot as usize) & (voice::NO | voice::QUIET) == 0
            && tap.accepts(exchange, direction)
    })
}

/// The content side of an engine's instances.
#[derive(Debug, Default)]
pub(super) struct ContentDesk {
    files: Option<Files>,
    finished: Vec<Finished>,
    due: VecDeque<Due>,
    declined: Vec<Declined>,
}

impl ContentDesk {
    /// Writes files by these rules, if there are any.
    pub fn new(rules: Option<FileRules>) -> Self {
        Self { files: rules.map(Files::new), ..Self::default() }
    }

    /// All scripts have voted on a header.
    pub fn decided(&mut self, item: &Item, taps: &[FlowTap]) {
        let ItemKind::Header { transaction } = item.kind else { return };
        // A NO to a request is one to its response too.
        let bodies: &[Direction] = match item.direction {
            Direction::ToServer => &[Direction::ToServer, Direction::ToClient],
            Direction::ToClient => &[Direction::ToClient],
        };
        for &direction in bodies {
            if !wants(taps, BODY, item.flow, item.exchange, direction) {
                self.declined.push(Declined { flow: item.flow, transaction, direction });
            }
        }
    }

    /// Takes a piece of a body; true if files are complete now.
    pub fn take(&mut self, item: &Item, event: &Event<'_>, taps: &[FlowTap]) -> bool {
        let ItemKind::Body(body) = &item.kind else { return false };
        let (flow, direction) = (item.flow, item.direction);
        if !wants(taps, BODY, flow, item.exchange, direction) {
            self.declined.push(Declined { flow, transaction: body.transaction, direction });
        }
        let Some(files) = &mut self.files else { return false };
        if !wants(taps, FILE, flow, item.exchange, direction) {
            files.abandon(body.number);
            return false;
        }
        if event.bytes.is_empty() {
            files.end(body.number, &body.path, &mut self.finished);
        } else {
            files.write(body.number, &body.path, event.bytes, &mut self.finished);
        }
        let due = |finished| Due {
            finished,
            at: event.at,
            flow,
            tuple: event.tuple.copied(),
            direction,
            place: item.exchange,
            parts: Rc::clone(&item.parts),
        };
        self.due.extend(self.finished.drain(..).map(due));
        !self.due.is_empty()
    }

    /// The next file that a script wants. Jobs scheduled until it is [released](Self::release) keep it.
    pub fn next_file(&mut self, engine: &EngineContext, taps: &[FlowTap]) -> Option<Due> {
        loop {
            let due = self.due.pop_front()?;
            if !wants(taps, FILE, due.flow, due.place, due.direction) {
                continue;
            }
            let record = Record::File {
                flow: due.tuple.map(|tuple| tuple.id().as_bytes().to_vec()).unwrap_or_default(),
                path: due.finished.file.path().as_bytes().to_vec(),
                length: due.finished.file.len(),
                is_chunk: due.finished.extent == Extent::Chunk,
            };
            let Occasion { packet, rank, time, .. } = due.at;
            let (script, side) = (ScriptId::NATIVE_FILE, Side::Frontend);
            let stamp = Stamp { packet, rank: Rank { vm: 0, ..rank }, time, script, side };
            engine.records.borrow_mut().push((stamp, record));
            let file: crate::job::Keep = due.finished.file.clone();
            engine.keep.replace(Some(file));
            return Some(due);
        }
    }

    /// All scripts have had the file.
    pub fn release(engine: &EngineContext, due: Due) {
        engine.keep.take();
        drop(due);
    }

    /// The bodies that nobody wants, since the last time.
    pub fn take_declined(&mut self) -> Vec<Declined> {
        std::mem::take(&mut self.declined)
    }

    /// What was written.
    pub fn counts(&self) -> ContentCounts {
        self.files.as_ref().map(|files| *files.counts()).unwrap_or_default()
    }
}
