//! Where time goes in VMs: calls, time and errors of each callback, memory, and stacks if they are wanted.
//!
//! A [`Probe`] belongs to one VM and its thread; the [`Profiler`] is shared and gathers what they publish. LuaJIT samples the
//! stacks of one VM at a time, so VMs take turns; what a stack weighs is therefore its share of the time that was measured
//! of its callback, and not the number of samples. Without a profiler nothing of this exists.

#![expect(unsafe_code, reason = "turns of the sampling profiler, whose promises are kept here")]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mlua::{Function, LightUserData};

use super::call::{Budget, HOST_CHUNK, PluginError};
use super::sampling::{self, Samples};
use super::vm::Vm;
use crate::time::Stopwatch;

const WRAPPER: &str = include_str!("profile.lua");
/// Callbacks of a VM that are told apart; further ones count as the last.
const MAX_CALLBACKS: usize = 256;
/// How long a VM is sampled before it is the next one's turn. A turn costs the VM its compiled code.
const TURN_NANOS: u64 = 50_000_000;
/// How long the VM that was sampled last waits for another to take its turn.
const PAUSE_NANOS: u64 = 20_000_000;
/// Pairs of clock readings that are timed to know what one costs.
const CLOCK_ROUNDS: u32 = 2_000;

/// Whether stacks are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackSampling {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// Which thread runs a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The one of packets or of the backend.
    Engine,
    /// One of the workers of jobs.
    Worker,
}

/// How one callback did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallbackProfile {
    /// Its name in messages; where the function begins for jobs.
    pub name: String,
    /// Times it was called.
    pub calls: u64,
    /// Time in it.
    pub nanos: u64,
    /// Times it failed.
    pub errors: u64,
    /// Its stacks and the nanoseconds they account for, outermost function first.
    pub stacks: Vec<(String, u64)>,
}

/// How one VM did.
#[derive(Clone, Debug, PartialEq)]
pub struct VmProfile {
    /// File name of its script.
    pub plugin: String,
    /// Which thread it is on.
    pub place: Place,
    /// Its callbacks, in the order in which they were first seen.
    pub callbacks: Vec<CallbackProfile>,
    /// Time in the VM, what is around the callbacks included.
    pub nanos: u64,
    /// Bytes it holds.
    pub memory: usize,
    /// Most bytes it was seen to hold.
    pub peak: usize,
    /// Stacks that were sampled.
    pub samples: u64,
}

/// Gathers the profiles of the VMs of a run.
#[derive(Debug)]
pub struct Profiler {
    stacks: StackSampling,
    vms: Mutex<Vec<Arc<Mutex<VmProfile>>>>,
    next: AtomicU32,
    /// The VM that is sampled; 0 if none is.
    holder: AtomicU32,
    /// The one before, and when its turn ended.
    last: AtomicU32,
    ended: AtomicU64,
    clock: f64,
}

impl Profiler {
    /// A profiler. Must be made before the threads of the run.
    #[must_use]
    pub fn new(stacks: StackSampling) -> Arc<Self> {
        if stacks == StackSampling::On {
            sampling::prepare();
        }
        let begin = now();
        (0..CLOCK_ROUNDS).for_each(|_| {
            std::hint::black_box(now());
        });
        let clock = (now() - begin) / f64::from(CLOCK_ROUNDS);
        Arc::new(Self {
            stacks,
            vms: Mutex::default(),
            next: AtomicU32::new(1),
            holder: AtomicU32::new(0),
            last: AtomicU32::new(0),
            ended: AtomicU64::new(0),
            clock,
        })
    }

    /// What was gathered: one entry for each script and place, its VMs added up.
    #[must_use]
    pub fn profiles(&self) -> Vec<VmProfile> {
        let mut merged: BTreeMap<(Place, String), VmProfile> = BTreeMap::new();
        for vm in lock(&self.vms).iter() {
            let vm = lock(vm).clone();
            match merged.get_mut(&(vm.place, vm.plugin.clone())) {
                Some(whole) => whole.add(vm),
                None => drop(merged.insert((vm.place, vm.plugin.clone()), vm)),
            }
        }
        merged.into_values().collect()
    }
}

impl VmProfile {
    fn add(&mut self, other: Self) {
        self.nanos += other.nanos;
        self.memory += other.memory;
        self.peak += other.peak;
        self.samples += other.samples;
        for callback in other.callbacks {
            match self.callbacks.iter_mut().find(|known| known.name == callback.name) {
                Some(known) => {
                    known.calls += callback.calls;
                    known.nanos += callback.nanos;
                    known.errors += callback.errors;
                    known.stacks.extend(callback.stacks);
                }
                None => self.callbacks.push(callback),
            }
        }
    }

    /// Time that is no callback's: the loops around them.
    #[must_use]
    pub fn around(&self) -> u64 {
        self.nanos.saturating_sub(self.callbacks.iter().map(|callback| callback.nanos).sum())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nanoseconds since the first call.
extern "C" fn now() -> f64 {
    static BEGIN: OnceLock<Stopwatch> = OnceLock::new();
    BEGIN.get_or_init(Stopwatch::start).elapsed().as_nanos() as f64
}

/// What is counted of a callback; `profile.lua` knows the layout.
#[repr(C)]
#[derive(Default)]
struct Counts {
    calls: Cell<f64>,
    nanos: Cell<f64>,
    errors: Cell<f64>,
    start: Cell<f64>,
}

/// Memory that wrapped callbacks write to; the VM keeps it alive.
struct Ledger {
    counts: Box<[Counts]>,
    samples: UnsafeCell<Samples>,
}

/// What looks on while a VM runs. Stays on its thread.
pub struct Probe {
    profiler: Arc<Profiler>,
    id: u32,
    ledger: Rc<Ledger>,
    names: RefCell<Vec<String>>,
    wrap: Function,
    published: Arc<Mutex<VmProfile>>,
    nanos: Cell<u64>,
    memory: Cell<(usize, usize)>,
    /// The state that is sampled now, and since when.
    turn: Cell<Option<(*mut mlua::lua_State, f64)>>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Probe {
    /// A probe for a VM whose script was not loaded yet.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn new(profiler: &Arc<Profiler>, vm: &Vm, place: Place) -> Result<Self, PluginError> {
        let counts = (0..MAX_CALLBACKS).map(|_| Counts::default()).collect();
        let samples = UnsafeCell::new(Samples { open: -1, ..Samples::default() });
        let ledger = Rc::new(Ledger { counts, samples });
        let chunk = vm.own(WRAPPER, "=millstream.profile")?;
        let counts = LightUserData(ledger.counts.as_ptr().cast_mut().cast());
        // The number of the open callback is the first field behind this address.
        // SAFETY: the samples are there; only the address of a field is taken.
        let open = LightUserData(unsafe { &raw mut (*ledger.samples.get()).open }.cast());
        let clock = LightUserData(now as extern "C" fn() -> f64 as *mut std::ffi::c_void);
        let wrap = vm.call(&chunk, (counts, open, clock), Budget { limit: None, slow: None })?;
        let owner = vm.lua().create_any_userdata(Rc::clone(&ledger)).map_err(|e| PluginError::from_lua(&e))?;
        let kept = vm.lua().set_named_registry_value("millstream.profile", owner);
        kept.map_err(|e| PluginError::from_lua(&e))?;
        let published = Arc::new(Mutex::new(VmProfile {
            plugin: vm.name().to_owned(),
            place,
            callbacks: Vec::new(),
            nanos: 0,
            memory: 0,
            peak: 0,
            samples: 0,
        }));
        lock(&profiler.vms).push(Arc::clone(&published));
        Ok(Self {
            id: profiler.next.fetch_add(1, Ordering::Relaxed),
            profiler: Arc::clone(profiler),
            ledger,
            names: RefCell::default(),
            wrap,
            published,
            nanos: Cell::new(0),
            memory: Cell::new((0, 0)),
            turn: Cell::new(None),
        })
    }

    /// The number of a callback.
    fn index(&self, name: &str) -> usize {
        let mut names = self.names.borrow_mut();
        if let Some(index) = names.iter().position(|known| known == name) {
            return index;
        }
        if names.len() < MAX_CALLBACKS {
            names.push(name.to_owned());
        } else if let Some(last) = names.last_mut() {
            "(other)".clone_into(last);
        }
        names.len() - 1
    }

    /// A callback that counts its calls and its time.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn wrap(&self, name: &str, callback: &Function) -> mlua::Result<Function> {
        self.wrap.call((self.index(name), callback))
    }

    /// A callback begins that is not wrapped.
    pub fn open(&self, name: &str) {
        let index = self.index(name);
        self.ledger.counts[index].start.set(now());
        self.set_open(index as i32);
    }

    /// It is over; it stood for so many calls.
    pub fn close(&self, name: &str, calls: u64) {
        let counts = &self.ledger.counts[self.index(name)];
        counts.calls.set(counts.calls.get() + calls as f64);
        // Unless an error has closed it.
        if let Some(counts) = self.take_open() {
            counts.nanos.set(counts.nanos.get() + (now() - counts.start.get()));
        }
    }

    /// The callback that is open has failed.
    pub fn failed(&self) {
        if let Some(counts) = self.take_open() {
            counts.errors.set(counts.errors.get() + 1.0);
            counts.nanos.set(counts.nanos.get() + (now() - counts.start.get()));
        }
    }

    fn set_open(&self, index: i32) {
        // SAFETY: the VM does not run while this thread is here, so nobody else writes.
        unsafe { (*self.ledger.samples.get()).open = index };
    }

    fn take_open(&self) -> Option<&Counts> {
        // SAFETY: as above.
        let open = unsafe { std::mem::replace(&mut (*self.ledger.samples.get()).open, -1) };
        usize::try_from(open).ok().and_then(|index| self.ledger.counts.get(index))
    }

    /// The VM is about to be entered.
    pub fn enter(&self, vm: &Vm) {
        if self.profiler.stacks == StackSampling::Off || self.turn.get().is_some() {
            return;
        }
        let profiler = &self.profiler;
        let rested = now() as u64 >= profiler.ended.load(Ordering::Relaxed).saturating_add(PAUSE_NANOS);
        if profiler.last.load(Ordering::Relaxed) == self.id && !rested {
            return;
        }
        if profiler.holder.compare_exchange(0, self.id, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        let state = vm.guard().state();
        if state.is_null() {
            profiler.holder.store(0, Ordering::Release);
            return;
        }
        // SAFETY: the VM is of this thread, the turn is ours, and the ledger lives as long as the VM.
        unsafe { sampling::start(state, self.ledger.samples.get()) };
        self.turn.set(Some((state, now())));
    }

    /// It was left, after some time in it.
    pub fn leave(&self, vm: &Vm, nanos: u64) {
        self.nanos.set(self.nanos.get() + nanos);
        let used = vm.used_memory();
        self.memory.set((used, self.memory.get().1.max(used)));
        if self.turn.get().is_some_and(|(_, since)| now() - since >= TURN_NANOS as f64) {
            self.rest();
        }
    }

    /// Ends the turn of this VM, if it has one: it will not be entered for a while.
    pub fn rest(&self) {
        let Some((state, _)) = self.turn.take() else { return };
        // SAFETY: started with this state on this thread, and the VM is still there.
        unsafe { sampling::stop(state) };
        self.profiler.last.store(self.id, Ordering::Relaxed);
        self.profiler.ended.store(now() as u64, Ordering::Relaxed);
        self.profiler.holder.store(0, Ordering::Release);
    }

    /// Makes what was counted visible to the profiler.
    pub fn publish(&self) {
        let names = self.names.borrow();
        // SAFETY: the VM does not run while this thread is here.
        let stacks = unsafe { &(*self.ledger.samples.get()).stacks };
        let mut published = lock(&self.published);
        (published.memory, published.peak) = self.memory.get();
        published.nanos = self.nanos.get();
        published.samples = stacks.values().sum();
        published.callbacks = names
            .iter()
            .zip(&self.ledger.counts)
            .enumerate()
            .filter(|(_, (_, counts))| counts.calls.get() > 0.0)
            .map(|(index, (name, counts))| {
                // Each call has read the clock twice, and one of the readings lies in between.
                let clock = counts.calls.get() * self.profiler.clock;
                let nanos = (counts.nanos.get() - clock).max(0.0) as u64;
                let (calls, errors) = (counts.calls.get() as u64, counts.errors.get() as u64);
                let own = stacks.iter().filter(|((open, _), _)| usize::try_from(*open) == Ok(index));
                let own = own.map(|((_, stack), count)| (readable(stack), *count));
                CallbackProfile { name: name.clone(), calls, nanos, errors, stacks: weigh(own.collect(), nanos) }
            })
            .collect();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.rest();
        self.publish();
    }
}

/// The frames of a plugin, without those of the host.
fn readable(stack: &[u8]) -> String {
    let text = String::from_utf8_lossy(stack);
    let frames = text.split(';').filter(|frame| !frame.starts_with(HOST_CHUNK) && !frame.is_empty());
    // In front of the callback stands how the host calls it.
    let is_call = |frame: &&str| frame.starts_with("[builtin") || matches!(*frame, "xpcall" | "pcall");
    frames.skip_while(is_call).collect::<Vec<_>>().join(";")
}

/// Shares out time by samples; stacks that have become alike are put together.
fn weigh(stacks: Vec<(String, u64)>, nanos: u64) -> Vec<(String, u64)> {
    let mut merged: BTreeMap<String, u64> = BTreeMap::new();
    for (stack, count) in stacks {
        *merged.entry(stack).or_default() += count;
    }
    let total: u64 = merged.values().sum();
    let share = |count: u64| (u128::from(nanos) * u128::from(count) / u128::from(total.max(1))) as u64;
    merged.into_iter().map(|(stack, count)| (stack, share(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Place, Probe, Profiler, StackSampling, readable, weigh};
    use crate::lua::{Budget, Vm, VmOptions, spawn_lua_thread};

    const FREE: Budget = Budget { limit: None, slow: None };

    fn vm() -> Vm {
        let (name, package_path) = ("a.lua".to_owned(), Vec::new());
        Vm::new(&VmOptions { name, memory_limit: 64 << 20, package_path }).unwrap()
    }

    fn on_lua_thread(work: impl FnOnce() + Send + 'static) {
        spawn_lua_thread("profile", work).unwrap().join().unwrap();
    }

    #[test]
    fn calls_time_and_results_of_a_wrapped_callback_are_as_they_are() {
        on_lua_thread(|| {
            let profiler = Profiler::new(StackSampling::Off);
            let vm = vm();
            let probe = Probe::new(&profiler, &vm, Place::Engine).unwrap();
            let source = b"return function(a, b) if not a then error('no') end return b, nil, a end";
            let function = vm.call(&vm.load(source, "@a.lua").unwrap(), (), FREE).unwrap();
            let wrapped = probe.wrap("x.y", &function).unwrap();
            let results: (i32, mlua::Value, i32) = vm.call(&wrapped, (1, 2), FREE).unwrap();
            assert_eq!((results.0, results.1.is_nil(), results.2), (2, true, 1));
            let error = vm.call::<()>(&wrapped, (), FREE).unwrap_err();
            assert_eq!(error.message, "a.lua:1: no");
            assert!(!error.traceback.contains("profile"), "{}", error.traceback);
            probe.failed();
            probe.publish();
            let profiles = profiler.profiles();
            let callback = &profiles[0].callbacks[0];
            assert_eq!((callback.name.as_str(), callback.calls, callback.errors), ("x.y", 2, 1));
        });
    }

    #[test]
    fn stacks_of_vms_that_take_turns_account_for_the_time_measured() {
        on_lua_thread(|| {
            let profiler = Profiler::new(StackSampling::On);
            let source = b"local function inner() local s = 0 for i = 1, 1e5 do s = s + i % 7 end return s end
                return function() local s = 0 for i = 1, 10 do s = s + inner() end return s end";
            let vms = [vm(), vm()];
            let probes = vms.each_ref().map(|vm| Probe::new(&profiler, vm, Place::Engine).unwrap());
            let functions = [0, 1].map(|i| {
                let function = vms[i].call(&vms[i].load(source, "@a.lua").unwrap(), (), FREE).unwrap();
                probes[i].wrap("work", &function).unwrap()
            });
            let since = crate::time::Stopwatch::start();
            while since.elapsed().as_millis() < 400 {
                for i in [0, 1] {
                    probes[i].enter(&vms[i]);
                    vms[i].call::<f64>(&functions[i], (), FREE).unwrap();
                    probes[i].leave(&vms[i], 1);
                }
            }
            drop(probes);
            for vm in profiler.vms.lock().unwrap().iter() {
                let vm = vm.lock().unwrap();
                let callback = &vm.callbacks[0];
                assert!(vm.samples > 0, "{vm:?}");
                let sum: u64 = callback.stacks.iter().map(|(_, nanos)| nanos).sum();
                assert!(callback.nanos - sum <= callback.stacks.len() as u64, "{vm:?}");
                assert!(callback.stacks.iter().any(|(stack, _)| stack.contains("a.lua:inner")), "{vm:?}");
            }
        });
    }

    #[test]
    fn frames_of_the_host_are_left_out_and_time_is_shared_by_samples() {
        let stack = b"[builtin#21];xpcall;millstream.driver:walk;a.lua:f;millstream.objects:x;pcall;a.lua:g";
        assert_eq!(readable(stack), "a.lua:f;pcall;a.lua:g");
        let shared = weigh(vec![("a".to_owned(), 1), ("b".to_owned(), 2), ("a".to_owned(), 1)], 100);
        assert_eq!(shared, [("a".to_owned(), 50), ("b".to_owned(), 50)]);
    }
}
