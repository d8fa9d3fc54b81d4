//! The unsafe part: signals, hooks and protected calls on the raw state.
//!
//! Facts the blocks below rely on: a VM is used on one thread only (`Lua` is not `Send`), so signal handler, hook and call
//! never run at the same time; the chain of [`Entry`] lives on that thread's stack and is unlinked before it goes.

#![expect(unsafe_code, reason = "signals and hooks on the raw Lua state have no safe interface")]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{Ordering, compiler_fence};
use std::{io, mem, ptr, slice};

use mlua::ffi;
use mlua::{Function, Lua, lua_State};

use super::budget::{Began, Guard};
use super::call::Budget;
use super::hung::FrameText;

/// Wakes the thread of an overrun call. Not SIGUSR1, which is for people; not a real-time signal, whose default action
/// ends the process: SIGURG is ignored by default, so one that arrives where no handler is left does nothing.
const SIGNAL: c_int = libc::SIGURG;

unsafe extern "C-unwind" {
    /// Raises the value on top of the stack past all error handlers.
    fn millstream_throw(state: *mut lua_State) -> !;
}

unsafe extern "C" {
    /// Lets hooks run inside finalizers and other hooks.
    fn millstream_allow_hook(state: *mut lua_State);
    /// Names the hook that interrupts callbacks.
    safe fn millstream_stop_by(hook: ffi::lua_Hook);
    /// Whether two states belong to one VM.
    safe fn millstream_same_vm(a: *mut lua_State, b: *mut lua_State) -> c_int;
    /// Whether the VM runs compiled code.
    fn millstream_in_trace(state: *mut lua_State) -> c_int;
    /// Whether the VM is inside a C function and its stack can be read.
    fn millstream_in_c(state: *mut lua_State) -> c_int;
    /// Asks the memory for the string that is where a text would be among the strings.
    fn millstream_foresee_text(state: *mut lua_State, text: *const c_char, len: usize);
    /// Runs the finalizers of scripts, for the last time.
    fn millstream_finalize(state: *mut lua_State);
    /// Whether VMs that this thread closes leave their memory to the system.
    safe fn millstream_leave_memory(leave: c_int);
    /// LuaJIT's own: `LUAJIT_MODE_ENGINE` is 0, with `LUAJIT_MODE_ON` or nothing added to it.
    fn luaJIT_setmode(state: *mut lua_State, index: c_int, mode: c_int) -> c_int;
}

const LUAJIT_MODE_ON: c_int = 0x0100;

thread_local! {
    /// Innermost call on this thread. Without a destructor and set at compile time, so a signal handler may read it.
    static CURRENT: Cell<*const Entry> = const { Cell::new(ptr::null()) };
}

/// One call in progress; they form a chain, innermost first.
struct Entry {
    guard: *const Guard,
    outer: *const Self,
    /// What the message handler was called with, if it was.
    noted: RefCell<Option<Noted>>,
}

/// An error as the message handler saw it.
#[derive(Default)]
pub(super) struct Noted {
    /// Empty for errors of Rust functions, which mlua describes.
    pub(super) message: String,
    /// Stack of the error.
    pub(super) traceback: String,
}

/// What a guarded piece of work left behind besides its result.
pub(super) struct Trace {
    /// Whether the watchdog interrupted it.
    pub(super) interrupted: bool,
    /// Absent where no message handler was called: the VM does not when it is out of memory.
    pub(super) noted: Option<Noted>,
}

/// Unlinks an entry and ends its call, also when a panic passes through.
struct Leave<'a> {
    entry: &'a Entry,
    guard: &'a Guard,
    began: Began,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let disarm = self.guard.end(&self.began);
        CURRENT.set(self.entry.outer);
        let state = self.guard.state();
        if disarm && !state.is_null() {
            // SAFETY: the state is set while the VM lives and belongs to this thread.
            unsafe { ffi::lua_sethook(state, None, 0, 0) };
        }
    }
}

/// Runs work on a VM under watch.
pub(super) fn guarded<R>(guard: &Guard, budget: Budget, work: impl FnOnce() -> R) -> (R, Trace) {
    let entry = Entry { guard, outer: CURRENT.get(), noted: RefCell::default() };
    let began = guard.begin(budget);
    CURRENT.set(&raw const entry);
    // The signal handler must find either no entry or a whole one.
    compiler_fence(Ordering::SeqCst);
    let leave = Leave { entry: &entry, guard, began };
    let result = work();
    let interrupted = guard.was_interrupted(&leave.began);
    drop(leave);
    (result, Trace { interrupted, noted: entry.noted.take() })
}

/// The address of a VM's state.
pub(super) fn main_state(lua: &Lua) -> mlua::Result<*mut lua_State> {
    let mut found = ptr::null_mut();
    // SAFETY: the closure only reads its argument.
    unsafe { lua.exec_raw::<()>((), |state| found = state) }?;
    Ok(found)
}

/// A VM with every library.
pub(super) fn new_lua() -> Lua {
    // SAFETY: what the extra libraries can break, plugins may break: they are as trusted as the binary.
    let lua = unsafe { Lua::unsafe_new() };
    // The first handle of a VM collects all garbage before it closes it, which closing does as well. This one goes while
    // there is none.
    lua.clone()
}

/// Asks for the memory where a VM looks for texts that soon become strings in it, and does not wait.
pub(super) fn foresee<'a>(state: *mut lua_State, texts: impl Iterator<Item = &'a [u8]>) {
    for text in texts {
        // SAFETY: the state is that of a VM of this thread, which runs nothing now; the text is read, as far as its length.
        unsafe { millstream_foresee_text(state, text.as_ptr().cast(), text.len()) };
    }
}

/// Runs the finalizers that scripts have set in a VM which they no longer use.
pub(super) fn finalize(state: *mut lua_State) {
    // SAFETY: the state is that of a VM of this thread; the shim calls finalizers protected, each by itself.
    unsafe { millstream_finalize(state) };
}

/// Closes a VM in a process that is to end: its objects are not freed one by one.
pub(super) fn close_for_good(lua: Lua) {
    millstream_leave_memory(1);
    drop(lua);
    millstream_leave_memory(0);
}

/// Neither collects garbage nor compiles until [`go_on`]: for what runs once and leaves nothing that is not kept.
pub(super) fn hold_still(state: *mut lua_State) {
    // SAFETY: the state is that of a VM of this thread; neither call raises for these arguments.
    unsafe { ffi::lua_gc(state, ffi::LUA_GCSTOP, 0) };
    // SAFETY: as above.
    unsafe { luaJIT_setmode(state, 0, 0) };
}

/// Undoes [`hold_still`]; the next collection begins when as much again has been allocated.
pub(super) fn go_on(state: *mut lua_State) {
    // SAFETY: the state is that of a VM of this thread; neither call raises for these arguments.
    unsafe { luaJIT_setmode(state, 0, LUAJIT_MODE_ON) };
    // SAFETY: as above.
    unsafe { ffi::lua_gc(state, ffi::LUA_GCRESTART, -1) };
}

/// The function that turns error values into text and keeps the stack of the error.
pub(super) fn message_handler(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: `on_error` has the signature and behaviour of a Lua C function.
    unsafe { lua.create_c_function(on_error) }
}

/// The text on top of the stack, cut at the limit; bytes that are not UTF-8 are replaced.
///
/// # Safety
/// The value on top must be a string.
unsafe fn text_at_top(state: *mut lua_State) -> String {
    let mut len = 0;
    // SAFETY: a string is not converted, so nothing is allocated and nothing raised.
    let data = unsafe { ffi::lua_tolstring(state, -1, &raw mut len) };
    debug_assert!(!data.is_null(), "the value is a string");
    // SAFETY: the string has `len` bytes and stays on the stack meanwhile.
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), len) };
    super::call::text(bytes)
}

/// Message handler of every call: makes a text of any error value and notes it with the stack. mlua's own handler cannot
/// tell `error({})` from `error("table: 0x…")`.
unsafe extern "C-unwind" fn on_error(state: *mut lua_State) -> c_int {
    // SAFETY: a message handler is called with one argument.
    let kind = unsafe { ffi::lua_type(state, 1) };
    let mut message = String::new();
    if kind != ffi::LUA_TUSERDATA {
        if kind != ffi::LUA_TSTRING {
            // SAFETY: the argument is there.
            unsafe { error_value_to_text(state, kind) };
        }
        // SAFETY: the only value is a string now.
        message = unsafe { text_at_top(state) };
    }
    // SAFETY: message handlers run inside a guarded call, whose entry is on this thread's stack.
    let Some(entry) = (unsafe { CURRENT.get().as_ref() }) else {
        return 1;
    };
    // Kept before the VM allocates: when it cannot, it jumps out of here past all destructors.
    entry.noted.replace(Some(Noted { message, traceback: String::new() }));
    // SAFETY: any state can be asked for stack space.
    if unsafe { ffi::lua_checkstack(state, ffi::LUA_TRACEBACK_STACK) } != 0 {
        // SAFETY: there is stack space; level 1 is the function that failed.
        unsafe { ffi::luaL_traceback(state, state, ptr::null(), 1) };
        // SAFETY: the traceback is a string on top.
        let traceback = unsafe { text_at_top(state) };
        entry.noted.borrow_mut().get_or_insert_default().traceback = traceback;
        // SAFETY: index 1 is the message.
        unsafe { ffi::lua_settop(state, 1) };
    }
    1
}

/// Replaces the value at index 1 by a text: what its `__tostring` says, a number as it prints, or its type.
///
/// # Safety
/// `state` must be that of a running C function with one argument, which is of type `kind` and not a string.
unsafe fn error_value_to_text(state: *mut lua_State, kind: c_int) {
    if kind == ffi::LUA_TNUMBER {
        // SAFETY: converts the number in place.
        unsafe { ffi::lua_tolstring(state, 1, ptr::null_mut()) };
        return;
    }
    // SAFETY: there is an argument; an error of the metamethod ends the message handler, as Lua defines it.
    let called = unsafe { ffi::luaL_callmeta(state, 1, c"__tostring".as_ptr()) } != 0;
    // SAFETY: if something was called its result is on top.
    if !called || unsafe { ffi::lua_type(state, -1) } != ffi::LUA_TSTRING {
        // SAFETY: `kind` is a type the VM gave.
        let name = unsafe { ffi::lua_typename(state, kind) };
        // SAFETY: the format takes one C string, which the VM keeps for ever.
        unsafe { ffi::lua_pushfstring(state, c"(error object is a %s value)".as_ptr(), name) };
    }
    // SAFETY: the text is on top and index 1 exists.
    unsafe { ffi::lua_replace(state, 1) };
    // SAFETY: index 1 exists.
    unsafe { ffi::lua_settop(state, 1) };
}

/// The count hook: raises at every instruction until the call is over.
unsafe extern "C-unwind" fn on_count(state: *mut lua_State, _: *mut ffi::lua_Debug) {
    let Some(guard) = guard_of(state).filter(|guard| guard.must_stop()) else {
        // The callback it was meant for has returned meanwhile.
        // SAFETY: a hook may change hooks.
        unsafe { ffi::lua_sethook(state, None, 0, 0) };
        return;
    };
    if guard.raise() {
        // SAFETY: hooks have LUA_MINSTACK free slots.
        unsafe { note_interruption(state, guard) };
    }
    // SAFETY: as above; level 0 is the function that was running.
    unsafe { ffi::luaL_where(state, 0) };
    let text = guard.interruption_text();
    // SAFETY: the text is copied.
    unsafe { ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len()) };
    drop(text);
    // SAFETY: two strings are on top.
    unsafe { ffi::lua_concat(state, 2) };
    // SAFETY: the message is on top; no local has a destructor.
    unsafe { millstream_throw(state) };
}

/// Notes position and stack of the interruption, from the coroutine it happened in.
///
/// # Safety
/// `state` must have `LUA_TRACEBACK_STACK` free slots.
unsafe fn note_interruption(state: *mut lua_State, guard: &Guard) {
    // SAFETY: level 0 is the function that was running.
    unsafe { ffi::luaL_where(state, 0) };
    // SAFETY: `luaL_where` pushed a string.
    let position = unsafe { text_at_top(state) };
    guard.note_interruption(&position, String::new());
    // SAFETY: there is stack space (caller's promise).
    unsafe { ffi::luaL_traceback(state, state, ptr::null(), 0) };
    // SAFETY: the traceback is a string on top.
    let traceback = unsafe { text_at_top(state) };
    guard.note_interruption(&position, traceback);
    // SAFETY: two values were pushed.
    unsafe { ffi::lua_settop(state, -3) };
}

/// The guard of the innermost call into the VM of `state`.
fn guard_of<'a>(state: *mut lua_State) -> Option<&'a Guard> {
    entries().find(|guard| {
        let main = guard.state();
        !main.is_null() && millstream_same_vm(main, state) != 0
    })
}

/// The guards of the calls in progress on this thread, innermost first.
fn entries<'a>() -> impl Iterator<Item = &'a Guard> {
    let mut next = CURRENT.get();
    std::iter::from_fn(move || {
        // SAFETY: entries are on this thread's stack and unlinked before they go.
        let entry = unsafe { next.as_ref() }?;
        next = entry.outer;
        // SAFETY: an entry is made from a reference that outlives it.
        unsafe { entry.guard.as_ref() }
    })
}

/// Sets the hook of every VM of this thread whose call was asked to stop.
extern "C" fn on_signal(_: c_int) {
    for guard in entries().filter(|guard| guard.must_stop()) {
        let state = guard.state();
        if state.is_null() {
            continue;
        }
        let inside_finalizers = guard.arm();
        // Off and on again: had the first signal hit the VM while it rebuilt its dispatch table, the table would be stale.
        // SAFETY: LuaJIT lets signal handlers set hooks; the state lives while its guard is in the chain.
        unsafe { ffi::lua_sethook(state, None, 0, 0) };
        // SAFETY: as above.
        unsafe { ffi::lua_sethook(state, Some(on_count), ffi::LUA_MASKCOUNT, 1) };
        if inside_finalizers {
            // SAFETY: as above.
            unsafe { millstream_allow_hook(state) };
        }
        if guard.wants_stack() {
            note_stack(state, guard);
            guard.has_looked();
        }
    }
}

/// Notes where a VM is that does not come back from a C function. Called by the signal handler: nothing is allocated, neither
/// here nor in the VM.
fn note_stack(state: *mut lua_State, guard: &Guard) {
    // SAFETY: the state lives while its guard is in the chain, and this is its thread.
    if unsafe { millstream_in_c(state) } == 0 {
        return;
    }
    // SAFETY: all-zero is a valid `lua_Debug`: null pointers and numbers.
    let mut about: ffi::lua_Debug = unsafe { mem::zeroed() };
    guard.note_stack(|level| {
        // SAFETY: the stack can be read (see above); only the argument is written.
        if unsafe { ffi::lua_getstack(state, level, &raw mut about) } == 0 {
            return None;
        }
        // SAFETY: as above, for a level that is there; what is asked for pushes nothing.
        unsafe { ffi::lua_getinfo(state, c"nSl".as_ptr(), &raw mut about) };
        // SAFETY: filled in by the call; the texts are those of the VM, which does not go on meanwhile.
        let name = unsafe { text_of(about.name) };
        // SAFETY: filled in by the call, and ended by a zero.
        let source = unsafe { text_of(about.short_src.as_ptr()) };
        Some(FrameText { source, name, line: about.currentline, begins: about.linedefined })
    });
}

/// The bytes of a text that may be null.
///
/// # Safety
/// It must end with a zero and stay what it is as long as the bytes are used.
unsafe fn text_of<'a>(text: *const c_char) -> &'a [u8] {
    if text.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// What becomes of a system call in which a thread waits when it is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WokenCall {
    /// System calls of plugins' C libraries go on by themselves; those that never do, such as sleeps, end early.
    GoesOn,
    /// It ends early and says so.
    Ends,
}

/// Installs the signal handler of the process.
pub(super) fn install_signal_handler(woken: WokenCall) -> io::Result<()> {
    millstream_stop_by(on_count);
    // SAFETY: all-zero is a valid `sigaction`: default action, empty mask, no flags.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(c_int) as usize;
    let restart = if woken == WokenCall::GoesOn { libc::SA_RESTART } else { 0 };
    action.sa_flags = restart | libc::SA_ONSTACK;
    // SAFETY: the handler does nothing but what a signal handler may.
    if unsafe { libc::sigaction(SIGNAL, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The calling thread, for [`signal`].
pub(super) fn current_thread() -> libc::pthread_t {
    // SAFETY: always succeeds.
    unsafe { libc::pthread_self() }
}

/// Wakes a thread. Its name must be its own still: the caller holds the list of watched VMs, which a VM leaves before its
/// thread ends, or the handle of a thread that was not joined.
pub(super) fn signal(thread: libc::pthread_t) {
    // SAFETY: the name is that of a thread (see above).
    unsafe { libc::pthread_kill(thread, SIGNAL) };
}

/// Has a thread run only while nothing else would. Its name must be its own still, as for [`signal`].
pub(super) fn run_idle(thread: libc::pthread_t) {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: the name is that of a thread (see above), and the priority lives as long as the call. Where it is refused the
    // thread goes on as before.
    unsafe { libc::pthread_setschedparam(thread, libc::SCHED_IDLE, &raw const priority) };
}

/// The step of a loop that sets a hook on itself, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HookTrial {
    /// Step at which the hook is set.
    pub(super) set_at: i32,
    /// The last step taken.
    pub(super) step: i32,
    /// Whether compiled code took the step that set the hook.
    pub(super) compiled: bool,
    /// The step after which the hook ran.
    pub(super) ran_at: Option<i32>,
}

thread_local! {
    static TRIAL: Cell<HookTrial> = const {
        Cell::new(HookTrial { set_at: 0, step: 0, compiled: false, ran_at: None })
    };
}

/// Prepares [`trial_step`] on this thread.
pub(super) fn begin_trial(set_at: i32) {
    TRIAL.set(HookTrial { set_at, ..HookTrial::default() });
}

/// What the steps since [`begin_trial`] showed.
pub(super) fn end_trial() -> HookTrial {
    TRIAL.get()
}

/// Address of the function that a loop calls at each step through `ffi`: `void (*)(void *state, int32_t step)`, with the
/// state that runs the loop.
pub(super) fn trial_step() -> *mut std::ffi::c_void {
    on_trial_step as extern "C" fn(*mut lua_State, i32) as *mut std::ffi::c_void
}

extern "C" fn on_trial_step(state: *mut lua_State, step: i32) {
    let mut trial = TRIAL.get();
    trial.step = step;
    if step == trial.set_at {
        // SAFETY: the loop hands over the state that runs it.
        trial.compiled = unsafe { millstream_in_trace(state) } != 0;
        // SAFETY: LuaJIT lets hooks be set at any point, from signal handlers inside compiled code even.
        unsafe { ffi::lua_sethook(state, Some(on_trial_hook), ffi::LUA_MASKCOUNT, 1) };
    }
    TRIAL.set(trial);
}

unsafe extern "C-unwind" fn on_trial_hook(state: *mut lua_State, _: *mut ffi::lua_Debug) {
    let mut trial = TRIAL.get();
    trial.ran_at.get_or_insert(trial.step);
    TRIAL.set(trial);
    // SAFETY: a hook may change hooks.
    unsafe { ffi::lua_sethook(state, None, 0, 0) };
}
