//! The VM stack within one protected call.
#![expect(
    unsafe_code,
    reason = "the walk over captured values is four times faster on the raw stack than through handles"
)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use mlua_sys as sys;

// The bindings for this VM leave out two functions that it has.
unsafe extern "C-unwind" {
    fn lua_upvalueid(state: *mut sys::lua_State, function: c_int, n: c_int) -> *mut c_void;
    fn lua_upvaluejoin(state: *mut sys::lua_State, function: c_int, n: c_int, other: c_int, m: c_int);
}

/// The stack of a VM inside [`mlua::Lua::exec_raw`].
///
/// INVARIANT: `state` is live and this is a protected call, so that an allocation that fails raises an error which ends in
/// that call; every index a caller passes is positive and at most [`Stack::top`]; space for what it pushes was asked for
/// with [`Stack::reserve`]. No frame between the protected call and here owns anything that needs dropping.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    state: *mut sys::lua_State,
}

/// The type of a value on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Function,
    Userdata,
    LightUserdata,
    Thread,
    Cdata,
}

impl Stack {
    /// Takes the stack of the running protected call.
    ///
    /// # Safety
    /// `state` must be the one that `exec_raw` handed to its closure, and the result must not outlive that closure.
    pub(super) const unsafe fn new(state: *mut sys::lua_State) -> Self {
        Self { state }
    }

    pub(super) fn top(self) -> c_int {
        // SAFETY: the state is live (invariant of the type).
        unsafe { sys::lua_gettop(self.state) }
    }

    pub(super) fn set_top(self, top: c_int) {
        debug_assert!(top >= 0 && top <= self.top());
        // SAFETY: the state is live; shrinking the stack needs no space.
        unsafe { sys::lua_settop(self.state, top) }
    }

    /// Room for `slots` more values; false if the VM has reached its limit.
    #[must_use]
    pub(super) fn reserve(self, slots: c_int) -> bool {
        // SAFETY: the state is live; this reports failure instead of raising it.
        unsafe { sys::lua_checkstack(self.state, slots) != 0 }
    }

    pub(super) fn kind(self, index: c_int) -> Kind {
        debug_assert!(index > 0 && index <= self.top());
        // SAFETY: the index is on the stack (invariant).
        match unsafe { sys::lua_type(self.state, index) } {
            sys::LUA_TBOOLEAN => Kind::Boolean,
            sys::LUA_TNUMBER => Kind::Number,
            sys::LUA_TSTRING => Kind::String,
            sys::LUA_TTABLE => Kind::Table,
            sys::LUA_TFUNCTION => Kind::Function,
            sys::LUA_TUSERDATA => Kind::Userdata,
            sys::LUA_TLIGHTUSERDATA => Kind::LightUserdata,
            sys::LUA_TTHREAD => Kind::Thread,
            sys::LUA_TCDATA => Kind::Cdata,
            _ => Kind::Nil,
        }
    }

    pub(super) fn boolean(self, index: c_int) -> bool {
        // SAFETY: the index is on the stack (invariant).
        unsafe { sys::lua_toboolean(self.state, index) != 0 }
    }

    pub(super) fn number(self, index: c_int) -> f64 {
        // SAFETY: the index is on the stack (invariant); a value that is no number gives 0.
        unsafe { sys::lua_tonumber(self.state, index) }
    }

    /// The bytes of a string, valid while the string stays on the stack.
    pub(super) fn string<'a>(self, index: c_int) -> &'a [u8] {
        debug_assert_eq!(self.kind(index), Kind::String);
        let mut len = 0;
        // SAFETY: the index holds a string (asserted), so nothing is converted or allocated.
        let start = unsafe { sys::lua_tolstring(self.state, index, &raw mut len) };
        if start.is_null() {
            return &[];
        }
        // SAFETY: the VM gave start and length of one string; strings do not move and the caller keeps it on the stack.
        unsafe { std::slice::from_raw_parts(start.cast(), len) }
    }

    /// Identity of a table, function or other object.
    pub(super) fn identity(self, index: c_int) -> *const c_void {
        // SAFETY: the index is on the stack (invariant).
        unsafe { sys::lua_topointer(self.state, index) }
    }

    pub(super) fn is_c_function(self, index: c_int) -> bool {
        // SAFETY: the index is on the stack (invariant).
        unsafe { sys::lua_iscfunction(self.state, index) != 0 }
    }

    /// True if the table at `index` has a metatable.
    pub(super) fn has_metatable(self, index: c_int) -> bool {
        // SAFETY: the index is on the stack and there is room for one value (invariant).
        let has = unsafe { sys::lua_getmetatable(self.state, index) != 0 };
        if has {
            self.set_top(self.top() - 1);
        }
        has
    }

    /// True if the table at `index` hides its metatable (`__metatable`), as the objects of the host do. There must be room
    /// for three values.
    pub(super) fn has_protected_metatable(self, index: c_int) -> bool {
        let top = self.top();
        // SAFETY: the index is on the stack and there is room for one value (invariant).
        if unsafe { sys::lua_getmetatable(self.state, index) } == 0 {
            return false;
        }
        // Walked instead of looked up: a lookup would have to make the key, which may fail.
        let metatable = self.top();
        let mut found = false;
        self.push_nil();
        while !found && self.next(metatable) {
            let key = self.top() - 1;
            found = self.kind(key) == Kind::String && self.string(key) == b"__metatable";
            self.set_top(key);
        }
        self.set_top(top);
        found
    }

    /// Pushes the n-th captured variable of a function and gives its name.
    pub(super) fn push_upvalue<'a>(self, function: c_int, n: c_int) -> Option<&'a CStr> {
        debug_assert_eq!(self.kind(function), Kind::Function);
        // SAFETY: the index holds a function (asserted); null is returned and nothing pushed if there is no n-th variable.
        let name = unsafe { sys::lua_getupvalue(self.state, function, n) };
        if name.is_null() {
            return None;
        }
        // SAFETY: the VM gives a NUL-terminated name, held by the prototype, which the function on the stack keeps.
        Some(unsafe { CStr::from_ptr(name) })
    }

    /// Whether two values are one and the same, as far as anybody could tell: of numbers every bit counts.
    pub(super) fn is_same(self, a: c_int, b: c_int) -> bool {
        if self.kind(a) == Kind::Number && self.kind(b) == Kind::Number {
            return self.number(a).to_bits() == self.number(b).to_bits();
        }
        // SAFETY: both indexes are on the stack (invariant); raw comparison calls nothing.
        unsafe { sys::lua_rawequal(self.state, a, b) != 0 }
    }

    /// Identity of the n-th captured variable; functions that share a variable have it in common.
    pub(super) fn upvalue_identity(self, function: c_int, n: c_int) -> *const c_void {
        debug_assert!(!self.is_c_function(function));
        // SAFETY: a Lua function with at least n variables is at the index: the caller has just read the n-th.
        unsafe { lua_upvalueid(self.state, function, n) }
    }

    /// Makes the n-th variable of one Lua function the m-th of another.
    pub(super) fn join_upvalue(self, function: c_int, n: c_int, other: c_int, m: c_int) {
        debug_assert!(!self.is_c_function(function) && !self.is_c_function(other));
        // SAFETY: both are Lua functions; n and m are within the counts that their code was made with.
        unsafe { lua_upvaluejoin(self.state, function, n, other, m) }
    }

    /// Replaces the key on top by the next key and value of the table; false (and nothing pushed) at the end.
    pub(super) fn next(self, table: c_int) -> bool {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: a table is at the index and a key of it, or nil, on top; there is room for one more (invariant).
        unsafe { sys::lua_next(self.state, table) != 0 }
    }

    pub(super) fn push_nil(self) {
        // SAFETY: there is room (invariant).
        unsafe { sys::lua_pushnil(self.state) }
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "the boolean is the value that is pushed")]
    pub(super) fn push_boolean(self, value: bool) {
        // SAFETY: there is room (invariant).
        unsafe { sys::lua_pushboolean(self.state, c_int::from(value)) }
    }

    pub(super) fn push_number(self, value: f64) {
        // SAFETY: there is room (invariant).
        unsafe { sys::lua_pushnumber(self.state, value) }
    }

    pub(super) fn push_string(self, value: &[u8]) {
        // SAFETY: there is room; pointer and length are those of one slice; an allocation failure is raised in the
        // protected call (invariant).
        unsafe { sys::lua_pushlstring_(self.state, value.as_ptr().cast(), value.len()) }
    }

    pub(super) fn push_copy(self, index: c_int) {
        // SAFETY: the index is on the stack and there is room (invariant).
        unsafe { sys::lua_pushvalue(self.state, index) }
    }

    pub(super) fn push_table(self, sequence: u32, fields: u32) {
        let limit = |count: u32| c_int::try_from(count.min(1 << 20)).unwrap_or(0);
        // SAFETY: there is room; an allocation failure is raised in the protected call (invariant).
        unsafe { sys::lua_createtable(self.state, limit(sequence), limit(fields)) }
    }

    /// Replaces the key on top by the table's value for it, without metamethods.
    pub(super) fn raw_get(self, table: c_int) {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: a table is at the index and a key on top (caller).
        unsafe { sys::lua_rawget(self.state, table) };
    }

    /// Sets a field from key and value on top and pops both; the key is neither nil nor NaN.
    pub(super) fn raw_set(self, table: c_int) {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: a table is at the index, key and value on top (caller); a failure is raised in the protected call.
        unsafe { sys::lua_rawset(self.state, table) }
    }

    pub(super) fn raw_get_index(self, table: c_int, n: c_int) {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: a table is at the index and there is room (invariant).
        unsafe { sys::lua_rawgeti_(self.state, table, n) }
    }

    pub(super) fn raw_set_index(self, table: c_int, n: c_int) {
        debug_assert_eq!(self.kind(table), Kind::Table);
        // SAFETY: a table is at the index and a value on top; a failure is raised in the protected call (invariant).
        unsafe { sys::lua_rawseti_(self.state, table, n) }
    }

    /// Calls the function below `args` arguments; an error passes through to the protected call.
    pub(super) fn call(self, args: c_int, results: c_int) {
        debug_assert!(self.top() > args);
        // SAFETY: function and arguments are on the stack (asserted); an error ends in the protected call, and no frame on
        // the way owns anything (invariant).
        unsafe { sys::lua_call(self.state, args, results) }
    }

    pub(super) fn insert(self, index: c_int) {
        // SAFETY: the index is on the stack (invariant).
        unsafe { sys::lua_insert(self.state, index) }
    }
}

/// Identity of a Lua function's prototype: where its instructions begin.
///
/// The VM offers it only through a table it builds for each question, which costs more than the whole walk, so it is read
/// from the function object. [`Packer`](super::Packer) compares it with what the VM says whenever it meets a new one.
///
/// # Safety
/// `function` must be the identity of a live Lua function (not a C function) of a VM of this build.
pub(super) unsafe fn prototype_of(function: *const c_void) -> *const c_void {
    /// Offset of the program counter in a function object: object header, environment, list link.
    const PC: usize = 32;
    // SAFETY: a Lua function object is at least 40 bytes long (caller).
    let field = unsafe { function.byte_add(PC) };
    // SAFETY: the field is an aligned pointer that is set when the function is created and never changes.
    unsafe { ptr::read(field.cast::<*const c_void>()) }
}

/// Distance between a prototype object and its instructions: the size of the object in this build of the VM.
pub(super) const PROTOTYPE_SIZE: usize = 104;
