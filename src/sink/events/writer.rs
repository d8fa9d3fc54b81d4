//! The thread that writes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::outlet::{self, Outlet};
use super::sender::{EventLines, EventSender};
use crate::processor::yield_to_packets;
use crate::sink::WhenFull;
use crate::sink::line_file::{Begin, LineFile, OutputError};
use crate::sink::patient::Haste;
use crate::sink::renewal::{Next, Renewal, Renewed, renewal};
use crate::sink::rescue::{Rescue, Save};
use crate::time::Stopwatch;

/// The first line of every file and stream: the version.
const HEAD: &[u8] = b"{\"ev\":\"version\",\"events\":1}\n";
/// Parcels that may wait.
const QUEUE: usize = 64;
/// How long it takes until a file that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// How an event stream ended.
#[derive(Debug, Default)]
pub struct StreamEnd {
    /// Lines that were lost, by name.
    pub dropped: Vec<(&'static str, u64)>,
    /// The last failure; a closed pipe is none.
    pub failure: Option<io::Error>,
}

/// A handle on the writer, for any thread.
#[derive(Clone, Debug)]
pub struct EventHandle {
    path: PathBuf,
    renewal: Renewal<LineFile>,
}

impl EventHandle {
    /// The file was moved away: begins a new one at the same path. No line is lost or split.
    ///
    /// # Errors
    /// When it cannot be opened; events go on where they went then.
    pub fn reopen(&self) -> Result<(), OutputError> {
        self.renewal.give(outlet::open(&self.path, Begin::Append)?);
        Ok(())
    }
}

/// The writing half.
#[derive(Debug)]
pub struct EventStream {
    rescue: Rescue<EventLines, Vec<u8>>,
    when_full: WhenFull,
    full: Arc<AtomicU64>,
    renewal: Renewal<LineFile>,
    /// The name of a plain file.
    path: Option<PathBuf>,
    writer: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    lost_writing: u64,
    lost_without_reader: u64,
    failure: Option<io::Error>,
}

impl EventStream {
    /// Opens a file, or standard output for `-`. In haste a reader that stalls is given up.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, when_full: WhenFull, haste: Haste) -> Result<Self, OutputError> {
        let failed = |error| OutputError::Failed { path: path.to_owned(), error };
        if path.as_os_str() == "-" {
            let outlet = Outlet::standard(haste).map_err(failed)?;
            return Self::start_on("standard output".to_owned(), outlet, when_full).map_err(failed);
        }
        let outlet = Outlet::named(path, haste)?;
        let file = matches!(outlet, Outlet::File(_)).then(|| path.to_owned());
        let stream = Self::start_on(path.display().to_string(), outlet, when_full).map_err(failed)?;
        Ok(Self { path: file, ..stream })
    }

    /// Starts the writing thread on an output, which is called `name` when it fails.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, output: Box<dyn Write + Send>, when_full: WhenFull) -> io::Result<Self> {
        Self::start_on(name.to_owned(), Outlet::Stream(output), when_full)
    }

    fn start_on(name: String, outlet: Outlet, when_full: WhenFull) -> io::Result<Self> {
        let (queue, parcels) = bounded(QUEUE);
        let (renewal, renewed) = renewal();
        let writer = Writer::new(name, outlet, renewed);
        let thread = thread::Builder::new().name("events".to_owned()).spawn(move || {
            yield_to_packets();
            writer.run(&parcels)
        })?;
        let rescue = Rescue::new(queue, EventLines::into_parcel);
        Ok(Self { rescue, when_full, full: Arc::default(), renewal, path: None, writer: Some(thread) })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> EventSender {
        EventSender::new(self.rescue.sender(), self.when_full, Arc::clone(&self.full))
    }

    /// What writes the lines that are made, in a process that ends without its senders.
    #[must_use]
    pub fn saver(&self) -> Save {
        let rescue = self.rescue.clone();
        Box::new(move |limit| rescue.save(limit))
    }

    /// A handle for other threads, if this is a file that can be opened anew.
    #[must_use]
    pub fn handle(&self) -> Option<EventHandle> {
        let path = self.path.clone()?;
        Some(EventHandle { path, renewal: self.renewal.clone() })
    }

    /// Writes what is left; every sender must be gone.
    #[must_use]
    pub fn close(mut self) -> StreamEnd {
        self.rescue.close();
        // A panic of the writer has been reported by its thread.
        let outcome = self.writer.take().and_then(|writer| writer.join().ok()).unwrap_or_default();
        let dropped = [
            ("events_queue_full", self.full.load(Ordering::Relaxed)),
            ("events_not_written", outcome.lost_writing),
            ("events_no_reader", outcome.lost_without_reader),
        ];
        StreamEnd { dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(), failure: outcome.failure }
    }
}

struct Writer {
    name: String,
    /// Nothing once a stream has ended.
    outlet: Option<Outlet>,
    renewed: Renewed<LineFile>,
    /// The first line is not out yet.
    owes_head: bool,
    /// Since when the file fails.
    failed: Option<Stopwatch>,
    /// The stream has ended because nobody reads it.
    lacks_reader: bool,
    outcome: Outcome,
}

impl Writer {
    fn new(name: String, outlet: Outlet, renewed: Renewed<LineFile>) -> Self {
        let (failed, outcome) = (None, Outcome::default());
        Self { name, outlet: Some(outlet), renewed, owes_head: true, failed, lacks_reader: false, outcome }
    }

    fn run(mut self, parcels: &Receiver<Vec<u8>>) -> Outcome {
        self.put(&[]);
        loop {
            match self.renewed.next(parcels) {
                Next::Renew => self.renew(),
                Next::Item(parcel) => self.put(&parcel),
                Next::Over => break,
            }
        }
        // What was asked for last has its first line all the same.
        self.renew();
        self.lose(u64::from(self.owes_head));
        self.outcome
    }

    /// Goes on with another file, if one was opened.
    fn renew(&mut self) {
        let Some(file) = self.renewed.take() else { return };
        self.owes_head = file.is_empty();
        self.failed = None;
        self.outlet = Some(Outlet::File(file));
        self.put(&[]);
    }

    /// Writes lines, behind the first one if that is not out yet.
    fn put(&mut self, lines: &[u8]) {
        let is_too_early = self.failed.is_some_and(|since| since.elapsed() < AGAIN);
        let Some(outlet) = self.outlet.as_mut().filter(|_| !is_too_early) else {
            return self.lose(count(lines));
        };
        let head = if self.owes_head { HEAD } else { &[] };
        let done = outlet.write(head).map_err(|(_, error)| (0, error)).and_then(|()| {
            self.owes_head = false;
            outlet.write(lines)
        });
        match done {
            Ok(()) => {
                if self.failed.take().is_some() {
                    log::warn!("{}: events are written again", self.name);
                }
            }
            Err((written, error)) => {
                self.fail(error);
                self.lose(count(&lines[written..]));
            }
        }
    }

    fn fail(&mut self, error: io::Error) {
        if matches!(self.outlet, Some(Outlet::File(_))) {
            if self.failed.is_none() {
                log::error!("{}: {error}; events are lost until it works again", self.name);
            }
            self.failed = Some(Stopwatch::start());
        } else {
            self.outlet = None;
            self.lacks_reader = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::TimedOut);
            if error.kind() == io::ErrorKind::BrokenPipe {
                return;
            }
            log::error!("{}: {error}; the event stream ends here, the run goes on", self.name);
        }
        self.outcome.failure = Some(error);
    }

    const fn lose(&mut self, lines: u64) {
        if self.lacks_reader {
            self.outcome.lost_without_reader += lines;
        } else {
            self.outcome.lost_writing += lines;
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::{EventStream, StreamEnd};
    use crate::sink::WhenFull;
    use crate::sink::events::{Field, Head};
    use crate::sink::output_of_tests::{Kept, Output, closed, keeping};
    use crate::time::Timestamp;
    use crossbeam_channel::{Sender, bounded};
    use std::io::{self, Write};

    fn lost(end: &StreamEnd, name: &str) -> u64 {
        assert!(end.dropped.iter().all(|(other, _)| *other == name), "{:?}", end.dropped);
        end.dropped.iter().map(|(_, count)| count).sum()
    }

    /// An output that waits until it is told to go on, and what it was given: it goes on for good once the sender is gone.
    fn gate() -> (Sender<()>, Box<dyn Write + Send>, Kept) {
        let (hold, open) = bounded::<()>(0);
        let (output, kept) = keeping(move || _ = open.recv());
        (hold, output, kept)
    }

    fn send(stream: &EventStream, count: usize) {
        let mut sender = stream.sender();
        let head = Head { ev: "print", time: Timestamp::EPOCH, script: "a.lua", side: "frontend" };
        for i in 0..count {
            sender.event(&head, &[("n", Field::Count(i as u64)), ("text", Field::Text(&"x".repeat(1000)))]);
        }
    }

    #[test]
    fn a_blocking_stream_loses_nothing() {
        let (hold, output, kept) = gate();
        drop(hold);
        let stream = EventStream::start("events", output, WhenFull::Block).unwrap();
        send(&stream, 20_000);
        assert_eq!(stream.close().dropped, []);
        let kept = kept.lock().unwrap();
        let lines: Vec<&[u8]> = kept.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 20_001);
        assert_eq!(lines[0], b"{\"ev\":\"version\",\"events\":1}");
    }

    #[test]
    fn a_stalled_stream_drops_whole_lines_and_counts_them() {
        let (hold, output, kept) = gate();
        let stream = EventStream::start("events", output, WhenFull::DropNewest).unwrap();
        send(&stream, 20_000);
        drop(hold);
        let dropped = lost(&stream.close(), "events_queue_full");
        let kept = kept.lock().unwrap().iter().filter(|&&b| b == b'\n').count() as u64;
        assert!(dropped > 0);
        assert_eq!(kept - 1 + dropped, 20_000);
    }

    #[test]
    fn a_closed_pipe_ends_the_stream_quietly() {
        let stream = EventStream::start("events", closed(), WhenFull::Block).unwrap();
        send(&stream, 20_000);
        let end = stream.close();
        assert!(end.failure.is_none());
        assert_eq!(lost(&end, "events_no_reader"), 20_001, "the line of the version as well");
    }

    /// An output with room for so many bytes.
    fn disk(mut room: usize) -> Box<dyn Write + Send> {
        Box::new(Output(move |bytes: &[u8]| {
            let count = bytes.len().min(room);
            room -= count;
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }))
    }

    #[test]
    fn a_full_disk_is_a_failure_and_lines_without_their_end_are_counted() {
        let stream = EventStream::start("events", disk(1_000_000), WhenFull::Block).unwrap();
        send(&stream, 20_000);
        let end = stream.close();
        assert_eq!(end.failure.as_ref().map(io::Error::kind), Some(io::ErrorKind::StorageFull));
        let dropped = lost(&end, "events_not_written");
        assert!((18_900..19_200).contains(&dropped), "{dropped}");
    }
}
