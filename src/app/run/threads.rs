//! The threads of a run: one for each engine, the input filter's, the backend's.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::inputs::Inputs;
use super::outputs::Outputs;
use super::start::join;
use crate::api::Peers;
use crate::app::cli::{Deterministic, RunArgs};
use crate::app::interim::Copies;
use crate::app::reload::{ReloadCounts, Reloader};
use crate::app::report::RunResult;
use crate::app::{OwnFault, privileges, settings};
use crate::backend::{Rankings, Share, WhenSilent, WhenSlow};
use crate::builtin::Selection;
use crate::capture::Source;
use crate::flow::{DefragLimits, FlowsConfig};
use crate::job::{self, JobIds};
use crate::lua::{self, spawn_lua_thread};
use crate::metrics::{Buckets, Records, RunTotals, ShardConfig, Tallies};
use crate::pipeline::{
    BackendLink, BackendPace, BackendPlan, BackendThreads, Control, EndsOnPanic, Engine, EngineOutcome, EnginePlan,
    InputPlan, InputQueue, InterimPlan, Orders, Pace, Questions, Reach, Stop, run_input,
};
use crate::plugin::{Catalog, HostSettings, JobPlan, Opinion};
use crate::sink::{ConsoleEnd, Haste, StreamEnd};
use crate::time::Stopwatch;

/// How long other threads may take to end once one has panicked.
const OTHERS_GRACE: Duration = Duration::from_secs(1);
/// How long an input filter may take to return after a request to stop.
const INPUT_GRACE: Duration = Duration::from_secs(2);
/// How long such a script has to come back by itself, and then between being woken and being woken again.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// What the threads are started with.
pub struct Staff<'a> {
    /// Options of the run.
    pub args: &'a RunArgs,
    /// What plugins are told.
    pub host: &'a HostSettings,
    /// The plugins.
    pub catalog: &'a Arc<Catalog>,
    /// Groups counted natively.
    pub builtin: &'a Selection,
    /// Where results go.
    pub outputs: &'a Outputs,
    /// The way of requests to the threads.
    pub control: &'a Arc<Control>,
    /// The workers.
    pub pools: &'a Arc<[job::Pool]>,
    /// For reports while running.
    pub copies: Option<&'a Copies>,
    /// Where changed scripts come from.
    pub reloader: &'a RefCell<Reloader>,
}

/// Where threads are asked how far they are.
pub struct Asked {
    /// One for each packet thread.
    pub engines: Vec<Questions>,
    /// One for each backend with a thread of its own.
    pub backends: Vec<Questions>,
    /// That of an input filter.
    pub input: Vec<Questions>,
}

/// The threads of a run.
pub struct Threads {
    handles: Vec<JoinHandle<EngineOutcome>>,
    /// Number of packet threads.
    engines: usize,
    /// Whether backends have threads of their own.
    has_backends: bool,
}

/// What is the same for all threads.
struct Shared {
    shard: ShardConfig,
    flows: FlowsConfig,
    fragments: DefragLimits,
    delivery: job::Delivery,
    store_mode: Opinion,
    pace: Pace,
    has_queue: bool,
    /// Packet threads and that of an input filter.
    threads: usize,
}

impl Shared {
    /// Whether all threads go by the time of packets, so that what happens has one order.
    fn is_ordered(&self) -> bool {
        self.pace == Pace::Packets && !self.has_queue
    }
}

impl Staff<'_> {
    /// Starts everything on these inputs; each thread answers one of its questioners.
    ///
    /// # Errors
    /// When a thread cannot be started or a setting not be understood.
    pub fn start(&self, inputs: Inputs, asked: Asked) -> anyhow::Result<Threads> {
        let engines = inputs.sources.len();
        let shared = self.shared(&inputs)?;
        // A file in one thread has its one backend there as well; whatever has threads gives backends their own. So does a
        // store that nobody else looks at: what the backend does can then be seen in the store alone, in whose order it makes
        // no difference.
        let is_watched = self.catalog.has_backend() || self.outputs.has_events();
        let wants_backend = self.catalog.has_backend() || self.outputs.want_backend();
        let backends = usize::from(self.args.work.backends);
        let is_inline = shared.threads == 1 && shared.pace == Pace::Packets && backends == 1 && is_watched;
        let has_thread = wants_backend && !is_inline;
        let (peers, speakers) = if has_thread {
            Peers::connect_with_speakers(shared.threads, backends)
        } else {
            (Peers::connect(shared.threads), Vec::new())
        };
        let mut peers = peers.into_iter();
        let backend = if has_thread { Some(self.start_backends(&shared, speakers, asked.backends)?) } else { None };
        let link = || -> anyhow::Result<Option<BackendLink>> {
            match &backend {
                Some(threads) => Ok(Some(threads.link())),
                None if wants_backend => {
                    Ok(Some(BackendLink::Inline(Box::new(self.backend_plan(&shared, Share::whole())?))))
                }
                None => Ok(None),
            }
        };
        let mut handles = Vec::new();
        let mut questions = asked.engines.into_iter();
        for (id, source) in inputs.sources.into_iter().enumerate() {
            let peers = peers.next().unwrap_or_default();
            // Packets of interfaces are shared out by the kernel, which does not say how.
            let is_shared = shared.pace == Pace::Packets && engines > 1;
            let peers = if is_shared { peers.sharing(id as u32, engines as u32) } else { peers };
            let mut plan = self.engine_plan(&shared, id, source, peers, link()?);
            plan.questions = questions.next();
            // Of several threads the backend says which comes first.
            if shared.threads == 1 && !self.catalog.has_backend() {
                plan.past_backend = self.outputs.past_backend();
            }
            let ends = EndsOnPanic::of(self.control);
            let thread = spawn_lua_thread(&format!("engine-{id}"), move || {
                let _ends = ends;
                Engine::new(plan).run()
            });
            handles.push(thread.context("starting a packet thread")?);
        }
        if let Some(queue) = inputs.queue {
            let mut plan = self.input_plan(&shared, engines, queue, peers.next().unwrap_or_default(), link()?);
            plan.questions = asked.input.into_iter().next();
            let ends = EndsOnPanic::of(self.control);
            let thread = spawn_lua_thread("input", move || {
                let _ends = ends;
                run_input(plan)
            });
            handles.push(thread.context("starting the input thread")?);
        }
        // Behind the engines, which it outlives.
        handles.extend(backend.into_iter().flat_map(BackendThreads::into_threads));
        Ok(Threads { handles, engines, has_backends: has_thread })
    }

    fn shared(&self, inputs: &Inputs) -> anyhow::Result<Shared> {
        let threads = inputs.sources.len() + usize::from(inputs.queue.is_some());
        let in_order = inputs.pace == Pace::Packets && self.args.work.deterministic == Deterministic::Files;
        Ok(Shared {
            shard: ShardConfig {
                tallies: if self.outputs.has_events() { Tallies::On } else { Tallies::Off },
                // The backend says of which groups it wants them.
                buckets: Buckets::Discard,
                ..ShardConfig::default()
            },
            // The limits are those of the run, whatever the number of threads.
            flows: self.args.work.traffic.flows(threads),
            fragments: self.args.work.traffic.fragments(threads),
            delivery: if in_order { job::Delivery::InOrder } else { job::Delivery::AsFinished },
            store_mode: settings::store_mode(&self.args.output.store, &self.host.run.environment.config)?,
            pace: inputs.pace,
            has_queue: inputs.queue.is_some(),
            threads,
        })
    }

    fn orders(&self, reach: Reach, thread: usize) -> Orders {
        self.reloader.borrow_mut().orders(reach, thread, self.host)
    }

    fn jobs(&self, shared: &Shared, id: usize) -> JobPlan {
        JobPlan { pools: Arc::clone(self.pools), ids: JobIds::new(id as u16), delivery: shared.delivery }
    }

    fn backend_plan(&self, shared: &Shared, share: Share) -> anyhow::Result<BackendPlan> {
        let id = shared.threads + share.number as usize;
        let outlet = self.outputs.outlet();
        // The first one has the lines of the others.
        let is_held = share.number > 0 && shared.is_ordered();
        Ok(BackendPlan {
            id: id as u32,
            catalog: Arc::clone(self.catalog),
            settings: self.host.clone(),
            builtin: self.builtin.clone(),
            shard: shared.shard.clone(),
            outlet: if is_held { outlet.holding_events() } else { outlet },
            sink: self.outputs.flush_sink(),
            jobs: self.jobs(shared, id),
            window: settings::window(&self.host.run.environment.config)?,
            share,
            orders: None,
            questions: None,
        })
    }

    fn start_backends(
        &self,
        shared: &Shared,
        speakers: Vec<Peers>,
        questions: Vec<Questions>,
    ) -> anyhow::Result<BackendThreads> {
        let goes_on = shared.pace == Pace::Wall || shared.has_queue;
        let pace = BackendPace {
            engines: shared.threads,
            when_slow: if shared.pace == Pace::Wall { WhenSlow::Merge } else { WhenSlow::Wait },
            when_silent: if goes_on { WhenSilent::GoOn } else { WhenSilent::Wait },
            drain: self.args.work.async_drain,
        };
        let (rankings, backends) = (Rankings::default(), speakers.len());
        let mut questions = questions.into_iter();
        let mut plan = |number: usize| -> anyhow::Result<BackendPlan> {
            let share = Share { number: number as u32, backends, rankings: rankings.clone() };
            let orders = self.orders(Reach::Backend, shared.threads + number);
            Ok(BackendPlan { orders: Some(orders), questions: questions.next(), ..self.backend_plan(shared, share)? })
        };
        let plans: anyhow::Result<Vec<_>> =
            speakers.into_iter().enumerate().map(|(at, speaker)| Ok((plan(at)?, speaker))).collect();
        let plans = plans?;
        // A thread has the rights of the one that starts it, and the backend reads no interface.
        let start = || {
            privileges::forgo_capture();
            BackendThreads::start(plans, pace, self.control)
        };
        let started = std::thread::scope(|scope| scope.spawn(start).join()).map_err(|_| OwnFault)?;
        started.context("starting the backend")
    }

    fn engine_plan(
        &self,
        shared: &Shared,
        id: usize,
        source: Box<dyn Source + Send>,
        peers: Peers,
        backend: Option<BackendLink>,
    ) -> EnginePlan {
        // The backend has a thread of its own, and time is that of the packets: what all threads tell of gets one order there.
        let is_ordered = matches!(backend, Some(BackendLink::Queue(..))) && shared.is_ordered();
        let outlet = self.outputs.outlet();
        EnginePlan {
            id: id as u32,
            source,
            catalog: Arc::clone(self.catalog),
            settings: self.host.clone(),
            builtin: self.builtin.clone(),
            shard: shared.shard.clone(),
            flows: shared.flows,
            fragments: shared.fragments,
            flow_output: self.outputs.flow_output(),
            store: self.outputs.packet_feed().map(|feed| (feed, shared.store_mode)),
            top: self.args.output.top,
            outlet: if is_ordered { outlet.holding_events() } else { outlet },
            pace: shared.pace,
            peers,
            control: Arc::clone(self.control),
            jobs: self.jobs(shared, id),
            backend,
            past_backend: None,
            drain: self.args.work.async_drain,
            interim: self
                .copies
                .zip(self.args.output.report_every)
                .map(|(copies, every)| InterimPlan { every, queue: copies.sender() }),
            orders: Some(self.orders(Reach::Whole, id)),
            questions: None,
        }
    }

    fn input_plan(
        &self,
        shared: &Shared,
        id: usize,
        queue: InputQueue,
        peers: Peers,
        backend: Option<BackendLink>,
    ) -> InputPlan {
        InputPlan {
            id: id as u32,
            catalog: Arc::clone(self.catalog),
            settings: self.host.clone(),
            builtin: self.builtin.clone(),
            shard: shared.shard.clone(),
            flows: shared.flows,
            top: self.args.output.top,
            outlet: self.outputs.outlet(),
            peers,
            control: Arc::clone(self.control),
            jobs: self.jobs(shared, id),
            backend,
            queue,
            questions: None,
        }
    }
}

impl Threads {
    /// Whether backends have threads of their own.
    #[must_use]
    pub const fn has_backends(&self) -> bool {
        self.has_backends
    }

    /// Waits for the threads and gathers what they leave behind.
    ///
    /// # Errors
    /// When one of them panicked, or an input filter does not return from its script after a request to stop.
    pub fn wait(self, control: &Control, catalog: &Arc<Catalog>) -> anyhow::Result<RunResult> {
        let mut outcomes = Vec::new();
        let mut failed: Option<(anyhow::Error, Stopwatch)> = None;
        for thread in self.handles {
            if let Some((_, since)) = &failed {
                // It may well wait for the one that is gone.
                while !thread.is_finished() && since.elapsed() < OTHERS_GRACE {
                    std::thread::sleep(Duration::from_millis(5));
                }
                continue;
            }
            if thread.thread().name() == Some("input") && !has_ended(&thread, control)? {
                // The backend and the outputs would wait for it as well.
                anyhow::bail!(
                    "the input filter does not return from its script; the run ends without its last results"
                );
            }
            match join(thread) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    control.request_stop(Stop::AtOnce);
                    failed = Some((error, Stopwatch::start()));
                }
            }
        }
        if let Some((error, _)) = failed {
            return Err(error);
        }
        Ok(gather(outcomes, catalog, self.engines))
    }
}

/// Waits for the input thread, which may wait inside its script: what it waits for ends early after a request to stop.
/// False if it has not ended some time after that.
fn has_ended<T>(input: &JoinHandle<T>, control: &Control) -> anyhow::Result<bool> {
    let mut stopping: Option<(Stopwatch, Duration)> = None;
    while !input.is_finished() {
        if control.stop() != Stop::No {
            let (since, next) = stopping.get_or_insert_with(|| (Stopwatch::start(), WAKE_EVERY));
            if since.elapsed() >= INPUT_GRACE {
                return Ok(false);
            }
            if since.elapsed() >= *next {
                *next += WAKE_EVERY;
                lua::wake(input).context("waking the input thread")?;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// Puts together what threads leave behind.
#[must_use]
pub fn gather(mut outcomes: Vec<EngineOutcome>, catalog: &Arc<Catalog>, engines: usize) -> RunResult {
    let backends: Vec<EngineOutcome> =
        outcomes.iter_mut().filter_map(|outcome| outcome.backend.take()).map(|outcome| *outcome).collect();
    outcomes.extend(backends);
    let mut records = Records::default();
    let mut totals = Vec::new();
    for outcome in &mut outcomes {
        records.merge(std::mem::take(&mut outcome.outlet.records));
        totals.push(std::mem::take(&mut outcome.totals));
        // The event stream ends when its last sender is gone.
        outcome.outlet.events = None;
        outcome.outlet.console = None;
        outcome.outlet.store = None;
        outcome.outlet.outputs = crate::pipeline::Outputs::default();
    }
    RunResult {
        totals: RunTotals::merge(totals),
        groups: Vec::new(),
        outcomes,
        records,
        catalog: Arc::clone(catalog),
        passed_over: 0,
        engines,
        wall: Duration::ZERO,
        packet_store: None,
        store: None,
        console: ConsoleEnd::default(),
        haste: Haste::default(),
        events: StreamEnd::default(),
        outputs: Vec::new(),
        is_quiet: false,
        jobs: Vec::new(),
        pipelines: Vec::new(),
        inputs: Vec::new(),
        workers: 0,
        reloads: ReloadCounts::default(),
    }
}
