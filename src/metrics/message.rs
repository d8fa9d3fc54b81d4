//! Messages between scripts.

use super::ledger::Texts;

/// Which side a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageTarget {
    /// Frontend scripts.
    Frontend,
    /// Backend scripts.
    Backend,
}

impl MessageTarget {
    /// Its name in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
        }
    }
}

/// A message as posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub to: MessageTarget,
    /// Id as the sender wrote it; empty for a broadcast.
    pub id: Vec<u8>,
    /// Any bytes.
    pub text: Vec<u8>,
}

impl Texts for Message {
    fn bytes(&self) -> usize {
        self.id.len() + self.text.len()
    }
}
