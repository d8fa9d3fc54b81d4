//! What plugins see: the engine, packets, layers, buffers and flow ids, and the functions of the global table `T`.
//!
//! Objects that are used per packet are `ffi` structs with methods in Lua (`lua/objects.lua`, `loan.rs`) or values of these
//! (`lua/values.lua`), and what they call in the host are plain functions by address (`hostcall.rs`), so that callbacks
//! compile as a whole. Everything else is an ordinary host function. A VM's functions work on its [`VmContext`]; nothing
//! here crosses threads.

pub mod ac;
mod backend_objects;
pub mod constants;
mod context;
mod digest;
pub mod engine;
mod events;
mod flow_command;
mod flow_fields;
pub mod functions;
mod gears_rows;
pub mod global_t;
mod hostcall;
mod http_header;
pub mod job_desk;
mod jobcall;
mod key_cells;
mod loan;
mod meeting;
pub mod modules;
mod peers;
mod probe_speech;
pub mod re2;
mod record;
pub mod reference;
mod said;
pub mod strings;
pub mod t_async;
pub mod t_env;
pub mod t_gears;
pub mod t_host;
pub mod t_util;
pub mod values;
mod write_lock;

pub use backend_objects::{BackendObjects, ItemChange, ItemRef};
pub use constants::LogLevel;
pub use context::{EngineContext, Oddities, ROW_PROGRESS, StoreHint, VmContext, bump};
pub use engine::EngineParts;
pub use events::{
    ALONE, Event, EventRing, EventRow, Exchange, FlowEnds, LENT_AT_ONCE, Occasion, Sign, Topic, declined, voice,
};
pub use flow_command::{FlowCommand, FlowWish, MAX_NOTE_DEPTH, Note, NoteText};
pub use global_t::{MonitoredGroup, RunIdentity};
pub use loan::{LayerSlot, Lent, Loans};
pub use meeting::Seat;
pub use peers::{Letter, Mail, Peers};
pub use probe_speech::ProbeSpeech;
pub use record::{AlertEnds, AlertKind, AlertRecord, EndedFlow, FlowName, Found, Rank, Record, ScriptId, Side, Stamp};
pub use write_lock::WriteLock;
