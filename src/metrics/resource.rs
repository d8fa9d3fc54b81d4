//! Resources: log records attached to flows.

use super::ledger::Texts;
use crate::guid::Guid;
use crate::time::Timestamp;

/// A log record with a summary and contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// When.
    pub time: Timestamp,
    /// Resource group.
    pub group: Guid,
    /// Flow concerned.
    pub flow: Option<Vec<u8>>,
    /// Summary.
    pub uri: Vec<u8>,
    /// Contents.
    pub label: Vec<u8>,
}

impl Texts for Resource {
    fn bytes(&self) -> usize {
        self.uri.len() + self.label.len() + self.flow.as_ref().map_or(0, Vec::len)
    }
}
