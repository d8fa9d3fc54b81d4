//! What the backend asks of the place where its results leave.

use crate::api::{Record, Stamp};
use crate::metrics::{Edge, FlushSink, Shard};
use crate::plugin::Catalog;
use crate::sink::EventLines;
use crate::time::Timestamp;

/// Takes what backend scripts say, and what is flushed.
pub trait BackendOutlet: FlushSink {
    /// Takes what backend scripts produced, in that order. What is counted of it is counted in `shard`.
    fn records(&mut self, records: &mut Vec<(Stamp, Record)>, shard: &mut Shard);
    /// Takes an edge of any thread; whether it is new and within the limits is decided there.
    fn edge(&mut self, time: Timestamp, edge: Edge);
    /// Lines of the event stream that another backend is to give their place.
    fn take_lines(&mut self) -> EventLines;
    /// Takes lines of another thread, whose place is here.
    fn put_lines(&mut self, lines: EventLines);
    /// Learns the names of scripts that are new.
    fn learn_names(&mut self, catalog: &Catalog);
    /// Whether each thing that is flushed is shown, in the order of the flush and between what scripts say of it and the next.
    fn shows_each(&self) -> bool;
    /// Hands over what has come together.
    fn hand_over(&mut self);
}
