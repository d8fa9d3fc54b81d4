//! The allocator; what the hardware and the kernel are asked for: memory ahead of its use, and in large pages; an index of slots
//! whose look-ups can be asked for ahead.
//!
//! Asking changes nothing that a program can see; nothing here knows what lies there.

mod allocator;
mod index;
mod pages;
mod prefetch;

pub use allocator::Allocator;
pub use index::Index;
pub use pages::{ask_large_pages, expect_use, filled, lengthen, make_room, zeros};
pub use prefetch::{prefetch, prefetch_bytes, prefetch_from, prefetch_whole};
