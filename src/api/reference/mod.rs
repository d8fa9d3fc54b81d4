//! The reference of the plugin API: every name a script can use, with its parameters, where it is available, and what it
//! does.
//!
//! The texts in `texts/` are the table; `millstream api`, the pages in `docs/api` and the names that `millstream check`
//! knows come from it. `tests/api_reference.rs` walks the objects of a running program and asks for an entry of each name,
//! and for a name of each entry. Knows no VM.

mod chapter;
mod entry;
mod markdown;
mod text;

pub use chapter::{CHAPTERS, Chapter, find, names, object, objects};
pub use entry::{Entry, EntryKind, Object, Origin};
pub use markdown::{Page, pages};
