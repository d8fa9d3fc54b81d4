//! The writer thread.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rusqlite::ErrorCode;

use super::begin::{Begun, Origin};
use super::buckets::{Tables, Waiting};
use super::checkpoints::Checkpoints;
use super::counts::{Shared, StoreTally, add};
use super::documents::Texts;
use super::keys::{Groups, Keys};
use super::open::{Opened, StoreOpenError, open};
use super::options::StoreOptions;
use super::ordered::Ordered;
use super::records::{Gathered, OpenFlows, Target};
use super::row::{Rows, RunEnd};
use super::runs::Run;
use super::sender::{Delivery, Parcel, StoreSender};
use super::{retention, rollup};
use crate::metrics::{GroupKind, Registry, Snapshot};
use crate::processor::yield_to_packets;
use crate::sink::damaged::is_damage;
use crate::sink::reuse::{GiveBack, Reused, reuse};
use crate::sink::{database_files, lookout};
use crate::time::{self, Stopwatch, Timestamp};

/// Parcels that may wait.
const QUEUE: usize = 128;
/// Rows of a transaction, but for the parcel that goes beyond.
const FLUSH_ROWS: u64 = 262_144;
/// The same while nothing else waits: what is written then does not have to be written after the last packet.
const IDLE_ROWS: u64 = 65_536;
/// The same when nothing has come for a while.
const QUIET_ROWS: u64 = 4_096;
const QUIET: Duration = Duration::from_millis(10);
/// A transaction is ended after this long.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// After a failure nothing is written for this long.
const RETRY: Duration = Duration::from_secs(1);
/// Limits are applied every so many flushes, and at the end.
const PRUNE_EVERY: u64 = 16;
/// Damaged files that a run moves aside: a disk that damages all that is written would be filled with them.
const MOST_ASIDE: u32 = 3;

/// The store while it is written.
#[derive(Debug)]
pub struct Store {
    queue: Sender<Delivery>,
    reused: Reused<Parcel>,
    options: StoreOptions,
    shared: Arc<Shared>,
    senders: AtomicUsize,
    thread: JoinHandle<()>,
}

impl Store {
    /// Opens the file and starts the writer. `started` is the wall-clock time of a run over interfaces.
    ///
    /// # Errors
    /// [`StoreOpenError`]; each says what to type instead.
    pub fn open(
        options: &StoreOptions,
        registry: Arc<Registry>,
        inputs: &[String],
        started: Option<Timestamp>,
    ) -> Result<Self, StoreOpenError> {
        Reserved::open(options)?.begin(registry, inputs, started)
    }

    fn start(
        opened: Opened,
        options: &StoreOptions,
        registry: Arc<Registry>,
        origin: Origin,
    ) -> Result<Self, StoreOpenError> {
        let shared = Arc::new(Shared::default());
        let (give_back, reused) = reuse();
        let writer = Writer::begin(opened, options.clone(), registry, origin, (Arc::clone(&shared), give_back))?;
        let (queue, deliveries) = bounded(QUEUE);
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                yield_to_packets();
                writer.run(&deliveries);
            })
            .map_err(|error| StoreOpenError::File { path: options.file.clone(), error })?;
        let senders = AtomicUsize::new(0);
        Ok(Self { queue, reused, options: options.clone(), shared, senders, thread })
    }

    /// A sender for one more thread. All threads that count have to have theirs before the first one counts.
    #[must_use]
    pub fn sender(&self) -> StoreSender {
        let number = self.senders.fetch_add(1, Ordering::Relaxed);
        // A writer that has ended has said why.
        let _ = self.queue.send(Delivery::Join(number));
        let ways = (self.queue.clone(), self.reused.another());
        StoreSender::new(number, ways, self.options.when_full, Arc::clone(&self.shared))
    }

    /// Writes what is left and ends the run. All senders must be gone.
    #[must_use]
    pub fn close(self, end: RunEnd) -> StoreTally {
        self.end(end).wait()
    }

    /// Has the writer do so, and does not wait.
    #[must_use]
    pub fn end(self, end: RunEnd) -> StoreEnding {
        let _ = self.queue.send(Delivery::End(Box::new(end)));
        StoreEnding { shared: self.shared, thread: self.thread }
    }
}

/// A store whose writer does what is left.
#[derive(Debug)]
pub struct StoreEnding {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl StoreEnding {
    /// Waits until all is written.
    #[must_use]
    pub fn wait(self) -> StoreTally {
        if self.thread.join().is_err() {
            log::error!("the thread of the store ended early");
        }
        self.shared.get()
    }
}

/// A store's file that is open and locked, before it is known what is counted.
#[derive(Debug)]
pub struct Reserved {
    opened: Opened,
    options: StoreOptions,
}

impl Reserved {
    /// Opens the file.
    ///
    /// # Errors
    /// [`StoreOpenError`]; each says what to type instead.
    pub fn open(options: &StoreOptions) -> Result<Self, StoreOpenError> {
        Ok(Self { opened: open(&options.file, options.durability)?, options: options.clone() })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.options.file
    }

    /// Starts the writer. `started` is the wall-clock time of a run over interfaces.
    ///
    /// # Errors
    /// [`StoreOpenError`]; each says what to type instead.
    pub fn begin(
        self,
        registry: Arc<Registry>,
        inputs: &[String],
        started: Option<Timestamp>,
    ) -> Result<Store, StoreOpenError> {
        Store::start(self.opened, &self.options, registry, Origin { inputs: inputs.to_vec(), started })
    }
}

/// Why nothing is written for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Full,
    Other,
}

/// What a file that cannot be used needs before anything can be written again.
enum Repair {
    /// It is to be moved aside, for what is wrong with it.
    SetAside(String),
    /// It was deleted: another one is to be made.
    Make,
    /// There is another one, and the run is to begin in it.
    Begin,
}

struct Writer {
    opened: Opened,
    options: StoreOptions,
    registry: Arc<Registry>,
    origin: Origin,
    shared: Arc<Shared>,
    give_back: GiveBack<Parcel>,
    groups: Groups,
    keys: Keys,
    tables: Tables,
    waiting: Waiting,
    open: OpenFlows,
    ordered: Ordered,
    gathered: Gathered,
    texts: Texts,
    checkpoints: Option<Checkpoints>,
    run: Run,
    /// Rows of the transaction that is open, if one is.
    pending: Option<(u64, Stopwatch)>,
    broken: Option<(Stopwatch, Trouble)>,
    /// The system failed to read or write: the connection cannot be trusted.
    stale: bool,
    repair: Option<Repair>,
    /// Files moved aside.
    asides: u32,
    told: Option<Trouble>,
    log_told: bool,
    flushes: u64,
    pruned: u64,
}

impl Writer {
    fn begin(
        mut opened: Opened,
        options: StoreOptions,
        registry: Arc<Registry>,
        origin: Origin,
        (shared, give_back): (Arc<Shared>, GiveBack<Parcel>),
    ) -> Result<Self, StoreOpenError> {
        let begin = |opened: &Opened| Begun::begin(&opened.db, &options, &registry, &origin);
        let database = |error| StoreOpenError::Database { path: options.file.clone(), error };
        let Begun { groups, keys, run } = match begin(&opened) {
            Err(error) if is_damage(&error) => {
                opened.begin_anew(&options.file, options.durability, &error.to_string())?;
                begin(&opened)
            }
            begun => begun,
        }
        .map_err(database)?;
        let checkpoints = Checkpoints::start(&options.file).ok();
        Ok(Self {
            opened,
            options,
            registry,
            origin,
            shared,
            give_back,
            groups,
            keys,
            tables: Tables::default(),
            waiting: Waiting::default(),
            open: OpenFlows::default(),
            ordered: Ordered::default(),
            gathered: Gathered::default(),
            texts: Texts::default(),
            checkpoints,
            run,
            pending: None,
            broken: None,
            stale: false,
            repair: None,
            asides: 0,
            told: None,
            log_told: false,
            flushes: 0,
            pruned: 0,
        })
    }

    fn run(mut self, deliveries: &Receiver<Delivery>) {
        loop {
            if deliveries.is_empty() && self.pending.is_some_and(|(rows, _)| rows >= IDLE_ROWS) {
                self.flush();
            }
            let is_worth_it = self.pending.is_some_and(|(rows, _)| rows >= QUIET_ROWS);
            match lookout::next(deliveries, if is_worth_it { QUIET } else { FLUSH_EVERY }) {
                Ok(Delivery::Join(sender)) => self.waiting.join(sender),
                Ok(Delivery::Parcel(parcel)) => self.parcel(parcel),
                Ok(Delivery::End(end)) => return self.end(&end),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                // Nobody said how the run ended.
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if self.pending.is_some_and(|(rows, since)| rows >= FLUSH_ROWS || since.elapsed() >= FLUSH_EVERY) {
                self.flush();
            }
        }
    }

    fn parcel(&mut self, mut parcel: Parcel) {
        let count = parcel.rows.len() as u64;
        if count > 0 {
            self.attempt(count, |writer| {
                writer.rows(&mut parcel.rows)?;
                Ok(count)
            });
        }
        for bucket in parcel.buckets.drain(..) {
            self.waiting.add(parcel.sender, bucket);
        }
        if let Some(passed) = parcel.passed {
            self.waiting.pass(parcel.sender, passed);
        }
        while let Some(buckets) = self.waiting.due() {
            for bucket in buckets {
                self.attempt(bucket.len() as u64 + 1, |writer| writer.bucket(&bucket));
            }
        }
        if let Some(parcel) = parcel.emptied() {
            self.give_back.emptied(parcel);
        }
    }

    fn rows(&mut self, rows: &mut Rows) -> rusqlite::Result<()> {
        for time in rows.times() {
            self.run.cover(time, time);
        }
        self.target().write(rows)
    }

    fn target(&mut self) -> Target<'_> {
        Target {
            db: &self.opened.db,
            groups: &mut self.groups,
            keys: &mut self.keys,
            open: &mut self.open,
            ordered: &mut self.ordered,
            gathered: &mut self.gathered,
            texts: &mut self.texts,
            run: self.run.id,
        }
    }

    fn bucket(&mut self, bucket: &Snapshot) -> rusqlite::Result<u64> {
        let Some(group) = self.registry.counter_group(bucket.group()) else { return Ok(0) };
        let start = Timestamp::new(bucket.start(), 0);
        self.run.cover(start, start);
        let group = self.groups.id(&self.opened.db, GroupKind::Counter, group.guid)?;
        self.tables.write(&self.opened.db, &mut self.keys, group, bucket)
    }

    /// Writes rows within the transaction; what cannot be written is counted, with all that was not committed.
    fn attempt(&mut self, offered: u64, write: impl FnOnce(&mut Self) -> rusqlite::Result<u64>) {
        if let Some((since, trouble)) = self.broken {
            if since.elapsed() < RETRY {
                return self.lost(trouble, offered);
            }
            self.broken = None;
        }
        if self.pending.is_none() && self.opened.is_deleted() {
            self.repair = Some(Repair::Make);
        }
        if !self.repaired() {
            return self.lost(Trouble::Other, offered);
        }
        let result = self.open_transaction().and_then(|()| write(self));
        match result {
            Ok(count) => {
                if let Some((rows, _)) = &mut self.pending {
                    *rows += count;
                }
            }
            Err(error) => self.failed(&error, offered),
        }
    }

    fn open_transaction(&mut self) -> rusqlite::Result<()> {
        if self.pending.is_none() {
            if self.stale {
                self.opened.reconnect(&self.options.file, self.options.durability)?;
                self.stale = false;
            }
            self.opened.db.execute_batch("BEGIN IMMEDIATE")?;
            self.pending = Some((0, Stopwatch::start()));
            if self.told.is_some() {
                // What was defined last may never have been committed.
                self.groups.define(&self.opened.db, &self.registry)?;
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &rusqlite::Error, offered: u64) {
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let trouble = if full { Trouble::Full } else { Trouble::Other };
        // SQLite may have rolled back by itself.
        let _ = self.opened.db.execute_batch("ROLLBACK");
        let rows = self.pending.take().map_or(0, |(rows, _)| rows);
        self.lost(trouble, rows + offered);
        if is_damage(error) && self.asides < MOST_ASIDE {
            self.repair = Some(Repair::SetAside(error.to_string()));
            self.repaired();
            return;
        }
        self.tell(trouble, error);
        self.stale |= error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        self.keys.forget();
        self.tables.forget();
        self.open.forget();
        self.ordered.forget();
        self.gathered.forget();
        self.texts.forget();
        self.broken = Some((Stopwatch::start(), trouble));
    }

    /// Says why nothing is written; once, until something is.
    fn tell(&mut self, trouble: Trouble, error: &dyn Display) {
        if self.told != Some(trouble) {
            self.told = Some(trouble);
            let file = self.options.file.display();
            log::error!("store {file}: {error}; rows are not stored until it can be written again");
        }
    }

    /// Whether there is a file that can be written: in the place of one that is damaged or was deleted a new one is begun.
    fn repaired(&mut self) -> bool {
        let Some(repair) = self.repair.take() else { return true };
        // It has the file open.
        if let Some(checkpoints) = self.checkpoints.take() {
            checkpoints.end();
        }
        match self.begin_anew(repair) {
            Ok(()) => true,
            Err(error) => {
                self.tell(Trouble::Other, &error.without_name());
                self.broken = Some((Stopwatch::start(), Trouble::Other));
                false
            }
        }
    }

    /// Does what the file needs; what could not be done yet stays to be done.
    fn begin_anew(&mut self, repair: Repair) -> Result<(), StoreOpenError> {
        let StoreOptions { file, durability, .. } = &self.options;
        match repair {
            Repair::SetAside(damage) => {
                if let Err(error) = self.opened.replace(file, &damage) {
                    self.repair = Some(Repair::SetAside(damage));
                    return Err(error);
                }
                self.asides += 1;
            }
            Repair::Make => self.opened.make_again(file).inspect_err(|_| self.repair = Some(Repair::Make))?,
            Repair::Begin => {}
        }
        let begun = self.opened.reopen(file, *durability).and_then(|()| {
            let begun = Begun::begin(&self.opened.db, &self.options, &self.registry, &self.origin);
            begun.map_err(|error| StoreOpenError::Database { path: file.clone(), error })
        });
        let Begun { groups, keys, run } = begun.inspect_err(|_| self.repair = Some(Repair::Begin))?;
        self.checkpoints = Checkpoints::start(file).ok();
        (self.groups, self.keys, self.run) = (groups, keys, run);
        // Nothing that was known of the old file is so in the new one.
        self.tables = Tables::default();
        self.open = OpenFlows::default();
        self.ordered = Ordered::default();
        self.gathered = Gathered::default();
        self.texts = Texts::default();
        (self.stale, self.told, self.broken) = (false, None, None);
        Ok(())
    }

    fn lost(&self, trouble: Trouble, rows: u64) {
        let counter = match trouble {
            Trouble::Full => &self.shared.disk_full,
            Trouble::Other => &self.shared.failed,
        };
        add(counter, rows);
    }

    /// Ends the window and its transaction.
    fn flush(&mut self) {
        let Some((rows, _)) = self.pending else { return };
        if self.opened.is_deleted() {
            let _ = self.opened.db.execute_batch("ROLLBACK");
            self.pending = None;
            self.lost(Trouble::Other, rows);
            self.repair = Some(Repair::Make);
            self.repaired();
            return;
        }
        let mark = self.run.mark();
        match self.try_flush(rows) {
            Ok(()) => {
                self.pending = None;
                add(&self.shared.written, rows);
                add(&self.shared.windows, 1);
                if let Some(checkpoints) = &mut self.checkpoints {
                    checkpoints.committed(rows);
                }
                if self.told.take().is_some() {
                    log::warn!("store {}: writing again", self.options.file.display());
                }
                self.flushes += 1;
                if self.flushes.is_multiple_of(PRUNE_EVERY) {
                    self.prune();
                }
                self.watch_log();
            }
            Err(error) => {
                self.run.roll_back(mark.0, mark.1);
                self.failed(&error, 0);
            }
        }
    }

    fn try_flush(&mut self, rows: u64) -> rusqlite::Result<()> {
        self.target().finish()?;
        self.ordered.write(&self.opened.db)?;
        let until = self.waiting.watermark();
        let latest = self.run.span.map_or(until, |(_, last)| until.min(last));
        rollup::roll(&self.opened.db, &mut self.tables, latest.secs())?;
        self.run.flush(&self.opened.db, until, rows, &self.shared.get())?;
        self.opened.db.execute_batch("COMMIT")
    }

    /// Deletes what is beyond the limits, in a transaction of its own.
    fn prune(&mut self) {
        if self.options.age.is_none() && self.options.total_bytes.is_none() {
            return;
        }
        let Some((_, latest)) = self.run.span else { return };
        let db = &self.opened.db;
        let deleted = db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let deleted = retention::apply(db, &self.options, latest, time::wall())?;
            db.execute_batch("COMMIT")?;
            if deleted > 0 {
                retention::shrink(db)?;
            }
            Ok(deleted)
        });
        match deleted {
            Ok(deleted) => {
                self.ordered.deleted();
                if deleted > 0 {
                    self.tables.deleted();
                }
                self.texts.forget();
                self.pruned += deleted;
                add(&self.shared.deleted, deleted);
            }
            Err(error) => self.failed(&error, 0),
        }
    }

    /// A reader that stays for long keeps the write-ahead log from being used again.
    fn watch_log(&mut self) {
        let [_, log, _] = database_files(&self.options.file);
        let bytes = std::fs::metadata(log).map_or(0, |meta| meta.len());
        self.shared.largest_log.fetch_max(bytes, Ordering::Relaxed);
        if bytes > self.options.large_log && !self.log_told {
            self.log_told = true;
            log::warn!(
                "store {}: its log has grown to {} MiB, because somebody reads the store without ever letting go",
                self.options.file.display(),
                bytes >> 20
            );
        }
    }

    fn end(mut self, end: &RunEnd) {
        self.flush();
        self.prune();
        loop {
            // The last attempt is made whatever went wrong before.
            self.broken = None;
            let asides = self.asides;
            self.attempt(0, |writer| writer.end_run(end));
            // A run that has begun in a new file has to be ended there.
            if self.asides == asides {
                break;
            }
        }
        if let Some(checkpoints) = self.checkpoints {
            checkpoints.end();
        }
        let Opened { db, lock } = self.opened;
        if let Err((_, error)) = db.close() {
            log::error!("store {}: {error}", self.options.file.display());
        }
        drop(lock);
    }

    fn end_run(&mut self, end: &RunEnd) -> rusqlite::Result<u64> {
        rollup::roll(&self.opened.db, &mut self.tables, i64::MAX)?;
        self.run.end(&self.opened.db, end, &self.shared.get())?;
        if self.pruned > 0 {
            retention::drop_unused_keys(&self.opened.db)?;
        }
        self.opened.db.execute_batch("COMMIT")?;
        self.pending = None;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::{MOST_ASIDE, Trouble, Writer};
    use crate::metrics::Registry;
    use crate::sink::WhenFull;
    use crate::sink::damaged::damage;
    use crate::sink::reuse::reuse;
    use crate::sink::store::StoreOptions;
    use crate::sink::store::begin::Origin;
    use crate::sink::store::counts::Shared;
    use crate::sink::store::open::open;
    use crate::sink::store::row::RunEnd;

    /// A writer in a folder, and what it counts.
    fn begun(folder: &TempDir) -> (Writer, Arc<Shared>) {
        let options = StoreOptions::new(folder.path().join("store.db"), WhenFull::Block);
        let opened = open(&options.file, options.durability).unwrap();
        let (shared, origin) = (Arc::new(Shared::default()), Origin { inputs: Vec::new(), started: None });
        let ways = (Arc::clone(&shared), reuse().0);
        let writer = Writer::begin(opened, options, Arc::new(Registry::new()), origin, ways).unwrap();
        (writer, shared)
    }

    #[test]
    fn a_file_that_is_deleted_is_begun_anew_and_costs_what_was_not_committed() {
        let folder = TempDir::new().unwrap();
        let (mut writer, shared) = begun(&folder);
        let delete = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            names.for_each(|path| fs::remove_file(path).unwrap());
        };
        let write = |writer: &mut Writer, rows| writer.attempt(rows, |_| Ok(rows));
        // Between two transactions nothing is lost but what was in the file.
        write(&mut writer, 1);
        writer.flush();
        delete();
        write(&mut writer, 2);
        writer.flush();
        assert_eq!((shared.get().written, shared.get().failed), (3, 0));
        // Within one it is.
        write(&mut writer, 4);
        delete();
        writer.flush();
        assert_eq!((shared.get().written, shared.get().failed), (3, 4));
        write(&mut writer, 8);
        writer.end(&RunEnd::default());
        assert_eq!((shared.get().written, shared.get().failed), (11, 4));
        let db = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
        let run = "SELECT state, rows, lost FROM runs";
        let run: (String, i64, i64) = db.query_row(run, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        assert_eq!(run, ("done".to_owned(), 8, 4));
    }

    #[test]
    fn a_disk_that_damages_all_that_is_written_is_not_filled() {
        let folder = TempDir::new().unwrap();
        let (mut writer, shared) = begun(&folder);
        let damaged = || {
            let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().contains("damaged")).count()
        };
        for round in 1..=MOST_ASIDE {
            writer.attempt(5, |_| Err(damage("made up")));
            assert_eq!((damaged(), shared.get().failed), (round as usize, u64::from(round) * 5));
            assert_eq!(writer.broken.map(|(_, trouble)| trouble), None, "it goes on at once");
        }
        writer.attempt(5, |_| Err(damage("made up")));
        assert_eq!(damaged(), MOST_ASIDE as usize);
        assert_eq!(writer.broken.map(|(_, trouble)| trouble), Some(Trouble::Other));
        writer.end(&RunEnd::default());
        assert_eq!((damaged(), shared.get().lost()), (MOST_ASIDE as usize, 20));
    }
}
