//! What `lua/async.lua` calls and reads straight through `ffi`: scheduling a function that was scheduled before, and the
//! completions that are handed out.
//!
//! As in `hostcall.rs`: nothing here panics or calls back into Lua, and whatever Lua hands over is checked.
#![expect(unsafe_code, reason = "functions that Lua calls by address, and memory that it reads")]

use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::{ptr, slice};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::job::{Ended, JobOptions, JobShape, JobState, LEFT_TOKEN, Rejected, Scheduler};
use crate::lua::Portable;

/// Slots of jobs that are more than plain ones begin here; as Lua sees them they are negative.
const MANAGED: u64 = 1 << 31;

/// Completions handed to Lua at once.
pub(super) const BATCH: usize = 64;
/// Most functions that are known; all are forgotten when there are more.
const MAX_FUNCTIONS: usize = 1024;
/// Most shapes that are known, likewise.
const MAX_SHAPES: usize = 1024;

/// A managed job is done and its result is no text.
const VALUE: i32 = 2;

/// Answers of [`JobCalls::schedule`] that are no running number.
const REJECTED: f64 = 0.0;
const UNKNOWN: f64 = -1.0;

/// The functions, in the order declared in `lua/async.lua`.
#[repr(C)]
#[derive(Debug)]
struct Table {
    schedule: extern "C" fn(*const JobCalls, f64, *const u8, i32, i32) -> f64,
    schedule_shaped: extern "C" fn(*const JobCalls, f64, *const u8, i32, *const u8, i32, i32) -> f64,
}

static TABLE: Table = Table { schedule, schedule_shaped };

/// A completion as Lua sees it. Layout of `ms_job_item` in `lua/async.lua`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Item {
    slot: i32,
    /// 1 if there is a result to deliver.
    deliver: i32,
    data_len: i32,
    result_len: i32,
    data: *const u8,
    result: *const u8,
}

const NO_ITEM: Item = Item { slot: 0, deliver: 0, data_len: 0, result_len: 0, data: ptr::null(), result: ptr::null() };

/// The end of a pool as compiled Lua reaches it. Lives as long as the VM.
#[derive(Debug)]
pub(super) struct JobCalls {
    scheduler: Rc<Scheduler>,
    /// Functions that capture nothing, by the number of their code: later closures of it are not looked at.
    functions: RefCell<HashMap<u64, Arc<Portable>, RandomState>>,
    /// What managed jobs have in common that are scheduled alike.
    shapes: RefCell<Shapes>,
    rejected: RefCell<Option<(Rejected, Arc<str>)>>,
    /// Results of the completions shown that are no text.
    values: RefCell<Vec<Option<Box<Portable>>>>,
    /// Callbacks of those that a script left on the disk, by index; few are.
    callbacks: RefCell<Vec<(usize, Box<Portable>)>>,
    items: RefCell<Box<[Item]>>,
}

/// Shapes by rising numbers. The first of those that are known has the number `first`.
#[derive(Debug, Default)]
struct Shapes {
    first: u64,
    known: Vec<JobShape>,
}

impl Shapes {
    fn get(&self, number: u64) -> Option<&JobShape> {
        self.known.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn add(&mut self, shape: JobShape) -> u64 {
        if self.known.len() >= MAX_SHAPES {
            self.first += self.known.len() as u64;
            self.known.clear();
        }
        self.known.push(shape);
        self.first + self.known.len() as u64 - 1
    }
}

impl JobCalls {
    pub(super) fn new(scheduler: Rc<Scheduler>) -> Self {
        let items = RefCell::new(vec![NO_ITEM; BATCH].into_boxed_slice());
        let (functions, rejected, values) = (RefCell::default(), RefCell::default(), RefCell::default());
        let (shapes, callbacks) = (RefCell::default(), RefCell::default());
        Self { scheduler, functions, shapes, rejected, values, callbacks, items }
    }

    /// Address of the table of functions, for `ffi.cast`.
    pub(super) fn table_address() -> *mut c_void {
        ptr::from_ref(&TABLE).cast_mut().cast()
    }

    /// Address of the completions that [`JobCalls::show`] fills in.
    pub(super) fn items_address(&self) -> *mut c_void {
        self.items.borrow_mut().as_mut_ptr().cast()
    }

    /// Remembers a function that captures nothing; gives the number that [`JobCalls::schedule`] knows it by.
    pub(super) fn remember(&self, function: &Arc<Portable>) -> f64 {
        let code = function.code().id();
        self.remember_as(code, function);
        // A float holds every number that is reached in practice.
        code as f64
    }

    /// The same for a function that has a number of its own.
    pub(super) fn remember_as(&self, number: u64, function: &Arc<Portable>) {
        let mut functions = self.functions.borrow_mut();
        if functions.len() >= MAX_FUNCTIONS {
            functions.clear();
        }
        functions.insert(number, Arc::clone(function));
    }

    /// Remembers what jobs have in common that run the function with a number; gives the number by which
    /// [`JobCalls::schedule_shaped`] knows it, unless the function is not known.
    pub(super) fn shape(&self, function: u64, options: JobOptions, timeout: Option<Duration>) -> Option<f64> {
        let function = Arc::clone(self.functions.borrow().get(&function)?);
        let shape = JobShape { function, options: Some(Arc::new(options)), timeout };
        Some(self.shapes.borrow_mut().add(shape) as f64)
    }

    /// Schedules a managed job of a shape, with a key of its own if there is one; answers as [`JobCalls::schedule`].
    fn schedule_shaped(&self, shape: u64, data: &[u8], key: Option<&[u8]>, slot: u64) -> f64 {
        let Ok(shapes) = self.shapes.try_borrow() else { return UNKNOWN };
        let Some(shape) = shapes.get(shape) else { return UNKNOWN };
        let scheduled = match key {
            None => self.scheduler.schedule_shaped(shape, data, MANAGED + slot),
            Some(key) => {
                let common = shape.options.as_deref().cloned().unwrap_or_default();
                let options = JobOptions { key: Some(Box::from(key)), ..common };
                let own = JobShape { options: Some(Arc::new(options)), ..shape.clone() };
                self.scheduler.schedule_shaped(&own, data, MANAGED + slot)
            }
        };
        match scheduled {
            Ok(id) => id.seq() as f64,
            Err(rejected) => {
                self.refused(rejected, Arc::clone(shape.function.code().location()));
                REJECTED
            }
        }
    }

    /// Schedules the function whose code has a number; gives the running number of the job, or why there is none.
    pub(super) fn schedule(&self, code: u64, data: &[u8], slot: u64) -> f64 {
        let Ok(functions) = self.functions.try_borrow() else { return UNKNOWN };
        let Some(function) = functions.get(&code) else { return UNKNOWN };
        match self.scheduler.schedule_again(function, data, slot) {
            // At a million jobs a second a float is exact for 285 years.
            Ok(id) => id.seq() as f64,
            Err(rejected) => {
                self.refused(rejected, Arc::clone(function.code().location()));
                REJECTED
            }
        }
    }

    #[cold]
    fn refused(&self, rejected: Rejected, function: Arc<str>) {
        if let Ok(mut last) = self.rejected.try_borrow_mut() {
            *last = Some((rejected, function));
        }
    }

    /// The job that the last call refused, and where its function begins.
    pub(super) fn take_rejected(&self) -> Option<(Rejected, Arc<str>)> {
        self.rejected.borrow_mut().take()
    }

    /// Takes the result of a completion that was shown, if it is no text.
    pub(super) fn take_value(&self, index: usize) -> Option<Box<Portable>> {
        self.values.borrow_mut().get_mut(index)?.take()
    }

    /// Takes the callbacks of a completion that was shown, if the script that had them is gone.
    pub(super) fn take_callbacks(&self, index: usize) -> Option<Box<Portable>> {
        let mut callbacks = self.callbacks.borrow_mut();
        let at = callbacks.iter().position(|(of, _)| *of == index)?;
        Some(callbacks.swap_remove(at).1)
    }

    /// Shows Lua the first 64 completions; gives their number. They must be kept until Lua has read them.
    pub(super) fn show(&self, ended: &mut [Ended]) -> usize {
        let mut items = self.items.borrow_mut();
        let mut values = self.values.borrow_mut();
        values.clear();
        let mut callbacks = self.callbacks.borrow_mut();
        callbacks.clear();
        let mut count = 0;
        for (item, ended) in items.iter_mut().zip(ended) {
            if ended.token() >= MANAGED {
                if ended.token() == LEFT_TOKEN {
                    callbacks.extend(ended.take_callbacks().map(|found| (count, found)));
                }
                let value = ended.take_value();
                let code = if value.is_some() && ended.state() == JobState::Done { VALUE } else { code_of(ended) };
                values.resize_with(count, || None);
                values.push(value);
                let bytes = ended.result().unwrap_or_default();
                *item = Item { result: bytes.as_ptr(), result_len: bytes.len() as i32, deliver: code, ..NO_ITEM };
                // Behind the sign bit: the slot is negative.
                item.slot = ended.token() as u32 as i32;
                count += 1;
                continue;
            }
            // The script waits only if there is something to deliver; otherwise its onresult is forgotten.
            let result = ended.result().filter(|_| ended.state() == JobState::Done);
            let (data, bytes) = (ended.data(), result.unwrap_or_default());
            *item = Item {
                slot: ended.token() as i32,
                deliver: i32::from(result.is_some()),
                // Both are far below 2 GiB: jobs hold 256 MiB of data at most, and results have a limit.
                data_len: data.len() as i32,
                result_len: bytes.len() as i32,
                data: data.as_ptr(),
                result: bytes.as_ptr(),
            };
            count += 1;
        }
        count
    }
}

/// How a managed job ended, in the numbers of `lua/async_managed.lua`.
fn code_of(ended: &Ended) -> i32 {
    match ended.state() {
        JobState::Done if ended.result().is_some() => 1,
        JobState::Done => 3,
        JobState::Failed => 4,
        JobState::TimedOut => 5,
        JobState::Dropped => 7,
        JobState::Cancelled | JobState::Created | JobState::Queued | JobState::Running => 6,
    }
}

/// Bytes that Lua hands over.
///
/// # Safety
/// The address must be that of so many bytes, which stay for as long as the result is used, or null.
unsafe fn bytes<'a>(start: *const u8, len: i32) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    if start.is_null() || len == 0 {
        return Some(&[]);
    }
    // SAFETY: the caller vouches for it.
    Some(unsafe { slice::from_raw_parts(start, len) })
}

/// Schedules the function whose code has a number.
extern "C" fn schedule(calls: *const JobCalls, code: f64, data: *const u8, len: i32, slot: i32) -> f64 {
    // SAFETY: async.lua passes the address it was given, that of an object its VM keeps alive.
    let Some(calls) = (unsafe { calls.as_ref() }) else { return UNKNOWN };
    // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
    let Some(data) = (unsafe { bytes(data, len) }) else { return UNKNOWN };
    let Ok(slot) = u64::try_from(slot) else { return UNKNOWN };
    calls.schedule(code as u64, data, slot)
}

/// Schedules a managed job. The length of the key is negative where there is none.
extern "C" fn schedule_shaped(
    calls: *const JobCalls,
    shape: f64,
    data: *const u8,
    len: i32,
    key: *const u8,
    key_len: i32,
    slot: i32,
) -> f64 {
    // SAFETY: async_managed.lua passes the address it was given, that of an object its VM keeps alive.
    let Some(calls) = (unsafe { calls.as_ref() }) else { return UNKNOWN };
    // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
    let Some(data) = (unsafe { bytes(data, len) }) else { return UNKNOWN };
    // SAFETY: as for the data.
    let key = unsafe { bytes(key, key_len) };
    let Ok(slot) = u64::try_from(slot) else { return UNKNOWN };
    calls.schedule_shaped(shape as u64, data, key, slot)
}
