//! `millstream repl`: stepping through a capture at a prompt.
//!
//! [`session`] drives an engine one packet at a time and looks at what it holds in between; [`evaluate`] runs Lua in a VM of
//! its own on that engine, which is bound to the present packet; [`stepping`] hands packets over one by one; [`lines`] reads
//! what is typed; [`command`] says what it means. All on one thread with a stack for Lua.

mod command;
mod evaluate;
mod lines;
mod session;
mod stepping;

pub use command::repl;
