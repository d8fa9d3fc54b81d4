//! The thread that notices changes and sends them to the threads that run the scripts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::orphans::tell_orphans;
use super::roster::Roster;
use super::threads::Threads;
use super::watched::{Marks, survey};
use crate::api::{LogLevel, Rank, Record, ScriptId, Side, Stamp};
use crate::app::cli::ReloadArgs;
use crate::app::report::load_event;
use crate::job::{Board, Pool};
use crate::lua::{FaultKind, PluginError, spawn_lua_thread};
use crate::pipeline::{Answer, Control, Orders, Outlet, Pace, Reach, Stop, date_time};
use crate::plugin::{
    Catalog, CatalogEntry, CatalogNote, Edition, HostSettings, PluginKind, Script, Side as KindSide, Swap, discover,
};
use crate::time::{self, Stopwatch, Timestamp};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);
/// How long files must be as they are.
const QUIET: Duration = Duration::from_millis(200);
/// Looks in a row that may find them changed.
const UNQUIET: usize = 5;
/// How long the thread may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_millis(50);

/// Whether files are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// Changes are noticed.
    On,
    /// Scripts are loaded again only when that is asked for.
    Off,
}

/// What the reloads of a run came to.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The scripts as they were at the end.
    pub catalog: Arc<Catalog>,
    /// Their workers.
    pub pools: Arc<[Pool]>,
    counts: ReloadCounts,
}

/// How often scripts were loaded again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Versions that were loaded while the run went on.
    pub reloads: u64,
    /// Versions that were not.
    pub failures: u64,
    /// How many versions of each script have run, for those with more than one.
    pub versions: BTreeMap<ScriptId, u32>,
}

impl Reloaded {
    /// How often scripts were loaded again.
    #[must_use]
    pub fn counts(&self) -> ReloadCounts {
        self.counts.clone()
    }
}

impl Watching {
    /// As the arguments say; by default files are watched while packets come from interfaces.
    #[must_use]
    pub fn of(args: &ReloadArgs, pace: Pace) -> Self {
        if args.watch || (pace == Pace::Wall && !args.no_watch) { Self::On } else { Self::Off }
    }
}

/// The thread, before it is started and while it works.
pub struct Reloader {
    work: Work,
}

/// The thread at work.
pub struct ReloaderThread {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// What is left of the thread if it does not come back from a script.
#[derive(Debug)]
struct Shared {
    done: AtomicBool,
    outlet: Mutex<Option<Outlet>>,
    result: Mutex<Reloaded>,
}

/// The scripts and their workers as they are now, for whoever looks on.
#[derive(Clone, Debug)]
pub struct Lineup(Arc<Shared>);

impl Lineup {
    /// The scripts.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&lock(&self.0.result).catalog)
    }

    /// Their workers, one pool for each.
    #[must_use]
    pub fn pools(&self) -> Arc<[Pool]> {
        Arc::clone(&lock(&self.0.result).pools)
    }

    /// How often scripts were loaded again so far.
    #[must_use]
    pub fn reloads(&self) -> ReloadCounts {
        lock(&self.0.result).counts()
    }
}

struct Work {
    given: Vec<PathBuf>,
    settings: HostSettings,
    control: Arc<Control>,
    watching: Watching,
    threads: Threads,
    has_backend: bool,
    roster: Roster,
    result: Reloaded,
    own_pools: Vec<Pool>,
    seen: Marks,
    /// Whether there are files that were not there at the look before.
    has_new_files: bool,
    asked: u64,
    /// Stream time, as far as threads have told.
    now: Timestamp,
    shared: Arc<Shared>,
}

impl Reloader {
    /// Begins to watch the files of a run.
    #[must_use]
    pub fn new(
        given: &[PathBuf],
        settings: &HostSettings,
        catalog: &Arc<Catalog>,
        pools: &Arc<[Pool]>,
        control: &Arc<Control>,
        watching: Watching,
    ) -> Self {
        let mut settings = settings.clone();
        // Without a limit of its own a version that does not come to an end would keep this thread for ever.
        settings.load_budget.limit = settings.frontend_budget.limit.or(settings.load_budget.limit);
        let roster = Roster::new(catalog, time::wall(), &settings.libraries);
        let result =
            Reloaded { catalog: Arc::clone(catalog), pools: Arc::clone(pools), counts: ReloadCounts::default() };
        let shared = Arc::new(Shared {
            done: AtomicBool::new(false),
            outlet: Mutex::default(),
            result: Mutex::new(result.clone()),
        });
        let work = Work {
            given: given.to_vec(),
            settings,
            control: Arc::clone(control),
            watching,
            threads: Threads::default(),
            has_backend: false,
            roster,
            result,
            own_pools: Vec::new(),
            seen: Marks::new(),
            has_new_files: false,
            asked: control.reloads(),
            now: Timestamp::EPOCH,
            shared,
        };
        Self { work }
    }

    /// The end of a thread that runs scripts: frontend ones, with the backend's on the same thread if it has none of its
    /// own, or those of the backend.
    pub fn orders(&mut self, reach: Reach, thread: usize, settings: &HostSettings) -> Orders {
        Orders::new(self.work.threads.add(reach, thread), settings.clone(), thread)
    }

    /// The run has a backend, whether it has threads of its own or not.
    #[must_use]
    pub fn with_backend(mut self) -> Self {
        self.work.has_backend = true;
        self
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(self, outlet: Outlet) -> anyhow::Result<ReloaderThread> {
        let work = self.work;
        let shared = Arc::clone(&work.shared);
        *lock(&shared.outlet) = Some(outlet);
        let thread = spawn_lua_thread("reload", move || work.run()).context("starting a thread")?;
        Ok(ReloaderThread { shared, thread })
    }
}

impl ReloaderThread {
    /// The scripts and their workers, to be asked for at any time.
    #[must_use]
    pub fn lineup(&self) -> Lineup {
        Lineup(Arc::clone(&self.shared))
    }

    /// Ends the thread; what has not been loaded by now is not loaded any more.
    ///
    /// # Errors
    /// When it panicked.
    pub fn stop(self) -> anyhow::Result<Reloaded> {
        self.shared.done.store(true, Ordering::Release);
        let since = Stopwatch::start();
        while !self.thread.is_finished() && since.elapsed() < GRACE {
            self.thread.thread().unpark();
            std::thread::sleep(Duration::from_millis(1));
        }
        // What is written to ends when nobody is left who could write.
        lock(&self.shared.outlet).take();
        if self.thread.is_finished() {
            crate::app::run::join(self.thread)?;
        } else {
            log::warn!("a plugin that was to be loaded again does not come to an end and is left behind");
        }
        Ok(lock(&self.shared.result).clone())
    }
}

impl Work {
    fn run(mut self) {
        if self.watching == Watching::On {
            self.seen = self.survey();
        }
        let mut since_look = Duration::ZERO;
        while !self.is_done() {
            std::thread::park_timeout(TICK);
            since_look += TICK;
            if let Some(outlet) = &mut *lock(&self.shared.outlet) {
                tell_orphans(&self.result.pools, self.now, outlet);
            }
            let asked = self.control.reloads();
            if asked != self.asked {
                self.asked = asked;
                let now = self.survey();
                self.update(now);
                self.show();
            } else if self.watching == Watching::On && since_look >= LOOK {
                since_look = Duration::ZERO;
                self.look();
                self.show();
            }
        }
        if self.control.stop() == Stop::AtOnce {
            // Nobody else knows of these.
            self.own_pools.iter().for_each(Pool::abort);
        }
    }

    /// Shows how far the thread has come.
    fn show(&mut self) {
        let more = self.roster.cards().filter(|(_, card)| card.version > 1).map(|(id, card)| (id, card.version));
        self.result.counts.versions = more.collect();
        lock(&self.shared.result).clone_from(&self.result);
    }

    fn is_done(&self) -> bool {
        self.shared.done.load(Ordering::Acquire) || self.control.stop() == Stop::AtOnce
    }

    fn survey(&self) -> Marks {
        survey(self.given.iter().chain(&self.settings.search).filter(|path| path.exists()))
    }

    /// Looks whether anything has changed, and waits until it does not change any more.
    fn look(&mut self) {
        let libraries = &self.settings.libraries;
        self.roster.cards().for_each(|(id, card)| card.look_at_new(id, libraries));
        let mut now = self.survey();
        if now == self.seen && !self.roster.cards().any(|(_, card)| card.has_changed()) {
            return;
        }
        for _ in 0..UNQUIET {
            std::thread::park_timeout(QUIET);
            let later = self.survey();
            if later == now {
                break;
            }
            now = later;
        }
        self.update(now);
    }

    /// Brings the scripts up to the files.
    fn update(&mut self, now: Marks) {
        self.has_new_files = now.keys().any(|path| !self.seen.contains_key(path));
        self.seen = now;
        // Before the files are read: what changes after this is seen the next time.
        let libraries = &self.settings.libraries;
        self.roster.cards().for_each(|(id, card)| {
            card.look_at_new(id, libraries);
            card.look(id, libraries);
        });
        let given: Vec<PathBuf> = self.given.iter().filter(|path| path.exists()).cloned().collect();
        let Ok(found) = discover(&given, &self.settings.search) else { return };
        for script in self.roster.places().to_vec() {
            let Some(card) = self.roster.card(script) else { continue };
            let (is_there, runs) = (card.path.is_file(), card.runs);
            if runs && !is_there {
                self.remove(script);
            }
        }
        for skipped in &found.skipped {
            let Some(script) = self.roster.find(&skipped.path) else { continue };
            if self.is_due(script, None) {
                self.fail(script, &skipped.reason.to_string(), None);
            }
        }
        let mut order = Vec::new();
        for script in found.scripts {
            let known = self.roster.find(&script.path);
            let Some(id) = known.or_else(|| self.roster.next()) else { continue };
            if known.is_none() {
                let entry =
                    CatalogEntry { id, name: script.name(), script: script.clone(), manifest: None, error: None };
                let mark = self.seen.get(&script.path).copied().flatten();
                self.roster.add(&entry, mark, time::wall());
                let mut pools = self.result.pools.to_vec();
                pools.push(entry.pool(&self.settings, &self.board()));
                self.result.pools = pools.into();
                self.result.catalog = Arc::new(self.result.catalog.with(entry));
                if let Some(outlet) = &mut *lock(&self.shared.outlet) {
                    outlet.learn_names(&self.result.catalog);
                }
            }
            order.push((id, script, known.is_none()));
        }
        self.roster.put_in_order(&order.iter().map(|(id, ..)| *id).collect::<Vec<_>>());
        for (id, script, is_new) in order {
            if self.is_done() {
                return;
            }
            if is_new || self.is_due(id, Some(&script)) {
                self.load(id, script);
            }
        }
    }

    /// Whether a script is to be loaded again, and notes that it was looked at.
    fn is_due(&mut self, id: ScriptId, script: Option<&Script>) -> bool {
        let Some(card) = self.roster.card(id) else { return false };
        let is_other = |entry: &CatalogEntry| script.is_some_and(|script| entry.script.source != script.source);
        // Changed between the start and the first look.
        let is_other = self.result.catalog.entries.get(usize::from(id.0)).is_some_and(is_other);
        let is_back = script.is_some() && !card.runs && card.version > 0;
        let has_changed = card.take_change();
        has_changed || if card.has_failed { self.has_new_files } else { is_other || is_back }
    }

    fn remove(&mut self, script: ScriptId) {
        let Some(entry) = self.result.catalog.entries.get(usize::from(script.0)) else { return };
        let entry = CatalogEntry { manifest: None, error: None, ..entry.clone() };
        if let Some(card) = self.roster.card(script) {
            card.runs = false;
            card.take_change();
        }
        self.result.catalog = Arc::new(self.result.catalog.with(entry));
        self.publish(script, Arc::clone(&self.result.catalog), &[]);
        self.say(script, LogLevel::Notice, "unloaded, because its file is gone".to_owned());
    }

    /// A version that is new: probes it, and puts it in place everywhere or nowhere.
    fn load(&mut self, id: ScriptId, script: Script) {
        let (entry, notes) = self.result.catalog.probe_again(script, id, &self.settings);
        if self.is_done() {
            return;
        }
        if let Some(card) = self.roster.card(id) {
            card.look_at_new(id, &self.settings.libraries);
        }
        if let Some(error) = &entry.error {
            let message = format!("load: {}", error.message);
            return self.fail(id, &message, Some(&entry));
        }
        self.warn(&entry, notes);
        // Here and not where it is put in place: it was looked at once, and may be taken back where others took it.
        self.pass_on(&entry);
        self.find_workers(&entry);
        let (before, after) = (Arc::clone(&self.result.catalog), Arc::new(self.result.catalog.with(entry.clone())));
        let answers = self.publish(id, Arc::clone(&after), &[]);
        let failed = answers.iter().find_map(|answer| answer.swap.failure());
        if let Some(reason) = failed {
            let reason = reason.to_owned();
            let has_loaded = |answer: &&Answer| matches!(answer.swap, Swap::Loaded | Swap::Unloaded);
            let back: Vec<(Reach, usize)> =
                answers.iter().filter(has_loaded).map(|answer| (answer.reach, answer.thread)).collect();
            if !back.is_empty() {
                self.publish(id, before, &back);
            }
            return self.fail(id, &reason, Some(&entry));
        }
        self.result.catalog = after;
        let Some(card) = self.roster.card(id) else { return };
        card.version += 1;
        (card.since, card.runs, card.has_failed) = (time::wall(), true, false);
        let version = card.version;
        self.result.counts.reloads += 1;
        if let Some(outlet) = &mut *lock(&self.shared.outlet) {
            load_event(&entry, self.now, outlet);
        }
        let what = if version == 1 { "loaded".to_owned() } else { format!("reloaded ({} version)", ordinal(version)) };
        self.say(id, LogLevel::Notice, what);
        for answer in &answers {
            let (place, millis) = (side_of(answer.reach), answer.pause_nanos as f64 / 1e6);
            self.say(id, LogLevel::Debug, format!("{place} {} paused for {millis:.3} ms", answer.thread));
        }
    }

    /// Where what is deferred is completed: one place for all scripts.
    fn board(&self) -> Board {
        self.result.pools.first().map(Pool::board).unwrap_or_default()
    }

    /// A script that is new gets as many workers as it asks for; those of others begin anew.
    fn find_workers(&mut self, entry: &CatalogEntry) {
        let at = usize::from(entry.id.0);
        if self.roster.card(entry.id).is_some_and(|card| card.version > 0) {
            if let Some(pool) = self.result.pools.get(at) {
                pool.renew();
            }
            return;
        }
        let pool = entry.pool(&self.settings, &self.board());
        let mut pools = self.result.pools.to_vec();
        if let Some(place) = pools.get_mut(at) {
            self.own_pools.push(pool.clone());
            *place = pool;
            self.result.pools = pools.into();
        }
    }

    /// Says what takes effect only when the run is started again, each once.
    fn warn(&mut self, entry: &CatalogEntry, notes: Vec<CatalogNote>) {
        for note in notes {
            self.say(note.script, note.level, note.text);
        }
        let late = match self.roster.card(entry.id) {
            Some(card) => card.without_effect(entry, &self.result.catalog),
            None => Vec::new(),
        };
        for guid in late {
            let text = format!("the definition of {guid} is new or has changed; that takes effect after a restart");
            self.say(entry.id, LogLevel::Warn, text);
        }
        let blocks = || entry.manifest.iter().flat_map(|manifest| &manifest.blocks);
        let was_there = |kind| {
            let old = self.result.catalog.entries.get(usize::from(entry.id.0)).and_then(|old| old.manifest.as_ref());
            old.is_some_and(|old| old.blocks.iter().any(|block| block.kind == kind))
        };
        if !self.has_backend && blocks().any(|b| b.runs_on_backend() && !was_there(b.kind)) {
            let kinds: Vec<&str> =
                blocks().filter(|b| b.kind.side() == KindSide::Backend).map(|b| b.kind.name()).collect();
            let text = format!("{}: this run was begun without a backend; a restart is needed", kinds.join(", "));
            self.say(entry.id, LogLevel::Warn, text);
        } else if blocks().any(|block| block.kind == PluginKind::InputFilter) {
            let text = "inputfilter: stays as it is; a restart is needed".to_owned();
            self.say(entry.id, LogLevel::Warn, text);
        }
    }

    /// A version that does not load.
    fn fail(&mut self, id: ScriptId, reason: &str, entry: Option<&CatalogEntry>) {
        self.result.counts.failures += 1;
        let Some(card) = self.roster.card(id) else { return };
        card.has_failed = true;
        let goes_on = if card.runs {
            format!("; the version of {} goes on", &date_time(card.since)[11..19])
        } else {
            String::new()
        };
        let error = PluginError { kind: FaultKind::Error, message: reason.to_owned(), traceback: String::new() };
        let known = entry.or_else(|| self.result.catalog.entries.get(usize::from(id.0))).cloned();
        if let (Some(known), Some(outlet)) = (known, &mut *lock(&self.shared.outlet)) {
            load_event(&CatalogEntry { manifest: None, error: Some(error), ..known }, self.now, outlet);
        }
        self.say(id, LogLevel::Warn, format!("{reason}{goes_on}"));
    }

    /// Sends a change to the threads, or only to some of them; what became of it.
    fn publish(&mut self, script: ScriptId, catalog: Arc<Catalog>, only: &[(Reach, usize)]) -> Vec<Answer> {
        let (places, pools) = (self.roster.places().into(), Arc::clone(&self.result.pools));
        let answers = self.threads.publish(&Edition { catalog, places, script, pools }, only, || self.is_done());
        self.now = answers.iter().map(|answer| answer.time).max().unwrap_or(self.now).max(self.now);
        answers
    }

    /// Tells what a version has said that was only looked at.
    fn pass_on(&self, entry: &CatalogEntry) {
        let said = entry.manifest.iter().flat_map(|manifest| &manifest.said);
        self.record(entry.id, said.cloned());
    }

    fn say(&self, script: ScriptId, level: LogLevel, text: String) {
        self.record(script, [Record::Log { level, text: text.into_bytes() }]);
    }

    fn record(&self, script: ScriptId, records: impl IntoIterator<Item = Record>) {
        let mut outlet = lock(&self.shared.outlet);
        let Some(outlet) = &mut *outlet else { return };
        let stamp = Stamp { packet: u32::MAX, rank: Rank::default(), time: self.now, script, side: Side::Frontend };
        outlet.take(&mut records.into_iter().map(|record| (stamp, record)).collect());
        outlet.flush();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn side_of(reach: Reach) -> &'static str {
    if reach == Reach::Backend { "backend" } else { "frontend" }
}

/// `1st`, `2nd`, `3rd`.
fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::ordinal;

    #[test]
    fn versions_are_counted_as_people_do() {
        let texts: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].into_iter().map(ordinal).collect();
        assert_eq!(texts.join(" "), "1st 2nd 3rd 4th 11th 12th 13th 21st 102nd 111th");
    }
}
