//! Backends on threads of their own.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::backend_feed::BackendLink;
use super::backend_out::BackendOut;
use super::control::{Control, EndsOnPanic, Stop};
use super::figures::{Figures, Question, Questions};
use super::metering::Metering;
use super::outlet::Outlet;
use super::plan::{EngineOutcome, Interim};
use super::reload::Orders;
use crate::api::Peers;
use crate::api::engine::PROBE_ID;
use crate::backend::{
    self, Backend, BackendEnd, BackendParts, BackendWants, Mates, Parcel, ParcelSender, QUEUE, QueueCounts, Share,
    Waits, WhenSilent, WhenSlow,
};
use crate::builtin::{BuiltinPlan, Selection};
use crate::capture::SourceStats;
use crate::job::Wait;
use crate::lua::spawn_lua_thread;
use crate::metrics::{FlushSink, RunTotals, Shard, ShardConfig};
use crate::pipeline::metering::{ContentMeters, Meter};
use crate::plugin::{Catalog, HostSettings, JobPlan};
use crate::processor::yield_to_packets;
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
    /// Which of the backends it is.
    pub share: Share,
    /// Where questions come from, if it has a thread of its own.
    pub questions: Option<Questions>,
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
            share: self.share,
        }
    }
}

/// The threads, one for each backend.
pub struct BackendThreads {
    threads: Vec<JoinHandle<EngineOutcome>>,
    queues: Vec<Sender<Parcel>>,
    wants: Arc<BackendWants>,
    when_slow: WhenSlow,
    counts: Arc<QueueCounts>,
}

/// How backends and engines wait for each other.
#[derive(Clone, Copy, Debug)]
pub struct BackendPace {
    /// Engines that feed the backends.
    pub engines: usize,
    /// What an engine does when there is no room.
    pub when_slow: WhenSlow,
    /// What happens when an engine is silent.
    pub when_silent: WhenSilent,
    /// How long jobs are waited for at the end.
    pub drain: Option<Duration>,
}

impl BackendThreads {
    /// Starts a thread for each backend and waits until its plugins are loaded, so that the engines know what is wanted.
    /// Each plan comes with its backend's way to the engines.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(plans: Vec<(BackendPlan, Peers)>, pace: BackendPace, control: &Arc<Control>) -> io::Result<Self> {
        let mut all = Self {
            threads: Vec::new(),
            queues: Vec::new(),
            wants: Arc::default(),
            when_slow: pace.when_slow,
            counts: Arc::default(),
        };
        let mut wants = BackendWants::default();
        let waits = if pace.when_silent == WhenSilent::Wait { Waits::ForAll } else { Waits::Shortly };
        let mates = Mates::connect(plans.len(), waits);
        for (at, ((mut plan, peers), mates)) in plans.into_iter().zip(mates).enumerate() {
            let (queue, parcels) = bounded(QUEUE);
            // Told once, by the first.
            let counts = (at == 0).then(|| Arc::clone(&all.counts));
            let (tell, loaded) = mpsc::channel();
            let control = Arc::clone(control);
            let cut = Arc::clone(&control);
            let mates = mates.until(move || cut.cut().load(Ordering::Relaxed));
            let thread = spawn_lua_thread(&format!("backend-{at}"), move || {
                let _ends = EndsOnPanic::of(&control);
                yield_to_packets();
                let watch = Stopwatch::start();
                let id = plan.id;
                let (orders, questions) = (plan.orders.take(), plan.questions.take());
                let backend = Backend::new(plan.parts()).beside(mates);
                // Nobody left to listen means that the run does not begin.
                let _ = tell.send(backend.wants().clone());
                let stopping = control.stopping();
                let between = |backend: &mut Backend<BackendOut>| {
                    if let Some(orders) = &orders {
                        orders.carry_out(backend);
                    }
                    // Whoever asked may have given up.
                    match questions.as_ref().and_then(Questions::next) {
                        Some(Question::Figures(tell)) => {
                            let _ = tell.try_send(Figures::of_backend(id, backend.reports()));
                        }
                        Some(Question::Interim(tell)) => {
                            let _ = tell.try_send(backend_so_far(backend, id, watch));
                        }
                        None => {}
                    }
                };
                let backend =
                    backend::run(backend, &parcels, pace.engines, &peers, pace.when_silent, stopping, between);
                let limit =
                    if control.stop() == Stop::No { pace.drain } else { Some(pace.drain.unwrap_or(STOPPED_DRAIN)) };
                let ended = backend.finish(&Wait { limit, cancel: Some(control.cut()) });
                let mut outcome = backend_end(ended, id, watch);
                outcome.oddities.extend(counts.iter().flat_map(|counts| counts.named()));
                outcome
            })?;
            wants = wants.or(&loaded.recv().unwrap_or_default());
            all.threads.push(thread);
            all.queues.push(queue);
        }
        all.wants = Arc::new(wants);
        Ok(all)
    }

    /// The way from an engine.
    #[must_use]
    pub fn link(&self) -> BackendLink {
        let sender = ParcelSender::new(self.queues.clone(), self.when_slow, Arc::clone(&self.counts));
        BackendLink::Queue(Arc::clone(&self.wants), sender)
    }

    /// The threads alone: they end when every engine has sent its last parcel, or is gone.
    #[must_use]
    pub fn into_threads(self) -> Vec<JoinHandle<EngineOutcome>> {
        self.threads
    }
}

/// What a backend leaves behind, in the form of an engine without packets.
pub(super) fn backend_end(ended: BackendEnd<BackendOut>, id: u32, watch: Stopwatch) -> EngineOutcome {
    let BackendEnd { shard, outlet, instances, problems, oddities } = ended;
    let (ended, shard) =
        backend_outcome(BackendEnd { shard, outlet: outlet.into_outlet(), instances, problems, oddities }, id, watch);
    EngineOutcome { totals: RunTotals::of(&shard), ..ended }
}

/// What it has done so far.
pub(super) fn backend_so_far(backend: &mut Backend<BackendOut>, id: u32, watch: Stopwatch) -> Interim {
    let outlet = backend.outlet().copy_of_records();
    let (outcome, shard) = backend_outcome(backend.so_far(outlet), id, watch);
    Interim::new(outcome, shard)
}

fn backend_outcome(ended: BackendEnd<Outlet>, id: u32, watch: Stopwatch) -> (EngineOutcome, Shard) {
    let outcome = EngineOutcome {
        id,
        totals: RunTotals::default(),
        outlet: ended.outlet,
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
    };
    (outcome, ended.shard)
}
