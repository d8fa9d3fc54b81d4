//! What other threads may ask of a running pipeline, and what they may see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;

use crate::sink::Haste;

/// How urgently the run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stop {
    /// Go on.
    No = 0,
    /// Take in no more packets, finish what was begun.
    Graceful = 1,
    /// Leave everything.
    AtOnce = 2,
}

/// Shared by the packet threads and whoever watches them. Reading costs one relaxed load per batch.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicU8,
    stopping: AtomicBool,
    draining: AtomicBool,
    cut: AtomicBool,
    quiet: AtomicBool,
    /// For outputs whose readers stall.
    haste: Haste,
    reloads: AtomicU64,
    /// Packets handled so far.
    pub packets: AtomicU64,
    /// Bytes on the wire handled so far.
    pub bytes: AtomicU64,
    /// Input bytes read so far.
    pub read: AtomicU64,
    /// Input bytes in all; 0 if not known.
    pub total: AtomicU64,
    /// Packets dropped so far by the kernel or the interface.
    pub dropped: AtomicU64,
    /// Jobs scheduled and not delivered yet.
    pub jobs: AtomicU64,
}

/// Has the run end if the thread that holds it panics: the others would wait for that one, or go on for ever without it.
#[derive(Debug)]
pub struct EndsOnPanic(Arc<Control>);

impl EndsOnPanic {
    /// For the thread that begins.
    #[must_use]
    pub fn of(control: &Arc<Control>) -> Self {
        Self(Arc::clone(control))
    }
}

impl Drop for EndsOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request_stop(Stop::Graceful);
        }
    }
}

/// What one thread has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Packets handled.
    pub packets: u64,
    /// Bytes on the wire handled.
    pub bytes: u64,
    /// Packets dropped before they came to it.
    pub dropped: u64,
}

impl Control {
    /// One that tells outputs when they are to hurry.
    #[must_use]
    pub fn hurrying(haste: Haste) -> Self {
        Self { haste, ..Self::default() }
    }

    /// What it tells them by.
    #[must_use]
    pub const fn haste(&self) -> &Haste {
        &self.haste
    }

    /// Adds what a thread has done since it last told.
    pub fn tell(&self, last: &mut Done, now: Done) {
        let add = |to: &AtomicU64, now: u64, last: u64| {
            to.fetch_add(now.saturating_sub(last), Ordering::Relaxed);
        };
        add(&self.packets, now.packets, last.packets);
        add(&self.bytes, now.bytes, last.bytes);
        add(&self.dropped, now.dropped, last.dropped);
        *last = now;
    }

    /// Asks for an end; a later, weaker request changes nothing.
    pub fn request_stop(&self, stop: Stop) {
        self.stop.fetch_max(stop as u8, Ordering::Relaxed);
        if stop != Stop::No {
            self.stopping.store(true, Ordering::Relaxed);
            self.haste.begin();
        }
        if stop == Stop::AtOnce || self.draining.load(Ordering::Relaxed) {
            self.cut.store(true, Ordering::Relaxed);
        }
    }

    /// Input has ended and jobs are waited for: the next request to stop cuts the wait short.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Nobody takes results any more: the run ends without a word.
    pub fn end_quietly(&self) {
        self.quiet.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Asks for changed plugins to be loaded again.
    pub fn request_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was asked for.
    #[must_use]
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// Set when packets are no longer to wait for jobs.
    #[must_use]
    pub fn stopping(&self) -> &AtomicBool {
        &self.stopping
    }

    /// Set when waiting for jobs at the end is to end.
    #[must_use]
    pub fn cut(&self) -> &AtomicBool {
        &self.cut
    }

    /// What was asked for.
    #[inline]
    #[must_use]
    pub fn stop(&self) -> Stop {
        match self.stop.load(Ordering::Relaxed) {
            0 => Stop::No,
            1 => Stop::Graceful,
            _ => Stop::AtOnce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Done, EndsOnPanic, Stop};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::thread;

    #[test]
    fn a_thread_that_panics_ends_the_run_and_one_that_ends_does_not() {
        let control = Arc::new(Control::default());
        let run = |panics: bool| {
            let ends = EndsOnPanic::of(&control);
            let work = thread::spawn(move || {
                let _ends = ends;
                assert!(!panics, "on purpose");
            });
            (work.join().is_err(), control.stop())
        };
        assert_eq!([run(false), run(true)], [(false, Stop::No), (true, Stop::Graceful)]);
    }

    #[test]
    fn what_several_threads_have_done_is_added_up() {
        let control = Control::default();
        let (mut one, mut two) = (Done::default(), Done::default());
        control.tell(&mut one, Done { packets: 5, bytes: 50, dropped: 3 });
        control.tell(&mut two, Done { packets: 1, bytes: 10, dropped: 4 });
        control.tell(&mut one, Done { packets: 7, bytes: 70, dropped: 8 });
        let told = [&control.packets, &control.bytes, &control.dropped].map(|sum| sum.load(Ordering::Relaxed));
        assert_eq!(told, [8, 80, 12]);
    }

    #[test]
    fn a_weaker_request_changes_nothing() {
        let control = Control::default();
        control.request_stop(Stop::AtOnce);
        control.request_stop(Stop::Graceful);
        assert_eq!(control.stop(), Stop::AtOnce);
    }
}
