//! The watchdog: one thread for the process that looks at every VM a hundred times a second.
//!
//! Time is measured by the watchdog's samples, so that a call into a VM reads no clock. A sample that finds the same call
//! and the same progress as the one before adds to its age; anything else starts anew. The steps of an overrun:
//!
//! 1. The watchdog writes a [`Request`] for exactly this call and progress, then signals the thread, and does so again at
//!    every sample until the call is over.
//! 2. The signal handler (on the thread of the VM, so nothing races with the VM) arms a hook if the request still holds.
//! 3. The hook raises at the next instruction, and at every one after it, so that no `pcall` can swallow the error for
//!    good. It checks the request once more before the first time: a callback that has just begun is never hit.
//! 4. [`Vm::call`](super::Vm::call) ends the call before it disarms the hook: a late signal finds its request void.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fmt, io, ptr, thread};

use mlua::lua_State;

use crate::time::Stopwatch;

use super::call::Budget;
use super::hung::{Frame, FrameText, HungStack};
use super::raw;

/// Distance of the watchdog's samples: the resolution of every budget.
const TICK: Duration = Duration::from_millis(10);

/// How long after its interruption a call must have returned, or it is stuck inside C: ten seconds after it began at the
/// default budget of one second.
const STUCK_AFTER: Duration = Duration::from_secs(9);

/// Signals of an overrun after which its call is taken to be inside a C function, and its stack noted.
const SIGNALS_UNTIL_HUNG: u32 = 10;

/// Signals after which nothing more is waited for to be noted: the thread hears none, as long as it waits in the kernel.
const SIGNALS_UNTIL_DEAF: u32 = 100;

/// A time in the atomics that stands for "never".
const NEVER: u64 = u64::MAX;

/// Called by the watchdog's thread, once for each call that it is about.
type Handler = Arc<dyn Fn(&Guard) + Send + Sync>;

/// What the watchdog tells of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It takes longer than people like to wait without a word.
    Late,
    /// It does not return although it was interrupted.
    Stuck,
}

/// Calls that were slow, as the watchdog saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// How many.
    pub count: u32,
    /// The longest, with the resolution of the samples.
    pub longest: Duration,
    /// What [`Guard::progress`] held in the longest.
    pub progress: i32,
}

impl Slow {
    /// Both together.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let longer = if later.longest > self.longest { later } else { self };
        Self { count: self.count.saturating_add(later.count), ..longer }
    }
}

/// The part of a VM that other threads (the watchdog) may see.
pub struct Guard {
    /// Changes whenever the VM moves on to another callback; a driver loop in Lua stores to it. The budget of a call
    /// counts from its last change.
    pub progress: AtomicI32,
    name: String,
    thread: libc::pthread_t,
    /// Null before the VM is set up and after it was closed.
    state: AtomicPtr<lua_State>,
    /// The call in progress; 0 is none. Ids are never used twice.
    call: AtomicU64,
    last_call: AtomicU64,
    limit: AtomicU64,
    slow: AtomicU64,
    request: Request,
    /// Whether the clock of the call in progress stands still.
    paused: AtomicBool,
    /// Whether the signal handler has set the hook.
    armed: AtomicBool,
    /// The call in which the hook has raised.
    raised: AtomicU64,
    interruptions: AtomicU64,
    /// Where the last interruption hit: message and stack.
    interruption: Mutex<(String, String)>,
    slow_count: AtomicU32,
    slow_longest: AtomicU64,
    slow_progress: AtomicI32,
    stuck: AtomicU64,
    stuck_after: AtomicU64,
    on_stuck: OnceLock<Handler>,
    late_after: AtomicU64,
    on_late: OnceLock<Handler>,
    /// Where the call in progress is, if it does not come back.
    hung: HungStack,
    /// The call for which the signal handler has looked for that.
    looked_at: AtomicU64,
}

/// What the watchdog wants stopped: this callback of this call, nothing later.
#[derive(Default)]
struct Request {
    call: AtomicU64,
    progress: AtomicI32,
    /// Signals sent for it so far.
    signals: AtomicU32,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("name", &self.name).field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Guard {
    /// For a VM of the calling thread.
    pub(super) fn new(name: &str) -> Self {
        Self {
            progress: AtomicI32::new(0),
            name: name.to_owned(),
            thread: raw::current_thread(),
            state: AtomicPtr::new(ptr::null_mut()),
            call: AtomicU64::new(0),
            last_call: AtomicU64::new(0),
            limit: AtomicU64::new(NEVER),
            slow: AtomicU64::new(NEVER),
            request: Request::default(),
            paused: AtomicBool::new(false),
            armed: AtomicBool::new(false),
            raised: AtomicU64::new(0),
            interruptions: AtomicU64::new(0),
            interruption: Mutex::default(),
            slow_count: AtomicU32::new(0),
            slow_longest: AtomicU64::new(0),
            slow_progress: AtomicI32::new(0),
            stuck: AtomicU64::new(0),
            stuck_after: AtomicU64::new(nanos(STUCK_AFTER)),
            on_stuck: OnceLock::new(),
            late_after: AtomicU64::new(NEVER),
            on_late: OnceLock::new(),
            hung: HungStack::default(),
            looked_at: AtomicU64::new(0),
        }
    }

    /// The name given to the VM.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address of [`Guard::progress`], for a driver loop that stores to it through `ffi` as an `int32_t *`. Valid as long
    /// as the VM.
    #[must_use]
    pub fn progress_ptr(&self) -> *mut i32 {
        self.progress.as_ptr()
    }

    /// How many calls were interrupted.
    #[must_use]
    pub fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Relaxed)
    }

    /// The slow calls since the last time this was asked; `None` if there were none.
    #[must_use]
    pub fn take_slow(&self) -> Option<Slow> {
        let count = self.slow_count.swap(0, Ordering::AcqRel);
        let longest = Duration::from_nanos(self.slow_longest.swap(0, Ordering::AcqRel));
        (count > 0).then(|| Slow { count, longest, progress: self.slow_progress.load(Ordering::Relaxed) })
    }

    /// Whether the call in progress was interrupted and yet does not return: it is inside a C function.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        let call = self.call.load(Ordering::Acquire);
        call != 0 && self.stuck.load(Ordering::Acquire) == call
    }

    /// Has the thread of the VM run only while nothing else would, if the VM is there still. For a thread that is left behind:
    /// nothing gives it its time back.
    pub fn run_idle(&self) {
        if let Ok(watchdog) = watchdog() {
            let all = watchdog.lock();
            if all.iter().any(|watched| ptr::eq(Arc::as_ptr(&watched.guard), self)) {
                raw::run_idle(self.thread);
            }
        }
    }

    /// Sets what is done about a call that is stuck inside C, and how long after its interruption. The handler runs once
    /// per such call on the watchdog's thread and must be quick; it can be set once per VM, later ones are ignored.
    pub fn on_stuck(&self, after: Duration, handler: impl Fn(&Self) + Send + Sync + 'static) {
        self.stuck_after.store(nanos(after), Ordering::Relaxed);
        let _ = self.on_stuck.set(Arc::new(handler));
    }

    /// Whether the call in progress was asked to end.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        let call = self.call.load(Ordering::Acquire);
        call != 0 && self.request.call.load(Ordering::Acquire) == call
    }

    /// Where the call in progress is inside a C function that it does not return from, innermost first; nothing as long as
    /// that is not known, or where it cannot be: code that was compiled does not say where it is.
    #[must_use]
    pub fn hung_at(&self) -> Vec<Frame> {
        self.hung.frames(self.call.load(Ordering::Acquire))
    }

    /// Has the calls from now on told of that take so long, until [`Guard::expect_delays`]. The handler is called as that of
    /// [`Guard::on_stuck`], and set as that is.
    pub fn on_late(&self, after: Duration, handler: impl Fn(&Self) + Send + Sync + 'static) {
        let _ = self.on_late.set(Arc::new(handler));
        self.late_after.store(nanos(after), Ordering::Relaxed);
    }

    /// From now on calls may take so long without a word, or for ever.
    pub fn expect_delays(&self, of: Option<Duration>) {
        self.late_after.store(of.map_or(NEVER, nanos), Ordering::Relaxed);
    }

    /// Stops the clock of the call in progress, until what is given back is dropped: somebody is waited for who takes their
    /// time. The call has its whole budget again afterwards.
    #[must_use]
    pub fn pause(self: &Arc<Self>) -> Paused {
        self.paused.store(true, Ordering::Release);
        Paused(Arc::clone(self))
    }

    /// Names the state the hook is set on; null takes the VM out of reach of the signal handler.
    pub(super) fn set_state(&self, state: *mut lua_State) {
        self.state.store(state, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> *mut lua_State {
        self.state.load(Ordering::Relaxed)
    }

    /// Begins a call, or joins the one in progress if that has a limit: a call made by a callback into its own VM spends
    /// the callback's budget.
    pub(super) fn begin(&self, budget: Budget) -> Began {
        let outer = self.call.load(Ordering::Relaxed);
        let (limit, slow) = (self.limit.load(Ordering::Relaxed), self.slow.load(Ordering::Relaxed));
        if outer != 0 && limit != NEVER {
            return Began { id: outer, outer: None };
        }
        let id = self.last_call.load(Ordering::Relaxed) + 1;
        self.last_call.store(id, Ordering::Relaxed);
        self.limit.store(budget.limit.map_or(NEVER, nanos), Ordering::Relaxed);
        self.slow.store(budget.slow.map_or(NEVER, nanos), Ordering::Relaxed);
        self.call.store(id, Ordering::Release);
        Began { id, outer: Some(Outer { call: outer, limit, slow }) }
    }

    /// Ends what [`Guard::begin`] began; tells whether the hook may be armed and must be taken down.
    pub(super) fn end(&self, began: &Began) -> bool {
        let Some(outer) = &began.outer else {
            return false;
        };
        self.limit.store(outer.limit, Ordering::Relaxed);
        self.slow.store(outer.slow, Ordering::Relaxed);
        self.call.store(outer.call, Ordering::Release);
        // Only after the call is over: a signal between the two finds no request that holds.
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        self.armed.swap(false, Ordering::Relaxed)
    }

    /// Whether the hook has raised in this call.
    pub(super) fn was_interrupted(&self, began: &Began) -> bool {
        self.raised.load(Ordering::Relaxed) == began.id
    }

    /// Whether the callback now running is the one that was asked to stop, or its call was stopped already.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        let call = self.call.load(Ordering::Relaxed);
        call != 0
            && (self.raised.load(Ordering::Relaxed) == call
                || (self.request.call.load(Ordering::Acquire) == call
                    && self.request.progress.load(Ordering::Relaxed) == self.progress.load(Ordering::Relaxed)))
    }

    /// Called by the signal handler before it sets the hook; tells whether hooks must be let into finalizers, which is so
    /// from the second signal on.
    pub(super) fn arm(&self) -> bool {
        self.armed.store(true, Ordering::Relaxed);
        self.request.signals.load(Ordering::Relaxed) > 1
    }

    /// Called by the signal handler: whether the call does not come back, and it was not noted so far where it is.
    pub(super) fn wants_stack(&self) -> bool {
        self.request.signals.load(Ordering::Relaxed) >= SIGNALS_UNTIL_HUNG
            && !self.hung.is_of(self.call.load(Ordering::Relaxed))
    }

    /// Called by the signal handler: notes where the call in progress is.
    pub(super) fn note_stack<'a>(&self, frame: impl FnMut(c_int) -> Option<FrameText<'a>>) {
        self.hung.note(self.call.load(Ordering::Relaxed), frame);
    }

    /// Called by the signal handler when all that can be known of where the call in progress is was noted.
    pub(super) fn has_looked(&self) {
        self.looked_at.store(self.call.load(Ordering::Relaxed), Ordering::Release);
    }

    /// Called by the hook when it raises; tells whether it is the first time in this call.
    pub(super) fn raise(&self) -> bool {
        let call = self.call.load(Ordering::Relaxed);
        let first = self.raised.swap(call, Ordering::Relaxed) != call;
        if first {
            self.interruptions.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    /// The message of the error that interrupts the call in progress.
    pub(super) fn interruption_text(&self) -> String {
        let limit = Duration::from_nanos(self.limit.load(Ordering::Relaxed));
        format!("callback exceeded its time budget of {}", LimitText(limit))
    }

    /// Called by the hook: where the interruption hit.
    pub(super) fn note_interruption(&self, position: &str, traceback: String) {
        let noted = (format!("{position}{}", self.interruption_text()), traceback);
        *self.interruption.lock().unwrap_or_else(PoisonError::into_inner) = noted;
    }

    /// Message and stack of the last interruption.
    pub(super) fn interruption(&self) -> (String, String) {
        self.interruption.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keeps the clock of a VM's calls still.
#[derive(Debug)]
pub struct Paused(Arc<Guard>);

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.paused.store(false, Ordering::Release);
    }
}

/// What [`Guard::begin`] hands to [`Guard::end`].
pub(super) struct Began {
    id: u64,
    /// Absent where the call joined another.
    outer: Option<Outer>,
}

/// The call that a nested one interrupts, without a limit of its own.
struct Outer {
    call: u64,
    limit: u64,
    slow: u64,
}

/// A budget in words: whole seconds as such, anything else in milliseconds.
struct LimitText(Duration);

impl fmt::Display for LimitText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() == 0 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{} ms", self.0.as_millis())
        }
    }
}

/// A VM in the eyes of the watchdog.
struct Watched {
    guard: Arc<Guard>,
    call: u64,
    progress: i32,
    since: Stopwatch,
    slow: bool,
    late: bool,
    stuck: bool,
}

/// The VMs of the process, under one lock that is held while a signal is sent: a VM leaves the list before its thread can
/// end, so a signal never goes to a thread that is gone.
#[derive(Default)]
struct Watchdog {
    watched: Mutex<Vec<Watched>>,
    arrived: Condvar,
}

/// Starts the watchdog at its first use.
fn watchdog() -> io::Result<&'static Watchdog> {
    static WATCHDOG: OnceLock<Result<&'static Watchdog, io::ErrorKind>> = OnceLock::new();
    let started = WATCHDOG.get_or_init(|| {
        raw::install_signal_handler(raw::WokenCall::GoesOn).map_err(|e| e.kind())?;
        let watchdog: &'static Watchdog = Box::leak(Box::default());
        let spawned = thread::Builder::new().name("lua-watchdog".to_owned()).spawn(|| watchdog.run());
        spawned.map(|_| watchdog).map_err(|e| e.kind())
    });
    started.map_err(io::Error::from)
}

/// Keeps a VM under watch until it is dropped.
#[derive(Debug)]
pub(super) struct Watch(Arc<Guard>);

impl Watch {
    /// Puts a VM under watch.
    ///
    /// # Errors
    /// When the watchdog cannot be started.
    pub(super) fn new(guard: Arc<Guard>) -> io::Result<Self> {
        let watchdog = watchdog()?;
        watchdog.lock().push(Watched::new(Arc::clone(&guard)));
        watchdog.arrived.notify_one();
        Ok(Self(guard))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(watchdog) = watchdog() {
            watchdog.lock().retain(|watched| !Arc::ptr_eq(&watched.guard, &self.0));
        }
    }
}

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        // The list is whole at every moment, so a panic of another holder says nothing about it.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut signs = Vec::new();
        loop {
            let mut watched = self.lock();
            while watched.is_empty() {
                watched = self.arrived.wait(watched).unwrap_or_else(PoisonError::into_inner);
            }
            watched.iter_mut().for_each(|watched| watched.sample(&mut signs));
            drop(watched);
            // Without the lock: a handler may well log, wait or drop a VM.
            for (guard, sign) in signs.drain(..) {
                let handler = match sign {
                    Sign::Late => &guard.on_late,
                    Sign::Stuck => &guard.on_stuck,
                };
                if let Some(handler) = handler.get() {
                    handler(&guard);
                }
            }
            thread::sleep(TICK);
        }
    }
}

impl Watched {
    fn new(guard: Arc<Guard>) -> Self {
        Self { guard, call: 0, progress: 0, since: Stopwatch::start(), slow: false, late: false, stuck: false }
    }

    /// Looks at the VM once; adds what has just turned out.
    fn sample(&mut self, signs: &mut Vec<(Arc<Guard>, Sign)>) {
        let guard = &self.guard;
        let call = guard.call.load(Ordering::Acquire);
        if call == 0 {
            self.call = 0;
            return;
        }
        let progress = guard.progress.load(Ordering::Relaxed);
        if (call, progress) != (self.call, self.progress) {
            (self.call, self.progress) = (call, progress);
            (self.since, self.slow, self.late, self.stuck) = (Stopwatch::start(), false, false, false);
            return;
        }
        if guard.paused.load(Ordering::Acquire) {
            self.since = Stopwatch::start();
            return;
        }
        let age = nanos(self.since.elapsed());
        let (slow, limit) = (guard.slow.load(Ordering::Relaxed), guard.limit.load(Ordering::Relaxed));
        if age >= slow {
            self.note_slow(age);
        }
        let is_late = age >= self.guard.late_after.load(Ordering::Relaxed);
        if !self.late && is_late && (age < limit || self.was_looked_at()) {
            self.late = true;
            signs.push((Arc::clone(&self.guard), Sign::Late));
        }
        if age < limit {
            return;
        }
        self.interrupt();
        let after = self.guard.stuck_after.load(Ordering::Relaxed);
        if self.stuck || age < limit.saturating_add(after) {
            return;
        }
        self.stuck = true;
        self.guard.stuck.store(call, Ordering::Release);
        signs.push((Arc::clone(&self.guard), Sign::Stuck));
    }

    fn note_slow(&mut self, age: u64) {
        let guard = &self.guard;
        if !self.slow {
            self.slow = true;
            guard.slow_count.fetch_add(1, Ordering::AcqRel);
        }
        if guard.slow_longest.fetch_max(age, Ordering::AcqRel) < age {
            guard.slow_progress.store(self.progress, Ordering::Relaxed);
        }
    }

    /// Signals the thread of the VM, at every sample anew: the hook may have been removed by `debug.sethook`, or held off
    /// by a finalizer.
    fn interrupt(&self) {
        let request = &self.guard.request;
        request.signals.store(self.signals().saturating_add(1), Ordering::Relaxed);
        request.progress.store(self.progress, Ordering::Relaxed);
        request.call.store(self.call, Ordering::Release);
        raw::signal(self.guard.thread);
    }

    /// Signals sent so far to interrupt what goes on.
    fn signals(&self) -> u32 {
        let request = &self.guard.request;
        let is_its = request.call.load(Ordering::Relaxed) == self.call
            && request.progress.load(Ordering::Relaxed) == self.progress;
        if is_its { request.signals.load(Ordering::Relaxed) } else { 0 }
    }

    /// Whether the thread has noted where the interrupted call is, or cannot: it may be slow to hear of it.
    fn was_looked_at(&self) -> bool {
        self.guard.looked_at.load(Ordering::Acquire) == self.call || self.signals() >= SIGNALS_UNTIL_DEAF
    }
}

/// Nanoseconds that fit the atomics.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::{Guard, LimitText, SIGNALS_UNTIL_DEAF, SIGNALS_UNTIL_HUNG, Sign, Watched, watchdog};
    use crate::lua::Budget;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn budget_is_named_in_seconds_where_it_is_whole() {
        assert_eq!(LimitText(Duration::from_secs(1)).to_string(), "1 s");
        assert_eq!(LimitText(Duration::from_millis(150)).to_string(), "150 ms");
        assert_eq!(LimitText(Duration::from_millis(1500)).to_string(), "1500 ms");
    }

    #[test]
    fn nested_call_joins_one_with_a_limit_and_replaces_one_without() {
        let guard = Guard::new("t");
        let limited = Budget { limit: Some(Duration::from_secs(1)), slow: None };
        let unlimited = Budget { limit: None, slow: None };

        let outer = guard.begin(limited);
        let inner = guard.begin(limited);
        assert_eq!(inner.id, outer.id);
        guard.end(&inner);
        assert_eq!(guard.call.load(super::Ordering::Relaxed), outer.id);
        guard.end(&outer);
        assert_eq!(guard.call.load(super::Ordering::Relaxed), 0);

        let outer = guard.begin(unlimited);
        let inner = guard.begin(limited);
        assert_ne!(inner.id, outer.id);
        assert_eq!(guard.interruption_text(), "callback exceeded its time budget of 1 s");
        guard.end(&inner);
        assert_eq!(guard.call.load(super::Ordering::Relaxed), outer.id);
    }

    #[test]
    fn request_for_an_earlier_callback_is_void() {
        let guard = Guard::new("t");
        let began = guard.begin(Budget { limit: Some(Duration::from_secs(1)), slow: None });
        guard.request.progress.store(12, super::Ordering::Relaxed);
        guard.request.call.store(began.id, super::Ordering::Relaxed);
        guard.progress.store(12, super::Ordering::Relaxed);
        assert!(guard.must_stop());
        guard.progress.store(13, super::Ordering::Relaxed);
        assert!(!guard.must_stop());
        guard.end(&began);
        guard.progress.store(12, super::Ordering::Relaxed);
        assert!(!guard.must_stop());
    }

    /// How often a call is told of that takes too long from its beginning, when the watchdog has looked so often.
    fn told(watched: &mut Watched, samples: u32) -> usize {
        let mut signs = Vec::new();
        (0..samples).for_each(|_| watched.sample(&mut signs));
        signs.iter().filter(|(_, sign)| *sign == Sign::Late).count()
    }

    /// A call of this thread that takes too long from its beginning, and of which its signal handler knows nothing.
    fn overdue() -> (Arc<Guard>, Watched) {
        // It installs the handler.
        watchdog().unwrap();
        let guard = Arc::new(Guard::new("t"));
        guard.on_late(Duration::ZERO, |_| {});
        guard.begin(Budget { limit: Some(Duration::ZERO), slow: None });
        let mut watched = Watched::new(Arc::clone(&guard));
        assert_eq!(told(&mut watched, 1), 0, "it is seen for the first time");
        (guard, watched)
    }

    #[test]
    fn a_call_that_hangs_is_told_of_when_its_stack_is_noted_however_late_that_is() {
        let (guard, mut watched) = overdue();
        assert_eq!(told(&mut watched, 3 * SIGNALS_UNTIL_HUNG), 0);
        guard.has_looked();
        assert_eq!(told(&mut watched, 3), 1);
    }

    #[test]
    fn a_call_whose_thread_hears_no_signals_is_told_of_without_a_stack() {
        let (_guard, mut watched) = overdue();
        assert_eq!(told(&mut watched, SIGNALS_UNTIL_DEAF), 0);
        assert_eq!(told(&mut watched, 3), 1);
    }
}
