//! The writer thread.

use std::fs;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::config::StoreConfig;
use super::counts::{Shared, StoreCounts, add, take_back};
use super::directory::{Directory, StoreError};
use super::feed::{Entry, Parcel, StoreFeed};
use super::record::FILE_HEADER;
use super::segment::{Indexed, OpenSegment, index_path};
use crate::packet::LinkType;
use crate::processor::yield_to_packets;
use crate::sink::WhenFull;
use crate::sink::lookout;
use crate::time::{self, Stopwatch, Timestamp};

/// Parcels that may wait.
const QUEUE: usize = 32;
/// After a failure nothing is written for this long.
const RETRY: Duration = Duration::from_secs(1);
/// Link types that are written at the same time; a file is closed when another one is needed.
const MAX_OPEN: usize = 8;

/// The store while it is written.
#[derive(Debug)]
pub struct PacketStore {
    queue: Sender<Parcel>,
    spare: Receiver<Parcel>,
    when_full: WhenFull,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl PacketStore {
    /// Opens the folder and starts the writer.
    ///
    /// # Errors
    /// [`StoreError`]; or the thread cannot be started.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let directory = Directory::open(&config.directory)?;
        if directory.repaired > 0 {
            log::warn!(
                "packet store {}: an earlier run ended in mid-write; {} bytes of a packet were cut off",
                config.directory.display(),
                directory.repaired
            );
        }
        let shared = Arc::new(Shared::default());
        let (queue, parcels) = bounded(QUEUE);
        let (done, spare) = bounded(QUEUE);
        let writer = Writer {
            config: config.clone(),
            directory,
            open: Vec::new(),
            latest: Timestamp::from_nanos(i64::MIN),
            shared: Arc::clone(&shared),
            broken: None,
            told: None,
        };
        let thread = thread::Builder::new()
            .name("packet-store".to_owned())
            .spawn(move || {
                yield_to_packets();
                writer.run(&parcels, &done)
            })
            .map_err(|error| StoreError::Folder { path: config.directory.clone(), error })?;
        Ok(Self { queue, spare, when_full: config.when_full, shared, thread })
    }

    /// A feed for a packet thread.
    #[must_use]
    pub fn feed(&self) -> StoreFeed {
        StoreFeed::new(self.queue.clone(), self.spare.clone(), self.when_full, Arc::clone(&self.shared))
    }

    /// Waits until everything is written and closes the files. All feeds must be gone.
    #[must_use]
    pub fn close(self) -> StoreCounts {
        drop(self.queue);
        if self.thread.join().is_err() {
            log::error!("the thread of the packet store ended early");
        }
        self.shared.get()
    }
}

/// Why nothing is written for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Full,
    Other,
}

struct Writer {
    config: StoreConfig,
    directory: Directory,
    /// At most one per link type.
    open: Vec<OpenSegment>,
    latest: Timestamp,
    shared: Arc<Shared>,
    /// Since when, and why, nothing is written.
    broken: Option<(Stopwatch, Trouble)>,
    /// The trouble that was reported last; reported again only after something else.
    told: Option<Trouble>,
}

impl Writer {
    fn run(mut self, parcels: &Receiver<Parcel>, done: &Sender<Parcel>) {
        while let Ok(mut parcel) = lookout::next(parcels, Duration::MAX) {
            self.parcel(&parcel);
            parcel.clear();
            // Without room for it the parcel is freed.
            let _ = done.try_send(parcel);
        }
        for segment in std::mem::take(&mut self.open) {
            self.close(segment);
        }
        self.prune();
    }

    fn parcel(&mut self, parcel: &Parcel) {
        let (mut at, mut rest) = (0, parcel.entries.as_slice());
        while let Some(first) = rest.first() {
            let count = self.run_length(rest);
            let (run, behind) = rest.split_at(count);
            let len: usize = run.iter().map(|entry| entry.len as usize).sum();
            self.write(first.linktype, run, &parcel.records[at..at + len]);
            at += len;
            rest = behind;
        }
        self.prune();
    }

    /// How many of the entries go into one file at once.
    fn run_length(&self, entries: &[Entry]) -> usize {
        let linktype = entries[0].linktype;
        let open = self.open.iter().find(|segment| segment.linktype == linktype);
        let mut len = open.map_or(0, |segment| segment.len);
        let start = open.and_then(|segment| segment.span).map_or(entries[0].time, |(first, _)| first);
        let fits = |entry: &&Entry| {
            len += u64::from(entry.len);
            entry.linktype == linktype
                && len <= self.config.segment_bytes
                && entry.time.since(start) <= self.config.segment_span
        };
        // A file that is full is closed for the first packet, whatever its size.
        entries.iter().take_while(fits).count().max(1)
    }

    fn write(&mut self, linktype: LinkType, run: &[Entry], records: &[u8]) {
        if let Some((since, trouble)) = self.broken {
            if since.elapsed() < RETRY {
                return self.lost(trouble, run.len());
            }
            self.broken = None;
        }
        match self.try_write(linktype, run, records) {
            Ok(indexed) => {
                if self.told.take().is_some() {
                    log::warn!("packet store {}: writing again", self.config.directory.display());
                }
                if indexed == Indexed::Lost {
                    add(&self.shared.index_lost, 1);
                }
                add(&self.shared.written, run.len() as u64);
                add(&self.shared.written_bytes, records.len() as u64);
                self.latest = run.iter().map(|entry| entry.time).fold(self.latest, Timestamp::max);
            }
            Err(error) => {
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let trouble = if full { Trouble::Full } else { Trouble::Other };
                if self.told != Some(trouble) {
                    self.told = Some(trouble);
                    log::error!(
                        "packet store {}: {error}; packets are not stored until it can be written again",
                        self.config.directory.display()
                    );
                }
                self.broken = Some((Stopwatch::start(), trouble));
                self.lost(trouble, run.len());
            }
        }
    }

    fn lost(&self, trouble: Trouble, packets: usize) {
        let counter = match trouble {
            Trouble::Full => &self.shared.disk_full,
            Trouble::Other => &self.shared.failed,
        };
        add(counter, packets as u64);
    }

    fn try_write(&mut self, linktype: LinkType, run: &[Entry], records: &[u8]) -> io::Result<Indexed> {
        let index = self.segment_for(linktype, &run[0])?;
        self.open[index].append(records, run.iter().map(|entry| (entry.time, entry.len, entry.marks())))
    }

    /// The file that takes the next packet of a link type.
    fn segment_for(&mut self, linktype: LinkType, next: &Entry) -> io::Result<usize> {
        let known = self.open.iter().position(|segment| segment.linktype == linktype);
        if let Some(index) = known {
            let segment = &self.open[index];
            let too_large = segment.len + u64::from(next.len) > self.config.segment_bytes && segment.span.is_some();
            let too_long = segment.span.is_some_and(|(first, _)| next.time.since(first) > self.config.segment_span);
            // A folder that was replaced under us takes no more packets of this file.
            if !too_large && !too_long && !segment.is_deleted() && (self.told.is_none() || segment.path.exists()) {
                return Ok(index);
            }
            let segment = self.open.remove(index);
            self.close(segment);
        } else if self.open.len() >= MAX_OPEN {
            let segment = self.open.remove(0);
            self.close(segment);
        }
        let path = self.directory.new_name(next.time);
        self.open.push(OpenSegment::create(path, linktype)?);
        add(&self.shared.files, 1);
        Ok(self.open.len() - 1)
    }

    fn close(&mut self, segment: OpenSegment) {
        if segment.is_deleted() {
            log::warn!("{}: deleted while it was written; its packets are lost", segment.path.display());
            take_back(&self.shared.written, segment.packets);
            take_back(&self.shared.written_bytes, segment.len - FILE_HEADER);
            add(&self.shared.file_deleted, segment.packets);
            // Without it its index is of no use.
            let _ = fs::remove_file(index_path(&segment.path));
            return;
        }
        let (closed, indexed) = segment.close();
        if indexed == Indexed::Lost {
            add(&self.shared.index_lost, 1);
        }
        self.directory.closed.push(closed);
    }

    fn prune(&mut self) {
        let open = self.open.iter().map(|segment| segment.len).sum();
        // One packet of a clock that has jumped ahead must not make everything else old.
        let now = self.latest.min(time::wall());
        let freed = self.directory.prune(open, self.config.total_bytes, self.config.age, now);
        add(&self.shared.deleted_files, freed.files);
        add(&self.shared.deleted_bytes, freed.bytes);
    }
}
