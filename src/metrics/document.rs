//! Full-text documents.

use super::ledger::Texts;
use crate::guid::Guid;
use crate::time::Timestamp;

/// A full text attached to a flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// When.
    pub time: Timestamp,
    /// Full-text group.
    pub group: Guid,
    /// Flow concerned.
    pub flow: Option<Vec<u8>>,
    /// The text.
    pub text: Vec<u8>,
}

impl Texts for Document {
    fn bytes(&self) -> usize {
        self.text.len() + self.flow.as_ref().map_or(0, Vec::len)
    }
}
