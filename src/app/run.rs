//! `millstream run`: from arguments to threads to report.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use crossbeam_channel::Sender;

use super::Outcome;
use super::cli::{Cli, Deterministic, InputArgs, RunArgs};
use super::interim::{Form, Reporter};
use super::logging;
use super::report::{self, RunResult};
use super::settings;
use super::terminal;
use super::watch::Watcher;
use crate::api::Peers;
use crate::backend::{WhenSilent, WhenSlow};
use crate::builtin::Selection;
use crate::capture::{
    Delivery, FileOptions, FileSource, Limit, Limits, LiveOptions, LiveSource, Paced, Promiscuity, SharedReader,
    Source, TimeBase,
};
use crate::decode;
use crate::flow::{FlowsConfig, StreamLimits};
use crate::job::{self, JobIds};
use crate::lua::{self, spawn_lua_thread};
use crate::metrics::{Buckets, FlushSink, Records, RunTotals, ShardConfig, Tallies};
use crate::pipeline::{
    BackendLink, BackendPlan, BackendThread, Control, Engine, EngineOutcome, EnginePlan, FlowOutput, InputPlan,
    InterimPlan, Outlet, Pace, Prints, Stop, input_queue, run_input,
};
use crate::plugin::{BuiltPacket, Catalog, HostSettings, JobPlan, SkipReason, discover};
use crate::sink::{Console, EventStream, PacketStore, Store, StreamEnd, WhenFull};
use crate::time::{self, Stopwatch};

/// How long an input filter may take to return after a request to stop.
const INPUT_GRACE: Duration = Duration::from_secs(2);

/// Runs plugins on an input and reports.
///
/// # Errors
/// When the run cannot begin: no such file, not a capture, no right, no such plugin.
pub fn run(args: &RunArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    settings::check_input(&args.input)?;
    let host = settings::host_settings(&args.plugins, Some(&args.work))?;
    let self_test = lua::quick_self_test().context("LuaJIT self-test")?;
    if !self_test.passed() {
        bail!(
            "LuaJIT cannot interrupt a compiled loop in this build: {self_test}; rebuild with: cargo build --release"
        );
    }
    let mut host = host;
    host.files = settings::file_rules(&mut host.run.environment.config)?;
    host.on_stuck = Arc::new(|plugin| {
        log::error!("{plugin}: a callback does not return from a C function; packets cannot go on");
        signal_hook::low_level::exit(i32::from(super::OWN_FAULT));
    });
    let found = discover(&args.plugins.plugin, &host.search)?;
    for skipped in &found.skipped {
        // Libraries lie beside plugins; one that was named was taken for a plugin.
        if skipped.reason != SkipReason::Library || args.plugins.plugin.contains(&skipped.path) {
            log::warn!("{}: not loaded: {}", skipped.path.display(), skipped.reason);
        }
    }
    let catalog = probe(found.scripts, &host)?;
    let builtin =
        settings::builtin_groups(&args.metering, settings::with_store(&args.output.results), &catalog.groups)?;
    let inputs = open_inputs(args, &catalog)?;
    let watch = Stopwatch::start();
    let mut result = execute(args, cli, host, &catalog, builtin, inputs)?;
    result.wall = watch.elapsed();
    report::present(&result, args, cli)
}

/// Probes scripts on a thread with a stack for Lua.
///
/// # Errors
/// When the thread cannot be started or dies.
pub fn probe(scripts: Vec<crate::plugin::Script>, host: &HostSettings) -> anyhow::Result<Arc<Catalog>> {
    let host = host.clone();
    let thread = spawn_lua_thread("probe", move || Catalog::probe(scripts, &host)).context("starting a thread")?;
    Ok(Arc::new(join(thread)?))
}

/// The result of a thread; a panic of it is our own fault.
///
/// # Errors
/// When the thread panicked.
pub fn join<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!(super::OwnFault))
}

/// The sources of all engines and what drives their time.
pub struct Inputs {
    /// One per engine.
    pub sources: Vec<Box<dyn Source + Send>>,
    /// What drives time.
    pub pace: Pace,
    /// Where an input filter puts its packets.
    pub queue: Option<Sender<BuiltPacket>>,
}

fn open_inputs(args: &RunArgs, catalog: &Catalog) -> anyhow::Result<Inputs> {
    let (input, engines) = (&args.input, usize::from(args.work.engines));
    if !input.interface.is_empty() {
        return open_interfaces(input, engines);
    }
    if input.read.is_empty() {
        if let Some(filter) = catalog.input_filter() {
            let (queue, source) = input_queue(&filter.name);
            return Ok(Inputs { sources: vec![Box::new(source)], pace: Pace::Packets, queue: Some(queue) });
        }
        bail!(
            "no input: use -r FILE for a capture file, -i INTERFACE for live packets, or millstream demo to see it work"
        );
    }
    let options = FileOptions {
        filter: input.filter.clone(),
        snaplen: input.snaplen,
        rounds: NonZeroU64::new(u64::from(input.repeat)).unwrap_or(NonZeroU64::MIN),
    };
    let files: Vec<PathBuf> = input.read.clone();
    let source = FileSource::open(&files, &options)?;
    if engines > 1 {
        if input.count.is_some() || input.duration.is_some() || input.speed.is_some() {
            bail!("--count, --duration and --speed need one packet thread; leave out --engines {engines}");
        }
        let shared = SharedReader::split(source, engines, decode::flow_hash);
        let sources = shared.into_iter().map(|source| Box::new(source) as Box<dyn Source + Send>).collect();
        return Ok(Inputs { sources, pace: Pace::Packets, queue: None });
    }
    let mut source: Box<dyn Source + Send> = Box::new(source);
    if input.count.is_some() || input.duration.is_some() {
        let limits = Limits { count: input.count, duration: input.duration, time_base: TimeBase::Packets };
        source = Box::new(Limit::new(source, limits));
    }
    if let Some(speed) = input.speed {
        source = Box::new(Paced::new(source, speed)?);
    }
    Ok(Inputs { sources: vec![source], pace: Pace::Packets, queue: None })
}

fn open_interfaces(input: &InputArgs, engines: usize) -> anyhow::Result<Inputs> {
    let mut options = LiveOptions::new(input.interface.clone());
    if input.no_promisc {
        options.promiscuity = Promiscuity::Off;
    }
    if input.immediate {
        options.delivery = Delivery::Immediate;
    }
    if let Some(snaplen) = input.snaplen {
        options.snaplen = snaplen;
    }
    options.buffer_bytes = input.buffer.saturating_mul(1 << 20);
    options.filter.clone_from(&input.filter);
    let limits = Limits { count: input.count, duration: input.duration, time_base: TimeBase::Elapsed };
    let sources = LiveSource::open_engines(&options, engines)?;
    let limited = limits.count.is_some() || limits.duration.is_some();
    if limited && engines > 1 && limits.count.is_some() {
        bail!("--count needs one packet thread; leave out --engines {engines}");
    }
    let boxed = |source: LiveSource| -> Box<dyn Source + Send> {
        if limited { Box::new(Limit::new(source, limits)) } else { Box::new(source) }
    };
    Ok(Inputs { sources: sources.into_iter().map(boxed).collect(), pace: Pace::Wall, queue: None })
}

/// Starts the threads, waits for them, and gathers what they leave behind.
fn execute(
    args: &RunArgs,
    cli: &Cli,
    host: HostSettings,
    catalog: &Arc<Catalog>,
    builtin: Selection,
    inputs: Inputs,
) -> anyhow::Result<RunResult> {
    let pace = inputs.pace;
    let when_full = if pace == Pace::Packets { WhenFull::Block } else { WhenFull::DropNewest };
    let console = Console::start(when_full).context("starting the console")?;
    let events = match &args.output.events {
        Some(path) => {
            let opened = EventStream::open(path, when_full);
            Some(opened.with_context(|| format!("--events {}: cannot be written", path.display()))?)
        }
        None => None,
    };
    let packet_store = match settings::store_config(&args.output.store, when_full) {
        Some(config) => Some(PacketStore::open(&config)?),
        None => None,
    };
    let store_options = settings::store_options(&args.output.results, when_full)?;
    let control = Arc::new(Control::default());
    let names: Arc<[String]> = catalog.entries.iter().map(|entry| entry.name.clone()).collect();
    let shard = ShardConfig {
        tallies: if events.is_some() { Tallies::On } else { Tallies::Off },
        // The backend says of which groups it wants them.
        buckets: Buckets::Discard,
        ..ShardConfig::default()
    };
    let outlet = || {
        let mut outlet = Outlet::new(Arc::clone(&names), logging::threshold(cli.log));
        outlet.console = Some(console.sender());
        outlet.prints = if args.plugins.json { Prints::Error } else { Prints::Output };
        outlet.events = events.as_ref().map(EventStream::sender);
        outlet
    };
    let mut head = outlet();
    report::announce(catalog, &mut head);
    let count = inputs.sources.len();
    let names_of_inputs: Vec<String> =
        inputs.sources.first().map(|s| s.origins().iter().map(ToString::to_string).collect()).unwrap_or_default();
    let threads = count + usize::from(inputs.queue.is_some());
    let store = match &store_options {
        Some(options) => {
            let started = (pace == Pace::Wall).then(time::wall);
            Some(Store::open(options, Arc::clone(&catalog.groups), &names_of_inputs, started)?)
        }
        None => None,
    };
    let stored = || {
        let mut outlet = outlet();
        outlet.store = store.as_ref().map(|store| store.sender().without_buckets());
        outlet
    };
    let pools = catalog.pools(&host);
    let in_order = pace == Pace::Packets && args.work.deterministic == Deterministic::Files;
    let delivery = if in_order { job::Delivery::InOrder } else { job::Delivery::AsFinished };
    let reporter = match args.output.report_every {
        Some(_) => {
            let form = if args.plugins.json { Form::Json } else { Form::Text(terminal::style(cli.color)) };
            Some(Reporter::start(catalog, count, args.output.top, form, console.sender())?)
        }
        None => None,
    };
    let whole = FlowsConfig::default();
    // The limits are those of the run, whatever the number of threads.
    let streams = StreamLimits { total: whole.streams.total / threads, ..whole.streams };
    let flows = FlowsConfig { memory: whole.memory / threads, streams, ..whole };
    let flow_output = match &packet_store {
        _ if args.output.flows || store.is_some() => FlowOutput::All,
        Some(_) => FlowOutput::Store,
        None => FlowOutput::Plugins,
    };
    let store_mode = settings::store_mode(&args.output.store, &host.run.environment.config)?;
    let mut engines = Vec::new();
    // A file in one thread has its backend there as well; whatever has threads gives it one of its own. So does a store that
    // nobody else looks at: what the backend does can then be seen in the store alone, in whose order it makes no difference.
    let is_watched = catalog.has_backend() || events.is_some();
    let wants_backend = is_watched || store.is_some();
    let is_inline = threads == 1 && pace == Pace::Packets && is_watched;
    let has_thread = wants_backend && !is_inline;
    let (peers, speaker) =
        if has_thread { Peers::connect_with_speaker(threads) } else { (Peers::connect(threads), Peers::default()) };
    let mut all_peers = peers.into_iter();
    let backend_plan = || -> anyhow::Result<BackendPlan> {
        let id = threads as u32;
        let jobs = JobPlan { pools: Arc::clone(&pools), ids: JobIds::new(threads as u16), delivery };
        Ok(BackendPlan {
            id,
            catalog: Arc::clone(catalog),
            settings: host.clone(),
            builtin: builtin.clone(),
            shard: shard.clone(),
            outlet: stored(),
            sink: store.as_ref().map(|store| Box::new(store.sender()) as Box<dyn FlushSink + Send>),
            jobs,
            window: settings::window(&host.run.environment.config)?,
        })
    };
    let thread = if has_thread {
        let when_slow = if pace == Pace::Wall { WhenSlow::Merge } else { WhenSlow::Wait };
        let run = (Arc::clone(&control), args.work.async_drain);
        let when_silent =
            if pace == Pace::Wall || inputs.queue.is_some() { WhenSilent::GoOn } else { WhenSilent::Wait };
        let started = BackendThread::start(backend_plan()?, threads, speaker, (when_slow, when_silent), run);
        Some(started.context("starting the backend")?)
    } else {
        None
    };
    let link = || -> anyhow::Result<Option<BackendLink>> {
        match &thread {
            Some(thread) => Ok(Some(thread.link())),
            None if wants_backend => Ok(Some(BackendLink::Inline(Box::new(backend_plan()?)))),
            None => Ok(None),
        }
    };
    for (id, source) in inputs.sources.into_iter().enumerate() {
        let peers = all_peers.next().unwrap_or_default();
        // Packets of interfaces are shared out by the kernel, which does not say how.
        let peers = if pace == Pace::Packets && count > 1 { peers.sharing(id as u32, count as u32) } else { peers };
        let plan = EnginePlan {
            id: id as u32,
            source,
            catalog: Arc::clone(catalog),
            settings: host.clone(),
            builtin: builtin.clone(),
            shard: shard.clone(),
            flows,
            flow_output,
            store: packet_store.as_ref().map(|store| (store.feed(), store_mode)),
            top: args.output.top,
            outlet: stored(),
            pace,
            opaque_links: inputs.queue.is_some(),
            peers,
            control: Arc::clone(&control),
            jobs: JobPlan { pools: Arc::clone(&pools), ids: JobIds::new(id as u16), delivery },
            backend: link()?,
            drain: args.work.async_drain,
            interim: reporter
                .as_ref()
                .zip(args.output.report_every)
                .map(|(reporter, every)| InterimPlan { every, queue: reporter.sender() }),
        };
        let thread = spawn_lua_thread(&format!("engine-{id}"), move || Engine::new(plan).run());
        engines.push(thread.context("starting a packet thread")?);
    }
    if let Some(queue) = inputs.queue {
        let plan = InputPlan {
            id: count as u32,
            catalog: Arc::clone(catalog),
            settings: host.clone(),
            builtin: builtin.clone(),
            shard: shard.clone(),
            flows,
            top: args.output.top,
            outlet: stored(),
            peers: all_peers.next().unwrap_or_default(),
            control: Arc::clone(&control),
            jobs: JobPlan { pools: Arc::clone(&pools), ids: JobIds::new(count as u16), delivery },
            backend: link()?,
            queue,
        };
        engines.push(spawn_lua_thread("input", move || run_input(plan)).context("starting the input thread")?);
    }
    // Behind the engines, which it outlives.
    engines.extend(thread.map(BackendThread::into_thread));
    let watcher = Watcher::start(Arc::clone(&control), pace, Arc::clone(&pools))?;
    let outcomes = wait_for(engines, &control)?;
    watcher.stop();
    if let Some(reporter) = reporter {
        reporter.stop();
    }
    let mut result = gather(outcomes, catalog, count);
    // What still runs, runs for nobody; its children end with the run.
    pools.iter().for_each(job::Pool::abort);
    result.jobs = pools.iter().map(job::Pool::summary).collect();
    result.inputs = names_of_inputs;
    let with_jobs = catalog.entries.iter().zip(&result.jobs).filter(|(_, jobs)| jobs.scheduled > 0);
    result.workers = with_jobs.filter_map(|(entry, _)| entry.manifest.as_ref()).map(|m| m.workers as u32).sum();
    if events.is_some() {
        report::close_events(&result, &mut head);
    }
    result.records.merge(std::mem::take(&mut head.records));
    drop(head);
    result.packet_store = packet_store.map(PacketStore::close);
    if let (Some(store), Some(options)) = (store, store_options) {
        let tally = store.close(report::run_end(&result));
        result.store = Some((options.file, tally));
    }
    result.console_dropped = console.close();
    if let Some(events) = events {
        result.events = events.close();
    }
    Ok(result)
}

/// Waits for the threads. After a request to stop, an input filter that waits inside its script is left behind.
fn wait_for(engines: Vec<JoinHandle<EngineOutcome>>, control: &Control) -> anyhow::Result<Vec<EngineOutcome>> {
    let mut outcomes = Vec::new();
    for thread in engines {
        if thread.thread().name() == Some("input") {
            let since = Stopwatch::start();
            while !thread.is_finished() && (control.stop() == Stop::No || since.elapsed() < INPUT_GRACE) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                log::warn!("the input filter is waiting inside its script and is left behind");
                continue;
            }
        }
        outcomes.push(join(thread)?);
    }
    Ok(outcomes)
}

fn gather(mut outcomes: Vec<EngineOutcome>, catalog: &Arc<Catalog>, engines: usize) -> RunResult {
    let backends: Vec<EngineOutcome> =
        outcomes.iter_mut().filter_map(|outcome| outcome.backend.take()).map(|outcome| *outcome).collect();
    outcomes.extend(backends);
    let totals = outcomes.iter().map(|outcome| RunTotals::of(&outcome.shard)).collect();
    let mut records = Records::default();
    for outcome in &mut outcomes {
        records.merge(std::mem::take(&mut outcome.outlet.records));
        // The event stream ends when its last sender is gone.
        outcome.outlet.events = None;
        outcome.outlet.console = None;
        outcome.outlet.store = None;
    }
    RunResult {
        totals: RunTotals::merge(totals),
        outcomes,
        records,
        catalog: Arc::clone(catalog),
        engines,
        wall: Duration::ZERO,
        packet_store: None,
        store: None,
        console_dropped: 0,
        events: StreamEnd::default(),
        jobs: Vec::new(),
        inputs: Vec::new(),
        workers: 0,
    }
}
