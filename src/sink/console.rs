//! The terminal as a sink: what scripts print goes to standard output, what is logged to standard error.
//!
//! A thread of its own writes, so that a slow terminal or pipe never holds up packets. When its queue is full the sender
//! either waits (files: nothing is lost) or drops and counts (interfaces).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::patient::{Haste, Patient};
use super::progress_line;

/// Parcels of lines that may wait.
const QUEUE: usize = 256;

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits.
    Block,
    /// What does not fit is dropped and counted.
    DropNewest,
}

/// Lines handed over at once: each ends with a line feed.
#[derive(Clone, Debug, Default)]
pub struct Parcel {
    /// For standard output.
    pub out: Vec<u8>,
    /// For standard error.
    pub err: Vec<u8>,
    /// Number of lines in it.
    pub lines: u64,
}

/// The sending half; one per thread that produces lines.
#[derive(Clone, Debug)]
pub struct ConsoleSender {
    queue: Sender<Parcel>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
}

impl ConsoleSender {
    /// A sender whose lines are kept for whoever has the other end, without a console.
    #[must_use]
    pub fn kept() -> (Self, Receiver<Parcel>) {
        let (queue, parcels) = unbounded();
        (Self { queue, when_full: WhenFull::Block, dropped: Arc::default() }, parcels)
    }

    /// Hands over lines.
    pub fn send(&self, parcel: Parcel) {
        let lines = parcel.lines;
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).is_err(),
            WhenFull::DropNewest => self.queue.try_send(parcel).is_err(),
        };
        if lost {
            self.dropped.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// How the console ended.
#[derive(Debug, Default)]
pub struct ConsoleEnd {
    /// Lines that were not written.
    pub dropped: u64,
    /// Why one of the outputs took no more; a closed pipe is no failure.
    pub failure: Option<io::Error>,
}

/// The writing half.
#[derive(Debug)]
pub struct Console {
    sender: Option<ConsoleSender>,
    writer: Option<JoinHandle<Option<io::Error>>>,
    dropped: Arc<AtomicU64>,
}

impl Console {
    /// Starts the writing thread. In haste it gives a reader up that stalls.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(when_full: WhenFull, haste: &Haste) -> io::Result<Self> {
        let (out, err) = (Patient::of(&io::stdout(), haste.clone())?, Patient::of(&io::stderr(), haste.clone())?);
        Self::start_with(when_full, Box::new(out), Box::new(err))
    }

    /// Starts the writing thread on other outputs.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start_with(when_full: WhenFull, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> io::Result<Self> {
        let (queue, parcels) = bounded(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let writer =
            thread::Builder::new().name("console".to_owned()).spawn(move || write(&parcels, out, err, &lost))?;
        let sender = ConsoleSender { queue, when_full, dropped: Arc::clone(&dropped) };
        Ok(Self { sender: Some(sender), writer: Some(writer), dropped })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> ConsoleSender {
        self.sender.clone().expect("the sender is there until the console is closed")
    }

    /// Writes what is left; every other sender must be gone.
    #[must_use]
    pub fn close(mut self) -> ConsoleEnd {
        self.sender = None;
        // A panic of the writer has been reported by its thread.
        let failure = self.writer.take().and_then(|writer| writer.join().ok()).flatten();
        ConsoleEnd { dropped: self.dropped.load(Ordering::Relaxed), failure }
    }
}

/// Writes parcels until the last sender is gone. An output that fails once is not tried again; its lines are counted as
/// dropped. The failure is told at once, unless it is a closed pipe.
fn write(
    parcels: &Receiver<Parcel>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    lost: &AtomicU64,
) -> Option<io::Error> {
    let mut out = Output { name: "standard output", writer: Some(out), failure: None };
    let mut err = Output { name: "standard error", writer: Some(err), failure: None };
    for parcel in parcels {
        let _room = progress_line::make_room();
        let mut complete = out.put(&parcel.out);
        complete &= err.put(&parcel.err);
        if !complete {
            lost.fetch_add(parcel.lines, Ordering::Relaxed);
        }
    }
    out.failure.or(err.failure)
}

struct Output {
    name: &'static str,
    /// Nothing once it has failed.
    writer: Option<Box<dyn Write + Send>>,
    failure: Option<io::Error>,
}

impl Output {
    /// False if not all was written.
    fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let Some(writer) = &mut self.writer else { return false };
        let Err(error) = writer.write_all(bytes).and_then(|()| writer.flush()) else { return true };
        self.writer = None;
        if error.kind() != io::ErrorKind::BrokenPipe {
            log::error!("{}: {error}; nothing more is printed there, the run goes on", self.name);
            self.failure = Some(error);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Console, Parcel, QUEUE, WhenFull};
    use crate::sink::output_of_tests::{closed, keeping};
    use std::io;
    use std::sync::mpsc::channel;

    fn parcel(text: &str) -> Parcel {
        Parcel { out: text.into(), err: Vec::new(), lines: 1 }
    }

    #[test]
    fn everything_is_written_before_close_returns() {
        let (output, kept) = keeping(|| ());
        let console = Console::start_with(WhenFull::Block, output, Box::new(io::sink())).unwrap();
        for _ in 0..10_000 {
            console.sender().send(parcel("x\n"));
        }
        assert_eq!(console.close().dropped, 0);
        assert_eq!(kept.lock().unwrap().len(), 20_000);
    }

    #[test]
    fn a_closed_pipe_is_counted_and_does_not_stop_the_sender() {
        let console = Console::start_with(WhenFull::Block, closed(), Box::new(io::sink())).unwrap();
        for _ in 0..1_000 {
            console.sender().send(parcel("x\n"));
        }
        let end = console.close();
        assert_eq!((end.dropped, end.failure.is_none()), (1_000, true));
    }

    #[test]
    fn every_line_that_finds_the_queue_full_is_counted() {
        let (begun, begins) = channel();
        let (go_on, goes_on) = channel::<()>();
        // The first parcel is being written until the test lets go.
        let (output, kept) = keeping(move || {
            let _ = begun.send(());
            let _ = goes_on.recv();
        });
        let console = Console::start_with(WhenFull::DropNewest, output, Box::new(io::sink())).unwrap();
        let sender = console.sender();
        sender.send(parcel("x\n"));
        begins.recv().unwrap();
        (0..QUEUE).for_each(|_| sender.send(parcel("x\n")));
        for lines in [3, 4] {
            sender.send(Parcel { out: b"y\n".repeat(lines), err: Vec::new(), lines: lines as u64 });
        }
        drop((sender, go_on));
        let end = console.close();
        assert_eq!((end.dropped, end.failure.is_none()), (7, true));
        assert_eq!(*kept.lock().unwrap(), b"x\n".repeat(QUEUE + 1));
    }
}
