//! Resources: log records attached to flows.

use super::ledger::Texts;
use crate::guid::Guid;
use crate::time::Timestamp;

/// Longest contents; longer ones are cut.
pub const MAX_RESOURCE_LABEL: usize = 32_767;

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

impl Resource {
    /// The contents as they are stored.
    #[must_use]
    pub fn cut_label(label: &[u8]) -> &[u8] {
        &label[..label.len().min(MAX_RESOURCE_LABEL)]
    }
}

impl Texts for Resource {
    fn bytes(&self) -> usize {
        self.uri.len() + self.label.len() + self.flow.as_ref().map_or(0, Vec::len)
    }
}
