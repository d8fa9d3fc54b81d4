//! Which functions were packed before and are the same today: the same code, and captured values that have not changed.
//!
//! What a function captures may change between two jobs, and packing it anew costs more than all the rest of scheduling.
//! Values that cannot change in themselves (texts, numbers, what every VM knows by name) are compared with those of the last
//! time, which are kept so that an address stands for one value only. A function that captures a table is never recalled.
#![expect(unsafe_code, reason = "a C function that reads its arguments from the raw stack")]

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mlua::{Function, Lua, Table};
use mlua_sys as sys;

use super::code;
use super::pack::Packer;
use super::stack::{Kind, Stack, prototype_of};
use super::value::{Portable, Value};

/// Most variables of a function that is recalled: comparing more is no gain.
const MAX_VARIABLES: usize = 16;
/// How often in a row the values of a function may have changed before they are no longer kept.
const MAX_CHANGES: u32 = 16;
/// After how many further changes that is tried again.
const PAUSE: u32 = 4096;

/// The functions that are recalled, one for each prototype.
#[derive(Debug)]
pub(super) struct Recalled {
    /// What they captured, from the place of each on.
    values: Table,
    known: HashMap<usize, Known, RandomState>,
}

#[derive(Debug)]
struct Known {
    number: u64,
    /// Position of the first captured value before which nothing of it lies.
    place: c_int,
    variables: c_int,
    /// How often in a row it was found changed.
    changes: Cell<u32>,
}

impl Recalled {
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        Ok(Self { values: lua.create_table()?, known: HashMap::default() })
    }

    /// To be called when prototypes may go: their addresses say nothing any more.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    fn number(&self, stack: Stack, function: c_int, values: c_int) -> Option<(u64, bool)> {
        // SAFETY: the caller has found a Lua function at the index.
        let prototype = unsafe { prototype_of(stack.identity(function)) } as usize;
        let known = self.known.get(&prototype)?;
        for n in 1..=known.variables {
            let base = stack.top();
            let same = stack.push_upvalue(function, n).is_some() && {
                stack.raw_get_index(values, known.place + n);
                stack.is_same(base + 1, base + 2)
            };
            stack.set_top(base);
            if !same {
                known.changes.set(known.changes.get().saturating_add(1));
                return None;
            }
        }
        known.changes.set(0);
        Some((known.number, known.variables == 0))
    }
}

impl Packer {
    /// Keeps in mind what a function captures that was just packed; gives the number by which `recall` knows it from now
    /// on, unless what it captures may change unseen or does so all the time.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn remember(&mut self, lua: &Lua, function: &Function, portable: &Portable) -> mlua::Result<Option<u64>> {
        if !portable.is_constant() || portable.variables.len() > MAX_VARIABLES {
            return Ok(None);
        }
        let variables = portable.variables.len() as c_int;
        let mut prototype = None;
        let find = |state| {
            // SAFETY: this is the state of the running protected call, for which `Stack` is made.
            let stack = unsafe { Stack::new(state) };
            if !stack.is_c_function(1) {
                // SAFETY: a Lua function is at 1.
                prototype = Some(unsafe { prototype_of(stack.identity(1)) } as usize);
            }
            stack.set_top(0);
        };
        // SAFETY: `find` leaves the stack empty and owns nothing.
        unsafe { lua.exec_raw::<()>(function, find) }?;
        let Some(prototype) = prototype else { return Ok(None) };
        let recalled = &mut self.recalled;
        let places = recalled.known.len() * MAX_VARIABLES;
        let last = recalled.known.get(&prototype);
        let (place, changes) = last.map_or((places as c_int, 0), |last| (last.place, last.changes.get()));
        if (MAX_CHANGES..PAUSE).contains(&changes) {
            return Ok(None);
        }
        let keep = |state| {
            // SAFETY: this is the state of the running protected call, for which `Stack` is made.
            let stack = unsafe { Stack::new(state) };
            for n in 1..=variables {
                if stack.reserve(4) && stack.push_upvalue(1, n).is_some() {
                    stack.raw_set_index(2, place + n);
                }
            }
            stack.set_top(0);
        };
        // SAFETY: `keep` leaves the stack empty and owns nothing that an error passing through it would leak.
        unsafe { lua.exec_raw::<()>((function, &recalled.values), keep) }?;
        let number = if variables == 0 { portable.code().id() } else { code::next_id() };
        let changes = Cell::new(if changes >= PAUSE { 0 } else { changes });
        recalled.known.insert(prototype, Known { number, place, variables, changes });
        Ok(Some(number))
    }

    /// The function `recall(function)`: the number that [`Packer::remember`] gave, if what the function captures is what it
    /// was then, and whether it captures nothing; otherwise nothing.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn recall(lua: &Lua, packer: &Rc<RefCell<Self>>) -> mlua::Result<Function> {
        let values = packer.borrow().recalled.values.clone();
        let owned = Box::new(Rc::clone(packer));
        let address: *const Rc<RefCell<Self>> = &raw const *owned;
        // The second upvalue: what the first points to lives as long as the function.
        let owner = lua.create_any_userdata(owned)?;
        let make = |state| {
            // SAFETY: this is a protected call with room for values.
            unsafe { sys::lua_pushlightuserdata(state, address.cast_mut().cast()) };
            // SAFETY: the owner and the table are at 1 and 2, the light userdata above them.
            unsafe { sys::lua_insert(state, 1) };
            // SAFETY: three values are on the stack.
            unsafe { sys::lua_pushcclosure(state, recall, 3) };
        };
        // SAFETY: `make` owns nothing and leaves one value.
        unsafe { lua.exec_raw((owner, values), make) }
    }
}

impl Portable {
    /// True if no value it holds can be changed by anybody who has it: what is equal to it today is so for ever.
    fn is_constant(&self) -> bool {
        let plain_function = |number: u32| {
            let captured = (number as usize).checked_sub(1).and_then(|at| self.closures.get(at));
            captured.is_some_and(|closure| closure.code.upvalues() == 0)
        };
        self.variables.iter().all(|value| match *value {
            Value::Nil | Value::Boolean(_) | Value::Number(_) | Value::String { .. } | Value::Known(_) => true,
            Value::Closure(number) => plain_function(number),
            Value::Table(_) | Value::Int64(_) | Value::Uint64(_) => false,
        })
    }
}

unsafe extern "C-unwind" fn recall(state: *mut sys::lua_State) -> c_int {
    // SAFETY: the closure was made with a light userdata first.
    let address = unsafe { sys::lua_touserdata(state, sys::lua_upvalueindex(1)) }.cast::<Rc<RefCell<Packer>>>();
    // SAFETY: the second upvalue keeps what the address points to alive.
    let Some(packer) = (unsafe { address.as_ref() }) else { return 0 };
    // SAFETY: a C function that Lua calls runs in a protected call; nothing below owns what an error would leak.
    let stack = unsafe { Stack::new(state) };
    if stack.top() != 1 || stack.kind(1) != Kind::Function || stack.is_c_function(1) || !stack.reserve(8) {
        return 0;
    }
    // SAFETY: the third upvalue is the table of values, for which there is room.
    unsafe { sys::lua_pushvalue(state, sys::lua_upvalueindex(3)) };
    let Ok(packer) = packer.try_borrow() else { return 0 };
    let found = packer.recalled.number(stack, 1, 2);
    drop(packer);
    let Some((number, plain)) = found else { return 0 };
    // A float holds every number that is reached in practice.
    stack.push_number(number as f64);
    stack.push_boolean(plain);
    2
}
