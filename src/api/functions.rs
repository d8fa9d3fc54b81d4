//! The host's side of functions that are called from outside: who can reach a VM, and how its values leave it.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use mlua::{Function, Lua, LuaString, Table, Value};

use super::engine::EngineParts;
use super::modules;
use super::t_async::{AsyncEnd, Managed};
use crate::job::{Begun, CallArguments, Door, Doors, ErrandError, FunctionInfo, MAX_FUNCTIONS, Order, Reply};

/// Most calls of one VM that have no answer yet.
const MAX_PENDING: usize = 1_000;
/// Most bytes of an answer.
pub const MAX_ANSWER: usize = 4 << 20;

/// Where the probing VM keeps what was registered.
const REGISTERED: &str = "millstream.functions";

/// The functions of one VM.
#[derive(Debug)]
pub(super) struct FunctionDesk {
    door: Door,
    doors: Doors,
    /// Calls whose answer is to come.
    pending: RefCell<HashMap<String, Begun>>,
}

impl FunctionDesk {
    pub(super) fn new(door: Door, doors: &Doors) -> Rc<Self> {
        Rc::new(Self { door, doors: doors.clone(), pending: RefCell::default() })
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    /// Lets calls in.
    pub(super) fn open(&self) {
        self.doors.open(&self.door);
    }

    /// Lets no more calls in; those whose answer is to come may still have it.
    pub(super) fn close(&self) {
        self.doors.remove(&self.door);
    }

    /// The calls without an answer have none to hope for.
    pub(super) fn give_up(&self) {
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        drop(pending);
    }

    fn keep(&self, begun: Begun) -> Result<(), Begun> {
        let mut pending = self.pending.borrow_mut();
        if pending.len() >= MAX_PENDING {
            return Err(begun);
        }
        pending.insert(begun.id().to_string(), begun);
        Ok(())
    }

    fn take(&self, id: &str) -> Option<Begun> {
        self.pending.borrow_mut().remove(id)
    }
}

/// Adds the functions that `lua/functions.lua` calls.
pub(super) fn install(lua: &Lua, host: &Table, desk: &Rc<FunctionDesk>) -> mlua::Result<()> {
    host.set("max_functions", MAX_FUNCTIONS)?;
    let to = Rc::clone(desk);
    host.set(
        "publish",
        lua.create_function(move |_, list: Vec<Table>| {
            let functions = list.iter().map(info).collect::<mlua::Result<_>>()?;
            to.door.publish(functions);
            Ok(())
        })?,
    )?;
    let to = Rc::clone(desk);
    host.set(
        "answer",
        lua.create_function(move |lua, (id, state, value): (String, LuaString, Value)| {
            // The caller's call may have been given up.
            if let Some(begun) = to.take(&id) {
                begun.end(reply(lua, &state.as_bytes(), &value));
            }
            Ok(())
        })?,
    )
}

fn info(row: &Table) -> mlua::Result<FunctionInfo> {
    let flag = |index: i64| row.raw_get::<Option<bool>>(index).map(Option::unwrap_or_default);
    Ok(FunctionInfo {
        name: row.raw_get(1)?,
        no_writes: flag(2)?,
        allow_when_overloaded: flag(3)?,
        raw_arguments: flag(4)?,
    })
}

/// What a caller is told.
fn reply(lua: &Lua, state: &[u8], value: &Value) -> Result<Reply, ErrandError> {
    if state != b"done" {
        let text = match value {
            Value::String(text) => text.to_string_lossy(),
            _ => String::from_utf8_lossy(state).into_owned(),
        };
        return Err(ErrandError::Failed(text));
    }
    match value {
        Value::Nil => Ok(Reply::Nothing),
        Value::String(text) if text.as_bytes().len() > MAX_ANSWER => {
            Err(ErrandError::Failed(format!("the answer cannot travel: it is longer than {MAX_ANSWER} bytes")))
        }
        Value::String(text) => Ok(Reply::Text(text.as_bytes().to_vec())),
        value => match modules::json_text(lua, value, MAX_ANSWER) {
            Ok(text) => Ok(Reply::Json(text)),
            Err(reason) => Err(ErrandError::Failed(format!("the answer cannot travel: {reason}"))),
        },
    }
}

/// What is to be done for an errand: a function of the VM and its arguments.
#[derive(Debug)]
pub struct Task {
    /// The function.
    pub function: Function,
    /// Its arguments.
    pub arguments: (LuaString, LuaString, Value),
    /// The function that was called for, if one was.
    pub called: Option<FunctionInfo>,
}

/// What a VM's end of calls is made of.
#[derive(Debug)]
pub(super) struct FunctionTable {
    pub desk: Rc<FunctionDesk>,
    managed: Managed,
    /// The metatable of the engine object, its methods, and those of them that read.
    engine: Table,
    methods: Value,
    reading: Option<Table>,
}

impl FunctionTable {
    pub(super) fn new(desk: Rc<FunctionDesk>, managed: Managed, parts: &EngineParts) -> mlua::Result<Self> {
        let engine = parts.engine.metatable().ok_or_else(|| mlua::Error::runtime("the engine has no methods"))?;
        let methods = engine.raw_get("__index")?;
        Ok(Self { desk, managed, engine, methods, reading: None })
    }

    /// Registers what the plugin's table lists.
    pub(super) fn adopt(&self, listed: Value) -> mlua::Result<()> {
        // As long as nothing was registered there is nothing to publish.
        if listed.is_nil() && !self.managed.is_filled() {
            return Ok(());
        }
        self.managed.function("adopt")?.call(listed)
    }

    /// What is to be done for an errand, which is kept until it is answered.
    pub(super) fn begin(&self, lua: &Lua, begun: Begun) -> Option<(String, Task)> {
        let (id, order) = (begun.id().to_string(), begun.order().clone());
        if let Err(begun) = self.desk.keep(begun) {
            begun.end(Err(ErrandError::Crowded));
            return None;
        }
        match self.task(lua, &id, order) {
            Ok(task) => Some((id, task)),
            Err(error) => {
                self.end(&id, Err(error));
                None
            }
        }
    }

    fn task(&self, lua: &Lua, id: &str, order: Order) -> Result<Task, ErrandError> {
        let failed = |error: mlua::Error| ErrandError::Failed(error.to_string());
        let text = |text: &str| lua.create_string(text).map_err(failed);
        let of = |name: &str| self.managed.function(name).map_err(failed);
        let about = |name: &str, job: String| -> Result<Task, ErrandError> {
            let arguments = (text(&job)?, text("")?, Value::Nil);
            Ok(Task { function: of(name)?, arguments, called: None })
        };
        match order {
            Order::Letters => about("dead", String::new()),
            Order::Retry(job) => about("again", job.to_string()),
            Order::Status(job) => about("known", job.to_string()),
            Order::Call { function, arguments } => {
                let functions = self.desk.door.functions();
                let Some(called) = functions.iter().find(|known| known.name == function) else {
                    return Err(ErrandError::Unknown(function));
                };
                let value = match arguments {
                    CallArguments::Raw(raw) => Value::String(text(&raw)?),
                    CallArguments::List(list) => modules::parse_json(lua, list.as_bytes()).map_err(failed)?,
                };
                let arguments = (text(&function)?, text(id)?, value);
                Ok(Task { function: of("serve")?, arguments, called: Some(called.clone()) })
            }
        }
    }

    /// Answers an errand.
    pub(super) fn end(&self, id: &str, result: Result<Reply, ErrandError>) {
        if let Some(begun) = self.desk.take(id) {
            begun.end(result);
        }
    }

    /// Answers an errand with what its function gave, unless that is a promise.
    pub(super) fn finish(&self, lua: &Lua, id: &str, state: &LuaString, value: &Value) {
        if &*state.as_bytes() != b"later" {
            self.end(id, reply(lua, &state.as_bytes(), value));
        }
    }

    /// A function of a call did not come to its end.
    pub(super) fn broken(&self) -> mlua::Result<()> {
        self.managed.set("spawned", Value::Nil)
    }

    /// Takes the engine's methods that write away.
    pub(super) fn lock(&mut self) -> mlua::Result<()> {
        let reading = match &self.reading {
            Some(reading) => reading.clone(),
            None => {
                let make = self.managed.function("read_only")?;
                self.reading.insert(make.call(self.methods.clone())?).clone()
            }
        };
        self.engine.raw_set("__index", reading)
    }

    /// Gives them back.
    pub(super) fn unlock(&self) -> mlua::Result<()> {
        self.engine.raw_set("__index", &self.methods)
    }
}

impl AsyncEnd {
    /// Registers the functions that the plugin's table lists, and lets errands in.
    ///
    /// # Errors
    /// When the list is not one of functions.
    pub fn open(&self, listed: Value) -> mlua::Result<()> {
        self.functions.adopt(listed)?;
        self.functions.desk.open();
        Ok(())
    }

    /// Lets no more errands in.
    pub fn close(&self) {
        self.functions.desk.close();
    }

    /// Whether errands wait; one load.
    #[must_use]
    pub fn is_called(&self) -> bool {
        self.functions.desk.door().is_asked()
    }

    /// The next errand.
    #[must_use]
    pub fn next_errand(&self) -> Option<Begun> {
        self.functions.desk.door().next()
    }

    /// What is to be done for an errand, and by what id it is answered; nothing if it was answered.
    #[must_use]
    pub fn begin_errand(&self, lua: &Lua, begun: Begun) -> Option<(String, Task)> {
        if matches!(begun.order(), Order::Call { .. }) {
            // Whoever waits outside cannot wait for the end of the input, and where there are calls no run is like another.
            self.scheduler.deliver_as_finished();
        }
        self.functions.begin(lua, begun)
    }

    /// Why a call is not made although there is such a function, if it is not.
    #[must_use]
    pub fn refusal(&self, called: &FunctionInfo) -> Option<ErrandError> {
        (!called.allow_when_overloaded && self.scheduler.is_full())
            .then(|| ErrandError::Overloaded(format!("{} jobs of the plugin are pending", self.scheduler.pending())))
    }

    /// Answers an errand.
    pub fn end_errand(&self, id: &str, result: Result<Reply, ErrandError>) {
        self.functions.end(id, result);
    }

    /// Answers an errand with what its function gave, unless that is a promise.
    pub fn finish_errand(&self, lua: &Lua, id: &str, state: &LuaString, value: &Value) {
        self.functions.finish(lua, id, state, value);
    }

    /// A function of an errand did not come to its end.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn break_errand(&self) -> mlua::Result<()> {
        self.functions.broken()
    }

    /// Takes the engine's methods that write away.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn lock_engine(&mut self) -> mlua::Result<()> {
        self.functions.lock()
    }

    /// Gives them back.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn unlock_engine(&self) -> mlua::Result<()> {
        self.functions.unlock()
    }
}

impl Drop for FunctionTable {
    fn drop(&mut self) {
        self.desk.close();
        self.desk.give_up();
    }
}

/// Adds `T.register_function` to a VM that only looks at what a file contains.
///
/// # Errors
/// When the VM is out of memory.
pub fn install_for_probe(lua: &Lua, t: &Table) -> mlua::Result<()> {
    let list = lua.create_table()?;
    lua.set_named_registry_value(REGISTERED, &list)?;
    let register = move |_: &Lua, (name, function, flags): (Value, Value, Value)| {
        if let (Value::String(_), Value::Function(_)) = (&name, &function) {
            // Nothing would take the name away again.
            list.raw_set(name, if flags.is_nil() { Value::Boolean(true) } else { flags })?;
        }
        Ok(())
    };
    t.set("register_function", lua.create_function(register)?)
}

/// The functions that a file has, by name: those it registered as it was executed, and those its table lists.
///
/// # Errors
/// When the VM is out of memory.
pub fn functions_of(lua: &Lua, plugin: &Table) -> mlua::Result<Vec<FunctionInfo>> {
    let mut functions = Vec::new();
    if let Ok(registered) = lua.named_registry_value::<Table>(REGISTERED) {
        for pair in registered.pairs::<LuaString, Value>() {
            let (name, flags) = pair?;
            functions.push(described(&name, &flags)?);
        }
    }
    if let Value::Table(listed) = plugin.get::<Value>("functions")? {
        for pair in listed.pairs::<Value, Value>() {
            if let (Value::String(name), value) = pair? {
                let flags = if value.is_table() { value } else { Value::Nil };
                functions.retain(|known: &FunctionInfo| known.name.as_bytes() != &*name.as_bytes());
                functions.push(described(&name, &flags)?);
            }
        }
    }
    functions.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    functions.truncate(MAX_FUNCTIONS);
    Ok(functions)
}

fn described(name: &LuaString, flags: &Value) -> mlua::Result<FunctionInfo> {
    let mut info = FunctionInfo { name: name.to_string_lossy(), ..FunctionInfo::default() };
    let Value::Table(flags) = flags else { return Ok(info) };
    for pair in flags.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let (flag, is_set) = match (&key, &value) {
            (Value::String(key), value) => (key.to_string_lossy(), *value != Value::Boolean(false)),
            (_, Value::String(value)) => (value.to_string_lossy(), true),
            _ => continue,
        };
        match flag.as_str() {
            "no_writes" => info.no_writes = is_set,
            "allow_when_overloaded" => info.allow_when_overloaded = is_set,
            "raw_arguments" => info.raw_arguments = is_set,
            _ => {}
        }
    }
    Ok(info)
}
