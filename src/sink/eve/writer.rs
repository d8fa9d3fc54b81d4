//! The thread that formats and writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};

use super::formatter::{EveOrigin, Formatter, Readers};
use super::sender::{EveSender, Parcel, Shared};
use super::target::{EveTarget, Meaning, Outlet, open_file};
use crate::processor::yield_to_packets;
use crate::sink::WhenFull;
use crate::sink::line_file::{Begin, LineFile, OutputError};
use crate::sink::patient::Haste;
use crate::sink::renewal::{Next, Renewal, Renewed, renewal};
use crate::sink::rescue::{Rescue, Save};
use crate::sink::reuse::{GiveBack, Reused, reuse};
use crate::time::Stopwatch;

/// Parcels that may wait.
const QUEUE: usize = 64;
/// Items of which flows are looked for together.
const AHEAD: usize = 16;
/// Bytes of lines that are written at once.
const WRITE_BYTES: usize = 256 << 10;
/// How long it takes until a target that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What an output of events is told.
#[derive(Debug)]
pub struct EveOptions {
    /// Where events go.
    pub target: EveTarget,
    /// What becomes of lines that are there.
    pub begin: Begin,
    /// Whether packets may wait for a file that is slow.
    pub when_full: WhenFull,
    /// Begins when the run is asked to end.
    pub haste: Haste,
    /// Where packets come from, by the indexes of their origins.
    pub origins: Vec<EveOrigin>,
    /// What takes protocols apart.
    pub readers: Readers,
}

/// How an output of events ended.
#[derive(Debug, Default)]
pub struct EveEnd {
    /// Lines written.
    pub written: u64,
    /// What was lost, by name.
    pub dropped: Vec<(&'static str, u64)>,
    /// Flows that were forgotten while they lasted.
    pub forgotten: u64,
    /// The last failure that was no closed pipe.
    pub failure: Option<io::Error>,
}

/// A handle on the writer, for any thread.
#[derive(Clone, Debug)]
pub struct EveHandle {
    target: EveTarget,
    /// With a file, if that is the target.
    renewal: Renewal<Option<LineFile>>,
}

impl EveHandle {
    /// The file was moved away: begins a new one at the same path. No line is lost or split.
    ///
    /// # Errors
    /// When it cannot be opened; events go on where they went then.
    pub fn reopen(&self) -> Result<(), OutputError> {
        let file = match &self.target {
            EveTarget::File(path) => Some(open_file(path, Begin::Append)?),
            EveTarget::Output | EveTarget::Socket(_) => None,
        };
        self.renewal.give(file);
        Ok(())
    }
}

/// An output of events.
#[derive(Debug)]
pub struct EveStream {
    rescue: Rescue<Parcel, Parcel>,
    reused: Reused<Parcel>,
    handle: EveHandle,
    when_full: WhenFull,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    written: u64,
    lost_writing: u64,
    lost_without_reader: u64,
    forgotten: u64,
    failure: Option<io::Error>,
}

impl EveStream {
    /// Opens the target and starts the thread; `on_closed` is called, once, when the reader of standard output is gone.
    ///
    /// # Errors
    /// When the target cannot be opened.
    pub fn open(options: EveOptions, on_closed: Box<dyn FnOnce() + Send>) -> Result<Self, OutputError> {
        let outlet = Outlet::open(&options.target, options.begin, options.haste)?;
        let (queue, parcels) = bounded(QUEUE);
        let (give_back, reused) = reuse();
        let (renewal, renewed) = renewal();
        let handle = EveHandle { target: options.target.clone(), renewal };
        let shared: Arc<Shared> = Arc::default();
        let when_full = options.when_full;
        let writer = Writer {
            formatter: Formatter::new(options.origins, options.readers),
            name: options.target.to_string(),
            outlet: Some(outlet),
            renewed,
            shared: Arc::clone(&shared),
            give_back,
            failed: None,
            on_closed: Some(on_closed),
            outcome: Outcome::default(),
        };
        let path = options.target.to_string().into();
        let thread = thread::Builder::new().name("eve".to_owned()).spawn(move || {
            yield_to_packets();
            writer.run(&parcels)
        });
        let thread = thread.map_err(|error| OutputError::Failed { path, error })?;
        let rescue = Rescue::new(queue, Parcel::filled);
        Ok(Self { rescue, reused, handle, when_full, shared, writer: Some(thread) })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> EveSender {
        EveSender::new((self.rescue.sender(), self.reused.another()), self.when_full, Arc::clone(&self.shared))
    }

    /// What writes the events that are made, in a process that ends without its senders.
    #[must_use]
    pub fn saver(&self) -> Save {
        let rescue = self.rescue.clone();
        Box::new(move |limit| rescue.save(limit))
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> EveHandle {
        self.handle.clone()
    }

    /// Writes what is left; every sender must be gone.
    #[must_use]
    pub fn close(mut self) -> EveEnd {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.rescue.close();
        // A panic of the writer has been reported by its thread.
        let outcome = self.writer.take().and_then(|writer| writer.join().ok()).unwrap_or_default();
        let full = self.shared.queue_full.load(Ordering::Relaxed);
        let dropped = [
            ("eve_queue_full", full),
            ("eve_not_written", outcome.lost_writing),
            ("eve_no_reader", outcome.lost_without_reader),
        ];
        EveEnd {
            written: outcome.written,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            forgotten: outcome.forgotten,
            failure: outcome.failure,
        }
    }
}

struct Writer {
    formatter: Formatter,
    name: String,
    /// Nothing once the reader is gone for good.
    outlet: Option<Outlet>,
    renewed: Renewed<Option<LineFile>>,
    shared: Arc<Shared>,
    give_back: GiveBack<Parcel>,
    /// Since when the target fails.
    failed: Option<Stopwatch>,
    on_closed: Option<Box<dyn FnOnce() + Send>>,
    outcome: Outcome,
}

impl Writer {
    fn run(mut self, parcels: &Receiver<Parcel>) -> Outcome {
        let mut out = Vec::with_capacity(WRITE_BYTES * 2);
        loop {
            match self.renewed.next(parcels) {
                Next::Renew => self.reopen(),
                Next::Item(parcel) => self.parcel(parcel, &mut out),
                Next::Over => break,
            }
        }
        let mut lines = self.formatter.finish(&mut out);
        self.write(&mut out, &mut lines);
        self.outcome.forgotten = self.formatter.forgotten();
        self.outcome
    }

    fn parcel(&mut self, parcel: Parcel, out: &mut Vec<u8>) {
        self.shared.comes_on();
        let mut lines = 0;
        for items in parcel.items.chunks(AHEAD) {
            self.formatter.ask_for(items, &parcel.beside);
            for item in items {
                lines += self.formatter.take(item, &parcel.beside, out);
            }
            if out.len() >= WRITE_BYTES {
                self.write(out, &mut lines);
            }
        }
        self.write(out, &mut lines);
        if let Some(parcel) = parcel.emptied() {
            self.give_back.emptied(parcel);
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, lines: &mut u64) {
        let (bytes, count) = (std::mem::take(out), std::mem::take(lines));
        self.put(&bytes, count);
        *out = bytes;
        out.clear();
    }

    fn put(&mut self, bytes: &[u8], count: u64) {
        if count == 0 {
            return;
        }
        let Some(outlet) = &mut self.outlet else {
            self.outcome.lost_without_reader += count;
            return;
        };
        if self.failed.is_some_and(|since| since.elapsed() < AGAIN) {
            self.lose(count);
            return;
        }
        let Err(fault) = outlet.write(bytes, &self.shared) else {
            self.outcome.written += count;
            if self.failed.take().is_some() {
                log::warn!("{}: events are written again", self.name);
            }
            return;
        };
        let written = bytes[..fault.written].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.outcome.written += written;
        self.lose(count - written);
        if fault.meaning == Meaning::Over {
            self.outlet = None;
            if let Some(tell) = self.on_closed.take() {
                tell();
            }
            return;
        }
        if self.failed.is_none() {
            log::error!("{}: {}; events are lost until it works again", self.name, fault.error);
        }
        self.failed = Some(Stopwatch::start());
        if !matches!(self.outlet, Some(Outlet::Socket { .. })) {
            self.outcome.failure = Some(fault.error);
        }
    }

    fn lose(&mut self, count: u64) {
        match &self.outlet {
            Some(Outlet::File(_)) => self.outcome.lost_writing += count,
            _ => self.outcome.lost_without_reader += count,
        }
    }

    fn reopen(&mut self) {
        let Some(outlet) = &mut self.outlet else { return };
        outlet.reopen(self.renewed.take().flatten());
        self.failed = None;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{Formatter, Outcome, Outlet, Readers, Writer, renewal, reuse};
    use crate::sink::eve::target::Pipe;
    use crate::sink::patient::{Haste, Patience};

    #[test]
    fn every_line_is_written_or_counted_when_the_reader_goes_away_for_good() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let telling = Arc::clone(&told);
        let pipe = Pipe::new(File::from(OwnedFd::from(pipe)));
        let mut writer = Writer {
            formatter: Formatter::new(Vec::new(), Readers { dns: |_| None, certificate: |_| None }),
            name: "a pipe".to_owned(),
            outlet: Some(Outlet::Output { pipe, patience: Patience::new(Haste::default()) }),
            renewed: renewal().1,
            shared: Arc::default(),
            give_back: reuse().0,
            failed: None,
            on_closed: Some(Box::new(move || {
                telling.fetch_add(1, Ordering::Relaxed);
            })),
            outcome: Outcome::default(),
        };
        let mut put = |lines: u64| {
            let (mut out, mut count) = (b"{}\n".repeat(lines as usize), lines);
            writer.write(&mut out, &mut count);
            assert_eq!((out.len(), count), (0, 0));
            let Outcome { written, lost_writing, lost_without_reader, .. } = writer.outcome;
            (written, lost_writing, lost_without_reader)
        };
        assert_eq!(put(2), (2, 0, 0));
        let mut bytes = [0; 6];
        reader.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"{}\n{}\n");
        drop(reader);
        assert_eq!(put(3), (2, 0, 3));
        assert_eq!(told.load(Ordering::Relaxed), 1);
        // Nothing is tried any more, and nobody is told again.
        assert_eq!(put(5), (2, 0, 8));
        assert_eq!(put(0), (2, 0, 8));
        assert_eq!(put(7), (2, 0, 15));
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(writer.outcome.failure.is_none());
    }
}
