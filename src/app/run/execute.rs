//! A run from its first thread to its last.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::iterator::Signals;

use super::inputs::Inputs;
use super::life::{Facts, Life};
use super::others::takes_standard_output;
use super::outputs::Opened;
use super::threads::{Asked, Staff};
use super::{calls, directories, jobs, letters};
use crate::app::cli::{Cli, RunArgs};
use crate::app::control_socket::{Bound, Requests, Server};
use crate::app::gears;
use crate::app::interim::{Copies, Form, Sources};
use crate::app::last_words::LastWords;
use crate::app::logging;
use crate::app::reload::{Reloader, Watching, tell_orphans};
use crate::app::report::{self, RunResult};
use crate::app::terminal;
use crate::app::watch::Watcher;
use crate::builtin::Selection;
use crate::job;
use crate::pipeline::{Control, Inquiry};
use crate::plugin::{Catalog, HostSettings};
use crate::time::Timestamp;

/// What is open before the first thread starts.
pub struct Doors {
    /// Where packets come from.
    pub inputs: Inputs,
    /// Where results go.
    pub outputs: Opened,
    /// Where requests come from; `None` if nobody may ask.
    pub socket: Option<Bound>,
    /// Signals that came while there was no run yet; `None` if none are listened to.
    pub signals: Option<Signals>,
    /// Set when there is a run that signals can ask for an end.
    pub run_begins: Option<Arc<AtomicBool>>,
    /// The workers, none of which has begun.
    pub pools: Arc<[job::Pool]>,
    /// For outputs, should the run not end as it should.
    pub last_words: LastWords,
}

/// Starts the threads, waits for them, and gathers what they leave behind.
///
/// # Errors
/// When an output cannot be written or a thread not be started, or one panicked.
pub fn execute(
    args: &RunArgs,
    cli: &Cli,
    host: &HostSettings,
    catalog: &Arc<Catalog>,
    builtin: &Selection,
    doors: Doors,
) -> anyhow::Result<RunResult> {
    let inputs = doors.inputs;
    let (pace, engines, origins) = (inputs.pace, inputs.sources.len(), inputs.origins());
    let names: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let control = Arc::new(Control::hurrying(doors.outputs.haste.clone()));
    logging::hurry_with(control.haste());
    directories::make(catalog, &host.run.environment.config);
    let outputs = doors.outputs.begin(args, cli, catalog, &origins, &control)?;
    doors.last_words.are_of(outputs.savers());
    let mut head = outputs.head();
    report::announce(catalog, &mut head);
    let pools = doors.pools;
    let copies = args.output.report_every.map(|_| Copies::of(engines));
    let watching = Watching::of(&args.reload, pace);
    let reloader = RefCell::new(Reloader::new(&args.plugins.plugin, host, catalog, &pools, &control, watching));
    let (inquiry, questions) = Inquiry::new(engines);
    let (of_backends, their_questions) = Inquiry::new(usize::from(args.work.backends));
    let (of_input, its_questions) = Inquiry::new(usize::from(inputs.queue.is_some()));
    let facts = Facts {
        inputs: names.clone(),
        pace,
        config: args.life.config.clone(),
        socket: doors.socket.as_ref().map(|socket| socket.path().to_owned()),
    };
    let staff = Staff {
        args,
        host,
        catalog,
        builtin,
        outputs: &outputs,
        control: &control,
        pools: &pools,
        copies: copies.as_ref(),
        reloader: &reloader,
    };
    let threads = staff.start(inputs, Asked { engines: questions, backends: their_questions, input: its_questions })?;
    let mut reloader = reloader.into_inner();
    if catalog.has_backend() || outputs.want_backend() {
        reloader = reloader.with_backend();
    }
    let reloader = reloader.start(outputs.outlet())?;
    let lineup = reloader.lineup();
    let reporter = match copies {
        Some(copies) => {
            let form = match () {
                () if args.plugins.json => Form::Json,
                () if takes_standard_output(&args.output) => Form::Aside(terminal::style(cli.color)),
                () => Form::Text(terminal::style(cli.color)),
            };
            let of_backends = if threads.has_backends() { of_backends.clone() } else { Inquiry::default() };
            let sources = Sources {
                lineup: lineup.clone(),
                gears: Arc::clone(&host.run.gears),
                inputs: names.clone(),
                others: [of_backends, of_input],
                top: args.output.top,
            };
            Some(copies.start(sources, form, outputs.console().sender())?)
        }
        None => None,
    };
    let life = Arc::new(Life::new(&control, lineup.clone(), (inquiry, of_backends), facts));
    for (name, reopen) in outputs.reopeners() {
        life.on_reopen(name, reopen);
    }
    let watcher = doors.signals.map(|signals| Watcher::start(&life, signals, host.loads.clone())).transpose()?;
    if let Some(run_begins) = doors.run_begins {
        run_begins.store(true, Ordering::Release);
    }
    let server = match doors.socket {
        Some(socket) => {
            let mut requests = Requests::default();
            life.add_requests(&mut requests);
            gears::add_requests(&host.run.gears, &mut requests);
            jobs::add_requests(&lineup, &mut requests);
            letters::add_requests(&lineup, &mut requests);
            calls::add_requests(&lineup, &life, &mut requests);
            Some(Server::start(socket, Arc::new(requests))?)
        }
        None => None,
    };
    life.ready();
    let waited = threads.wait(&control, catalog);
    if waited.is_err() {
        doors.last_words.say();
    }
    let mut result = waited?;
    life.notify().stopping();
    if let Some(server) = server {
        server.stop();
    }
    if let Some(watcher) = watcher {
        watcher.stop();
    }
    let reloaded = reloader.stop()?;
    let (catalog, pools) = (&reloaded.catalog, &reloaded.pools);
    result.haste = control.haste().clone();
    (result.catalog, result.reloads) = (Arc::clone(catalog), reloaded.counts());
    if let Some(reporter) = reporter {
        reporter.stop();
    }
    // What still runs, runs for nobody; its children end with the run.
    pools.iter().for_each(job::Pool::abort);
    let last = result.span().map_or(Timestamp::EPOCH, |(_, last)| last);
    let mut outlet = outputs.outlet();
    outlet.learn_names(catalog);
    tell_orphans(pools, last, &mut outlet);
    drop(outlet);
    result.take_jobs(pools.iter().map(job::Pool::summary).collect());
    result.pipelines = host.run.gears.list().iter().map(|pipeline| pipeline.summary()).collect();
    result.inputs = names;
    outputs.close(head, &mut result, |result| {
        if !args.output.quiet {
            result.groups = report::groups(result, args.output.top);
        }
    });
    result.is_quiet = control.is_quiet();
    Ok(result)
}
