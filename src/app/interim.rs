//! Reports while a run goes on (`--report-every`): made on a thread of its own from copies that the engines send, and from
//! what backends and the input filter answer then.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::Outcome;
use super::reload::Lineup;
use super::report;
use super::run::gather;
use crate::gears::Board;
use crate::job::Pool;
use crate::pipeline::{Inquiry, Interim};
use crate::sink::{ConsoleSender, NamedCount, Parcel, TextStyle};
use crate::time::Stopwatch;

/// Copies that may wait; an engine that finds the queue full skips the report.
const QUEUE: usize = 4;
/// How long others may take to answer; those that do not are missing.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the interim reports look like.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// As text.
    Text(TextStyle),
    /// As text on standard error, because standard output is somebody else's.
    Aside(TextStyle),
    /// As a JSON document.
    Json,
}

/// What the reports are made from besides the copies.
pub struct Sources {
    /// The scripts and their workers.
    pub lineup: Lineup,
    /// Pipelines of scripts.
    pub gears: Arc<Board>,
    /// Names of what is read.
    pub inputs: Vec<String>,
    /// The way to the backends and to an input filter: they have parts of their own.
    pub others: [Inquiry; 2],
    /// How many keys and lines the report shows.
    pub top: usize,
}

/// Where engines send their copies.
pub struct Copies {
    engines: usize,
    sender: Sender<Interim>,
    queue: Receiver<Interim>,
}

impl Copies {
    /// For so many engines.
    #[must_use]
    pub fn of(engines: usize) -> Self {
        let (sender, queue) = bounded(QUEUE * engines);
        Self { engines, sender, queue }
    }

    /// Where an engine sends its copies.
    #[must_use]
    pub fn sender(&self) -> Sender<Interim> {
        self.sender.clone()
    }

    /// Starts the thread that makes the reports.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self, sources: Sources, form: Form, console: ConsoleSender) -> anyhow::Result<Reporter> {
        let work = Work { engines: self.engines, sources, form, console, since: Stopwatch::start() };
        let thread = thread::Builder::new().name("reporter".to_owned());
        let thread = thread.spawn(move || work.run(&self.queue)).context("starting the reporter")?;
        Ok(Reporter { sender: self.sender, thread })
    }
}

/// The thread that makes interim reports.
pub struct Reporter {
    sender: Sender<Interim>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Ends the thread; every engine must be gone.
    pub fn stop(self) {
        drop(self.sender);
        // A panic of the thread has been reported by it.
        let _ = self.thread.join();
    }
}

struct Work {
    engines: usize,
    sources: Sources,
    form: Form,
    console: ConsoleSender,
    since: Stopwatch,
}

impl Work {
    /// Puts the copies of all engines together, tick by tick, and prints them.
    fn run(&self, queue: &Receiver<Interim>) {
        let mut tick: Vec<Interim> = Vec::new();
        for interim in queue {
            // An engine that reports twice has overtaken one that skipped this tick.
            if tick.iter().any(|seen| seen.id() == interim.id()) {
                self.print(std::mem::take(&mut tick));
            }
            tick.push(interim);
            if tick.len() == self.engines {
                self.print(std::mem::take(&mut tick));
            }
        }
    }

    fn print(&self, mut tick: Vec<Interim>) {
        let Sources { lineup, gears, inputs, others, top } = &self.sources;
        // Over files threads do not keep pace: what another one has done is missing.
        let mut silent = self.engines.saturating_sub(tick.len());
        for others in others {
            let answers = others.interims(PATIENCE);
            silent += others.engines().saturating_sub(answers.len());
            tick.extend(answers);
        }
        let (catalog, pools) = (lineup.catalog(), lineup.pools());
        let outcomes = tick.into_iter().map(Interim::into_outcome).collect();
        let mut result = gather(outcomes, &catalog, self.engines);
        result.wall = self.since.elapsed();
        result.inputs.clone_from(inputs);
        result.reloads = lineup.reloads();
        result.take_jobs(pools.iter().map(Pool::summary).collect());
        result.pipelines = gears.list().iter().map(|pipeline| pipeline.summary()).collect();
        result.groups = report::groups(&result, *top);
        let outcome = if result.is_flawed() { Outcome::Flawed } else { Outcome::Good };
        let mut report = report::build(&result, *top, outcome);
        report.interim = true;
        if silent > 0 {
            report.notes.push(NamedCount { name: "threads_silent".to_owned(), count: silent as u64 });
        }
        let mut out = Vec::new();
        let written = match self.form {
            Form::Text(style) | Form::Aside(style) => report.write_text(&mut out, style),
            Form::Json => report.write_json(&mut out),
        };
        // Writing into memory does not fail.
        debug_assert!(written.is_ok());
        if !matches!(self.form, Form::Json) {
            out.push(b'\n');
        }
        let lines = out.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let (out, err) = if matches!(self.form, Form::Aside(_)) { (Vec::new(), out) } else { (out, Vec::new()) };
        self.console.send(Parcel { lines, out, err });
    }
}
