//! Finds the protocol layers of every packet of a batch, and what follows from them: flow identity, payload, fragments.
//!
//! Knows packets and protocol numbers, nothing of flows' state, scripts or outputs. Where a script parses a protocol,
//! decoding stops with a [`Pending`] place, and the caller continues it with [`Decoder::resume`]. Runs on the engine
//! thread; no allocation per packet, no logging: malformed packets are data, kept as far as they are sound and counted.
//! Invariant: every layer lies within its packet, and a packet cut short has the layers of the whole one up to the cut.

mod counters;
mod decoder;
mod fast;
mod hash;
mod identity;
mod ieee80211;
mod link;
mod network;
mod read;
mod registry;
mod transport;
mod tunnel;
mod walk;

pub use counters::{Counters, Event, Malformed};
pub use decoder::{Decoder, Pending};
pub use hash::{deal_by_flow, flow_hash, tuple_hash};
pub use identity::{
    Fragment, FragmentKey, Payload, flow_end, flow_tuple, fragment_info, frequent_end, frequent_flow, payload_range,
};
pub use registry::{Added, RegisterError, Registry};
pub use walk::{MAX_LAYERS, MAX_TUNNELS};
