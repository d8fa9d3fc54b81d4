//! Everything one engine records besides counters.

use std::collections::BTreeMap;

use super::alert::Alert;
use super::document::Document;
use super::edge::EdgeLedger;
use super::flow_record::FlowRecord;
use super::group::GroupKind;
use super::label::KeyNotes;
use super::ledger::Ledger;
use super::message::Message;
use super::resource::Resource;
use crate::guid::Guid;

/// Records kept of each kind unless told otherwise.
pub const DEFAULT_KEPT: usize = 1_000;

/// The ledgers of one engine.
#[derive(Clone, Debug)]
pub struct Records {
    /// Alerts.
    pub alerts: Ledger<Alert>,
    /// Resources.
    pub resources: Ledger<Resource>,
    /// Full-text documents.
    pub documents: Ledger<Document>,
    /// Edges.
    pub edges: EdgeLedger,
    /// Labels and attributes of keys.
    pub notes: KeyNotes,
    /// Messages posted.
    pub messages: Ledger<Message>,
    /// What was said about flows.
    pub flows: Ledger<FlowRecord>,
    statements: BTreeMap<&'static str, u64>,
    groups: BTreeMap<(&'static str, Guid), u64>,
}

impl Default for Records {
    fn default() -> Self {
        Self::new(DEFAULT_KEPT)
    }
}

impl Records {
    /// Keeps the first `keep` records of each kind; counts all.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self {
            alerts: Ledger::new(keep),
            resources: Ledger::new(keep),
            documents: Ledger::new(keep),
            edges: EdgeLedger::new(keep),
            notes: KeyNotes::default(),
            messages: Ledger::new(keep),
            flows: Ledger::new(keep),
            statements: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// A copy of what a report shows; it does not tell edges apart, as the records themselves do.
    #[must_use]
    pub fn for_report(&self) -> Self {
        Self {
            alerts: self.alerts.clone(),
            resources: self.resources.clone(),
            documents: self.documents.clone(),
            edges: self.edges.for_report(),
            notes: self.notes.clone(),
            messages: self.messages.clone(),
            flows: self.flows.clone(),
            statements: self.statements.clone(),
            groups: self.groups.clone(),
        }
    }

    /// Counts a record under its group.
    pub fn count_group(&mut self, kind: GroupKind, guid: Guid) {
        *self.groups.entry((kind.name(), guid)).or_default() += 1;
    }

    /// Counts several records of a group.
    pub fn count_groups(&mut self, kind: GroupKind, guid: Guid, count: u64) {
        if count > 0 {
            *self.groups.entry((kind.name(), guid)).or_default() += count;
        }
    }

    /// How many records of a kind there were in each group.
    pub fn by_group(&self, kind: GroupKind) -> impl Iterator<Item = (Guid, u64)> {
        self.groups.iter().filter(move |((name, _), _)| *name == kind.name()).map(|((_, guid), &count)| (*guid, count))
    }

    /// Takes a statement about a flow in, and counts it under its kind.
    pub fn add_flow_record(&mut self, record: FlowRecord) {
        self.add_flow_statement(record.statement.name(), || record);
    }

    /// The same for a statement of the kind that has this name; `make` is called only if it will be kept.
    pub fn add_flow_statement(&mut self, name: &'static str, make: impl FnOnce() -> FlowRecord) {
        *self.statements.entry(name).or_default() += 1;
        self.flows.add(make);
    }

    /// Counts several statements of a kind, none of which would be kept.
    pub fn count_flow_statements(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.statements.entry(name).or_default() += count;
            self.flows.count_more(count);
        }
    }

    /// How many statements about flows there were of each kind, by name.
    pub fn flow_statements(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.statements.iter().map(|(&name, &count)| (name, count))
    }

    /// Takes in the records of another engine.
    pub fn merge(&mut self, other: Self) {
        self.alerts.merge(other.alerts);
        self.resources.merge(other.resources);
        self.documents.merge(other.documents);
        self.edges.merge(other.edges);
        self.notes.merge(other.notes);
        self.messages.merge(other.messages);
        self.flows.merge(other.flows);
        for (name, count) in other.statements {
            *self.statements.entry(name).or_default() += count;
        }
        for (group, count) in other.groups {
            *self.groups.entry(group).or_default() += count;
        }
    }
}
