//! The thread that writes the tables.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::row::Row;
use super::sender::CsvSender;
use super::table::{self, Line, Table};
use crate::metrics::Registry;
use crate::processor::yield_to_packets;
use crate::sink::WhenFull;
use crate::sink::line_file::{Begin, LineFile, Links, OutputError};
use crate::sink::renewal::{Next, Renewal, Renewed, renewal};
use crate::sink::rescue::{Rescue, Save};
use crate::time::Stopwatch;

/// Parcels that may wait.
const QUEUE: usize = 64;
/// Bytes of a table that are written at once.
const WRITE_BYTES: usize = 64 << 10;
/// How long it takes until a file that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How the tables ended.
#[derive(Debug, Default)]
pub struct CsvEnd {
    /// Lines written.
    pub written: u64,
    /// What was lost, by name.
    pub dropped: Vec<(&'static str, u64)>,
    /// The last failure.
    pub failure: Option<io::Error>,
}

/// A handle on the writer, for any thread.
#[derive(Clone, Debug)]
pub struct CsvHandle {
    folder: PathBuf,
    /// In the order of [`Table::ALL`].
    renewal: Renewal<Vec<LineFile>>,
}

impl CsvHandle {
    /// Tables were moved away: begins new ones in the same folder. No row is lost or split.
    ///
    /// # Errors
    /// When one cannot be opened; rows go on where they went then.
    pub fn reopen(&self) -> Result<(), OutputError> {
        self.renewal.give(open_all(&self.folder, Begin::Append)?);
        Ok(())
    }
}

/// A folder of tables.
#[derive(Debug)]
pub struct Csv {
    handle: CsvHandle,
    rescue: Rescue<Vec<Row>, Vec<Row>>,
    when_full: WhenFull,
    full: Arc<AtomicU64>,
    groups: Arc<Registry>,
    writer: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    written: u64,
    lost: u64,
    failure: Option<io::Error>,
}

struct OpenTable {
    table: Table,
    file: LineFile,
    out: Vec<u8>,
    /// Where the lines in it end.
    ends: Vec<usize>,
    failed: Option<Stopwatch>,
}

impl Csv {
    /// Opens the tables of a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub fn open(folder: &Path, begin: Begin, when_full: WhenFull, groups: Arc<Registry>) -> Result<Self, OutputError> {
        let failed = |error| OutputError::Failed { path: folder.to_owned(), error };
        match folder.symlink_metadata() {
            Ok(about) if about.is_symlink() => {
                return Err(OutputError::NoFile { path: folder.to_owned(), kind: "link" });
            }
            Ok(about) if !about.is_dir() => {
                return Err(failed(io::ErrorKind::NotADirectory.into()));
            }
            _ => DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?,
        }
        let open = |(table, file)| OpenTable { table, file, out: Vec::new(), ends: Vec::new(), failed: None };
        let tables = Table::ALL.into_iter().zip(open_all(folder, begin)?).map(open).collect();
        let (renewal, renewed) = renewal();
        let handle = CsvHandle { folder: folder.to_owned(), renewal };
        let (queue, parcels) = bounded(QUEUE);
        let thread = thread::Builder::new().name("csv".to_owned());
        let of_rows = Arc::clone(&groups);
        let writer = thread
            .spawn(move || {
                yield_to_packets();
                write(&parcels, &renewed, tables, &of_rows)
            })
            .map_err(failed)?;
        let rescue = Rescue::new(queue, |rows: Vec<Row>| (!rows.is_empty()).then_some(rows));
        Ok(Self { handle, rescue, when_full, full: Arc::default(), groups, writer: Some(writer) })
    }

    /// A sender for the thread that flushes.
    #[must_use]
    pub fn sender(&self) -> CsvSender {
        CsvSender::new(self.rescue.sender(), self.when_full, Arc::clone(&self.full), Arc::clone(&self.groups))
    }

    /// What writes the rows that are made, in a process that ends without their sender.
    #[must_use]
    pub fn saver(&self) -> Save {
        let rescue = self.rescue.clone();
        Box::new(move |limit| rescue.save(limit))
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> CsvHandle {
        self.handle.clone()
    }

    /// Writes what is left; every sender must be gone.
    #[must_use]
    pub fn close(mut self) -> CsvEnd {
        self.rescue.close();
        // A panic of the writer has been reported by its thread.
        let outcome = self.writer.take().and_then(|writer| writer.join().ok()).unwrap_or_default();
        let full = self.full.load(Ordering::Relaxed);
        let dropped = [("csv_queue_full", full), ("csv_not_written", outcome.lost)];
        CsvEnd {
            written: outcome.written,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            failure: outcome.failure,
        }
    }
}

/// Opens the tables of a folder; those without rows begin with the names of their columns.
fn open_all(folder: &Path, begin: Begin) -> Result<Vec<LineFile>, OutputError> {
    let open = |table: Table| {
        let mut file = LineFile::open(&folder.join(table.file()), begin, Links::Refused)?;
        if file.is_empty() {
            let mut names = Vec::new();
            let mut line = Line::new(&mut names);
            table.columns().iter().for_each(|column| line.text(column.as_bytes()));
            line.end();
            // The names of the columns are no row: written now, or the folder is of no use.
            file.write(&names).map_err(|(_, error)| OutputError::Failed { path: folder.to_owned(), error })?;
        }
        Ok(file)
    };
    Table::ALL.into_iter().map(open).collect()
}

fn write(
    parcels: &Receiver<Vec<Row>>,
    renewed: &Renewed<Vec<LineFile>>,
    mut tables: Vec<OpenTable>,
    groups: &Registry,
) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let parcel = match renewed.next(parcels) {
            Next::Renew => {
                // Between two parcels nothing waits in a table to be written.
                for (table, file) in tables.iter_mut().zip(renewed.take().into_iter().flatten()) {
                    (table.file, table.failed) = (file, None);
                }
                continue;
            }
            Next::Item(parcel) => parcel,
            Next::Over => return outcome,
        };
        for row in parcel {
            let Some(table) = tables.iter_mut().find(|open| open.table == Table::of(&row)) else { continue };
            // The lines of a row go together.
            let lines = table::push(&mut table.out, &row, groups);
            table.ends.extend((0..lines).map(|_| table.out.len()));
            if table.out.len() >= WRITE_BYTES {
                table.write(&mut outcome);
            }
        }
        tables.iter_mut().for_each(|table| table.write(&mut outcome));
    }
}

impl OpenTable {
    fn write(&mut self, outcome: &mut Outcome) {
        let lines = self.ends.len() as u64;
        if lines == 0 {
            return;
        }
        if self.failed.is_some_and(|since| since.elapsed() < AGAIN) {
            outcome.lost += lines;
        } else {
            let ends = &self.ends;
            let count = |bytes: usize| ends.partition_point(|end| *end <= bytes);
            let whole = |bytes: usize| count(bytes).checked_sub(1).map_or(0, |last| ends[last]);
            match self.file.write_whole(&self.out, whole) {
                Ok(()) => {
                    outcome.written += lines;
                    self.failed = None;
                }
                Err((bytes, error)) => {
                    let written = count(bytes) as u64;
                    outcome.written += written;
                    outcome.lost += lines - written;
                    if self.failed.is_none() {
                        log::error!("{}: {error}; its rows are lost until it works again", self.table.file());
                    }
                    self.failed = Some(Stopwatch::start());
                    outcome.failure = Some(error);
                }
            }
        }
        self.out.clear();
        self.ends.clear();
    }
}
