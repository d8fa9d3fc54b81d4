//! While a run goes on: signals that end it, and a progress line on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::job::Pool;
use crate::pipeline::{Control, Pace, Stop};
use crate::sink::eve::EveHandle;
use crate::time::Stopwatch;

/// How often the progress line is drawn.
const REDRAW: Duration = Duration::from_millis(200);
/// How long the second signal waits until the children of jobs are ended.
const LAST_MOMENT: Duration = Duration::from_millis(250);
/// Runs shorter than this show no progress.
const QUIET: Duration = Duration::from_millis(500);

/// The threads that watch a run.
pub struct Watcher {
    signals: Handle,
    listener: JoinHandle<()>,
    progress: Option<JoinHandle<()>>,
    done: Arc<AtomicBool>,
}

impl Watcher {
    /// Starts listening for signals and, on a terminal, drawing progress.
    ///
    /// # Errors
    /// When a handler or thread cannot be started.
    pub fn start(
        control: Arc<Control>,
        pace: Pace,
        pools: Arc<[Pool]>,
        events: Option<EveHandle>,
    ) -> anyhow::Result<Self> {
        // Without a file to begin anew a hang-up of the terminal ends the run, as it always does.
        let wanted = [SIGINT, SIGTERM].into_iter().chain(events.is_some().then_some(SIGHUP));
        let mut signals = Signals::new(wanted).context("installing signal handlers")?;
        let handle = signals.handle();
        let on_signal = Arc::clone(&control);
        let listener = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut signals {
                if let (SIGHUP, Some(events)) = (signal, &events) {
                    events.reopen();
                    continue;
                }
                if on_signal.stop() == Stop::No {
                    on_signal.request_stop(Stop::Graceful);
                    continue;
                }
                on_signal.request_stop(Stop::AtOnce);
                end_children(Arc::clone(&pools));
                // Whatever still holds the run up is not waited for.
                signal_hook::low_level::exit(128 + signal);
            }
        })?;
        let done = Arc::new(AtomicBool::new(false));
        let progress = if std::io::stderr().is_terminal() {
            let done = Arc::clone(&done);
            Some(thread::Builder::new().name("progress".to_owned()).spawn(move || draw(&control, pace, &done))?)
        } else {
            None
        };
        Ok(Self { signals: handle, listener, progress, done })
    }

    /// Stops watching; the progress line is wiped.
    pub fn stop(self) {
        self.done.store(true, Ordering::Release);
        self.signals.close();
        // The threads do nothing that can fail in a way worth telling.
        let _ = self.listener.join();
        if let Some(progress) = self.progress {
            progress.thread().unpark();
            let _ = progress.join();
        }
    }
}

/// Ends the child processes of all jobs, which would outlive this process. In a thread of its own: a lock that some other
/// thread holds must not keep the process alive.
fn end_children(pools: Arc<[Pool]>) {
    let (told, done) = crossbeam_channel::bounded(1);
    let thread = thread::Builder::new().spawn(move || {
        pools.iter().for_each(Pool::abort);
        // Nobody listens after the last moment.
        let _ = told.send(());
    });
    if thread.is_ok() {
        let _ = done.recv_timeout(LAST_MOMENT);
    }
}

fn draw(control: &Control, pace: Pace, done: &AtomicBool) {
    let watch = Stopwatch::start();
    let mut last = (0, Duration::ZERO);
    thread::park_timeout(QUIET);
    let mut drawn = false;
    while !done.load(Ordering::Acquire) {
        let (packets, now) = (control.packets.load(Ordering::Relaxed), watch.elapsed());
        let rate = (packets - last.0) as f64 / (now - last.1).as_secs_f64().max(1e-3);
        last = (packets, now);
        let line = match pace {
            _ if control.stop() != Stop::No => "ending; Ctrl-C again to end at once".to_owned(),
            Pace::Packets => file_line(control, packets, rate, now),
            Pace::Wall => {
                let dropped = control.dropped.load(Ordering::Relaxed);
                format!("{packets} packets  {}/s  {dropped} dropped  {}", short(rate), clock(now))
            }
        };
        // A closed terminal is noticed by the run itself.
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
        drawn = true;
        thread::park_timeout(REDRAW);
    }
    if drawn {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
}

fn file_line(control: &Control, packets: u64, rate: f64, elapsed: Duration) -> String {
    let (read, total) = (control.read.load(Ordering::Relaxed), control.total.load(Ordering::Relaxed));
    let rate = short(rate);
    if total == 0 {
        return format!("{packets} packets  {rate}/s  {}", clock(elapsed));
    }
    let share = (read as f64 / total as f64).clamp(0.0, 1.0);
    let filled = (share * 30.0).round() as usize;
    let left = elapsed.as_secs_f64() * (1.0 - share) / share.max(1e-6);
    let left = clock(Duration::from_secs_f64(left.min(359_999.0)));
    let bar = format!("{}{}", "━".repeat(filled), "─".repeat(30 - filled));
    format!("{bar} {:3.0}%  {packets} packets  {rate}/s  {left} left", share * 100.0)
}

fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e3 => format!("{:.0} k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn clock(time: Duration) -> String {
    let secs = time.as_secs();
    if secs >= 3600 {
        format!("{}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
    } else {
        format!("{}:{:02}", secs / 60, secs % 60)
    }
}
