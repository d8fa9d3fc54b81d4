//! LuaJIT virtual machines in Rust terms: create them, call into them within a budget, carry closures between them.
//!
//! Knows nothing of packets or of the plugin API. A [`Vm`] is created, used and dropped on one thread, made by
//! [`spawn_lua_thread`]; what other threads may touch of it is its [`Guard`]. Invariant: plugin code is loaded from text
//! only (the host's own also from bytecode of this process), and every entry into a VM goes through [`Vm::call`], so that it is timed, can be interrupted, and comes back as a
//! [`PluginError`] at worst.

mod budget;
mod call;
mod direct;
mod hung;
mod own_text;
mod portable;
mod profile;
mod raw;
mod sampling;
mod thread;
mod tokens;
mod vm;

pub use budget::{Guard, Paused, Slow};
pub use call::{Budget, FaultKind, HOST_CHUNK, PluginError, has_no_place};
pub use direct::{Direct, Others, Ready, Returned};
pub use hung::Frame;
pub use own_text::own_text;
pub use portable::{
    Code, KnownName, Loader, OctetReader, Octets, PackError, Packed, Packer, Portable, Stored, Warning, bytecode_mark,
};
pub use profile::{CallbackProfile, Place, Probe, Profiler, StackSampling, VmProfile};
pub use thread::{SelfTest, quick_self_test, self_test, spawn_lua_thread, spawn_scoped_lua_thread, wake};
pub use tokens::Tokens;
pub use vm::{Health, Vm, VmOptions};
