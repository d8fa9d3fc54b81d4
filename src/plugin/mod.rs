//! The plugin host: finds plugin files, reads what they contain, runs them on the packets of an engine.
//!
//! [`discover()`] finds files, [`Catalog`] probes them once per run, [`Frontend`] holds the instances of one engine. A VM
//! belongs to one (file, block, engine) and to the thread that made it. A plugin's faults are attributed, counted and
//! end there: nothing a plugin does stops the packets.

mod attach;
mod binding;
mod calls;
mod catalog;
mod completions;
mod content;
mod discover;
mod dispatch;
mod edition;
mod exchange;
mod feed;
mod frontend;
mod handover;
mod health;
mod heard;
mod host;
mod instance;
mod kind;
mod loading;
mod manifest;
mod perseverance;
mod policy;
mod probing;
mod reload;
mod settings;
mod texts;
mod underway;
mod whereabouts;

pub use binding::{ALL_FLOWS, group_kind};
pub use catalog::{Catalog, CatalogEntry, CatalogNote, note_of, standard_directories};
pub use completions::JobPlan;
pub use content::Declined;
pub use discover::{Found, NoSuchPath, Script, SkipReason, Skipped, discover};
pub use edition::Edition;
pub use exchange::{Exchanged, Member, Swap, describe, exchange};
pub use feed::{Feed, Told, Traffic};
pub use frontend::{BuiltPacket, InputFilter, Step};
pub use handover::State;
pub use health::{ErrorRow, ROW_LIMIT};
pub use host::{Frontend, LoadProblem, no_callback, record_for, report_problem};
pub use instance::{BlockTable, CallStats, Instance, InstanceReport, LoadFailure, PluginFile, Seat};
pub use kind::{PluginKind, Side};
pub use loading::Prepared;
pub use manifest::{Block, Definition, Identity, Manifest, Remark, Subscriptions, TrackerControl};
pub use perseverance::{Attempt, Hanging, Known, persevere};
pub use policy::{Opinion, PolicyChange, PolicyTable};
pub use settings::{HostSettings, NetflowTap, OnLate, OnStuck};
pub use underway::{LATE_AFTER, Loads, Stage};
pub use whereabouts::Whereabouts;
