//! State of traffic over packets: fragments that become datagrams.
//!
//! Knows packets and keys, nothing of plugins or outputs. Runs on the engine thread, on packet time. Invariant: whatever
//! traffic can fill has a limit, and everything dropped at a limit is counted under its name.

mod defrag;

pub use defrag::{Added, Datagram, Defrag, DefragCounters, DefragLimits};
