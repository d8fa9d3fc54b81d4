//! While a run goes on: signals, a progress line on a terminal, signs of life for a service manager.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::last_words;
use super::run::Life;
use super::terminal;
use crate::pipeline::{Control, Pace, Stop};
use crate::plugin::Loads;
use crate::sink::progress_line;
use crate::time::Stopwatch;

/// How often it is looked whether a script is still being loaded.
const LOOK: Duration = Duration::from_millis(50);
/// How often the progress line is drawn.
const REDRAW: Duration = Duration::from_millis(200);
/// Runs shorter than this show no progress.
const QUIET: Duration = Duration::from_millis(500);

/// The threads that watch a run.
pub struct Watcher {
    progress: Option<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
    done: Arc<AtomicBool>,
}

/// Keeps what is asked by signals until there is a run to ask; it would end the process otherwise. What ends a run ends its
/// beginning as well.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn keep_requests() -> anyhow::Result<Signals> {
    Signals::new([SIGHUP, SIGUSR1]).context("installing signal handlers")
}

/// Until there is a run to end, a signal ends the process and the commands of its scripts and jobs. True once there is one.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn end_at_once() -> anyhow::Result<Arc<AtomicBool>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("installing signal handlers")?;
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in &mut signals {
            if !over.load(Ordering::Acquire) {
                last_words::exit(128 + signal);
            }
        }
    })?;
    Ok(is_over)
}

impl Watcher {
    /// Starts listening for signals, those that were kept first, and, on a terminal, drawing progress. Signals are heard as
    /// long as the process lives: outputs and the report are written after the last packet, and whoever reads them may stall.
    ///
    /// # Errors
    /// When a handler or thread cannot be started.
    pub fn start(life: &Arc<Life>, mut signals: Signals, loads: Loads) -> anyhow::Result<Self> {
        let handle = signals.handle();
        for signal in [SIGINT, SIGTERM] {
            handle.add_signal(signal).context("installing signal handlers")?;
        }
        let done = Arc::new(AtomicBool::new(false));
        let (heard, over) = (Arc::clone(life), Arc::clone(&done));
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut signals {
                match signal {
                    // Of a run that is over nothing can be asked but an end.
                    SIGHUP | SIGUSR1 if over.load(Ordering::Acquire) => {}
                    SIGHUP => drop(heard.reload()),
                    SIGUSR1 => log_stats(&heard),
                    _ if heard.control().stop() == Stop::No => {
                        heard.stop(Stop::Graceful);
                        do_without(&loads, signal, &over);
                    }
                    _ => {
                        heard.stop(Stop::AtOnce);
                        // Whatever still holds the run up is not waited for.
                        last_words::exit(128 + signal);
                    }
                }
            }
        })?;
        let progress = if terminal::shows_progress() {
            let (done, control, pace) = (Arc::clone(&done), Arc::clone(life.control()), life.pace());
            Some(thread::Builder::new().name("progress".to_owned()).spawn(move || draw(&control, pace, &done))?)
        } else {
            None
        };
        let watchdog = match life.notify().watchdog {
            Some(every) => {
                let (done, life) = (Arc::clone(&done), Arc::clone(life));
                Some(thread::Builder::new().name("watchdog".to_owned()).spawn(move || report(&life, every, &done))?)
            }
            None => None,
        };
        Ok(Self { progress, watchdog, done })
    }

    /// Stops watching all but signals; the progress line is wiped.
    pub fn stop(self) {
        self.done.store(true, Ordering::Release);
        // The threads do nothing that can fail in a way worth telling.
        if let Some(progress) = self.progress {
            progress.thread().unpark();
            let _ = progress.join();
        }
        if let Some(watchdog) = self.watchdog {
            watchdog.thread().unpark();
            let _ = watchdog.join();
        }
    }
}

/// A run that is to end does not wait for a script that is still being loaded and has been for long.
fn do_without(loads: &Loads, signal: i32, over: &Arc<AtomicBool>) {
    let (loads, over) = (loads.clone(), Arc::clone(over));
    // Without the thread it is waited for, or there is another signal.
    let _ = thread::Builder::new().name("ending".to_owned()).spawn(move || {
        if let Some(file) = late(&loads, &over) {
            log::warn!("{} is still being loaded; the run ends without it and without a report", file.display());
            last_words::exit(128 + signal);
        }
    });
}

/// Waits for a script that is late, as long as the run is not over.
fn late(loads: &Loads, over: &AtomicBool) -> Option<PathBuf> {
    while !over.load(Ordering::Acquire) {
        if let Some(file) = loads.late() {
            return Some(file);
        }
        thread::sleep(LOOK);
    }
    None
}

/// Packet threads are waited for, and the next signal must not be.
fn log_stats(life: &Arc<Life>) {
    let asking = Arc::clone(life);
    if thread::Builder::new().name("stats".to_owned()).spawn(move || asking.log_stats()).is_err() {
        log::warn!("no figures: no thread can be started");
    }
}

/// Tells the service manager, twice as often as it wants, that all packet threads answer. A run that ends has its own limits.
fn report(life: &Life, every: Duration, done: &AtomicBool) {
    while !done.load(Ordering::Acquire) {
        if life.control().stop() != Stop::No || life.is_alive(every / 2) {
            life.notify().alive();
        }
        thread::park_timeout(every / 2);
    }
}

fn draw(control: &Control, pace: Pace, done: &AtomicBool) {
    let watch = Stopwatch::start();
    let mut last = (0, Duration::ZERO);
    thread::park_timeout(QUIET);
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
        progress_line::draw(&line);
        thread::park_timeout(REDRAW);
    }
    drop(progress_line::make_room());
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

#[cfg(test)]
mod tests {
    use super::late;
    use crate::plugin::Loads;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    #[test]
    fn a_script_that_may_be_late_is_waited_for_no_longer_than_the_run() {
        let over = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&over);
        let waiting = thread::spawn(move || late(&Loads::default(), &its));
        over.store(true, Ordering::Release);
        assert_eq!(waiting.join().unwrap(), None);
    }
}
