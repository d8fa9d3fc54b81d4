//! Lua modules every plugin can `require` without shipping them, and the Lua halves of the host functions.
//!
//! The modules are text (or native code) inside the program; a plugin's own file of the same name comes first, because
//! [`install_searcher`] puts ours behind every other loader. Knows nothing of packets or engines.

mod debugger;
mod json;
mod json_encode;
mod libraries;
mod registry;

pub(in crate::api) use json::parse as parse_json;
pub use json::{DecodeError, MAX_DEPTH};
pub(in crate::api) use json_encode::text_of as json_text;
pub use libraries::{FileMark, Libraries};
pub use registry::{MODULES, Module, ModuleSource, install_searcher, module};
pub(in crate::api) use registry::{arguments, host_chunk, run_host_chunk, run_host_chunk_multi};
