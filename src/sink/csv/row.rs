//! What is handed over to the thread that writes tables.

use crate::metrics::{Alert, Document, GroupIndex, Resource, Session};

/// A row of one of the tables; of a counter one for each meter.
#[derive(Debug)]
pub(super) enum Row {
    Counter(Box<CounterRow>),
    Flow(Box<Session>),
    Alert(Box<Alert>),
    Resource(Box<Resource>),
    Document(Box<Document>),
}

/// The values of a key in a bucket.
#[derive(Debug)]
pub(super) struct CounterRow {
    pub group: GroupIndex,
    /// Start and length of the bucket in seconds.
    pub bucket: i64,
    pub size: i64,
    pub key: Vec<u8>,
    /// By number of the meter.
    pub values: Vec<f64>,
}
