//! What the hardware and the kernel are asked for: memory ahead of its use, and in large pages.
//!
//! Changes nothing that a program can see; knows nothing of what lies there.

mod pages;
mod prefetch;

pub use pages::{ask_large_pages, expect_use, filled, lengthen, make_room, zeros};
pub use prefetch::{prefetch, prefetch_bytes, prefetch_whole};
