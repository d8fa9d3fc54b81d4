//! From data to a function of a VM.
#![expect(unsafe_code, reason = "enters the raw stack")]

use std::ffi::c_int;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLuaMulti as _, Lua, MultiValue, Table};

use crate::lua::{HOST_CHUNK, PluginError, own_text};

use super::code::{Code, MAX_UPVALUES};
use super::stack::{Kind, Stack};
use super::value::{KnownName, Portable, RootUse, Value};

/// Most prototypes and names that are kept.
const MAX_KEPT: usize = 4096;

/// Builds what the loader keeps in its VM: tables of wrappers and of known values, and the functions that make a 64-bit
/// integer, a variable, and find a value by name.
const SHARED: &str = include_str!("load.lua");
const WRAPPERS: c_int = 1;
const KNOWN: c_int = 2;
const INTEGER: c_int = 3;
const VARIABLE: c_int = 4;
const RESOLVE: c_int = 5;

/// Stack positions during a build.
const SHARED_AT: c_int = 1;
const WRAPPERS_AT: c_int = 2;
const KNOWN_AT: c_int = 3;
const OBJECTS_AT: c_int = 4;
const VARIABLES_AT: c_int = 5;

/// Makes functions of one VM from data.
#[derive(Debug)]
pub struct Loader {
    shared: Table,
    wrappers: Table,
    resolve: Function,
    codes: HashMap<u64, c_int, RandomState>,
    names: HashMap<u64, c_int, RandomState>,
}

impl Loader {
    /// Prepares a VM. Make it before plugin code runs.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn new(lua: &Lua) -> mlua::Result<Self> {
        let shared: Table = own_text(lua, &format!("={HOST_CHUNK}/portable"), SHARED)?.call(())?;
        Ok(Self {
            wrappers: shared.raw_get(WRAPPERS)?,
            resolve: shared.raw_get(RESOLVE)?,
            shared,
            codes: HashMap::default(),
            names: HashMap::default(),
        })
    }

    /// A new closure with new variables. `call` runs a function of this VM: finding a value by name may load a module,
    /// which is plugin code and has to be guarded as such.
    ///
    /// # Errors
    /// What `call` returned, or a VM error.
    pub fn load(
        &mut self,
        lua: &Lua,
        portable: &Portable,
        mut call: impl FnMut(&Function, MultiValue) -> Result<(), PluginError>,
    ) -> Result<Function, PluginError> {
        if self.codes.len() + self.names.len() > MAX_KEPT {
            *self = Self::new(lua).map_err(failed)?;
        }
        for name in &portable.names {
            if !self.names.contains_key(&name.id()) {
                let slot = self.names.len() as c_int + 1;
                call(&self.resolve, arguments(lua, slot, name).map_err(failed)?)?;
                self.names.insert(name.id(), slot);
            }
        }
        self.keep(lua, &portable.root).map_err(failed)?;
        for closure in &portable.closures {
            self.keep(lua, &closure.code).map_err(failed)?;
        }
        let shared = &self.shared;
        let build = |state| {
            // SAFETY: this is the state of the running protected call; `Build` keeps to the rules of `Stack`, which ends here.
            let stack = unsafe { Stack::new(state) };
            Build { loader: self, stack, portable }.run();
        };
        // SAFETY: `build` leaves one value on the stack and owns nothing that an error passing through it would leak.
        let function = unsafe { lua.exec_raw::<Function>(shared, build) };
        function.map_err(failed)
    }

    /// Loads code that is new to this VM.
    fn keep(&mut self, lua: &Lua, code: &Code) -> mlua::Result<()> {
        if self.codes.contains_key(&code.id()) {
            return Ok(());
        }
        let wrapper = lua.load(code.bytes()).set_mode(ChunkMode::Binary).into_function()?;
        let slot = self.codes.len() as c_int + 1;
        self.wrappers.raw_set(slot, wrapper)?;
        self.codes.insert(code.id(), slot);
        Ok(())
    }
}

fn failed(error: mlua::Error) -> PluginError {
    PluginError::from_lua(&error)
}

fn arguments(lua: &Lua, slot: c_int, name: &KnownName) -> mlua::Result<MultiValue> {
    let mut arguments = (slot, lua.create_string(name.module())?).into_lua_multi(lua)?;
    for key in name.path() {
        arguments.push_back(mlua::Value::String(lua.create_string(key)?));
    }
    Ok(arguments)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

struct Build<'a> {
    loader: &'a Loader,
    stack: Stack,
    portable: &'a Portable,
}

impl Build<'_> {
    /// Leaves the function as the only value on the stack; nil if the VM has no room for more values.
    fn run(&self) {
        let stack = self.stack;
        if !stack.reserve(MAX_UPVALUES as c_int + 16) {
            stack.set_top(0);
            stack.push_nil();
            return;
        }
        stack.raw_get_index(SHARED_AT, WRAPPERS);
        stack.raw_get_index(SHARED_AT, KNOWN);
        if self.portable.closures.is_empty() && self.portable.root_use == RootUse::Entry {
            if !self.portable.tables.is_empty() {
                self.push_objects();
                self.fill_tables();
            }
            self.push_wrapper(&self.portable.root);
            self.portable.variables.iter().for_each(|value| self.push(*value));
            stack.call(self.portable.root.upvalues() as c_int, 1);
        } else {
            self.push_objects();
            self.make_closures();
            self.fill_tables();
            self.push(Value::Closure(0));
        }
        stack.insert(1);
        stack.set_top(1);
    }

    fn push_objects(&self) {
        let stack = self.stack;
        stack.push_table((self.portable.tables.len() + self.portable.closures.len() + 1) as u32, 0);
        debug_assert_eq!(stack.top(), OBJECTS_AT);
        for (number, table) in self.portable.tables.iter().enumerate() {
            stack.push_table(table.sequence, table.entries - table.sequence);
            stack.raw_set_index(OBJECTS_AT, number as c_int + 1);
        }
    }

    /// Closures that refer to each other: all exist before any variable has a value. Every variable comes from one and the
    /// same function, because compiled code takes variables for distinct if they were made at different places.
    fn make_closures(&self) {
        let (stack, portable) = (self.stack, self.portable);
        let codes = || std::iter::once(&portable.root).chain(portable.closures.iter().map(|closure| &closure.code));
        for (number, code) in codes().enumerate() {
            self.push_wrapper(code);
            (0..code.upvalues()).for_each(|_| stack.push_nil());
            stack.call(code.upvalues() as c_int, 1);
            stack.raw_set_index(OBJECTS_AT, self.closure_slot(number as u32));
        }
        stack.push_table(portable.variables.len() as u32, 0);
        debug_assert_eq!(stack.top(), VARIABLES_AT);
        for (number, value) in portable.variables.iter().enumerate() {
            stack.raw_get_index(SHARED_AT, VARIABLE);
            self.push(*value);
            stack.call(1, 1);
            stack.raw_set_index(VARIABLES_AT, number as c_int + 1);
        }
        for (number, code) in codes().enumerate() {
            stack.raw_get_index(OBJECTS_AT, self.closure_slot(number as u32));
            let closure = stack.top();
            for n in 0..code.upvalues() {
                let variable = match number.checked_sub(1) {
                    None => n as u32,
                    Some(captured) => portable.slots[portable.closures[captured].first_slot as usize + n],
                };
                stack.raw_get_index(VARIABLES_AT, variable as c_int + 1);
                stack.join_upvalue(closure, n as c_int + 1, closure + 1, 1);
                stack.set_top(closure);
            }
            stack.set_top(closure - 1);
        }
    }

    fn fill_tables(&self) {
        let stack = self.stack;
        for (number, table) in self.portable.tables.iter().enumerate() {
            stack.raw_get_index(OBJECTS_AT, number as c_int + 1);
            let at = stack.top();
            let first = table.first_entry as usize;
            for (key, value) in &self.portable.entries[first..first + table.entries as usize] {
                self.push(*key);
                // A key known by name may not exist here.
                if stack.kind(stack.top()) == Kind::Nil {
                    stack.set_top(at);
                    continue;
                }
                self.push(*value);
                stack.raw_set(at);
            }
            stack.set_top(at - 1);
        }
    }

    fn closure_slot(&self, number: u32) -> c_int {
        (self.portable.tables.len() + number as usize + 1) as c_int
    }

    fn push_wrapper(&self, code: &Code) {
        let slot = self.loader.codes.get(&code.id()).copied().unwrap_or(0);
        self.stack.raw_get_index(WRAPPERS_AT, slot);
    }

    fn push(&self, value: Value) {
        let stack = self.stack;
        match value {
            Value::Nil => stack.push_nil(),
            Value::Boolean(value) => stack.push_boolean(value),
            Value::Number(value) => stack.push_number(value),
            Value::String { start, len } => stack.push_string(self.portable.string(start, len)),
            Value::Int64(value) => self.push_integer(Sign::Signed, value.cast_unsigned()),
            Value::Uint64(value) => self.push_integer(Sign::Unsigned, value),
            Value::Table(number) => stack.raw_get_index(OBJECTS_AT, number as c_int + 1),
            Value::Closure(number) => stack.raw_get_index(OBJECTS_AT, self.closure_slot(number)),
            Value::Known(position) => {
                let id = self.portable.names[position as usize].id();
                stack.raw_get_index(KNOWN_AT, self.loader.names.get(&id).copied().unwrap_or(0));
            }
        }
    }

    fn push_integer(&self, sign: Sign, bits: u64) {
        self.stack.raw_get_index(SHARED_AT, INTEGER);
        self.stack.push_boolean(sign == Sign::Signed);
        self.stack.push_number((bits >> 32) as f64);
        self.stack.push_number((bits & 0xFFFF_FFFF) as f64);
        self.stack.call(3, 1);
    }
}
