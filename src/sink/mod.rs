//! Where results leave the process: the terminal, the event stream, and the report at the end of a run.
//!
//! A sink has a thread of its own behind a bounded queue, and states what happens when the queue is full: the sender waits
//! or the newest is dropped and counted. A reader that goes away ends its sink, not the run.

mod alert_queue;
mod console;
pub mod csv;
mod damaged;
mod database_files;
pub mod eve;
mod events;
mod flush_sinks;
mod iso_time;
mod line_file;
mod lookout;
#[cfg(test)]
mod output_of_tests;
mod patient;
mod pcap_store;
pub mod printed;
pub mod progress_line;
mod renewal;
mod report;
mod rescue;
mod reuse;
pub mod spill;
mod steering;
mod store;
pub mod syslog;
pub mod webhook;

pub use alert_queue::{AlertSender, AlertsEnd};
pub use console::{Console, ConsoleEnd, ConsoleSender, Parcel, WhenFull};
pub use database_files::database_files;
pub use events::{EventHandle, EventLines, EventSender, EventStream, Field, Head, StreamEnd, json_text, write_event};
pub use flush_sinks::FlushSinks;
pub use line_file::{Begin, OutputError, hold_files};
pub use patient::{Haste, Patient};
pub use pcap_store::{
    CaptureWriter, Offer, PacketStore, RecordError, Selection, StoreConfig, StoreCounts, StoreDamage,
    StoreDamageReason, StoreError, StoreFeed, StoredPacket, StoredPackets, flow_mark, host_mark,
    query as query_packets,
};
pub use report::{
    AlertLine, Charset, ColourMode, Damage, DamagedInput, EdgeLine, Edges, FlowLine, FlowsReport, GroupReport,
    JobLatency, JobTimes, Jobs, KeyReport, Lines, MeterReport, NamedCount, OutputReport, PacketStoreReport,
    PipelineReport, PipelineStep, PluginJobs, PluginReport, Records as RecordsReport, Report, ResourceLine, Run,
    StoreReport, TextStyle, TopKey, Verdict, collect_groups, collect_records, human_count,
};
pub use rescue::Save;
pub use steering::{harmless, steers};
pub use store::{
    Durability, FlowOf, RecoverError, Reserved, RunEnd, Salvaged, Store, StoreOpenError, StoreOptions, StoreSender,
    StoreTally, StoredJob, StoredJobEnd, StoredTopper, VERSION as STORE_VERSION, default_store, keep_pipeline_state,
    latest_store, pipeline_states, query as store_query, recover, store_file,
};
