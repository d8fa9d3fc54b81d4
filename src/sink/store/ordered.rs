//! Rows that wait for the end of the transaction to be entered in the order of their keys.
//!
//! Entered as they come, each would change a page of its own; in order every page is changed once and filled up.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::row::{StoredAttribute, Text};
use super::statements::{Statements, Which};
use crate::time::Timestamp;

/// Longest value of a flow's attribute that is stored.
const LONGEST_VALUE: usize = 512;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// Bytes and row of flows.
    sizes: Vec<(i64, i64)>,
    attributes: Vec<Box<StoredAttribute>>,
    /// First and last row of documents by hour.
    documents: BTreeMap<i64, (i64, i64)>,
}

impl Ordered {
    /// A flow was written.
    pub(super) fn flow_size(&mut self, bytes: i64, id: i64) {
        self.sizes.push((bytes, id));
    }

    /// Takes a named value of a flow in.
    pub(super) fn flow_attribute(&mut self, attribute: Box<StoredAttribute>) {
        self.attributes.push(attribute);
    }

    /// A document was written.
    pub(super) fn document(&mut self, time: Timestamp, id: i64) {
        let rows = self.documents.entry(hour(time)).or_insert((id, id));
        *rows = (rows.0.min(id), rows.1.max(id));
    }

    /// Enters everything.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let mut statements = Statements::new(db);
        self.sizes.sort_unstable();
        for (bytes, id) in self.sizes.drain(..) {
            let statement = statements.get(Which::FlowSize)?;
            statement.raw_bind_parameter(1, bytes)?;
            statement.raw_bind_parameter(2, id)?;
            statement.raw_execute()?;
        }
        // Of equal ones the first stays.
        self.attributes.sort_by(|a, b| place(a).cmp(&place(b)));
        self.attributes.dedup_by(|later, first| place(later) == place(first));
        for attribute in self.attributes.drain(..) {
            let statement = statements.get(Which::FlowAttribute)?;
            statement.raw_bind_parameter(1, hour(attribute.time))?;
            statement.raw_bind_parameter(2, Text(&attribute.flow))?;
            statement.raw_bind_parameter(3, Text(&attribute.name))?;
            statement.raw_bind_parameter(4, Text(cut(&attribute.value)))?;
            statement.raw_bind_parameter(5, attribute.time.as_nanos())?;
            statement.raw_execute()?;
        }
        for (hour, (first, last)) in std::mem::take(&mut self.documents) {
            statements.get(Which::DocumentHour)?.execute(params![hour, first, last])?;
        }
        Ok(())
    }

    /// What was written since the last commit is gone.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Where a value lies among the others.
fn place(attribute: &StoredAttribute) -> (i64, &[u8], &[u8], &[u8]) {
    (hour(attribute.time), &attribute.flow, &attribute.name, cut(&attribute.value))
}

/// A value of at most the longest, and of text whole characters.
fn cut(value: &[u8]) -> &[u8] {
    if value.len() <= LONGEST_VALUE {
        return value;
    }
    match std::str::from_utf8(value) {
        Ok(text) => &value[..text.floor_char_boundary(LONGEST_VALUE)],
        Err(_) => &value[..LONGEST_VALUE],
    }
}

/// The start of the hour in seconds.
pub(super) fn hour(time: Timestamp) -> i64 {
    time.secs().div_euclid(3_600).saturating_mul(3_600)
}
