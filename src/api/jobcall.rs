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

use crate::job::{Ended, JobState, Rejected, Scheduler};
use crate::lua::Portable;

/// Completions handed to Lua at once.
pub(super) const BATCH: usize = 64;
/// Most functions that are known by number; all are forgotten when there are more, and get new numbers.
const MAX_FUNCTIONS: usize = 1024;

/// Answers of [`schedule`] that are no running number.
const REJECTED: f64 = 0.0;
const UNKNOWN: f64 = -1.0;

/// The functions, in the order declared in `lua/async.lua`.
#[repr(C)]
#[derive(Debug)]
struct Table {
    schedule: extern "C" fn(*const JobCalls, i32, *const u8, i32, i32) -> f64,
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

const NO_ITEM: Item =
    Item { slot: 0, deliver: 0, data_len: 0, result_len: 0, data: ptr::null(), result: ptr::null() };

/// The end of a pool as compiled Lua reaches it. Lives as long as the VM.
#[derive(Debug)]
pub(super) struct JobCalls {
    scheduler: Rc<Scheduler>,
    functions: RefCell<Functions>,
    rejected: RefCell<Option<(Rejected, Arc<str>)>>,
    items: RefCell<Box<[Item]>>,
}

/// Functions that Lua knows by number.
#[derive(Debug, Default)]
struct Functions {
    list: Vec<Arc<Portable>>,
    /// Position in the list by number of the code.
    places: HashMap<u64, i32, RandomState>,
    /// Number of the first in the list.
    first: i32,
}

impl JobCalls {
    pub(super) fn new(scheduler: Rc<Scheduler>) -> Self {
        let items = RefCell::new(vec![NO_ITEM; BATCH].into_boxed_slice());
        Self { scheduler, functions: RefCell::default(), rejected: RefCell::default(), items }
    }

    /// Address of the table of functions, for `ffi.cast`.
    pub(super) fn table_address() -> *mut c_void {
        ptr::from_ref(&TABLE).cast_mut().cast()
    }

    /// Address of the completions that [`JobCalls::show`] fills in.
    pub(super) fn items_address(&self) -> *mut c_void {
        self.items.borrow_mut().as_mut_ptr().cast()
    }

    /// The number of a function; only for one that captures nothing, because later closures of it are not looked at.
    pub(super) fn number(&self, function: &Arc<Portable>) -> i32 {
        let mut functions = self.functions.borrow_mut();
        let code = function.code().id();
        if let Some(place) = functions.places.get(&code) {
            return functions.first.wrapping_add(*place);
        }
        if functions.list.len() >= MAX_FUNCTIONS {
            functions.first = functions.first.wrapping_add(MAX_FUNCTIONS as i32);
            functions.list.clear();
            functions.places.clear();
        }
        let place = functions.list.len() as i32;
        functions.list.push(Arc::clone(function));
        functions.places.insert(code, place);
        functions.first.wrapping_add(place)
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

    /// Shows Lua the first 64 completions; gives their number. They must be kept until Lua has read them.
    pub(super) fn show(&self, ended: &[Ended]) -> usize {
        let mut items = self.items.borrow_mut();
        let mut count = 0;
        for (item, ended) in items.iter_mut().zip(ended) {
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

/// Schedules the function with a number; gives the running number of the job, or why there is none.
extern "C" fn schedule(calls: *const JobCalls, function: i32, data: *const u8, len: i32, slot: i32) -> f64 {
    // SAFETY: async.lua passes the address it was given, that of an object its VM keeps alive.
    let Some(calls) = (unsafe { calls.as_ref() }) else { return UNKNOWN };
    let Ok(functions) = calls.functions.try_borrow() else { return UNKNOWN };
    let place = usize::try_from(function.wrapping_sub(functions.first)).ok();
    let Some(function) = place.and_then(|place| functions.list.get(place)) else { return UNKNOWN };
    let (Ok(len), Ok(token)) = (usize::try_from(len), u64::try_from(slot)) else { return UNKNOWN };
    let data = if data.is_null() || len == 0 {
        &[]
    } else {
        // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
        unsafe { slice::from_raw_parts(data, len) }
    };
    match calls.scheduler.schedule_again(function, data, token) {
        // A float holds every number that is reached in practice; at a million jobs a second, for 285 years.
        Ok(id) => id.seq() as f64,
        Err(rejected) => {
            calls.refused(rejected, Arc::clone(function.code().location()));
            REJECTED
        }
    }
}
