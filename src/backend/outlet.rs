//! What the backend asks of the place where its results leave.

use crate::api::{Record, Stamp};
use crate::metrics::{FlushSink, Shard};
use crate::plugin::Catalog;

/// Takes what backend scripts say, and what is flushed.
pub trait BackendOutlet: FlushSink {
    /// Takes what backend scripts produced, in that order. What is counted of it is counted in `shard`.
    fn records(&mut self, records: &mut Vec<(Stamp, Record)>, shard: &mut Shard);
    /// Learns the names of scripts that are new.
    fn learn_names(&mut self, catalog: &Catalog);
    /// Whether each thing that is flushed is shown, in the order of the flush and between what scripts say of it and the next.
    fn shows_each(&self) -> bool;
    /// Hands over what has come together.
    fn hand_over(&mut self);
}
