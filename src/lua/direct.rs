//! Calls from bytes to bytes: one protected call on the raw stack, without handles and conversions on the way.
//!
//! A call through [`Vm::call`](super::Vm::call) passes values as handles and enters the VM three times; for a function that
//! gets one string and returns one, that costs several times what the function does. Everything here that may allocate in
//! the VM happens inside the protected call: the string is made by [`enter`], which runs in it.
#![expect(unsafe_code, reason = "calls on the raw Lua state")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::{ptr, slice};

use mlua::{Function, Lua, RegistryKey, Table, Value};
use mlua_sys as sys;

use super::call::text;
use super::raw;

/// Positions in the table of a [`Direct`].
const HANDLER: c_int = 1;
const ENTER: c_int = 2;
const FAILURE: c_int = 3;
/// Where a function lies that is called once.
const PASSING: c_int = 4;
/// Where a value lies that is no text.
const OTHER: c_int = 5;
const FIRST_KEPT: c_int = 6;

/// Stack slots a call needs, those of its message handler not included.
const SLOTS: c_int = 8;

/// What a function returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// A string or a number, whose text is in the buffer given.
    Bytes,
    /// Nothing, or a value of another type.
    Nothing,
    /// A string of this many bytes, which is more than was allowed.
    TooLarge(usize),
    /// A value of another type, which was kept: [`Direct::take_other`] gives it.
    Other,
}

/// What becomes of a value that is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It counts as nothing.
    Ignored,
    /// It is kept.
    Kept,
}

/// A function that is ready to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(c_int);

/// The argument of the call in progress.
#[derive(Debug)]
struct Argument {
    start: Cell<*const u8>,
    len: Cell<usize>,
}

/// Functions of one VM that are called with bytes. Belongs to the VM's thread.
#[derive(Debug)]
pub struct Direct {
    /// Where the calls happen; compared with that of the VM before each.
    state: *mut sys::lua_State,
    table: Table,
    key: RegistryKey,
    /// Boxed: [`enter`] has its address.
    argument: Box<Argument>,
    /// Identity of the environment that functions have unless they change it.
    environment: *const c_void,
    kept: c_int,
}

impl Direct {
    /// Prepares a VM.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn new(lua: &Lua) -> mlua::Result<Self> {
        let argument = Box::new(Argument { start: Cell::new(ptr::null()), len: Cell::new(0) });
        let table = lua.create_table_with_capacity(16, 0)?;
        table.raw_set(HANDLER, raw::message_handler(lua)?)?;
        let address: *const Argument = &raw const *argument;
        let make = |state| {
            // SAFETY: this is a protected call with room for values.
            unsafe { sys::lua_pushlightuserdata(state, address.cast_mut().cast()) };
            // SAFETY: the upvalue is on top.
            unsafe { sys::lua_pushcclosure(state, enter, 1) };
        };
        // SAFETY: `make` owns nothing and leaves one value.
        let enter = unsafe { lua.exec_raw::<Function>((), make) }?;
        table.raw_set(ENTER, enter)?;
        table.raw_set(FAILURE, false)?;
        table.raw_set(PASSING, false)?;
        table.raw_set(OTHER, false)?;
        let environment = lua.globals().to_pointer();
        let state = raw::main_state(lua)?;
        Ok(Self { state, key: lua.create_registry_value(&table)?, table, argument, environment, kept: 0 })
    }

    /// Makes a function ready that will be called once, in place of the one before.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn pass(&self, function: &Function) -> mlua::Result<Ready> {
        self.table.raw_set(PASSING, function)?;
        Ok(Ready(PASSING))
    }

    /// Lets go of the function that was called once.
    pub fn passed(&self) {
        // The place is there, so nothing is allocated.
        _ = self.table.raw_set(PASSING, false);
    }

    /// Takes the value that the last call kept.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn take_other(&self) -> mlua::Result<Value> {
        let value = self.table.raw_get(OTHER)?;
        self.table.raw_set(OTHER, false)?;
        Ok(value)
    }

    /// Makes a function ready for any number of calls.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn keep(&mut self, function: &Function) -> mlua::Result<Ready> {
        let place = FIRST_KEPT + self.kept;
        self.table.raw_set(place, function)?;
        self.kept += 1;
        Ok(Ready(place))
    }

    /// True if this belongs to the VM of a state, which is live then.
    fn is_of(&self, state: *mut sys::lua_State) -> bool {
        !state.is_null() && self.state == state
    }

    /// True if the function has the environment it was made with: the one thing a closure without variables can keep from
    /// one call to the next. `state` is that of the VM.
    pub(super) fn is_pristine(&self, state: *mut sys::lua_State, ready: Ready) -> bool {
        // SAFETY: the state is live and on this thread; asking for space reports failure.
        if !self.is_of(state) || unsafe { sys::lua_checkstack(state, SLOTS) } == 0 {
            return false;
        }
        // SAFETY: any stack has a top.
        let base = unsafe { sys::lua_gettop(state) };
        self.push(state, base, ready);
        // SAFETY: the function is on the stack; pushes one value, for which there is room.
        unsafe { sys::lua_getfenv(state, base + 2) };
        // SAFETY: the index was just pushed.
        let environment = unsafe { sys::lua_topointer(state, base + 3) };
        // SAFETY: shrinks the stack to what it was.
        unsafe { sys::lua_settop(state, base) };
        environment == self.environment
    }

    /// Pushes the table and a function from it. There must be room for two values.
    fn push(&self, state: *mut sys::lua_State, base: c_int, ready: Ready) {
        // SAFETY: the registry is a table; reading it allocates nothing.
        unsafe { sys::lua_rawgeti_(state, sys::LUA_REGISTRYINDEX, self.key.id()) };
        // SAFETY: the value at the key is our table, just pushed.
        unsafe { sys::lua_rawgeti_(state, base + 1, ready.0) };
    }

    /// Calls a function with a string; what it returns is written to `result` if it has at most `most` bytes.
    /// `state` is that of the VM.
    pub(super) fn call(
        &self,
        state: *mut sys::lua_State,
        ready: Ready,
        data: &[u8],
        (result, most): (&mut Vec<u8>, usize),
        others: Others,
    ) -> mlua::Result<Returned> {
        if !self.is_of(state) {
            return Err(mlua::Error::runtime("the function belongs to another VM"));
        }
        // SAFETY: the state is live and on this thread; asking for space reports failure.
        if unsafe { sys::lua_checkstack(state, SLOTS) } == 0 {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        }
        self.argument.start.set(data.as_ptr());
        self.argument.len.set(data.len());
        // SAFETY: any stack has a top.
        let base = unsafe { sys::lua_gettop(state) };
        self.push(state, base, Ready(HANDLER));
        // SAFETY: the table is at base + 1.
        unsafe { sys::lua_rawgeti_(state, base + 1, ENTER) };
        // SAFETY: as above.
        unsafe { sys::lua_rawgeti_(state, base + 1, ready.0) };
        // SAFETY: `enter` and its argument are on top, the handler is at base + 2.
        let status = unsafe { sys::lua_pcall(state, 1, 1, base + 2) };
        let outcome = if status == sys::LUA_OK {
            let taken = take(state, base + 3, result, most);
            if taken == Returned::Other && others == Others::Kept {
                // SAFETY: the table is at base + 1 and the value on top; the place is there, so nothing is allocated.
                unsafe { sys::lua_rawseti_(state, base + 1, OTHER) };
            }
            Ok(if others == Others::Ignored && taken == Returned::Other { Returned::Nothing } else { taken })
        } else {
            // The place is there, so nothing is allocated.
            // SAFETY: the table is at base + 1 and the error value on top.
            unsafe { sys::lua_rawseti_(state, base + 1, FAILURE) };
            Err(())
        };
        // SAFETY: shrinks the stack to what it was.
        unsafe { sys::lua_settop(state, base) };
        outcome.map_err(|()| self.failure())
    }

    /// The error value that the last call left.
    #[cold]
    fn failure(&self) -> mlua::Error {
        let value = self.table.raw_get::<Value>(FAILURE);
        _ = self.table.raw_set(FAILURE, false);
        match value {
            Ok(Value::Error(error)) => *error,
            Ok(Value::String(message)) => mlua::Error::RuntimeError(text(&message.as_bytes())),
            // The message handler leaves no other kind but userdata of the plugin's.
            Ok(other) => mlua::Error::RuntimeError(format!("(error object is a {} value)", other.type_name())),
            Err(error) => error,
        }
    }
}

/// Copies the value at `index`, if it is a string.
fn take(state: *mut sys::lua_State, index: c_int, result: &mut Vec<u8>, most: usize) -> Returned {
    // SAFETY: the call left one value at the index.
    match unsafe { sys::lua_type(state, index) } {
        sys::LUA_TSTRING => {}
        sys::LUA_TNIL => return Returned::Nothing,
        _ => return Returned::Other,
    }
    let mut len = 0;
    // SAFETY: the value is a string, so nothing is converted and nothing allocated.
    let start = unsafe { sys::lua_tolstring(state, index, &raw mut len) };
    if len > most {
        return Returned::TooLarge(len);
    }
    if len > 0 {
        // SAFETY: start and length are those of one string, which is on the stack.
        result.extend_from_slice(unsafe { slice::from_raw_parts(start.cast::<u8>(), len) });
    }
    Returned::Bytes
}

/// Calls its argument with the string that waits in the upvalue; a number it returns becomes text.
unsafe extern "C-unwind" fn enter(state: *mut sys::lua_State) -> c_int {
    // SAFETY: the closure was made with one light userdata.
    let argument = unsafe { sys::lua_touserdata(state, sys::lua_upvalueindex(1)) }.cast::<Argument>();
    // SAFETY: the address is that of the box of a `Direct`, which is calling.
    let argument = unsafe { &*argument };
    let (start, len) = (argument.start.get(), argument.len.get());
    // SAFETY: the bytes are borrowed by the call in progress; a C function has room for values.
    unsafe { sys::lua_pushlstring_(state, start.cast(), len) };
    // SAFETY: the function is at 1, its argument on top; an error passes through to the protected call.
    unsafe { sys::lua_call(state, 1, 1) };
    // SAFETY: the call left one value.
    if unsafe { sys::lua_type(state, 1) } == sys::LUA_TNUMBER {
        // SAFETY: converts the number in place.
        unsafe { sys::lua_tolstring(state, 1, ptr::null_mut()) };
    }
    1
}
