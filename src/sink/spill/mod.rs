//! Things that are put aside in a file beside the store and taken up again, by this run or the next one: bytes with an owner,
//! in the order they were put.
//!
//! One thread writes and reads the file, so whoever puts or fetches does not wait; answers come through the function an owner
//! has registered. Knows nothing of what the bytes mean. The file belongs to the user of the process and can be written by
//! nobody else, or it is not opened: what is taken from it may be code. Invariants: what was put comes back once or is told
//! to be lost; what was fetched is off the file before it is given away, so a killed process never gives it twice.

mod file;
mod thread;

pub use file::SpillOpenError;
pub use thread::{LeftBehind, Put, PutRefused, SpillFile, Taken, WhenSlow};
