//! Queries of one flow that wait for their responses.

use std::collections::VecDeque;
use std::time::Duration;

use super::message::Message;
use crate::dissect::{Context, FindingKind, ResourceKind, Text};
use crate::key::Host;
use crate::time::Timestamp;

/// How long a query may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most queries of a flow that wait at a time.
const MAX_PENDING: usize = 64;

/// Bytes of a name that need no room elsewhere: a flow asks for one name, as a rule, and most of them are not longer.
const SHORT: usize = 38;

/// What was asked for.
#[derive(Debug)]
enum Name {
    Short { bytes: [u8; SHORT], len: u8 },
    Long(Box<[u8]>),
}

impl Name {
    fn new(name: &[u8]) -> Self {
        if name.len() > SHORT {
            return Self::Long(name.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..name.len()].copy_from_slice(name);
        Self::Short { bytes, len: name.len() as u8 }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { bytes, len } => &bytes[..usize::from(*len)],
            Self::Long(name) => name,
        }
    }

    /// Bytes it holds elsewhere.
    fn held(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(name) => name.len(),
        }
    }
}

/// A query.
#[derive(Debug)]
struct Query {
    until: Timestamp,
    id: u16,
    name: Name,
}

/// The queries that wait.
#[derive(Debug, Default)]
pub struct Pending {
    // INVARIANT: without it, there are no later ones.
    oldest: Option<Query>,
    // In order.
    later: VecDeque<Query>,
}

impl Pending {
    /// A query was seen that asks for a name. One that is sent again waits on.
    pub fn ask(&mut self, cx: &mut Context<'_>, message: &Message<'_>, name: Text) {
        let name = cx.findings.bytes(name);
        if is_multicast(cx) || self.find(message.id, message.counts[0], name).is_some() {
            return;
        }
        let query = Query { until: cx.time.plus(PATIENCE), id: message.id, name: Name::new(name) };
        if self.oldest.is_none() {
            self.oldest = Some(query);
        } else if self.later.len() + 1 < MAX_PENDING {
            self.later.push_back(query);
        } else {
            cx.counts.add("dns queries not waited for");
        }
    }

    /// A response was seen that is about a name: its query waits no more.
    pub fn answer(&mut self, cx: &Context<'_>, message: &Message<'_>, name: Text) {
        match self.find(message.id, message.counts[0], cx.findings.bytes(name)) {
            None => {}
            Some(0) => drop(self.take_oldest()),
            Some(index) => drop(self.later.remove(index - 1)),
        }
    }

    /// The query with the id and, if there is a question to compare, the name.
    fn find(&self, id: u16, questions: u16, name: &[u8]) -> Option<usize> {
        let same = |query: &Query| query.id == id && (questions == 0 || query.name.as_bytes() == name);
        self.oldest.iter().chain(&self.later).position(same)
    }

    fn take_oldest(&mut self) -> Option<Query> {
        std::mem::replace(&mut self.oldest, self.later.pop_front())
    }

    /// When the oldest one has waited for long enough.
    pub fn due(&self) -> Option<Timestamp> {
        self.oldest.as_ref().map(|query| query.until)
    }

    /// Reports those that have waited for long enough.
    pub fn expire(&mut self, cx: &mut Context<'_>) {
        while self.due().is_some_and(|due| due <= cx.time) {
            self.give_up(cx);
        }
    }

    /// Reports all that wait.
    pub fn finish(&mut self, cx: &mut Context<'_>) {
        while self.oldest.is_some() {
            self.give_up(cx);
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>) {
        if let Some(query) = self.take_oldest() {
            let uri = cx.findings.text(query.name.as_bytes());
            let label = cx.findings.text(b"");
            cx.push(FindingKind::Resource { kind: ResourceKind::Dns, uri, label });
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        let names: usize = self.oldest.iter().chain(&self.later).map(|query| query.name.held()).sum();
        names + self.later.capacity() * size_of::<Query>()
    }
}

/// Whether a flow goes to a group: its answers come in flows of other hosts.
pub(super) fn is_multicast(cx: &Context<'_>) -> bool {
    match cx.flow.tuple.host(cx.flow.client().other()) {
        Host::V4([first, ..]) => first >> 4 == 14,
        Host::V6([first, ..]) => first == 0xFF,
    }
}
