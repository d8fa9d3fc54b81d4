//! A function of the VM that sends functions again: it finds the code of a prototype that was packed before.
//!
//! Plugins write `T.async:schedule { onexecute = function(data) ... end }`, which makes a closure for every job. Such a
//! closure captures nothing as a rule, so its prototype says all about it, and the prototype is found by its address.
#![expect(unsafe_code, reason = "a C function that reads its arguments from the raw stack")]

use std::cell::RefCell;
use std::ffi::c_int;
use std::rc::Rc;

use mlua::{Function, Lua};
use mlua_sys as sys;

use super::pack::Packer;
use super::stack::{Kind, Stack, prototype_of};

/// What the function works on.
struct Again<F> {
    packer: Rc<RefCell<Packer>>,
    send: F,
}

impl Packer {
    /// The function `again(function, data, number)`: if a function with the same code was packed before and captures nothing,
    /// calls `send` with the number of the code, the bytes of the string and the number, and returns what that returns and
    /// the number of the code; otherwise nothing. `send` must neither call into the VM nor panic.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn again<F>(lua: &Lua, packer: &Rc<RefCell<Self>>, send: F) -> mlua::Result<Function>
    where
        F: Fn(u64, &[u8], f64) -> Option<f64> + 'static,
    {
        let owned = Box::new(Again { packer: Rc::clone(packer), send });
        let address: *const Again<F> = &raw const *owned;
        // The second upvalue: what the first points to lives as long as the function.
        let owner = lua.create_any_userdata(owned)?;
        let make = |state| {
            // SAFETY: this is a protected call with room for values.
            unsafe { sys::lua_pushlightuserdata(state, address.cast_mut().cast()) };
            // SAFETY: the owner is at 1, the light userdata above it.
            unsafe { sys::lua_insert(state, 1) };
            // SAFETY: two values are on the stack.
            unsafe { sys::lua_pushcclosure(state, again::<F>, 2) };
        };
        // SAFETY: `make` owns nothing and leaves one value.
        unsafe { lua.exec_raw(owner, make) }
    }
}

unsafe extern "C-unwind" fn again<F>(state: *mut sys::lua_State) -> c_int
where
    F: Fn(u64, &[u8], f64) -> Option<f64> + 'static,
{
    // SAFETY: the closure was made with one light userdata.
    let address = unsafe { sys::lua_touserdata(state, sys::lua_upvalueindex(1)) }.cast::<Again<F>>();
    // SAFETY: the second upvalue keeps what the address points to alive.
    let Some(again) = (unsafe { address.as_ref() }) else { return 0 };
    // SAFETY: a C function that Lua calls runs in a protected call; nothing below owns what an error would leak.
    let stack = unsafe { Stack::new(state) };
    if stack.top() != 3 || stack.kind(1) != Kind::Function || stack.kind(2) != Kind::String || stack.is_c_function(1) {
        return 0;
    }
    // SAFETY: a Lua function is at 1.
    let prototype = unsafe { prototype_of(stack.identity(1)) } as usize;
    let Ok(packer) = again.packer.try_borrow() else { return 0 };
    let code = packer.plain_code(prototype);
    drop(packer);
    let sent = code.and_then(|code| (again.send)(code, stack.string(2), stack.number(3)));
    let (Some(number), Some(code)) = (sent, code) else { return 0 };
    stack.push_number(number);
    // A float holds every number that is reached in practice.
    stack.push_number(code as f64);
    2
}
