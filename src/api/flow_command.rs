//! What scripts ask of flows: commands that the pipeline carries out behind the packets being handled, and notes that
//! other scripts are to hear.

use crate::flow::{FlowCounter, FlowHandle};
use crate::metrics::GroupIndex;
use crate::time::Timestamp;

use super::record::Rank;

/// What is asked of a flow.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowWish {
    /// Adds to a meter of its record.
    Update {
        /// Flow meter.
        meter: u32,
        /// By how much.
        value: f64,
    },
    /// Sets the length of its time window, in seconds.
    Duration(f64),
    /// There is such a flow.
    Open,
    /// It ends now.
    Terminate,
    /// It gets a tag.
    Tag(Vec<u8>),
    /// Its packets are counted under a key.
    Count(FlowCounter),
    /// Its packets are no longer counted in a group.
    Uncount(GroupIndex),
    /// A script wants no more of the payload of this one, whatever id there is.
    Quiet(FlowHandle),
}

/// A wish, and where it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowCommand {
    /// Packet of the batch that led to it.
    pub packet: u32,
    /// When among everything that the packet leads to.
    pub rank: Rank,
    /// Stream time.
    pub time: Timestamp,
    /// Flow id as the script wrote it.
    pub flow: Vec<u8>,
    /// What is asked.
    pub wish: FlowWish,
}

/// What a note says.
#[derive(Clone, Debug, PartialEq)]
pub enum NoteText {
    /// `add_flow_attribute`: name and value.
    Attribute(Vec<u8>, Vec<u8>),
    /// `new_flow_record`: bytes A to Z, Z to A, packets A to Z, Z to A.
    Record([f64; 4]),
}

/// Something a script said about a flow that the scripts of its engine hear after the running callback.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Packet of the batch that led to it.
    pub packet: u32,
    /// When among everything that the packet leads to.
    pub rank: Rank,
    /// Stream time.
    pub time: Timestamp,
    /// How many announcements led to one another up to this one.
    pub depth: usize,
    /// Flow id as the script wrote it.
    pub flow: Vec<u8>,
    /// What it says.
    pub text: NoteText,
}

/// Announcements that lead to one another; what a callback says beyond that is dropped with a warning.
pub const MAX_NOTE_DEPTH: usize = 8;
/// Most announcements that those of one event may lead to.
pub const MAX_ECHOES: usize = 1_000;
/// Notes waiting on one engine; more are dropped and counted.
pub const MAX_NOTES: usize = 100_000;
