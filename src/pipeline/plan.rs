//! What a packet thread is built from, and what it leaves behind.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::backend_feed::BackendLink;
use super::control::Control;
use super::figures::Questions;
use super::flow_stage::FlowOutcome;
use super::outlet::Outlet;
use super::packet_stage::PolicyCounts;
use super::reload::Orders;
use super::wants::FlowOutput;
use crate::api::Peers;
use crate::builtin::Selection;
use crate::capture::{Source, SourceError, SourceStats};
use crate::flow::{DefragLimits, FlowsConfig};
use crate::metrics::{RunTotals, Shard, ShardConfig};
use crate::plugin::{Catalog, HostSettings, InstanceReport, JobPlan, LoadProblem, Opinion};
use crate::sink::{StoreFeed, StoreSender};
use crate::time::Timestamp;

/// What drives time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Packet time: files.
    Packets,
    /// The wall clock: interfaces.
    Wall,
}

/// What an engine is built from; crosses to its thread.
pub struct EnginePlan {
    /// Number of the engine.
    pub id: u32,
    /// Where packets come from.
    pub source: Box<dyn Source + Send>,
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// What the host was told.
    pub settings: HostSettings,
    /// Built-in groups to count.
    pub builtin: Selection,
    /// Limits of the counters.
    pub shard: ShardConfig,
    /// Limits of the flows.
    pub flows: FlowsConfig,
    /// Limits of fragments.
    pub fragments: DefragLimits,
    /// Whether flows are shown without a plugin that wants them.
    pub flow_output: FlowOutput,
    /// Where packets are stored, and how much of them where scripts have no opinion.
    pub store: Option<(StoreFeed, Opinion)>,
    /// How many of the largest flows the report shows.
    pub top: usize,
    /// Where results go.
    pub outlet: Outlet,
    /// What drives time.
    pub pace: Pace,
    /// The way to the other engines.
    pub peers: Peers,
    /// Shared with the watchers.
    pub control: Arc<Control>,
    /// The workers.
    pub jobs: JobPlan,
    /// The way to the backend; `None` if nobody wants one.
    pub backend: Option<BackendLink>,
    /// Where flows, resources and documents go if the backend does nothing but hand them to the store.
    pub past_backend: Option<StoreSender>,
    /// How long jobs may take after the end of input; `None` as long as they need.
    pub drain: Option<Duration>,
    /// Reports while running.
    pub interim: Option<InterimPlan>,
    /// Where changed scripts come from; `None` if scripts stay as they are.
    pub orders: Option<Orders>,
    /// Where others ask how far it has come; `None` if nobody can.
    pub questions: Option<Questions>,
}

/// A copy of what an engine or a backend has done so far.
#[derive(Debug)]
pub struct Interim {
    /// As at the end, but for the totals, which are made from the counters where packets do not wait for it.
    outcome: EngineOutcome,
    /// Its counters, buckets open.
    shard: Shard,
    /// That of a backend on the same thread.
    backend: Option<Box<Interim>>,
}

impl Interim {
    pub(super) fn new(outcome: EngineOutcome, shard: Shard) -> Self {
        Self { outcome, shard, backend: None }
    }

    pub(super) fn with_backend(mut self, backend: Option<Self>) -> Self {
        self.backend = backend.map(Box::new);
        self
    }

    /// Number of the engine.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.outcome.id
    }

    /// The outcome as it would be if the input ended here.
    #[must_use]
    pub fn into_outcome(mut self) -> EngineOutcome {
        self.shard.finish(|_| {});
        self.outcome.totals = RunTotals::of(&self.shard);
        self.outcome.backend = self.backend.map(|backend| Box::new(backend.into_outcome()));
        self.outcome
    }
}

/// Where copies go, and how often.
#[derive(Debug)]
pub struct InterimPlan {
    /// Stream time between two copies.
    pub every: Duration,
    /// Takes them; when it is full, a copy is left out.
    pub queue: Sender<Interim>,
}

/// What an engine leaves behind.
#[derive(Debug)]
pub struct EngineOutcome {
    /// Number of the engine.
    pub id: u32,
    /// What it counted, all buckets closed. Made on its own thread, so that engines sort their keys side by side.
    pub totals: RunTotals,
    /// Records it handed on.
    pub outlet: Outlet,
    /// Packets handled.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// First and last packet time.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Packets with an earlier time than one before.
    pub time_back: u64,
    /// What the source delivered and dropped.
    pub source: SourceStats,
    /// Why the source ended early, if it did.
    pub source_error: Option<SourceError>,
    /// Oddities of decoding by name.
    pub decode: Vec<(&'static str, u64)>,
    /// Oddities of scripts by name.
    pub oddities: Vec<(&'static str, u64)>,
    /// What became of flows; `None` if nobody wanted any.
    pub flows: Option<FlowOutcome>,
    /// What went to the packet store, by policy; `None` without one.
    pub stored: Option<PolicyCounts>,
    /// How each plugin did.
    pub instances: Vec<InstanceReport>,
    /// What could not be loaded.
    pub problems: Vec<LoadProblem>,
    /// Time from the first read to the end.
    pub wall: Duration,
    /// The longest that packets waited for those of one batch to be handled.
    pub longest_batch: Duration,
    /// What a backend on the same thread leaves behind.
    pub backend: Option<Box<EngineOutcome>>,
}
