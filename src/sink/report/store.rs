//! What the report shows of the store.

use serde::Serialize;

use super::human;
use super::model::NamedCount;
use super::text::{Page, Paint};

/// What became of the rows offered to the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StoreReport {
    /// The file.
    pub file: String,
    /// Rows written.
    pub rows: u64,
    /// Rows that should have been stored, by reason; also among the drops.
    pub dropped: Vec<NamedCount>,
    /// Old rows deleted at a limit.
    pub deleted: u64,
}

impl Page {
    /// Where everything was stored, and what was not.
    pub(super) fn store(&mut self, store: &StoreReport) {
        self.section(Paint::Title, &format!("Store: {} rows", human::count(store.rows as f64)));
        self.line(&format!("  {}", store.file));
        let mut parts = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{} {what}", human::count(count as f64)));
            }
        };
        store.dropped.iter().for_each(|drop| say(drop.count, &drop.name));
        say(store.deleted, "old rows deleted");
        if !parts.is_empty() {
            self.line(&format!("  {}", parts.join(", ")));
        }
    }
}
