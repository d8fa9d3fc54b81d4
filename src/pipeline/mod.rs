//! The loops that drive everything: one packet thread per engine, and the thread of an input filter.
//!
//! A packet thread reads a batch, decodes it, runs the plugins over it, and hands on what they produced; between two
//! batches it takes in completions of jobs and messages. It never waits but in the read: what leaves goes through bounded
//! queues whose overflow is counted. Time is packet time for files and the wall clock for interfaces.

mod backend_feed;
mod backend_out;
mod backend_thread;
mod control;
mod counted;
mod engine;
mod eve_readers;
mod figures;
mod finish;
mod flow_news;
mod flow_stage;
mod found;
mod input;
mod meeting;
mod metering;
mod outlet;
mod outputs;
mod packet_stage;
mod parts;
mod plan;
mod reload;
mod step;
mod stored;
mod top_flows;
mod wants;

pub use backend_feed::BackendLink;
pub use backend_out::BackendOut;
pub use backend_thread::{BackendPace, BackendPlan, BackendThreads};
pub use control::{Control, Done, EndsOnPanic, Stop};
pub use engine::Engine;
pub use eve_readers::EVE_READERS;
pub use figures::{Figures, Inquiry, Question, Questions};
pub use flow_stage::FlowOutcome;
pub use input::{InputLimits, InputPlan, InputQueue, InputSource, input_queue, run_input};
pub use outlet::{NATIVE, Outlet, Prints, date_time, log_line};
pub use outputs::Outputs;
pub use packet_stage::PolicyCounts;
pub use plan::{EngineOutcome, EnginePlan, Interim, InterimPlan, Pace};
pub use reload::{Answer, ORDERS, Order, Orders, Reach};
pub use top_flows::{TopFlow, TopFlows};
pub use wants::{DNS_DOCUMENTS, FlowOutput, OutputWants, Wants};
