//! The sampling profiler of LuaJIT, which serves one VM of a process at a time: starting it on the VM of this thread,
//! stopping it, and what it calls.
//!
//! Its timer sends SIGPROF to the process, and its handler may only run on the thread of the VM it was started on, and only
//! between start and stop: so the signal is blocked on all threads but there and then.

#![expect(unsafe_code, reason = "the profiler is part of LuaJIT's C interface and works by signals")]

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Once;
use std::{mem, ptr, slice};

use mlua::lua_State;

/// A sample every millisecond; traces are cut at functions.
const MODE: &std::ffi::CStr = c"fi1";
/// What is told of a frame: module and function.
const FRAME: &std::ffi::CStr = c"FZ;";
/// Frames of a stack, the outermost first.
const DEPTH: c_int = -64;
/// Different stacks that are kept; more are put together.
const MAX_STACKS: usize = 20_000;
/// Stands for stacks beyond that.
const OTHERS: &[u8] = b"(other)";

type Callback = unsafe extern "C-unwind" fn(*mut c_void, *mut lua_State, c_int, c_int);

unsafe extern "C-unwind" {
    fn luaJIT_profile_start(state: *mut lua_State, mode: *const c_char, callback: Callback, data: *mut c_void);
    fn luaJIT_profile_stop(state: *mut lua_State);
    fn luaJIT_profile_dumpstack(
        state: *mut lua_State,
        format: *const c_char,
        depth: c_int,
        length: *mut usize,
    ) -> *const c_char;
}

/// Stacks by what was open when they were seen.
pub(super) type Stacks = HashMap<(i32, Vec<u8>), u64>;

/// What samples of a VM are put into. It stays where it is.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Number of the callback that is open, or -1; scripts' wrappers write it.
    pub open: i32,
    /// How often each stack was seen.
    pub stacks: Stacks,
}

/// Blocks the signal on this thread and on those it starts from now on, and makes one that comes late harmless.
pub(super) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Restored by LuaJIT whenever it stops; by default the signal would end the process.
        // SAFETY: ignoring a signal is always possible.
        unsafe { libc::signal(libc::SIGPROF, libc::SIG_IGN) };
    });
    mask(libc::SIG_BLOCK);
}

fn mask(how: c_int) {
    // SAFETY: all zeros is a valid set of signals.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the set is there.
    unsafe { libc::sigemptyset(&raw mut set) };
    // SAFETY: the set is there, and so is the signal.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGPROF) };
    // SAFETY: the set is whole; the old one is not asked for.
    unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
}

/// Starts on the VM of this thread.
///
/// # Safety
/// The state must belong to a VM of this thread, no other VM may be sampled, and `samples` must be there and not be
/// touched while the VM runs, until [`stop`].
pub(super) unsafe fn start(state: *mut lua_State, samples: *mut Samples) {
    // SAFETY: the caller's promise; the format is a C string.
    unsafe { luaJIT_profile_start(state, MODE.as_ptr(), on_sample, samples.cast()) };
    mask(libc::SIG_UNBLOCK);
}

/// Stops on the VM of this thread.
///
/// # Safety
/// The state must be the one that was started with, on the same thread.
pub(super) unsafe fn stop(state: *mut lua_State) {
    mask(libc::SIG_BLOCK);
    // SAFETY: the caller's promise.
    unsafe { luaJIT_profile_stop(state) };
}

/// Takes a sample, between two instructions of the VM.
unsafe extern "C-unwind" fn on_sample(data: *mut c_void, state: *mut lua_State, count: c_int, vm_state: c_int) {
    let mut length = 0;
    // SAFETY: called by the profiler, whose buffer takes the text.
    let text = unsafe { luaJIT_profile_dumpstack(state, FRAME.as_ptr(), DEPTH, &raw mut length) };
    // SAFETY: `start` was given samples that are there until `stop`.
    let Some(samples) = (unsafe { data.cast::<Samples>().as_mut() }) else { return };
    if text.is_null() {
        return;
    }
    // SAFETY: the buffer has this many bytes and is left alone until the next sample.
    let stack = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    let mut stack = if samples.stacks.len() < MAX_STACKS { stack.to_vec() } else { OTHERS.to_vec() };
    match u8::try_from(vm_state) {
        Ok(b'G') => stack.extend_from_slice(b";(garbage collection)"),
        Ok(b'J') => stack.extend_from_slice(b";(compiler)"),
        _ => {}
    }
    *samples.stacks.entry((samples.open, stack)).or_default() += u64::from(count.max(1).unsigned_abs());
}
