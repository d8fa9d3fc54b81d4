//! Work that plugins schedule, done by worker threads while packets go on.
//!
//! A [`Pool`] belongs to one plugin: worker threads with a VM each, one queue, one supervisor. A [`Scheduler`] belongs to
//! one VM that schedules: it hands jobs over in batches and takes their [`Completion`]s back on its own thread. Knows
//! nothing of packets or of the plugin API; the VMs of the workers come from a [`VmFactory`]. Invariant: every job
//! accepted ends in exactly one terminal [`JobState`] and is counted there once. The protocol is in `README.md`.

mod admission;
mod board;
mod completion;
mod counts;
mod delivery;
mod errand;
mod histogram;
mod host;
#[cfg(test)]
mod interleavings;
mod limits;
mod model;
mod native;
mod options;
mod orphans;
mod output;
mod patience;
mod pool;
mod popen;
mod process;
mod queue;
mod recording;
mod rejected;
mod running;
mod scheduler;
mod section;
mod shared;
mod shell;
mod slot;
mod spill;
mod spilling;
mod staff;
mod state;
mod supervisor;
mod worker;

pub use admission::WhenCrowded;
pub use board::{Board, Carried, Letter, Party, Verdict};
pub use completion::Wait;
pub use counts::{SpillCounts, Summary};
pub use delivery::{Delivery, Drained, Settled, Settling};
pub use errand::{
    Begun, CallArguments, Door, Doors, Errand, ErrandError, FunctionInfo, MAX_ERRANDS, MAX_FUNCTIONS, Order, Progress,
    Reply,
};
pub use histogram::Times;
pub use host::Owner;
pub use limits::{Allowance, JobLimits, Permit};
pub use model::{Completion, Ended, JobId, JobIds, JobKind, JobStatus, Keep};
pub use native::{FileError, FileOp};
pub use options::{Backoff, Handled, JobOptions, JobShape, Returns};
pub use orphans::Orphan;
pub use output::{JobOutput, OutputLine};
pub use pool::{Pool, PoolOptions, VmFactory, WorkerContext};
pub use recording::{Answer, Answers, Question};
pub use rejected::{Overflow, Rejected};
pub use running::end_commands;
pub use scheduler::{JobRequest, Scheduler};
pub use section::{Section, SectionError};
pub use shell::install as install_execute;
pub use spill::{Attached, LeftJob, PutJob, SpillAnswer, SpillFate, SpillPace, SpillRefused, SpillReturns, SpillStore};
pub use spilling::{LEFT_TOKEN, Luggage};
pub use state::{Impossible, JobState, Life, Step};
