//! From a function of a VM to data.
#![expect(unsafe_code, reason = "enters the raw stack and reads the prototype of function objects")]

use std::collections::HashSet;
use std::ffi::{CStr, c_int};
use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mlua::{Function, Lua, Table};

use super::code::{Code, MAX_UPVALUES, MalformedDump};
use super::known;
use super::recall::Recalled;
use super::stack::{Kind, PROTOTYPE_SIZE, Stack, prototype_of};
use super::value::{
    KnownName, MAX_DEPTH, MAX_SIZE, METATABLE, PackError, Portable, PortableClosure, PortableTable, RootUse, Value,
    Warning,
};

/// Most prototypes whose bytecode is kept; a plugin that compiles text for every packet must not fill memory.
const MAX_CODES: usize = 1024;
/// Most upvalue names that are remembered as reported.
const MAX_WARNED: usize = 1000;

/// Stack positions during a walk.
const FUNCTION: c_int = 1;
const HELPERS: c_int = 2;
const KNOWN: c_int = 3;

/// Turns functions of one VM into data. Make it once `T` and the libraries are in place and before plugin code runs: what
/// exists then is sent by name.
#[derive(Debug)]
pub struct Packer {
    helpers: Table,
    trampoline: Function,
    codes: HashMap<usize, Arc<Code>, RandomState>,
    /// Those that were needed so far, by number.
    names: Vec<Arc<KnownName>>,
    warned: HashSet<Box<str>>,
    pub(super) recalled: Recalled,
    // Kept between walks for their memory.
    tables: HashMap<usize, u32, RandomState>,
    closures: HashMap<usize, u32, RandomState>,
    variables: HashMap<usize, u32, RandomState>,
    path: Vec<Step>,
}

/// A function as data, and what it had to leave behind.
#[derive(Debug)]
pub struct Packed {
    /// The function.
    pub portable: Portable,
    /// Values that stayed behind, one for each captured variable the first time this VM sends it.
    pub warnings: Vec<Warning>,
}

/// One step on the way to a value.
#[derive(Clone, Copy, Debug)]
enum Step {
    Upvalue(*const std::ffi::c_char),
    /// The key at a position of the stack.
    Key(c_int),
}

impl Packer {
    /// Learns the values that every VM has and knows by name.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn new(lua: &Lua) -> mlua::Result<Self> {
        let helpers = known::helpers(lua)?;
        Ok(Self {
            trampoline: helpers.raw_get(known::TRAMPOLINE)?,
            helpers,
            codes: HashMap::default(),
            names: Vec::new(),
            warned: HashSet::new(),
            recalled: Recalled::new(lua)?,
            tables: HashMap::default(),
            closures: HashMap::default(),
            variables: HashMap::default(),
            path: Vec::new(),
        })
    }

    /// Learns what was added to a global table since the packer was made, such as parts of `T` that need one themselves.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn complete(&mut self, name: &str) -> mlua::Result<()> {
        self.helpers.raw_get::<Function>(known::COMPLETE)?.call(name)
    }

    /// A function of the VM that learns what is found in a table which has a name: `extend(table, fields)`.
    ///
    /// # Errors
    /// When the VM has no room.
    pub fn extending(&self) -> mlua::Result<Function> {
        self.helpers.raw_get(known::EXTEND)
    }

    /// Turns a function into data. The same prototype is dumped once only, however often it is packed.
    ///
    /// # Errors
    /// When the function is nested too deep or too large, or the VM fails.
    pub fn pack(&mut self, lua: &Lua, function: &Function) -> Result<Packed, PackError> {
        let mut outcome = Err(PackError::NotLua);
        let helpers = self.helpers.clone();
        let record = |state| {
            // SAFETY: this is the state of the running protected call; `walk` keeps to the rules of `Stack`, which ends here.
            let stack = unsafe { Stack::new(state) };
            walk(self, stack, &mut outcome);
        };
        // SAFETY: `record` leaves the stack empty and owns nothing that an error passing through it would leak.
        let walked = unsafe { lua.exec_raw::<()>((function, &helpers), record) };
        self.tables.clear();
        self.closures.clear();
        self.variables.clear();
        self.path.clear();
        walked.map_err(|error| PackError::Vm(error.to_string()))?;
        if matches!(outcome, Err(PackError::NotLua)) {
            // A library function: send a Lua function that calls it, which finds it by name.
            let wrapped: Function = self.trampoline.call(function).map_err(|error| PackError::Vm(error.to_string()))?;
            let packed = self.pack_known(lua, &wrapped)?;
            return packed.ok_or(PackError::NotLua);
        }
        outcome
    }

    /// Packs a trampoline; `None` if what it calls is not known by name.
    fn pack_known(&mut self, lua: &Lua, trampoline: &Function) -> Result<Option<Packed>, PackError> {
        let packed = self.pack(lua, trampoline)?;
        Ok(matches!(packed.portable.variables.first(), Some(Value::Known(_))).then_some(packed))
    }
}

fn walk(packer: &mut Packer, stack: Stack, outcome: &mut Result<Packed, PackError>) {
    pack_top(packer, stack, outcome);
    stack.set_top(0);
}

fn pack_top(packer: &mut Packer, stack: Stack, outcome: &mut Result<Packed, PackError>) {
    *outcome = Err(PackError::TooLarge);
    if !stack.reserve(16) {
        return;
    }
    stack.raw_get_index(HELPERS, known::KNOWN);
    if stack.is_c_function(FUNCTION) {
        *outcome = Err(PackError::NotLua);
        return;
    }
    let root = match packer.code(stack, FUNCTION) {
        Ok(code) => code,
        Err(error) => {
            *outcome = Err(error);
            return;
        }
    };
    // The result is built in place, so that no frame of the walk owns memory when the VM raises an error.
    let packed = outcome.insert_packed(root);
    let mut walk = Walk { packer, stack, packed, depth: 0, refreshed: false };
    if let Err(error) = walk.root() {
        *outcome = Err(error);
    }
}

trait InsertPacked {
    fn insert_packed(&mut self, root: Arc<Code>) -> &mut Packed;
}

impl InsertPacked for Result<Packed, PackError> {
    fn insert_packed(&mut self, root: Arc<Code>) -> &mut Packed {
        let portable = Portable {
            root,
            closures: Vec::new(),
            root_use: RootUse::Entry,
            slots: Vec::new(),
            variables: Vec::new(),
            tables: Vec::new(),
            entries: Vec::new(),
            names: Vec::new(),
            bytes: Vec::new(),
        };
        *self = Ok(Packed { portable, warnings: Vec::new() });
        self.as_mut().expect("just set")
    }
}

impl Packer {
    /// Warns again of values reached through a captured variable of this name.
    pub fn forget_warnings(&mut self, upvalue: &str) {
        self.warned.remove(upvalue);
    }

    /// Warns again of whatever stays behind.
    pub fn forget_all_warnings(&mut self) {
        self.warned.clear();
    }

    /// The number of the code of a prototype, if functions of it were packed before and capture nothing.
    pub(super) fn plain_code(&self, prototype: usize) -> Option<u64> {
        self.codes.get(&prototype).filter(|code| code.upvalues() == 0).map(|code| code.id())
    }

    /// The code of the Lua function at `index`, dumped if it is new.
    fn code(&mut self, stack: Stack, index: c_int) -> Result<Arc<Code>, PackError> {
        debug_assert!(!stack.is_c_function(index));
        // SAFETY: a Lua function is at the index (callers test for functions in C).
        let prototype = unsafe { prototype_of(stack.identity(index)) } as usize;
        if let Some(code) = self.codes.get(&prototype) {
            return Ok(Arc::clone(code));
        }
        let full = self.codes.len() >= MAX_CODES;
        let base = stack.top();
        stack.raw_get_index(HELPERS, known::DESCRIBE);
        stack.push_copy(index);
        stack.push_boolean(full);
        stack.call(2, 4);
        if full {
            self.codes.clear();
            self.recalled.clear();
        }
        // The address serves as identity, so it must be what the VM calls the prototype of this function.
        if stack.identity(base + 3) as usize + PROTOTYPE_SIZE != prototype {
            return Err(MalformedDump.into());
        }
        let location = String::from_utf8_lossy(stack.string(base + 4));
        let code = Arc::new(Code::wrap(stack.string(base + 1), stack.string(base + 2), location.into())?);
        self.codes.insert(prototype, Arc::clone(&code));
        stack.set_top(base);
        Ok(code)
    }
}

/// One walk over a function and what it captures.
struct Walk<'a> {
    packer: &'a mut Packer,
    stack: Stack,
    packed: &'a mut Packed,
    depth: usize,
    /// Modules loaded since the last walk have been looked up.
    refreshed: bool,
}

impl Walk<'_> {
    fn root(&mut self) -> Result<(), PackError> {
        let upvalues = self.packed.portable.root.upvalues();
        self.packed.portable.variables.resize(upvalues, Value::Nil);
        for n in 0..upvalues {
            let value = self.upvalue(FUNCTION, n)?;
            self.packed.portable.variables[n] = value;
        }
        Ok(())
    }

    /// The value of the n-th variable (from 0) of the function at `index`.
    fn upvalue(&mut self, index: c_int, n: usize) -> Result<Value, PackError> {
        debug_assert!(n < MAX_UPVALUES);
        let Some(name) = self.stack.push_upvalue(index, n as c_int + 1) else {
            return Ok(Value::Nil);
        };
        self.packer.path.push(Step::Upvalue(name.as_ptr()));
        let top = self.stack.top();
        let value = self.value(top)?;
        self.packer.path.pop();
        self.stack.set_top(top - 1);
        Ok(value)
    }

    fn value(&mut self, index: c_int) -> Result<Value, PackError> {
        Ok(match self.stack.kind(index) {
            Kind::Nil => Value::Nil,
            Kind::Boolean => Value::Boolean(self.stack.boolean(index)),
            Kind::Number => Value::Number(self.stack.number(index)),
            Kind::String => self.string(index)?,
            Kind::Table => self.table(index)?,
            Kind::Function => self.function(index)?,
            Kind::Cdata => self.cdata(index)?,
            Kind::Userdata => self.left_behind("userdata"),
            Kind::LightUserdata => self.left_behind("light userdata"),
            Kind::Thread => self.left_behind("coroutine"),
        })
    }

    fn string(&mut self, index: c_int) -> Result<Value, PackError> {
        let text = self.stack.string(index);
        let bytes = &mut self.packed.portable.bytes;
        if text.len() + bytes.len() > MAX_SIZE {
            return Err(PackError::TooLarge);
        }
        // Both fit: the sum is at most MAX_SIZE.
        let value = Value::String { start: bytes.len() as u32, len: text.len() as u32 };
        bytes.extend_from_slice(text);
        Ok(value)
    }

    fn table(&mut self, index: c_int) -> Result<Value, PackError> {
        let identity = self.stack.identity(index) as usize;
        if let Some(number) = self.packer.tables.get(&identity) {
            return Ok(Value::Table(*number));
        }
        if let Some(known) = self.known(index) {
            return Ok(known);
        }
        self.deeper()?;
        if self.stack.has_protected_metatable(index) {
            self.depth -= 1;
            return Ok(self.left_behind("protected object"));
        }
        if self.stack.has_metatable(index) {
            // The contents are sent; what the metatable does is not.
            self.left_behind(METATABLE);
        }
        let number = self.packed.portable.tables.len();
        self.packer.tables.insert(identity, number as u32);
        self.packed.portable.tables.push(PortableTable::default());
        // Entries of one table lie together, so those of nested tables wait until this one's own are complete: a first
        // pass counts and reserves them.
        let mut count = 0;
        self.stack.push_nil();
        while self.stack.next(index) {
            self.stack.set_top(self.stack.top() - 1);
            count += 1;
        }
        let portable = &mut self.packed.portable;
        let first = portable.entries.len();
        if portable.size() + count * 2 * size_of::<Value>() > MAX_SIZE {
            return Err(PackError::TooLarge);
        }
        portable.entries.resize(first + count, (Value::Nil, Value::Nil));
        let (mut at, mut sequence) = (first, 0_u32);
        self.stack.push_nil();
        while self.stack.next(index) {
            let top = self.stack.top();
            self.packer.path.push(Step::Key(top - 1));
            let key = self.value(top - 1)?;
            let value = self.value(top)?;
            self.packer.path.pop();
            self.stack.set_top(top - 1);
            if matches!(key, Value::Nil) || matches!(value, Value::Nil) {
                continue;
            }
            if matches!(key, Value::Number(n) if n == f64::from(sequence) + 1.0) {
                sequence += 1;
            }
            self.packed.portable.entries[at] = (key, value);
            at += 1;
        }
        self.packed.portable.tables[number] =
            PortableTable { first_entry: first as u32, entries: (at - first) as u32, sequence };
        self.depth -= 1;
        Ok(Value::Table(number as u32))
    }

    fn function(&mut self, index: c_int) -> Result<Value, PackError> {
        let identity = self.stack.identity(index) as usize;
        if identity == self.stack.identity(FUNCTION) as usize {
            self.packed.portable.root_use = RootUse::Captured;
            return Ok(Value::Closure(0));
        }
        if let Some(number) = self.packer.closures.get(&identity) {
            return Ok(Value::Closure(*number));
        }
        if let Some(known) = self.known(index) {
            return Ok(known);
        }
        if self.stack.is_c_function(index) {
            return Ok(self.left_behind("function that is not written in Lua"));
        }
        self.deeper()?;
        if self.packer.closures.is_empty() {
            // Captured functions may share variables with the root; up to here that could not matter.
            for n in 0..self.packed.portable.root.upvalues() {
                let variable = self.stack.upvalue_identity(FUNCTION, n as c_int + 1) as usize;
                self.packer.variables.insert(variable, n as u32);
            }
        }
        let code = self.packer.code(self.stack, index)?;
        let upvalues = code.upvalues();
        let portable = &mut self.packed.portable;
        let first_slot = portable.slots.len();
        portable.slots.resize(first_slot + upvalues, 0);
        portable.closures.push(PortableClosure { code, first_slot: first_slot as u32 });
        if portable.size() > MAX_SIZE {
            return Err(PackError::TooLarge);
        }
        let number = portable.closures.len() as u32;
        self.packer.closures.insert(identity, number);
        for n in 0..upvalues {
            let variable = self.stack.upvalue_identity(index, n as c_int + 1) as usize;
            if let Some(shared) = self.packer.variables.get(&variable) {
                self.packed.portable.slots[first_slot + n] = *shared;
                continue;
            }
            let slot = self.packed.portable.variables.len();
            self.packed.portable.variables.push(Value::Nil);
            self.packed.portable.slots[first_slot + n] = slot as u32;
            self.packer.variables.insert(variable, slot as u32);
            let value = self.upvalue(index, n)?;
            self.packed.portable.variables[slot] = value;
        }
        self.depth -= 1;
        Ok(Value::Closure(number))
    }

    fn cdata(&mut self, index: c_int) -> Result<Value, PackError> {
        let base = self.stack.top();
        if !self.stack.reserve(4) {
            return Err(PackError::TooLarge);
        }
        self.stack.raw_get_index(HELPERS, known::CLASSIFY);
        self.stack.push_copy(index);
        self.stack.call(1, 2);
        let digits = std::str::from_utf8(self.stack.string(base + 2)).unwrap_or_default();
        let value = match self.stack.number(base + 1) as i64 {
            1 => digits.parse().ok().map(Value::Int64),
            2 => digits.parse().ok().map(Value::Uint64),
            _ => None,
        };
        self.stack.set_top(base);
        Ok(value.unwrap_or_else(|| self.left_behind("cdata")))
    }

    /// The value at `index` by name, if every VM has its own.
    fn known(&mut self, index: c_int) -> Option<Value> {
        let mut number = self.known_number(index);
        if number == 0 && !self.refreshed {
            self.refreshed = true;
            self.refresh();
            number = self.known_number(index);
        }
        if number > self.packer.names.len() {
            self.refresh();
        }
        let name = self.packer.names.get(number.checked_sub(1)?)?;
        let names = &mut self.packed.portable.names;
        let position = names.iter().position(|known| known.id() == name.id()).unwrap_or_else(|| {
            names.push(Arc::clone(name));
            names.len() - 1
        });
        Some(Value::Known(position as u32))
    }

    fn known_number(&self, index: c_int) -> usize {
        if !self.stack.reserve(8) {
            return 0;
        }
        self.stack.push_copy(index);
        self.stack.raw_get(KNOWN);
        let top = self.stack.top();
        let number = self.stack.number(top) as usize;
        self.stack.set_top(top - 1);
        number
    }

    /// Learns of modules that were loaded since the last time, and the names that were not needed before.
    fn refresh(&mut self) {
        let base = self.stack.top();
        self.stack.raw_get_index(HELPERS, known::REFRESH);
        self.stack.push_number((self.packer.names.len() + 1) as f64);
        self.stack.call(1, 1);
        if self.stack.kind(base + 1) == Kind::String {
            self.packer.names.extend(parse_names(self.stack.string(base + 1)));
        }
        self.stack.set_top(base);
    }

    fn deeper(&mut self) -> Result<(), PackError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH || !self.stack.reserve(16) {
            return Err(PackError::TooDeep { upvalue: self.upvalue_name() });
        }
        Ok(())
    }

    /// Reports a value that cannot be sent, once for each captured variable, and gives what is sent instead.
    fn left_behind(&mut self, kind: &'static str) -> Value {
        let upvalue = self.upvalue_name();
        if self.packer.warned.len() < MAX_WARNED && self.packer.warned.insert(upvalue.clone()) {
            let path = self.path_text().into();
            self.packed.warnings.push(Warning { upvalue, path, kind });
        }
        Value::Nil
    }

    fn upvalue_name(&self) -> Box<str> {
        match self.packer.path.first() {
            Some(Step::Upvalue(name)) => upvalue_name(*name).into(),
            _ => "?".into(),
        }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for step in self.packer.path.iter().skip(1) {
            match *step {
                Step::Upvalue(name) => _ = write!(text, " > upvalue '{}'", upvalue_name(name)),
                Step::Key(index) => self.write_key(&mut text, index),
            }
            if text.len() > 200 {
                text.push_str("...");
                break;
            }
        }
        text
    }

    fn write_key(&self, text: &mut String, index: c_int) {
        match self.stack.kind(index) {
            Kind::String => {
                let key = String::from_utf8_lossy(self.stack.string(index));
                let name = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                if name && key.len() <= 64 {
                    _ = write!(text, ".{key}");
                } else {
                    _ = write!(text, "[{:?}]", key.chars().take(64).collect::<String>());
                }
            }
            Kind::Number => _ = write!(text, "[{}]", self.stack.number(index)),
            Kind::Boolean => _ = write!(text, "[{}]", self.stack.boolean(index)),
            other => _ = write!(text, "[{}]", format!("{other:?}").to_lowercase()),
        }
    }
}

fn parse_names(text: &[u8]) -> impl Iterator<Item = Arc<KnownName>> {
    text.split(|byte| *byte == b'\n').map(|name| Arc::new(KnownName::parse(name)))
}

fn upvalue_name<'a>(name: *const std::ffi::c_char) -> std::borrow::Cow<'a, str> {
    // SAFETY: steps hold names that the VM gave during this walk; their prototypes are on the stack or captured by it.
    unsafe { CStr::from_ptr(name) }.to_string_lossy()
}
