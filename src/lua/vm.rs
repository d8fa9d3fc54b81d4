//! Creating a VM, loading text into it and calling its functions.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use mlua::chunk::ChunkMode;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

use super::budget::{Guard, Watch};
use super::call::{Budget, FaultKind, HOST_CHUNK, PluginError, text};
use super::direct::{Direct, Others, Ready, Returned};
use super::own_text::own_text;
use super::raw;

/// Lua text run once in every new VM: search path, module searcher, refusals.
const SETUP: &str = include_str!("setup.lua");

/// Lua text run once in every new VM: a quicker `string.format`.
const FORMAT: &str = include_str!("format.lua");

/// First byte of LuaJIT bytecode, which is native code in all but name: never loaded from outside.
const BYTECODE_MARK: u8 = 0x1B;

/// For finalizers that run outside callbacks: when garbage is collected between batches and when a VM is closed.
const HOUSEKEEPING: Budget = Budget { limit: Some(Duration::from_secs(1)), slow: None };

/// What a VM is made with.
#[derive(Clone, Debug)]
pub struct VmOptions {
    /// Name used in messages: the plugin's file name.
    pub name: String,
    /// Most bytes the VM may hold.
    pub memory_limit: usize,
    /// Entries put in front of `package.path`, in order.
    pub package_path: Vec<String>,
}

/// Whether a VM is fit for more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Health {
    /// It is.
    Good,
    /// Its memory is full and a collection freed too little: make a new one.
    Replace,
}

/// One LuaJIT VM, bound to the thread that made it.
#[derive(Debug)]
pub struct Vm {
    name: String,
    guard: Arc<Guard>,
    modules: Table,
    /// Lua's own; calls go through it for the sake of the message handler, which mlua does not let one choose.
    xpcall: Function,
    message_handler: Function,
    memory_limit: usize,
    /// Collect when more is in use than this.
    collect_above: Cell<usize>,
    out_of_memory: Cell<bool>,
    leaves_memory: Cell<bool>,
    lua: Option<Lua>,
    /// Last, so that the VM is watched until it is closed.
    _watch: Watch,
}

impl Vm {
    /// Opens all standard libraries, sets the search path and the memory limit.
    ///
    /// # Errors
    /// When the VM cannot be set up within its memory limit, or the watchdog cannot be started.
    pub fn new(options: &VmOptions) -> Result<Self, PluginError> {
        let guard = Arc::new(Guard::new(&options.name));
        let watch = Watch::new(Arc::clone(&guard)).map_err(|e| PluginError {
            kind: FaultKind::Error,
            message: format!("watchdog cannot be started: {e}"),
            traceback: String::new(),
        })?;
        let lua = raw::new_lua();
        let state = raw::main_state(&lua).map_err(|e| PluginError::from_lua(&e))?;
        raw::hold_still(state);
        let (modules, xpcall, handler) = Self::set_up(&lua, &guard, options).map_err(|e| PluginError::from_lua(&e))?;
        raw::go_on(state);
        guard.set_state(state);
        Ok(Self {
            name: options.name.clone(),
            guard,
            modules,
            xpcall,
            message_handler: handler,
            memory_limit: options.memory_limit,
            collect_above: Cell::new(options.memory_limit / 4 * 3),
            out_of_memory: Cell::new(false),
            leaves_memory: Cell::new(false),
            lua: Some(lua),
            _watch: watch,
        })
    }

    fn set_up(lua: &Lua, guard: &Arc<Guard>, options: &VmOptions) -> mlua::Result<(Table, Function, Function)> {
        // First of all userdata, hence the last that is finalized when the VM is closed.
        lua.set_named_registry_value("millstream.closing", lua.create_userdata(Closing(Arc::clone(guard)))?)?;
        // For what holds the VM up on purpose.
        lua.set_app_data(Arc::clone(guard));
        own_text(lua, &format!("={HOST_CHUNK}.format"), FORMAT)?.call::<()>(())?;
        let setup = own_text(lua, &format!("={HOST_CHUNK}"), SETUP)?;
        let (modules, xpcall) = setup.call(options.package_path.clone())?;
        let handler = raw::message_handler(lua)?;
        lua.set_memory_limit(options.memory_limit)?;
        Ok((modules, xpcall, handler))
    }

    /// The VM itself, for setting it up. What is done through it is not watched:
    /// see [`Vm::watched`].
    #[must_use]
    pub fn lua(&self) -> &Lua {
        self.lua.as_ref().expect("only drop takes the VM")
    }

    /// Puts in what scripts find in the VM. Garbage is neither looked for nor is anything compiled meanwhile: what is made
    /// stays, and what runs, runs once. Nor does its memory have a limit: where there is one, every call into the VM has to
    /// be protected from the error that it may raise.
    ///
    /// # Errors
    /// What the work fails with.
    pub fn furnish<R, E>(&self, work: impl FnOnce(&Lua) -> Result<R, E>) -> Result<R, E> {
        raw::hold_still(self.guard.state());
        let limit = self.lua().set_memory_limit(0);
        let result = work(self.lua());
        if let Ok(limit) = limit {
            // Cannot fail where it did not before.
            let _ = self.lua().set_memory_limit(limit);
        }
        raw::go_on(self.guard.state());
        result
    }

    /// Runs the finalizers that the script has set, when none of its functions is called any more.
    pub fn finalize(&self) {
        let ((), _) = raw::guarded(&self.guard, HOUSEKEEPING, || raw::finalize(self.guard.state()));
    }

    /// Texts that soon become strings: the memory is asked for what the VM will look at, for all of them at once.
    pub fn foresee<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) {
        raw::foresee(self.guard.state(), texts);
    }

    /// Has the VM leave its memory to the system when it is closed: for a process that ends then.
    pub fn leave_memory(&self) {
        self.leaves_memory.set(true);
    }

    /// The name it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the watchdog sees of this VM.
    #[must_use]
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Bytes the VM holds.
    #[must_use]
    pub fn used_memory(&self) -> usize {
        self.lua().used_memory()
    }

    /// Compiles source text; bytecode is refused.
    ///
    /// # Errors
    /// [`FaultKind::Syntax`] with file and line.
    pub fn load(&self, source: &[u8], chunk_name: &str) -> Result<Function, PluginError> {
        if source.first() == Some(&BYTECODE_MARK) {
            let file = chunk_name.trim_start_matches(['@', '=']);
            return Err(PluginError {
                kind: FaultKind::Syntax,
                message: format!("{file}:1: bytecode is refused, only source text is loaded"),
                traceback: String::new(),
            });
        }
        // Watched as well: garbage collection runs finalizers wherever something is allocated.
        self.watched(HOUSEKEEPING, |lua| {
            lua.load(source).set_name(chunk_name).set_mode(ChunkMode::Text).into_function()
        })
    }

    /// The function of one of the host's own texts, see [`own_text`].
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn own(&self, text: &'static str, chunk_name: &str) -> Result<Function, PluginError> {
        self.watched(HOUSEKEEPING, |lua| own_text(lua, chunk_name, text))
    }

    /// Makes source text available to `require`, behind every entry of `package.path` but LuaJIT's default ones.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn add_module(&self, name: &str, source: &str) -> Result<(), PluginError> {
        self.watched(HOUSEKEEPING, |_| self.modules.set(name, source))
    }

    /// Makes a function available to `require` as the loader of a module, at the same place as [`Vm::add_module`].
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn add_native_module(&self, name: &str, loader: &Function) -> Result<(), PluginError> {
        self.watched(HOUSEKEEPING, |_| self.modules.set(name, loader))
    }

    /// Calls a function within a budget. A call made from inside another into the same VM spends that one's budget.
    ///
    /// # Errors
    /// Whatever the function raised, the interruption, or the memory limit.
    pub fn call<R: FromLuaMulti>(
        &self,
        function: &Function,
        args: impl IntoLuaMulti,
        budget: Budget,
    ) -> Result<R, PluginError> {
        self.watched(budget, |_| {
            let outcome = self.xpcall.call::<Outcome<R>>((function, &self.message_handler, args))?;
            outcome.0
        })
    }

    /// Calls a function with a string, and writes what it returns to `result` if that has at most `most` bytes; `others` says
    /// what becomes of a value that is no text. As [`Vm::call`] in all else, and several times as fast.
    ///
    /// # Errors
    /// As for [`Vm::call`].
    pub fn call_bytes(
        &self,
        direct: &Direct,
        ready: Ready,
        data: &[u8],
        result: (&mut Vec<u8>, usize),
        others: Others,
        budget: Budget,
    ) -> Result<Returned, PluginError> {
        let state = self.guard.state();
        self.watched(budget, |_| direct.call(state, ready, data, result, others))
    }

    /// True if a function made ready has the environment it was made with: the one thing a closure without variables can
    /// keep from one call to the next.
    #[must_use]
    pub fn is_pristine(&self, direct: &Direct, ready: Ready) -> bool {
        direct.is_pristine(self.guard.state(), ready)
    }

    /// [`Vm::watched`] within the budget of work that no callback stands for.
    ///
    /// # Errors
    /// As there.
    pub fn keep_house<R>(&self, work: impl FnOnce(&Lua) -> mlua::Result<R>) -> Result<R, PluginError> {
        self.watched(HOUSEKEEPING, work)
    }

    /// Does the host's own work on the VM within a budget: whatever allocates may run a finalizer of the plugin.
    ///
    /// # Errors
    /// What the work fails with, the interruption, or the memory limit.
    pub fn watched<R>(&self, budget: Budget, work: impl FnOnce(&Lua) -> mlua::Result<R>) -> Result<R, PluginError> {
        let (result, trace) = raw::guarded(&self.guard, budget, || work(self.lua()));
        if trace.interrupted {
            // Also where the work succeeded: a `pcall` in tail position swallows the error as the last thing it does.
            return Err(PluginError::from_interruption(&self.guard));
        }
        result.map_err(|error| {
            let error = PluginError::from_call(&error, trace);
            if error.kind == FaultKind::Memory {
                self.out_of_memory.set(true);
            }
            error
        })
    }

    /// To be called between batches: collects garbage when much of the memory limit is in use, because LuaJIT does not
    /// when an allocation fails; after a failed allocation not even `return 1 + 1` works until it was done.
    pub fn tidy(&self) -> Health {
        let failed = self.out_of_memory.take();
        if !failed && self.used_memory() <= self.collect_above.get() {
            return Health::Good;
        }
        // Twice: the first collection runs finalizers, the second frees what they were attached to. Each halves the buffer
        // in which strings are put together, which is large where memory has run out.
        let rounds = if failed { 4 } else { 2 };
        let collect = || (0..rounds).try_for_each(|_| self.lua().gc_collect());
        // An error is not of interest: how much was freed tells.
        let (_, _) = raw::guarded(&self.guard, HOUSEKEEPING, collect);
        let used = self.used_memory();
        if failed && used > self.memory_limit / 4 * 3 {
            self.out_of_memory.set(true);
            return Health::Replace;
        }
        // A VM that needs much for good is not collected at every batch: only when half of what is left was filled.
        let left = self.memory_limit.saturating_sub(used);
        self.collect_above.set((self.memory_limit / 4 * 3).max(used + left / 2));
        Health::Good
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let Some(lua) = self.lua.take() else { return };
        let ((), _) = raw::guarded(&self.guard, HOUSEKEEPING, || {
            // Scripts' before the host's functions go, which they may call.
            raw::finalize(self.guard.state());
            if self.leaves_memory.get() { raw::close_for_good(lua) } else { drop(lua) }
        });
    }
}

/// What `xpcall` returns: `true` and the results, or `false` and the error value.
struct Outcome<R>(mlua::Result<R>);

impl<R: FromLuaMulti> FromLuaMulti for Outcome<R> {
    fn from_lua_multi(mut values: MultiValue, lua: &Lua) -> mlua::Result<Self> {
        if values.pop_front() == Some(Value::Boolean(true)) {
            return R::from_lua_multi(values, lua).map(|results| Self(Ok(results)));
        }
        Ok(Self(Err(match values.pop_front() {
            Some(Value::Error(error)) => *error,
            Some(Value::String(message)) => mlua::Error::RuntimeError(text(&message.as_bytes())),
            // The message handler leaves no other kind but userdata of the plugin's.
            other => {
                let kind = other.as_ref().map_or("nil", Value::type_name);
                mlua::Error::RuntimeError(format!("(error object is a {kind} value)"))
            }
        })))
    }
}

/// Finalized last when a VM is closed: from here on its state must not be touched.
struct Closing(Arc<Guard>);

impl mlua::UserData for Closing {}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.set_state(ptr::null_mut());
    }
}
