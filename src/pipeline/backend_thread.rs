//! A backend on a thread of its own.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::backend_feed::{BackendLink, Ended};
use super::backend_out::BackendOut;
use super::control::{Control, Stop};
use super::metering::Metering;
use super::outlet::Outlet;
use super::plan::EngineOutcome;
use super::reload::Orders;
use crate::api::Peers;
use crate::api::engine::PROBE_ID;
use crate::backend::{
    self, Backend, BackendParts, BackendWants, Parcel, ParcelSender, QUEUE, QueueCounts, WhenSilent, WhenSlow,
};
use crate::builtin::{BuiltinPlan, Selection};
use crate::capture::SourceStats;
use crate::job::Wait;
use crate::lua::spawn_lua_thread;
use crate::metrics::{FlushSink, ShardConfig};
use crate::pipeline::metering::{ContentMeters, Meter};
use crate::plugin::{Catalog, HostSettings, JobPlan};
use crate::time::Stopwatch;

/// How long jobs may take when a signal ended the run.
const STOPPED_DRAIN: Duration = Duration::from_secs(5);

/// What a backend is planned from.
pub struct BackendPlan {
    /// Number of its context and jobs, behind those of the engines.
    pub id: u32,
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// What the host was told.
    pub settings: HostSettings,
    /// Built-in groups, for the alerts of its scripts.
    pub builtin: Selection,
    /// Limits of its counters.
    pub shard: ShardConfig,
    /// Where results go.
    pub outlet: Outlet,
    /// Keeps what is flushed.
    pub sink: Option<Box<dyn FlushSink + Send>>,
    /// The workers.
    pub jobs: JobPlan,
    /// Seconds of a window.
    pub window: i64,
    /// Where changed scripts come from, if it has a thread of its own.
    pub orders: Option<Orders>,
}

impl BackendPlan {
    /// What the backend itself is made from.
    #[must_use]
    pub fn parts(self) -> BackendParts<BackendOut> {
        let plan =
            BuiltinPlan { home: self.settings.run.home_nets.clone(), origins: Vec::new(), probe: PROBE_ID.to_owned() };
        let contents = ContentMeters { hosts: Meter::Off, types: Meter::Off };
        let takes_all = self.outlet.events.is_some() || self.sink.is_some();
        BackendParts {
            outlet: BackendOut::new(
                self.outlet,
                Metering::new(&self.catalog.groups, &self.builtin, plan, contents),
                self.sink,
            ),
            catalog: self.catalog,
            settings: self.settings,
            shard: self.shard,
            jobs: self.jobs,
            id: self.id,
            takes_all,
            window: self.window,
        }
    }
}

/// The thread.
pub struct BackendThread {
    thread: JoinHandle<EngineOutcome>,
    queue: Sender<Parcel>,
    wants: Arc<BackendWants>,
    when_slow: WhenSlow,
    counts: Arc<QueueCounts>,
}

impl BackendThread {
    /// Starts the thread and waits until its plugins are loaded, so that the engines know what is wanted.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        mut plan: BackendPlan,
        engines: usize,
        peers: Peers,
        (when_slow, when_silent): (WhenSlow, WhenSilent),
        (control, drain): (Arc<Control>, Option<Duration>),
    ) -> io::Result<Self> {
        let (queue, parcels) = bounded(QUEUE);
        let counts: Arc<QueueCounts> = Arc::default();
        let (tell, loaded) = mpsc::channel();
        let counted = Arc::clone(&counts);
        let thread = spawn_lua_thread("backend", move || {
            let watch = Stopwatch::start();
            let id = plan.id;
            let orders = plan.orders.take();
            let backend = Backend::new(plan.parts());
            // Nobody left to listen means that the run does not begin.
            let _ = tell.send(Arc::new(backend.wants().clone()));
            let backend =
                backend::run(backend, &parcels, engines, &peers, when_silent, control.stopping(), |backend| {
                    if let Some(orders) = &orders {
                        orders.carry_out(backend);
                    }
                });
            let limit = if control.stop() == Stop::No { drain } else { Some(drain.unwrap_or(STOPPED_DRAIN)) };
            let ended = backend.finish(&Wait { limit, cancel: Some(control.cut()) });
            let mut outcome = backend_outcome(ended, id, watch);
            outcome.oddities.extend(counted.named());
            outcome
        })?;
        let wants = loaded.recv().unwrap_or_default();
        Ok(Self { thread, queue, wants, when_slow, counts })
    }

    /// The way from an engine.
    #[must_use]
    pub fn link(&self) -> BackendLink {
        let sender = ParcelSender::new(self.queue.clone(), self.when_slow, Arc::clone(&self.counts));
        BackendLink::Queue(Arc::clone(&self.wants), sender)
    }

    /// The thread alone: it ends when every engine has sent its last parcel, or is gone.
    #[must_use]
    pub fn into_thread(self) -> JoinHandle<EngineOutcome> {
        self.thread
    }
}

/// What a backend leaves behind, in the form of an engine without packets.
pub(super) fn backend_outcome(ended: Ended, id: u32, watch: Stopwatch) -> EngineOutcome {
    EngineOutcome {
        id,
        shard: ended.shard,
        outlet: ended.outlet.into_outlet(),
        packets: 0,
        bytes: 0,
        span: None,
        time_back: 0,
        source: SourceStats::default(),
        source_error: None,
        decode: Vec::new(),
        oddities: ended.oddities,
        flows: None,
        stored: None,
        instances: ended.instances,
        problems: ended.problems,
        wall: watch.elapsed(),
        longest_batch: Duration::ZERO,
        backend: None,
    }
}
