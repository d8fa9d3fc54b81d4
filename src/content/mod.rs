//! Content carried by HTTP: requests with their responses, and the files that are written of their bodies.
//!
//! [`Contents`] turns what dissectors find in a batch into the list of what scripts are told; [`Files`] writes bodies to
//! the directory that [`RamFs`] holds. Knows nothing of scripts: who wants what is said from outside. Runs on the packet
//! thread; a [`RamFile`] may be let go on any thread. What traffic can fill is capped, and what is cut off is counted.

mod contents;
mod counts;
mod files;
mod held;
mod name;
mod ram_fs;

pub use contents::{Body, Contents, Item, ItemKind, Parts, RawBytes};
pub use counts::ContentCounts;
pub use files::{Extent, FileRules, Files, Finished};
pub use name::{file_name, is_safe_directory};
pub use ram_fs::{AutoDelete, RamFile, RamFs, RamFsError, RamFsOptions};
