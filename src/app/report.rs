//! From what a run left behind to what people read: the report, its JSON, and the closing events.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::Outcome;
use super::cli::{Cli, RunArgs};
use super::job_report;
use super::reload::ReloadCounts;
use super::run::takes_standard_output;
use super::terminal;
use crate::api::{Rank, Record, ScriptId, Side, Stamp};
use crate::capture::{OpenError, SourceError, SourceStats};
use crate::gears;
use crate::job::Summary;
use crate::key::FlowText;
use crate::metrics::{GroupIndex, GroupKind, Records, RunTotals};
use crate::pipeline::{EngineOutcome, FlowOutcome, NATIVE, Outlet, PolicyCounts, TopFlow};
use crate::plugin::{Catalog, CatalogEntry};
use crate::sink::{
    ConsoleEnd, Damage, DamagedInput, Field, FlowLine, FlowsReport, GroupReport, Haste, Head, NamedCount, OutputReport,
    PacketStoreReport, Patient, PluginReport, Report, Run, RunEnd, StoreCounts, StoreReport, StoreTally, StoredJob,
    StreamEnd, Verdict, collect_groups, collect_records, json_text,
};
use crate::time::Timestamp;

/// Everything a run left behind.
pub struct RunResult {
    /// What each engine did.
    pub outcomes: Vec<EngineOutcome>,
    /// Counters of all engines.
    pub totals: Option<RunTotals>,
    /// The groups as the report shows them, if there is to be one.
    pub groups: Vec<GroupReport>,
    /// Records of all engines.
    pub records: Records,
    /// Inputs read.
    pub inputs: Vec<String>,
    /// Worker threads of all scripts with jobs.
    pub workers: u32,
    /// The plugins.
    pub catalog: Arc<Catalog>,
    /// Files that were meant to be plugins and were passed over.
    pub passed_over: usize,
    /// Number of packet threads.
    pub engines: usize,
    /// Time from start to end.
    pub wall: Duration,
    /// Lines the terminal did not take, and why.
    pub console: ConsoleEnd,
    /// Begins when the run is asked to end.
    pub haste: Haste,
    /// What became of packets that were to be stored.
    pub packet_store: Option<StoreCounts>,
    /// The store's file, and what became of the rows.
    pub store: Option<(PathBuf, StoreTally)>,
    /// How the event stream ended.
    pub events: StreamEnd,
    /// What outputs for other programs wrote and lost.
    pub outputs: Vec<OutputReport>,
    /// Nobody takes results any more.
    pub is_quiet: bool,
    /// What became of each script's jobs.
    pub jobs: Vec<Summary>,
    /// How pipelines did.
    pub pipelines: Vec<gears::Summary>,
    /// How often scripts were loaded again.
    pub reloads: ReloadCounts,
}

/// Counters by name, without those that are zero.
#[derive(Default)]
struct Counters(BTreeMap<String, u64>);

impl Counters {
    fn add(&mut self, name: &str, count: u64) {
        if count > 0 {
            *self.0.entry(name.to_owned()).or_default() += count;
        }
    }

    fn add_all(&mut self, counters: impl IntoIterator<Item = (&'static str, u64)>) {
        for (name, count) in counters {
            self.add(name, count);
        }
    }
}

impl RunResult {
    /// Packets handled.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.packets).sum()
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.outcomes.iter().map(|outcome| outcome.bytes).sum()
    }

    /// First and last packet time.
    #[must_use]
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let spans = self.outcomes.iter().filter_map(|outcome| outcome.span);
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Takes in what became of each script's jobs, in the order of the scripts.
    pub fn take_jobs(&mut self, jobs: Vec<Summary>) {
        self.jobs = jobs;
        let with_jobs = self.catalog.entries.iter().zip(&self.jobs).filter(|(_, jobs)| jobs.scheduled > 0);
        self.workers = with_jobs.filter_map(|(entry, _)| entry.manifest.as_ref()).map(|m| m.workers as u32).sum();
    }

    /// Every drop counter that is not zero, by name: what was not processed, and why.
    #[must_use]
    pub fn drops(&self) -> BTreeMap<String, u64> {
        let mut drops = Counters::default();
        for outcome in &self.outcomes {
            drops.add_all(outcome.source.drops());
            drops.add_all(outcome.oddities.iter().copied());
            drops.add_all(outcome.flows.iter().flat_map(FlowOutcome::drops));
            drops.add("callbacks_skipped", outcome.instances.iter().map(|instance| instance.skipped).sum());
        }
        if let Some(totals) = &self.totals {
            // Stream time going back is counted per packet, and drops nothing.
            drops.add_all(totals.counts().named().into_iter().filter(|(name, _)| *name != "time_back"));
        }
        for jobs in &self.jobs {
            drops.add("jobs_dropped", jobs.dropped);
            drops.add("jobs_cancelled", jobs.cancelled);
            drops.add("jobs_orphaned", jobs.orphaned);
            drops.add("jobs_kept_on_disk", jobs.spill.kept);
        }
        drops.add_all(self.packet_store.iter().flat_map(StoreCounts::drops));
        drops.add_all(self.store.iter().flat_map(|(_, tally)| tally.drops()));
        drops.add("edges_over_limit", self.records.edges.counts().limited);
        drops.add("labels_over_limit", self.records.notes.limited());
        drops.add("console_lines", self.console.dropped);
        drops.add_all(self.events.dropped.iter().copied());
        for drop in self.outputs.iter().flat_map(|output| &output.dropped) {
            drops.add(&drop.name, drop.count);
        }
        drops.0
    }

    /// What was noticed about packets and calls that were processed all the same, by name.
    #[must_use]
    pub fn notes(&self) -> BTreeMap<String, u64> {
        let mut notes = Counters::default();
        for outcome in &self.outcomes {
            notes.add_all(outcome.decode.iter().copied());
            notes.add_all(outcome.flows.iter().flat_map(FlowOutcome::notes));
            notes.add("time_back", outcome.time_back);
        }
        // Every engine has them all.
        let interfaces = |of: fn(&SourceStats) -> u64| self.outcomes.iter().map(|outcome| of(&outcome.source)).max();
        notes.add("interface_down", interfaces(|source| source.interface_down).unwrap_or(0));
        notes.add("interface_back", interfaces(|source| source.interface_back).unwrap_or(0));
        notes.add("reloads", self.reloads.reloads);
        notes.add("reload_failures", self.reloads.failures);
        notes.0
    }

    /// Why nothing at all could be read from an input that is opened on the way, such as standard input.
    pub fn take_unusable(&mut self) -> Option<OpenError> {
        if self.packets() > 0 || self.is_quiet {
            return None;
        }
        let of_opening = |error: &mut SourceError| matches!(error, SourceError::Open(_));
        match self.outcomes.iter_mut().find_map(|outcome| outcome.source_error.take_if(of_opening)) {
            Some(SourceError::Open(error)) => Some(error),
            _ => None,
        }
    }

    /// Outputs with a disk behind them that did not take everything, and why.
    fn unwritten(&self) -> Vec<String> {
        let full = |what: &str, why: &str| format!("{what} could not be written in full: {why}");
        let others = self.outputs.iter().filter_map(|output| Some(full(&output.name, output.failure.as_ref()?)));
        let store = self
            .store
            .iter()
            .filter_map(|(_, tally)| Some(full("the store", unwritten(tally.disk_full, tally.failed)?)));
        let packets = self.packet_store.iter();
        let packets =
            packets.filter_map(|counts| Some(full("the packet store", unwritten(counts.disk_full, counts.failed)?)));
        let events = self.events.failure.iter().map(|e| full("the event stream", &e.to_string()));
        let console = self.console.failure.iter().map(|e| full("what is printed", &e.to_string()));
        others.chain(store).chain(packets).chain(events).chain(console).collect()
    }

    /// True if input was damaged, a plugin failed or was passed over, a new version of one did not load, or an output could
    /// not be written.
    #[must_use]
    pub fn is_flawed(&self) -> bool {
        let engine = |outcome: &EngineOutcome| {
            !outcome.source.damage.is_empty()
                || outcome.source_error.is_some()
                || !outcome.problems.is_empty()
                || outcome.instances.iter().any(|instance| instance.faults > 0)
        };
        let has_failed = self.outcomes.iter().any(engine)
            || !self.unwritten().is_empty()
            || self.passed_over > 0
            || self.reloads.failures > 0;
        has_failed || self.catalog.entries.iter().any(|entry| entry.error.is_some())
    }
}

/// Says before the first packet what was loaded and defined.
pub fn announce(catalog: &Catalog, head: &mut Outlet) {
    let stamp = |script| Stamp {
        packet: u32::MAX,
        rank: Rank::default(),
        time: Timestamp::EPOCH,
        script,
        side: Side::Frontend,
    };
    for entry in &catalog.entries {
        load_event(entry, Timestamp::EPOCH, head);
    }
    let mut records: Vec<_> = catalog
        .notes
        .iter()
        .map(|note| (stamp(note.script), Record::Log { level: note.level, text: note.text.clone().into_bytes() }))
        .collect();
    head.take(&mut records);
    group_events(catalog, head);
    let mut labels = Vec::new();
    for group in catalog.groups.counter_groups() {
        for (key, label) in &group.keyinfo {
            let (key, label) = (key.clone(), label.clone());
            labels
                .push((stamp(ScriptId(u16::MAX)), Record::KeyInfo { guid: group.guid, key, label, description: None }));
        }
    }
    head.take(&mut labels);
    head.flush();
}

/// Tells the event stream what became of a plugin file that was to be loaded.
pub fn load_event(entry: &CatalogEntry, time: Timestamp, head: &mut Outlet) {
    let Some(events) = &mut head.events else { return };
    let types: Vec<String> =
        entry.manifest.iter().flat_map(|m| &m.blocks).map(|block| json_text(block.kind.name().as_bytes())).collect();
    let types = format!("[{}]", types.join(","));
    let file = entry.script.path.display().to_string();
    let error = entry.error.as_ref().map(|e| json_text(e.message.as_bytes()));
    let line = Head { ev: "load", time, script: &entry.name, side: "frontend" };
    events.event(
        &line,
        &[
            ("file", Field::Text(&file)),
            ("types", Field::Raw(&types)),
            ("ok", Field::Flag(entry.manifest.is_some())),
            ("error", Field::Raw(error.as_deref().unwrap_or("null"))),
        ],
    );
}

/// One event per group that a script defined.
fn group_events(catalog: &Catalog, head: &mut Outlet) {
    let Some(events) = &mut head.events else { return };
    let line = Head { ev: "group", time: Timestamp::EPOCH, script: NATIVE, side: "frontend" };
    for kind in GroupKind::ALL {
        for group in catalog.groups.groups(kind).filter(|group| group.level == crate::metrics::Level::Script) {
            let meters: Vec<String> = group
                .meters
                .iter()
                .map(|meter| {
                    format!(
                        "{{\"id\":{},\"vartype\":{},\"toppers\":{},\"name\":{},\"description\":{},\"units\":{}}}",
                        meter.id,
                        meter.vartype as u8,
                        meter.top,
                        json_text(&meter.name),
                        json_text(&meter.description),
                        json_text(&meter.units)
                    )
                })
                .collect();
            let keyinfo: Vec<String> =
                group.keyinfo.iter().map(|(key, label)| format!("[{},{}]", json_text(key), json_text(label))).collect();
            events.event(
                &line,
                &[
                    ("kind", Field::Text(kind.name())),
                    ("guid", Field::Text(&group.guid.to_string())),
                    ("name", Field::Bytes(&group.name)),
                    ("bucketsize", Field::Count(u64::from(group.bucketsize))),
                    ("meters", Field::Raw(&format!("[{}]", meters.join(",")))),
                    ("keyinfo", Field::Raw(&format!("[{}]", keyinfo.join(",")))),
                ],
            );
        }
    }
}

/// The events that end the stream: totals as scripts made them, drops, the end.
pub fn close_events(result: &RunResult, head: &mut Outlet) {
    let (first, last) = result.span().unwrap_or_default();
    let drops = result.drops();
    let Some(events) = &mut head.events else { return };
    let line = |ev| Head { ev, time: last, script: NATIVE, side: "frontend" };
    if let Some(totals) = &result.totals {
        for (index, group) in result.catalog.groups.counter_groups().enumerate() {
            let Some(group_totals) = totals.group(GroupIndex(index as u16)) else { continue };
            let guid = group.guid.to_string();
            group_totals.for_each_tally(|key, meter, tally| {
                events.event(
                    &line("counter_total"),
                    &[
                        ("guid", Field::Text(&guid)),
                        ("key", Field::Bytes(key)),
                        ("meter", Field::Count(u64::from(meter))),
                        ("updates", Field::Count(tally.updates)),
                        ("sum", Field::Number(tally.sum)),
                        ("min", Field::Number(tally.min)),
                        ("max", Field::Number(tally.max)),
                        ("last", Field::Number(tally.last)),
                    ],
                );
            });
        }
    }
    for (reason, count) in &drops {
        events.event(&line("drop"), &[("reason", Field::Text(reason)), ("count", Field::Count(*count))]);
    }
    events.event(
        &line("end"),
        &[
            ("packets", Field::Count(result.packets())),
            ("bytes", Field::Count(result.bytes())),
            ("first", Field::Number(first.as_secs_f64())),
            ("last", Field::Number(last.as_secs_f64())),
            ("engines", Field::Count(result.engines as u64)),
        ],
    );
}

/// Why not all was written into a store, if it was for the disk.
const fn unwritten(disk_full: u64, failed: u64) -> Option<&'static str> {
    match (disk_full, failed) {
        (0, 0) => None,
        (0, _) => Some("writing failed"),
        _ => Some("the disk was full"),
    }
}

/// Writes the report and says how the run ended.
///
/// # Errors
/// When the output cannot be written.
pub fn present(result: &RunResult, args: &RunArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let outcome = if result.is_flawed() { Outcome::Flawed } else { Outcome::Good };
    if result.is_quiet {
        return Ok(Outcome::Good);
    }
    if args.output.quiet {
        // Where no report says why the exit code is not 0.
        for damage in result.outcomes.iter().flat_map(|outcome| &outcome.source.damage) {
            log::warn!("{damage}");
        }
    } else {
        let report = build(result, args.output.top, outcome);
        let written = match () {
            () if args.plugins.json => write_json(&report, &result.haste),
            () if takes_standard_output(&args.output) => write_text(&report, cli, &io::stderr(), &result.haste),
            () => write_text(&report, cli, &io::stdout(), &result.haste),
        };
        match written {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            // The run was asked to end.
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                log::error!("the report was not written in full: {e}");
                return Ok(Outcome::Flawed);
            }
            other => other.context("writing the report")?,
        }
    }
    Ok(outcome)
}

fn write_json(report: &Report, haste: &Haste) -> io::Result<()> {
    let mut out = BufWriter::new(Patient::of(&io::stdout(), haste.clone())?);
    report.write_json(&mut out)?;
    out.flush()
}

fn write_text(report: &Report, cli: &Cli, standard: &impl AsFd, haste: &Haste) -> io::Result<()> {
    let mut out = BufWriter::new(Patient::of(standard, haste.clone())?);
    report.write_text(&mut out, terminal::style(cli.color))?;
    out.flush()
}

/// The groups, with the first `top` keys of each meter.
#[must_use]
pub fn groups(result: &RunResult, top: usize) -> Vec<GroupReport> {
    let of = |totals| collect_groups(&result.catalog.groups, totals, &result.records.notes, top);
    result.totals.as_ref().map(of).unwrap_or_default()
}

/// The report of a run.
#[must_use]
pub fn build(result: &RunResult, top: usize, outcome: Outcome) -> Report {
    let span = result.span();
    let secs = |pick: fn((Timestamp, Timestamp)) -> Timestamp| span.map(pick).map(Timestamp::as_secs_f64);
    let groups = &result.catalog.groups;
    let named = |counters: BTreeMap<String, u64>| {
        counters.into_iter().map(|(name, count)| NamedCount { name, count }).collect::<Vec<_>>()
    };
    let damage = result.outcomes.iter().flat_map(|outcome| &outcome.source.damage);
    let early = result.outcomes.iter().filter_map(|outcome| outcome.source_error.as_ref());
    let damaged = damage
        .map(|damage| DamagedInput { input: damage.file.display().to_string(), reason: damage.in_it() })
        .chain(early.map(|e| DamagedInput { input: "input".to_owned(), reason: e.to_string() }));
    let longest = result.outcomes.iter().map(|outcome| outcome.longest_batch).max();
    Report {
        run: Run {
            packets: result.packets(),
            bytes: result.bytes(),
            first: secs(|span| span.0),
            last: secs(|span| span.1),
            duration_secs: span.map_or(0.0, |(first, last)| last.since(first).as_secs_f64()),
            wall_secs: result.wall.as_secs_f64(),
            wall_longest_batch_secs: longest.unwrap_or_default().as_secs_f64(),
            engines: result.engines as u32,
            inputs: result.inputs.clone(),
        },
        drops: named(result.drops()),
        notes: named(result.notes()),
        damage: Damage { inputs: damaged.collect() },
        groups: result.groups.clone(),
        flows: flows(result),
        packet_store: stored(result),
        store: result.store.as_ref().map(|(file, tally)| store_report(file, *tally)),
        outputs: result.outputs.clone(),
        records: collect_records(groups, &result.records, top),
        jobs: job_report::jobs(result),
        pipelines: super::gears::report(&result.pipelines),
        plugins: plugins(result),
        verdict: verdict(result, outcome),
        ..Report::default()
    }
}

/// What the store notes about the run.
#[must_use]
pub fn run_end(result: &RunResult) -> RunEnd {
    let job = |(entry, jobs): (&CatalogEntry, &Summary)| StoredJob {
        plugin: entry.name.clone(),
        scheduled: jobs.scheduled,
        done: jobs.done,
        failed: jobs.failed,
        timed_out: jobs.timed_out,
        cancelled: jobs.cancelled,
        dropped: jobs.dropped,
    };
    let all = result.catalog.entries.iter().zip(&result.jobs).filter(|(_, jobs)| jobs.scheduled > 0);
    RunEnd { packets: result.packets(), bytes: result.bytes(), span: result.span(), jobs: all.map(job).collect() }
}

fn store_report(file: &Path, tally: StoreTally) -> StoreReport {
    let dropped = tally.drops().into_iter().filter(|(_, count)| *count > 0);
    StoreReport {
        file: file.display().to_string(),
        rows: tally.written,
        dropped: dropped.map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect(),
        deleted: tally.deleted,
    }
}

/// What the packet store took and did not take; `None` without one.
fn stored(result: &RunResult) -> Option<PacketStoreReport> {
    let counts = result.packet_store?;
    let sum = |of: fn(&PolicyCounts) -> u64| result.outcomes.iter().filter_map(|o| o.stored.as_ref()).map(of).sum();
    let dropped = counts.drops().into_iter().filter(|(_, count)| *count > 0);
    Some(PacketStoreReport {
        packets: counts.written,
        bytes: counts.written_bytes,
        files: counts.files,
        headers_only: sum(|counts| counts.headers),
        skipped_by_policy: sum(|counts| counts.skipped),
        dropped: dropped.map(|(name, count)| NamedCount { name: name.to_owned(), count }).collect(),
        deleted_files: counts.deleted_files,
        deleted_bytes: counts.deleted_bytes,
    })
}

/// The flows of all engines together; `None` if nobody wanted any.
fn flows(result: &RunResult) -> Option<FlowsReport> {
    let mut all = result.outcomes.iter().filter_map(|outcome| outcome.flows.as_ref()).cloned();
    let mut sum = all.next()?;
    let mut ended = Counters::default();
    let add = |counters: &mut Counters, flows: &FlowOutcome| counters.add_all(flows.ends());
    add(&mut ended, &sum);
    for flows in all {
        add(&mut ended, &flows);
        sum.counts.live_peak += flows.counts.live_peak;
        sum.counts.created += flows.counts.created;
        sum.top.merge(flows.top);
    }
    let line = |flow: TopFlow| {
        let id = flow.id.0;
        FlowLine {
            readable: String::from_utf8_lossy(FlowText::new(&id).to_s().as_bytes()).trim_end().to_owned(),
            flow: String::from_utf8_lossy(&id).into_owned(),
            bytes: flow.bytes,
            packets: flow.packets,
            millis: flow.millis,
            reason: flow.reason.to_owned(),
        }
    };
    Some(FlowsReport {
        created: sum.counts.created,
        live_peak: sum.counts.live_peak,
        ended: ended.0.into_iter().map(|(name, count)| NamedCount { name, count }).collect(),
        top: sum.top.ranked().into_iter().map(line).collect(),
    })
}

/// One row per plugin file, its blocks and engines added up.
fn plugins(result: &RunResult) -> Vec<PluginReport> {
    let busy: f64 = result.outcomes.iter().map(|outcome| outcome.wall.as_nanos() as f64).sum();
    let mut rows: BTreeMap<ScriptId, (PluginReport, u64)> = BTreeMap::new();
    for instance in result.outcomes.iter().flat_map(|outcome| &outcome.instances) {
        let (row, nanos) = rows.entry(instance.script).or_default();
        row.name = result.catalog.name(instance.script).to_owned();
        row.calls += instance.stats.calls;
        row.errors += instance.faults;
        row.interrupted += instance.interrupted;
        row.memory_bytes += instance.memory as u64;
        row.stopped = row.stopped.take().or(instance.disabled.map(str::to_owned));
        *nanos += instance.stats.nanos;
    }
    for (script, version) in &result.reloads.versions {
        let (row, _) = rows.entry(*script).or_default();
        result.catalog.name(*script).clone_into(&mut row.name);
        row.version = Some(*version);
    }
    for entry in result.catalog.entries.iter().filter(|entry| entry.error.is_some()) {
        let (row, _) = rows.entry(entry.id).or_default();
        row.name.clone_from(&entry.name);
        row.errors += 1;
        row.stopped = entry.error.as_ref().map(|e| e.message.clone());
    }
    rows.into_values()
        .map(|(mut row, nanos)| {
            row.ns_per_call = if row.calls > 0 { nanos as f64 / row.calls as f64 } else { 0.0 };
            row.share = if busy > 0.0 { nanos as f64 / busy } else { 0.0 };
            row
        })
        .collect()
}

fn verdict(result: &RunResult, outcome: Outcome) -> Verdict {
    let mut reasons = Vec::new();
    let damaged: usize = result.outcomes.iter().map(|outcome| outcome.source.damage.len()).sum();
    if damaged > 0 {
        reasons.push(format!("{damaged} damaged input{}", if damaged == 1 { "" } else { "s" }));
    }
    if result.outcomes.iter().any(|outcome| outcome.source_error.is_some()) {
        reasons.push("the input ended early".to_owned());
    }
    reasons.extend(result.unwritten());
    let failed = plugins(result).iter().filter(|plugin| plugin.errors > 0).count()
        + result.outcomes.iter().map(|outcome| outcome.problems.len()).sum::<usize>();
    if failed > 0 {
        reasons.push(format!("{failed} plugin{} failed", if failed == 1 { "" } else { "s" }));
    }
    match result.passed_over {
        0 => {}
        1 => reasons.push("1 file was not loaded as a plugin".to_owned()),
        files => reasons.push(format!("{files} files were not loaded as plugins")),
    }
    match result.reloads.failures {
        0 => {}
        1 => reasons.push("a new version of a plugin did not load".to_owned()),
        failures => reasons.push(format!("{failures} new versions of plugins did not load")),
    }
    Verdict { exit_code: if outcome == Outcome::Flawed { 1 } else { 0 }, reasons }
}
