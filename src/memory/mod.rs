//! What the hardware is asked for: memory ahead of its use.
//!
//! Changes nothing that a program can see; knows nothing of what lies there.

mod prefetch;

pub use prefetch::prefetch;
