//! millstream runs Lua plugins on network packets, live or from capture files, and keeps slow work off the packet thread.
//!
//! Data flows one way through the modules, top to bottom in this list; only completions of jobs run back:
//!
//! 1. [`capture`] reads packets from files, standard input or interfaces into a [`packet::Batch`] of at most 256.
//! 2. [`decode`] finds the layers of every packet of the batch; [`flow`] joins fragments, finds the flows and puts their
//!    streams in order; [`dissect`] takes these apart. All as far as somebody asks for it.
//!    [`content`] makes files of what HTTP carries.
//! 3. [`builtin`] counts the groups that need no script, if they are asked for.
//! 4. [`plugin`] runs each plugin over the whole batch through the objects of [`api`], on the VMs of [`lua`].
//! 5. [`metrics`] takes counter updates and records; [`sink`] carries them out of the process.
//! 6. [`backend`] closes windows: it takes what leaves the engines second by second, runs the plugins that look at it, and
//!    flushes it to whoever keeps it.
//! 7. [`job`] runs what plugins schedule on worker threads; completions re-enter between two batches. [`gears`] lists the
//!    pipelines that plugins register.
//!
//! [`pipeline`] is the loop that drives all of it on one thread per engine, and [`app`] the command line that wires it up.
//! A module imports only from modules below it; `tests/layering.rs` holds the table.

pub mod api;
pub mod app;
pub mod backend;
pub mod builtin;
pub mod capture;
pub mod content;
pub mod decode;
pub mod dissect;
pub mod flow;
pub mod gears;
pub mod guid;
pub mod job;
pub mod key;
pub mod lua;
pub mod memory;
pub mod metrics;
pub mod packet;
pub mod pipeline;
pub mod plugin;
pub mod processor;
pub mod shell;
pub mod sink;
pub mod time;
