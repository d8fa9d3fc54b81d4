//! Reports while a run goes on (`--report-every`): made on a thread of its own from copies that the engines send.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metrics::{KeyNotes, RunTotals};
use crate::pipeline::Interim;
use crate::plugin::Catalog;
use crate::sink::{ConsoleSender, Parcel, Report, Run, TextStyle, collect_groups};
use crate::time::Stopwatch;

/// Copies that may wait; an engine that finds the queue full skips the report.
const QUEUE: usize = 4;

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

/// The thread that makes interim reports.
pub struct Reporter {
    sender: Sender<Interim>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        catalog: &Arc<Catalog>,
        engines: usize,
        top: usize,
        form: Form,
        console: ConsoleSender,
    ) -> anyhow::Result<Self> {
        let (sender, queue) = bounded(QUEUE * engines);
        let catalog = Arc::clone(catalog);
        let work = move || run(&queue, &catalog, engines, top, form, &console);
        let thread = thread::Builder::new().name("reporter".to_owned()).spawn(work).context("starting the reporter")?;
        Ok(Self { sender, thread })
    }

    /// Where an engine sends its copies.
    #[must_use]
    pub fn sender(&self) -> Sender<Interim> {
        self.sender.clone()
    }

    /// Ends the thread; every engine must be gone.
    pub fn stop(self) {
        drop(self.sender);
        // A panic of the thread has been reported by it.
        let _ = self.thread.join();
    }
}

/// Puts the copies of all engines together, tick by tick, and prints them.
fn run(queue: &Receiver<Interim>, catalog: &Catalog, engines: usize, top: usize, form: Form, console: &ConsoleSender) {
    let watch = Stopwatch::start();
    let mut tick: Vec<Interim> = Vec::new();
    for interim in queue {
        // An engine that reports twice has overtaken one that skipped this tick.
        if tick.iter().any(|seen| seen.id == interim.id) {
            print(std::mem::take(&mut tick), catalog, engines, top, form, console, watch);
        }
        tick.push(interim);
        if tick.len() == engines {
            print(std::mem::take(&mut tick), catalog, engines, top, form, console, watch);
        }
    }
}

fn print(
    tick: Vec<Interim>,
    catalog: &Catalog,
    engines: usize,
    top: usize,
    form: Form,
    console: &ConsoleSender,
    watch: Stopwatch,
) {
    let (packets, bytes) = tick.iter().fold((0, 0), |sum, i| (sum.0 + i.packets, sum.1 + i.bytes));
    let span = tick.iter().filter_map(|i| i.span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let totals = tick.into_iter().map(|mut interim| {
        interim.shard.finish(|_| {});
        RunTotals::of(&interim.shard)
    });
    let groups = RunTotals::merge(totals.collect())
        .map(|totals| collect_groups(&catalog.groups, &totals, &KeyNotes::default(), top))
        .unwrap_or_default();
    let report = Report {
        run: Run {
            packets,
            bytes,
            first: span.map(|span| span.0.as_secs_f64()),
            last: span.map(|span| span.1.as_secs_f64()),
            duration_secs: span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64()),
            wall_secs: watch.elapsed().as_secs_f64(),
            engines: engines as u32,
            inputs: Vec::new(),
            ..Run::default()
        },
        groups,
        ..Report::default()
    };
    let mut out = Vec::new();
    let written = match form {
        Form::Text(style) | Form::Aside(style) => report.write_text(&mut out, style),
        Form::Json => report.write_json(&mut out),
    };
    // Writing into memory does not fail.
    debug_assert!(written.is_ok());
    out.push(b'\n');
    let lines = out.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let (out, err) = if matches!(form, Form::Aside(_)) { (Vec::new(), out) } else { (out, Vec::new()) };
    console.send(Parcel { lines, out, err });
}
