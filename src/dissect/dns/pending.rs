//! Queries of one flow that wait for their responses.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::Message;
use super::text::push_subject;
use crate::dissect::{Context, FindingKind, ResourceKind};
use crate::key::Host;
use crate::time::Timestamp;

/// How long a query may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most queries of a flow that wait at a time.
const MAX_PENDING: usize = 64;

/// A query.
#[derive(Debug)]
struct Query {
    until: Timestamp,
    id: u16,
    name: Box<[u8]>,
}

/// The queries that wait, oldest first.
#[derive(Debug, Default)]
pub struct Pending {
    queries: VecDeque<Query>,
    /// Where names are put together.
    scratch: Vec<u8>,
}

impl Pending {
    /// A query was seen. One that is sent again waits on.
    pub fn ask(&mut self, cx: &mut Context<'_>, message: &Message<'_>) {
        if !cx.wants.dns_resources.is_yes() || is_multicast(cx) {
            return;
        }
        self.subject(message);
        if self.find(message.id, message.counts[0]).is_some() {
            return;
        }
        if self.queries.len() >= MAX_PENDING {
            cx.counts.add("dns queries not waited for");
            return;
        }
        let until = cx.time.plus(PATIENCE);
        self.queries.push_back(Query { until, id: message.id, name: self.scratch.as_slice().into() });
    }

    /// A response was seen: its query waits no more.
    pub fn answer(&mut self, message: &Message<'_>) {
        if self.queries.is_empty() {
            return;
        }
        self.subject(message);
        if let Some(index) = self.find(message.id, message.counts[0]) {
            self.queries.remove(index);
        }
    }

    fn subject(&mut self, message: &Message<'_>) {
        self.scratch.clear();
        push_subject(&mut self.scratch, message);
    }

    /// The query with the id and, if there is a question to compare, the name.
    fn find(&self, id: u16, questions: u16) -> Option<usize> {
        let same = |query: &Query| query.id == id && (questions == 0 || *query.name == *self.scratch);
        self.queries.iter().position(same)
    }

    /// When the oldest one has waited for long enough.
    pub fn due(&self) -> Option<Timestamp> {
        self.queries.front().map(|query| query.until)
    }

    /// Reports those that have waited for long enough.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        while self.due().is_some_and(|due| due <= cx.time) {
            self.give_up(cx);
        }
    }

    /// Reports all that wait.
    pub fn finish(&mut self, cx: &mut Context<'_>) {
        while !self.queries.is_empty() {
            self.give_up(cx);
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>) {
        if let Some(query) = self.queries.pop_front() {
            let uri = cx.findings.text(&query.name);
            let label = cx.findings.text(b"");
            cx.push(FindingKind::Resource { kind: ResourceKind::Dns, uri, label });
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        let names: usize = self.queries.iter().map(|query| query.name.len()).sum();
        names + self.queries.capacity() * size_of::<Query>() + self.scratch.capacity()
    }
}

/// Whether a flow goes to a group: its answers come in flows of other hosts.
fn is_multicast(cx: &Context<'_>) -> bool {
    match cx.flow.tuple.host(cx.flow.client().other()) {
        Host::V4([first, ..]) => first >> 4 == 14,
        Host::V6([first, ..]) => first == 0xFF,
    }
}
