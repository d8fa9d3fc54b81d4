//! The report at the end of a run: a model, its JSON document and its text for terminals.
//!
//! [`Report`] is plain data; whoever ends the run fills it, with [`collect_groups`] and [`collect_records`] for what the
//! metrics hold. Texts from traffic or scripts are kept as valid Unicode (a byte that is not UTF-8 becomes the character
//! of its number); the text form replaces control characters, so that nothing in a capture can steer a terminal.

mod collect;
mod flows;
mod human;
mod model;
mod outputs;
mod packet_store;
mod pipelines;
mod store;
mod text;
mod text_table;

pub use collect::{collect_groups, collect_records};
pub(super) use collect::{readable, text as text_of};
pub use flows::{FlowLine, FlowsReport};
pub use human::count as human_count;
pub use model::{
    AlertLine, Damage, DamagedInput, EdgeLine, Edges, GroupReport, JobLatency, JobTimes, Jobs, KeyReport, Lines,
    MeterReport, NamedCount, PluginJobs, PluginReport, Records, Report, ResourceLine, Run, TopKey, Verdict,
};
pub use outputs::OutputReport;
pub use packet_store::PacketStoreReport;
pub use pipelines::{PipelineReport, PipelineStep};
pub use store::StoreReport;
pub use text::{Charset, ColourMode, TextStyle};
