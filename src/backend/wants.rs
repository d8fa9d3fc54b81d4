//! What the backend wants to be told of; the engines do nothing for the rest.

use crate::metrics::Attention;

/// Sum of what the backend's scripts and outlets want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendWants {
    /// Of each counter group, by index.
    pub groups: Vec<Attention>,
    /// Alerts.
    pub alerts: bool,
    /// Resources.
    pub resources: bool,
    /// Full-text documents.
    pub documents: bool,
    /// Flows that appear.
    pub new_flows: bool,
    /// Every second, the flows that were active in it.
    pub active_flows: bool,
    /// Flows that end, and interim records of those that go on.
    pub flows: bool,
    /// Messages.
    pub messages: bool,
    /// There are scripts: what is counted reaches them in the order in which it is counted.
    pub scripts: bool,
    /// Scripts are the reason why flows have to be tracked.
    pub asks_flows: bool,
    /// Scripts are the reason why built-in resources have to be found.
    pub asks_resources: bool,
    /// The same for documents.
    pub asks_documents: bool,
}

impl BackendWants {
    /// What either of two wants.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        self.groups.resize(self.groups.len().max(other.groups.len()), Attention::default());
        for (own, other) in self.groups.iter_mut().zip(&other.groups) {
            *own = own.or(*other);
        }
        self.alerts |= other.alerts;
        self.resources |= other.resources;
        self.documents |= other.documents;
        self.new_flows |= other.new_flows;
        self.active_flows |= other.active_flows;
        self.flows |= other.flows;
        self.messages |= other.messages;
        self.scripts |= other.scripts;
        self.asks_flows |= other.asks_flows;
        self.asks_resources |= other.asks_resources;
        self.asks_documents |= other.asks_documents;
        self
    }

    /// True if somebody wants flows at all.
    #[must_use]
    pub const fn any_flows(&self) -> bool {
        self.new_flows || self.active_flows || self.flows
    }
}
