//! What can be asked of a run while it goes on, by signal or by control socket: figures, another look at files, an end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use signal_hook::consts::SIGTERM;

use super::calls::functions;
use crate::app::control_socket::{self, Requests};
use crate::app::notify::Notify;
use crate::app::reload::Lineup;
use crate::capture::SourceStats;
use crate::job::Pool;
use crate::pipeline::{Control, Figures, Inquiry, Pace, Stop};
use crate::plugin::InstanceReport;
use crate::time::Stopwatch;

/// How long packet threads may take to answer; they do so between two batches.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take to leave before the run ends at once.
const ANSWERED: Duration = Duration::from_millis(200);

/// Opens an output anew, as after its file was moved away; says why it could not.
pub type Reopen = Box<dyn Fn() -> Result<(), String> + Send>;

/// A run that goes on.
pub struct Life {
    control: Arc<Control>,
    lineup: Lineup,
    inquiry: Inquiry,
    backends: Inquiry,
    notify: Notify,
    reopen: Mutex<Vec<(&'static str, Reopen)>>,
    facts: Facts,
    since: Stopwatch,
}

/// What does not change while a run goes on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Names of what is read.
    pub inputs: Vec<String>,
    /// What drives time.
    pub pace: Pace,
    /// The file that settings come from.
    pub config: Option<PathBuf>,
    /// The control socket.
    pub socket: Option<PathBuf>,
}

impl Life {
    /// Of a run whose threads have started.
    #[must_use]
    pub fn new(control: &Arc<Control>, lineup: Lineup, (inquiry, backends): (Inquiry, Inquiry), facts: Facts) -> Self {
        Self {
            control: Arc::clone(control),
            lineup,
            inquiry,
            backends,
            notify: Notify::from_environment(),
            reopen: Mutex::default(),
            facts,
            since: Stopwatch::start(),
        }
    }

    /// The way of requests to the threads.
    #[must_use]
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// What drives time.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.facts.pace
    }

    /// Whether packets come from an interface.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.facts.pace == Pace::Wall
    }

    /// Packets dropped so far, as far as threads say so in this time.
    #[must_use]
    pub fn dropped(&self, limit: Duration) -> u64 {
        self.inquiry.ask(limit).iter().map(|engine| dropped(&engine.source)).sum()
    }

    /// The service manager.
    #[must_use]
    pub fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Adds what is opened anew on every reload, under the name that tells of it.
    pub fn on_reopen(&self, name: &'static str, reopen: Reopen) {
        self.reopen.lock().unwrap_or_else(PoisonError::into_inner).push((name, reopen));
    }

    /// Tells that packets are taken.
    pub fn ready(&self) {
        self.notify.ready(&format!("reading {}", self.facts.inputs.join(", ")));
    }

    /// Asks for changed plugins to be loaded and opens outputs anew; gives what could not be opened.
    pub fn reload(&self) -> Vec<String> {
        self.notify.reloading();
        self.control.request_reload();
        let reopen = self.reopen.lock().unwrap_or_else(PoisonError::into_inner);
        let failed: Vec<String> = reopen
            .iter()
            .filter_map(|(name, reopen)| reopen().err().map(|reason| format!("{name}: {reason}")))
            .collect();
        for failure in &failed {
            log::error!("reload: {failure}");
        }
        log::info!("reload: changed plugins are loaded again; {} outputs opened anew", reopen.len() - failed.len());
        self.ready();
        failed
    }

    /// Asks for an end.
    pub fn stop(&self, stop: Stop) {
        self.notify.stopping();
        self.control.request_stop(stop);
    }

    /// Whether every packet thread has answered in time.
    #[must_use]
    pub fn is_alive(&self, limit: Duration) -> bool {
        self.inquiry.ask(limit).len() == self.inquiry.engines()
    }

    fn state(&self) -> &'static str {
        match self.control.stop() {
            Stop::No => "running",
            Stop::Graceful => "ending",
            Stop::AtOnce => "ending at once",
        }
    }

    /// What runs, since when, on what.
    #[must_use]
    pub fn status(&self) -> Map<String, Value> {
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let (read, total) = (load(&self.control.read), load(&self.control.total));
        fields(json!({
            "state": self.state(),
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "seconds": self.since.elapsed().as_secs(),
            "inputs": self.facts.inputs,
            "live": self.facts.pace == Pace::Wall,
            "engines": self.inquiry.engines(),
            "plugins": self.lineup.catalog().entries.iter().filter(|entry| entry.manifest.is_some()).count(),
            "packets": load(&self.control.packets),
            "bytes": load(&self.control.bytes),
            "read_percent": read.saturating_mul(100).checked_div(total),
            "jobs_pending": self.lineup.pools().iter().map(Pool::pending).sum::<usize>(),
            "reloads": self.control.reloads(),
            "config": self.facts.config.as_ref().map(|path| path.display().to_string()),
            "control": self.facts.socket.as_ref().map(|path| path.display().to_string()),
        }))
    }

    /// Packets, drops and jobs, in all and by engine.
    #[must_use]
    pub fn stats(&self) -> Map<String, Value> {
        let figures = self.inquiry.ask(PATIENCE);
        let of_backends = self.backends.ask(PATIENCE);
        let sum = |of: fn(&Figures) -> u64| figures.iter().chain(&of_backends).map(of).sum::<u64>();
        let mut drops: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in figures.iter().flat_map(|engine| engine.source.drops()) {
            *drops.entry(name).or_default() += count;
        }
        let down: BTreeSet<&str> = figures
            .iter()
            .flat_map(|engine| &engine.source.down)
            .filter_map(|&origin| self.facts.inputs.get(usize::from(origin)).map(String::as_str))
            .collect();
        let pools = self.lineup.pools();
        let jobs: Vec<_> = pools.iter().map(Pool::summary).collect();
        let engines: Vec<Value> = figures
            .iter()
            .map(|engine| {
                json!({ "engine": engine.id, "packets": engine.packets, "bytes": engine.bytes,
                    "dropped": dropped(&engine.source), "last_packet": engine.span.map(|(_, last)| last.as_secs_f64()) })
            })
            .collect();
        fields(json!({
            "seconds": self.since.elapsed().as_secs_f64(),
            "packets": sum(|engine| engine.packets),
            "bytes": sum(|engine| engine.bytes),
            "drops": drops.into_iter().filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>(),
            "interfaces_down": down,
            "calls": sum(|engine| engine.instances.iter().map(|instance| instance.stats.calls).sum()),
            "faults": sum(|engine| engine.instances.iter().map(|instance| instance.faults).sum()),
            "jobs": { "scheduled": jobs.iter().map(|pool| pool.scheduled).sum::<u64>(),
                "pending": pools.iter().map(Pool::pending).sum::<usize>(),
                "dropped": jobs.iter().map(|pool| pool.dropped).sum::<u64>() },
            "engines_silent": self.inquiry.engines() - figures.len(),
            "engines": engines,
        }))
    }

    /// How each plugin does, all engines and backends together.
    #[must_use]
    pub fn plugins(&self) -> Map<String, Value> {
        let figures = self.inquiry.ask(PATIENCE);
        let of_backends = self.backends.ask(PATIENCE);
        let (catalog, pools) = (self.lineup.catalog(), self.lineup.pools());
        let rows: Vec<Value> = catalog
            .entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let own: Vec<&InstanceReport> = figures
                    .iter()
                    .chain(&of_backends)
                    .flat_map(|thread| &thread.instances)
                    .filter(|instance| instance.script == entry.id)
                    .collect();
                let sum = |of: fn(&InstanceReport) -> u64| own.iter().map(|instance| of(instance)).sum::<u64>();
                let calls = sum(|instance| instance.stats.calls);
                let disabled = own.iter().find_map(|instance| instance.disabled);
                json!({
                    "name": entry.name,
                    "state": match (&entry.error, disabled) {
                        (Some(error), _) => format!("not loaded: {}", error.message.lines().next().unwrap_or_default()),
                        (None, Some(reason)) => format!("disabled: {reason}"),
                        (None, None) if entry.manifest.is_none() => "not loaded: its file is gone".to_owned(),
                        (None, None) => "loaded".to_owned(),
                    },
                    "calls": calls,
                    "ns_per_call": sum(|instance| instance.stats.nanos).checked_div(calls),
                    "faults": sum(|instance| instance.faults),
                    "interrupted": sum(|instance| instance.interrupted),
                    "skipped": sum(|instance| instance.skipped),
                    "memory_bytes": sum(|instance| instance.memory as u64),
                    "jobs_pending": pools.get(index).map_or(0, Pool::pending),
                    "functions": pools.get(index).map_or_else(Vec::new, function_names),
                    "file": entry.script.path.display().to_string(),
                })
            })
            .collect();
        fields(json!({ "engines_silent": self.inquiry.engines() - figures.len(), "plugins": rows }))
    }

    /// Writes the figures to the log, as one block.
    pub fn log_stats(&self) {
        let lines = control_socket::lines(&Value::Object(self.stats()));
        log::info!("stats:\n  {}", lines.join("\n  "));
    }

    /// Adds what the control socket answers about this run.
    pub fn add_requests(self: &Arc<Self>, requests: &mut Requests) {
        let add = |requests: &mut Requests, name, purpose, answer: fn(&Self) -> Map<String, Value>| {
            let life = Arc::clone(self);
            requests.add(name, purpose, move |_| Ok(answer(&life)));
        };
        requests
            .add("version", "the program's version", |_| Ok(fields(json!({ "version": env!("CARGO_PKG_VERSION") }))));
        add(requests, "status", "what runs, since when, on what", Self::status);
        add(requests, "stats", "packets, drops and jobs, in all and by engine", Self::stats);
        add(requests, "plugins", "how each plugin does", Self::plugins);
        add(requests, "reload", "load changed plugins, open outputs anew", |life| {
            let failed = life.reload();
            fields(json!({ "reloads": life.control.reloads(), "failed": failed }))
        });
        let life = Arc::clone(self);
        requests.add("stop", "end the run; \"at_once\": true leaves undone what is under way", move |request| {
            let stop = match request.get("at_once") {
                None | Some(Value::Bool(false)) => Stop::Graceful,
                Some(Value::Bool(true)) => Stop::AtOnce,
                Some(other) => return Err(format!("at_once: true or false is needed, not {other:.64}")),
            };
            life.stop(stop);
            if stop == Stop::AtOnce {
                end_soon()?;
            }
            Ok(fields(json!({ "state": life.state() })))
        });
    }
}

/// What may hold the run up is not waited for: once the answer is on its way, the second signal ends it.
fn end_soon() -> Result<(), String> {
    let end = || {
        thread::sleep(ANSWERED);
        // A process that takes no signal from itself has ended.
        let _ = signal_hook::low_level::raise(SIGTERM);
    };
    thread::Builder::new()
        .name("end".to_owned())
        .spawn(end)
        .map(drop)
        .map_err(|e| format!("no thread can be started: {e}"))
}

/// The functions of a plugin that can be called.
fn function_names(pool: &Pool) -> Vec<String> {
    functions(pool).into_iter().map(|function| function.name).collect()
}

pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

fn dropped(source: &SourceStats) -> u64 {
    source.kernel_dropped + source.interface_dropped
}
