//! Packets as they travel through the pipeline: a batch of at most 256, their bytes, and the layers found in them.
//!
//! Owned by one engine thread. Nothing here allocates in steady state: the buffers of a batch are reused.
//! Invariant: every packet's byte range lies within the batch's bytes; every layer's range within its packet.

mod batch;
mod clock;
mod layer;
mod linktype;
mod share;

pub use batch::{Batch, Captured, MAX_BATCH, Packet};
pub use clock::{Clock, Tick};
pub use layer::{Layer, ProtocolId, builtin};
pub use linktype::LinkType;
pub use share::{Deal, Share, deal_by, engine_of};
