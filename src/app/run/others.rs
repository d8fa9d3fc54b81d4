//! Outputs for other programs: from arguments to threads, and what became of them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::life::Reopen;
use crate::app::cli::{OutputArgs, PrintKind, RunArgs};
use crate::app::report::RunResult;
use crate::capture::Origin;
use crate::flow::Want;
use crate::metrics::{FlushSink, Registry};
use crate::pipeline::{Control, EVE_READERS, Outlet, Outputs, Pace, Stop};
use crate::sink::csv::Csv;
use crate::sink::eve::{EveOptions, EveOrigin, EveStream, EveTarget, StatsItem};
use crate::sink::printed::PrintKinds;
use crate::sink::syslog::{Syslog, SyslogTarget};
use crate::sink::webhook::{HookLimits, Webhook, WebhookOptions};
use crate::sink::{AlertsEnd, Begin, FlushSinks, NamedCount, OutputError, OutputReport, Save, WhenFull};

/// Whether an output of events has standard output for itself: whoever reads it as JSON lines must not find a report there.
#[must_use]
pub fn takes_standard_output(args: &OutputArgs) -> bool {
    args.others.eve == Some(EveTarget::Output) || takes_the_stream(args)
}

fn takes_the_stream(args: &OutputArgs) -> bool {
    args.events.as_deref() == Some(Path::new("-"))
}

/// Checks what the argument parser cannot.
///
/// # Errors
/// When two documents would go to standard output.
pub fn check(args: &RunArgs) -> anyhow::Result<()> {
    let is_eve = args.output.others.eve == Some(EveTarget::Output);
    if args.plugins.json && takes_standard_output(&args.output) {
        let option = if is_eve { "--eve" } else { "--events" };
        bail!("{option} - and --json both write to standard output; name a file for the events");
    }
    if is_eve && takes_the_stream(&args.output) {
        bail!("--eve - and --events - both write to standard output; name a file for one of them");
    }
    Ok(())
}

/// How what became of opening an output anew is told.
pub(super) fn told(opened: Result<(), OutputError>) -> Result<(), String> {
    opened.map_err(|e| e.to_string())
}

/// The outputs of a run.
#[derive(Default)]
pub struct OutputSet {
    eve: Option<(EveTarget, EveStream)>,
    csv: Option<(String, Csv)>,
    webhook: Option<(String, Webhook)>,
    syslog: Option<(SyslogTarget, Syslog)>,
    print: PrintKinds,
    stats_every: std::time::Duration,
    groups: Option<Arc<Registry>>,
}

impl OutputSet {
    /// Opens what was asked for, for packets from these places.
    ///
    /// # Errors
    /// When an output cannot be opened or may not be used; the message says which.
    pub fn open(
        args: &RunArgs,
        (pace, origins): (Pace, &[Origin]),
        groups: &Arc<Registry>,
        control: &Arc<Control>,
    ) -> anyhow::Result<Self> {
        let others = &args.output.others;
        // A run over files makes its outputs anew; one that watches an interface goes on where the last one ended.
        let (begin, when_full) = match pace {
            Pace::Packets => (Begin::Anew, WhenFull::Block),
            Pace::Wall => (Begin::Append, WhenFull::DropNewest),
        };
        let eve = match &others.eve {
            Some(target) => {
                let target = target.clone();
                let readers = EVE_READERS;
                let (haste, origins) = (control.haste().clone(), origins.iter().map(named).collect());
                let options = EveOptions { target: target.clone(), begin, when_full, haste, origins, readers };
                let stream = EveStream::open(options, on_closed(args, control)).context("--eve")?;
                Some((target, stream))
            }
            None => None,
        };
        let csv = match &others.csv {
            Some(folder) => {
                let csv = Csv::open(folder, begin, when_full, Arc::clone(groups)).context("--csv")?;
                Some((folder.display().to_string(), csv))
            }
            None => None,
        };
        let webhook = match &others.webhook {
            Some(url) => {
                let (url, allowed) = (url.clone(), others.webhook_allow.clone());
                let options = WebhookOptions {
                    url: url.clone(),
                    allowed,
                    trusted: others.webhook_ca.clone(),
                    limits: HookLimits::default(),
                    haste: control.haste().clone(),
                };
                Some((url, Webhook::start(options).context("--webhook")?))
            }
            None => None,
        };
        let syslog = match &others.syslog {
            Some(target) => {
                let started = Syslog::start(target.clone());
                let started = started.with_context(|| format!("--syslog: {target} cannot be reached"))?;
                Some((target.clone(), started))
            }
            None => None,
        };
        let has = |kind| others.print.contains(&kind);
        let print = PrintKinds {
            alerts: has(PrintKind::Alerts),
            resources: has(PrintKind::Resources),
            documents: has(PrintKind::Documents),
            flows: has(PrintKind::Flows),
        };
        let (stats_every, groups) = (others.eve_stats, Some(Arc::clone(groups)));
        Ok(Self { eve, csv, webhook, syslog, print, stats_every, groups })
    }

    /// True if flows, and what is found in them, have to be made for some output as `--flows` makes them.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        self.csv.is_some() || self.print.resources || self.print.documents || self.print.flows
    }

    /// True if something takes what is flushed.
    #[must_use]
    pub fn takes_flush(&self) -> bool {
        self.csv.is_some()
    }

    /// What a thread that makes records gives them to.
    #[must_use]
    pub fn of_thread(&self) -> Outputs {
        let hook = self.webhook.iter().map(|(_, webhook)| webhook.sender());
        let alerts = hook.chain(self.syslog.iter().map(|(_, syslog)| syslog.sender())).collect();
        let mut outputs = Outputs::default();
        outputs.eve = self.eve.as_ref().map(|(_, eve)| eve.sender());
        outputs.alerts = alerts;
        outputs.print = self.print;
        outputs.in_full = Want::from(self.takes_flush());
        outputs.groups.clone_from(&self.groups);
        outputs.with_stats(self.stats_every)
    }

    /// What is flushed goes to these besides `first`.
    #[must_use]
    pub fn of_flush(&self, first: Option<Box<dyn FlushSink + Send>>) -> Option<Box<dyn FlushSink + Send>> {
        let Some((_, csv)) = &self.csv else { return first };
        let csv: Box<dyn FlushSink + Send> = Box::new(csv.sender());
        Some(match first {
            Some(first) => Box::new(FlushSinks::new(vec![csv], first)),
            None => csv,
        })
    }

    /// What writes the lines that are made, in a process that ends without the threads that make them.
    pub fn savers(&self) -> impl Iterator<Item = Save> + '_ {
        let eve = self.eve.iter().map(|(_, eve)| eve.saver());
        eve.chain(self.csv.iter().map(|(_, csv)| csv.saver()))
    }

    /// What opens outputs anew, by name.
    #[must_use]
    pub fn reopeners(&self) -> Vec<(&'static str, Reopen)> {
        let eve = self.eve.iter().map(|(_, eve)| eve.handle());
        let eve = eve.map(|eve| ("eve", Box::new(move || told(eve.reopen())) as Reopen));
        let csv = self.csv.iter().map(|(_, csv)| csv.handle());
        let csv = csv.map(|csv| ("csv", Box::new(move || told(csv.reopen())) as Reopen));
        eve.chain(csv).collect()
    }

    /// The last statistics.
    pub fn close_events(&self, result: &RunResult, head: &mut Outlet) {
        if self.eve.is_none() {
            return;
        }
        let (first, time) = result.span().unwrap_or_default();
        let flows = result.outcomes.iter().filter_map(|outcome| outcome.flows.as_ref());
        let counts = || flows.clone().map(|flows| &flows.counts);
        let sources = || result.outcomes.iter().map(|outcome| &outcome.source);
        head.outputs.stats(StatsItem {
            engine: None,
            time,
            first,
            packets: result.packets(),
            bytes: result.bytes(),
            kernel_drops: sources().map(|source| source.kernel_dropped).sum(),
            interface_drops: sources().map(|source| source.interface_dropped).sum(),
            flows: counts().map(|counts| counts.created).sum(),
            flows_by: [0, 1, 2, 3].map(|place| counts().map(|counts| counts.created_by[place]).sum()),
            live_flows: 0,
            flow_memory: 0,
            gaps: counts().map(|counts| counts.gaps).sum(),
            overlaps: counts().map(|counts| counts.overlaps).sum(),
            drops: result.drops().into_iter().collect(),
        });
    }

    /// Writes what is left and says what became of everything; every sender must be gone.
    #[must_use]
    pub fn close(self) -> Vec<OutputReport> {
        let named = |dropped: Vec<(&'static str, u64)>| {
            dropped.into_iter().map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect()
        };
        let mut reports = Vec::new();
        if let Some((target, eve)) = self.eve {
            let end = eve.close();
            let mut dropped = end.dropped;
            if end.forgotten > 0 {
                dropped.push(("eve_flows_forgotten", end.forgotten));
            }
            reports.push(OutputReport {
                name: "eve".to_owned(),
                target: target.to_string(),
                written: end.written,
                dropped: named(dropped),
                failure: end.failure.map(|e| e.to_string()),
            });
        }
        if let Some((target, csv)) = self.csv {
            let end = csv.close();
            reports.push(OutputReport {
                name: "csv".to_owned(),
                target,
                written: end.written,
                dropped: named(end.dropped),
                failure: end.failure.map(|e| e.to_string()),
            });
        }
        let mut alerts = |name: &str, target: String, end: AlertsEnd| {
            reports.push(OutputReport {
                name: name.to_owned(),
                target,
                written: end.delivered,
                // What was delivered at a later try is no failure.
                failure: end.failure.filter(|_| !end.dropped.is_empty()),
                dropped: named(end.dropped),
            });
        };
        if let Some((target, webhook)) = self.webhook {
            alerts("webhook", target, webhook.close());
        }
        if let Some((target, syslog)) = self.syslog {
            alerts("syslog", target.to_string(), syslog.close());
        }
        reports
    }
}

/// How events name where their packets come from.
fn named(origin: &Origin) -> EveOrigin {
    match origin {
        Origin::File(path) => EveOrigin::File(path.display().to_string()),
        Origin::Interface(name) => EveOrigin::Interface(name.clone()),
        Origin::Stdin => EveOrigin::Unnamed,
    }
}

/// When the reader of standard output is gone and nobody else takes anything, there is nothing left to do.
fn on_closed(args: &RunArgs, control: &Arc<Control>) -> Box<dyn FnOnce() + Send> {
    let (output, others) = (&args.output, &args.output.others);
    let has_store = output.results.store.is_some() && !output.results.no_store;
    let is_only = output.events.is_none()
        && !has_store
        && output.store.packets.is_none()
        && others.csv.is_none()
        && others.webhook.is_none()
        && others.syslog.is_none();
    let control = Arc::clone(control);
    Box::new(move || {
        if is_only {
            control.end_quietly();
            control.request_stop(Stop::Graceful);
        }
    })
}
