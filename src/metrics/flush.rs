//! Where flushed things leave: what a store, an event stream or any other taker of closed windows implements.

use std::sync::Arc;

use super::{Alert, Document, GroupIndex, Resource, Session, Snapshot};
use crate::guid::Guid;

/// A key of one closed bucket.
#[derive(Clone, Copy, Debug)]
pub struct FlushedKey<'a> {
    /// Counter group.
    pub group: GroupIndex,
    /// Identity of the group.
    pub guid: Guid,
    /// Start of the bucket in seconds.
    pub bucket: i64,
    /// Its length in seconds.
    pub size: i64,
    /// The key as text; `SYS:GROUP_TOTALS` comes last in each bucket.
    pub key: &'a [u8],
    /// Finished values, one per meter id; gaps are 0.
    pub values: &'a [f64],
}

/// A key among the largest or smallest of a meter.
#[derive(Clone, Copy, Debug)]
pub struct FlushedTopper<'a> {
    /// Counter group.
    pub group: GroupIndex,
    /// Identity of the group.
    pub guid: Guid,
    /// Meter id.
    pub meter: u32,
    /// Start of the interval in seconds.
    pub bucket: i64,
    /// Its length in seconds.
    pub size: i64,
    /// Place, from 1 for the largest; from -1 downwards for the smallest.
    pub rank: i32,
    /// The key as text.
    pub key: &'a [u8],
    /// Its value in the interval.
    pub value: f64,
    /// How much the value may be too large; 0 where it is exact.
    pub error: f64,
}

/// A flow that a tracker ranked.
#[derive(Clone, Copy, Debug)]
pub struct TrackedFlow<'a> {
    /// Name of the tracker.
    pub tracker: &'a str,
    /// Start of the interval in seconds.
    pub bucket: i64,
    /// Its length in seconds.
    pub size: i64,
    /// Place, from 1.
    pub rank: u32,
    /// Flow id.
    pub flow: &'a [u8],
    /// What the script computed.
    pub metric: f64,
}

/// What the flush votes said about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// At least one script, or the absence of any, said yes: it is to be kept.
    Yes,
    /// Every script said no: shown in the event stream as such, and not kept.
    No,
}

impl Stored {
    /// True if the item is to be kept.
    #[must_use]
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// Takes what is flushed when a window closes, in the order of the flush. All calls for a window come between
/// [`FlushSink::begin_window`] and [`FlushSink::end_window`], but for alerts, resources, documents and flows that no script
/// flushes: these come when they are made. Times are seconds of stream time.
///
/// A sink that keeps things leaves out what is not [`Stored::Yes`]. Items come by value: the last one who takes them keeps
/// them without a copy.
pub trait FlushSink {
    /// The flush of the window that starts at `start` begins.
    fn begin_window(&mut self, start: i64);
    /// Whether keys are read one by one; buckets come as a whole besides.
    fn reads_keys(&self) -> bool {
        true
    }
    /// A key of a closed bucket.
    fn counter(&mut self, key: &FlushedKey<'_>, stored: Stored);
    /// What the votes left of a closed bucket, as a whole, behind its keys. Where nobody votes, all buckets of the window come
    /// first.
    fn bucket(&mut self, _bucket: Arc<Snapshot>) {}
    /// All buckets of the window have come.
    fn end_buckets(&mut self) {}
    /// A topper of a closed interval.
    fn topper(&mut self, topper: &FlushedTopper<'_>, stored: Stored);
    /// An alert, as scripts left it.
    fn alert(&mut self, alert: Box<Alert>, stored: Stored);
    /// A resource, as scripts left it.
    fn resource(&mut self, resource: Box<Resource>, stored: Stored);
    /// A full-text document.
    fn document(&mut self, document: Box<Document>, stored: Stored);
    /// A flow that ended, or an interim record of one that goes on.
    fn flow(&mut self, flow: Box<Session>, stored: Stored);
    /// A flow of a tracker's snapshot.
    fn tracked(&mut self, flow: &TrackedFlow<'_>);
    /// A second of stream time is over: what came together so far may leave.
    fn end_second(&mut self) {}
    /// The flush of the window is complete.
    fn end_window(&mut self, start: i64);
}
