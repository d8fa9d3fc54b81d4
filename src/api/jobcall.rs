//! What `lua/async.lua` calls and reads straight through `ffi`: scheduling a function that was scheduled before, and the
//! completions that are handed out.
//!
//! As in `hostcall.rs`: nothing here panics or calls back into Lua, and whatever Lua hands over is checked.
#![expect(unsafe_code, reason = "functions that Lua calls by address, and memory that it reads")]

use std::cell::RefCell;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;
use std::{ptr, slice};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::job::{Ended, JobState, LEFT_TOKEN, Rejected, Scheduler};
use crate::lua::Portable;

/// Slots of jobs that are more than plain ones begin here; as Lua sees them they are negative.
const MANAGED: u64 = 1 << 31;

/// Completions handed to Lua at once.
pub(super) const BATCH: usize = 64;
/// Most functions that are known; all are forgotten when there are more.
const MAX_FUNCTIONS: usize = 1024;

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
}

static TABLE: Table = Table { schedule };

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
    rejected: RefCell<Option<(Rejected, Arc<str>)>>,
    /// Results of the completions shown that are no text.
    values: RefCell<Vec<Option<Box<Portable>>>>,
    /// Callbacks of those that a script left on the disk, by index; few are.
    callbacks: RefCell<Vec<(usize, Box<Portable>)>>,
    items: RefCell<Box<[Item]>>,
}

impl JobCalls {
    pub(super) fn new(scheduler: Rc<Scheduler>) -> Self {
        let items = RefCell::new(vec![NO_ITEM; BATCH].into_boxed_slice());
        let (functions, rejected, values) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { scheduler, functions, rejected, values, callbacks: RefCell::default(), items }
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
        let mut functions = self.functions.borrow_mut();
        if functions.len() >= MAX_FUNCTIONS {
            functions.clear();
        }
        let code = function.code().id();
        functions.insert(code, Arc::clone(function));
        // A float holds every number that is reached in practice.
        code as f64
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

/// Schedules the function whose code has a number.
extern "C" fn schedule(calls: *const JobCalls, code: f64, data: *const u8, len: i32, slot: i32) -> f64 {
    // SAFETY: async.lua passes the address it was given, that of an object its VM keeps alive.
    let Some(calls) = (unsafe { calls.as_ref() }) else { return UNKNOWN };
    let (Ok(len), Ok(slot)) = (usize::try_from(len), u64::try_from(slot)) else { return UNKNOWN };
    let data = if data.is_null() || len == 0 {
        &[]
    } else {
        // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
        unsafe { slice::from_raw_parts(data, len) }
    };
    calls.schedule(code as u64, data, slot)
}
