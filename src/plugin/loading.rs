//! From a file to an instance, in two steps: a VM in which the file was executed, and an instance whose `onload` has run.
//! Between the two nothing of the script has happened yet that others could notice.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mlua::{Function, Table, Value};

use super::completions::JobPlan;
use super::handover::State;
use super::health::Health as PluginHealth;
use super::instance::{BlockTable, CallStats, Caught, Instance, LoadFailure, PluginFile, Seat};
use super::kind::{PluginKind, Side as KindSide};
use super::manifest;
use super::settings::{HostSettings, STUCK_AFTER};
use super::underway::{Loads, Underway};
use super::whereabouts::Purpose;
use crate::api::t_async::{self, AsyncEnd};
use crate::api::{EngineContext, EngineParts, Side, VmContext, engine as engine_object, global_t, modules, t_gears};
use crate::guid::Guid;
use crate::job::install_execute;
use crate::lua::{Budget, FaultKind, Loader, Place, PluginError, Probe, Vm, VmOptions, own_text};

const ON_ERROR: &str = include_str!("../api/lua/on_error.lua");

/// Callbacks that the VM chooses by itself, so that the message handler says which one it was.
const NAMED: [&str; 6] = ["onresult", "onerror", "ontimeout", "oncancel", "onfree", "spawn"];

/// A VM in which a file was executed and nothing else.
#[derive(Debug)]
pub struct Prepared {
    file: Rc<PluginFile>,
    kind: PluginKind,
    group: Option<Guid>,
    underway: Underway,
    /// Before the VM, which it needs to the end.
    probe: Option<Rc<Probe>>,
    vm: Vm,
    context: Rc<VmContext>,
    parts: EngineParts,
    on_error: Function,
    caught: Rc<RefCell<Vec<Caught>>>,
    jobs: AsyncEnd,
    plugin: Table,
    loader: Loader,
    budget: Budget,
    leaves_memory: bool,
    load_budget: Budget,
}

impl Prepared {
    /// Creates the VM and executes the file.
    ///
    /// # Errors
    /// [`LoadFailure`]; the VM is gone then.
    pub fn new(
        file: &Rc<PluginFile>,
        seat: Seat,
        engine: &Rc<EngineContext>,
        settings: &HostSettings,
        jobs: &JobPlan,
    ) -> Result<Self, LoadFailure> {
        let Seat { kind, order, group } = seat;
        let guid = group.as_ref().map(|group| group.guid);
        let is_backend = kind.side() == KindSide::Backend;
        let fault = |e| LoadFailure::Fault("load", e);
        let vm = Vm::new(&VmOptions {
            name: file.name.clone(),
            memory_limit: settings.memory_limit,
            package_path: file.package_path.clone(),
        })
        .map_err(fault)?;
        let probe = settings.profiler.as_ref().map(|profiler| Probe::new(profiler, &vm, Place::Engine));
        let probe = probe.transpose().map_err(fault)?.map(Rc::new);
        // An input filter may wait for its input.
        let waits = kind == PluginKind::InputFilter;
        let loads = if waits { Loads::default() } else { settings.loads.clone() };
        let budget = if is_backend { settings.backend_budget } else { settings.frontend_budget };
        let callbacks = budget.limit.filter(|_| !waits);
        let block = block_name(kind, guid);
        let purpose = Purpose::new(file, &block);
        let underway = Underway::begin(vm.guard(), (file.script.path.as_path(), purpose), settings, loads, callbacks);
        if !waits {
            underway.tell_when_stuck(STUCK_AFTER, &settings.on_stuck);
        }
        let contextid = settings.next_context_id();
        let instance_id =
            if is_backend { engine.backend_number.get().to_string() } else { settings.instance_id(contextid) };
        let context = VmContext::new(
            Rc::clone(engine),
            file.id,
            file.name.clone(),
            order,
            contextid,
            instance_id,
            Arc::clone(vm.guard()),
        );
        let context = Rc::new(context.on_side(if is_backend { Side::Backend } else { Side::Frontend }));
        let furnished = vm.furnish(|lua| {
            modules::install_searcher(lua)?;
            install_execute(lua, vm.guard())?;
            settings.libraries.watch(lua, file.id)?;
            let parts = engine_object::install(lua, &context)?;
            let t = global_t::install_for_engine(lua, &settings.run, &parts, &context, group.as_ref())?;
            let (caught, on_error) = message_handler(&vm, probe.as_ref(), &context)?;
            let side = jobs.of(file.id, kind, &block);
            let ends = t_async::install(lua, &t, &parts, &context, &on_error, side)?;
            t_gears::install(lua, &t, &parts, &context, &on_error, &settings.run.gears, ends.managed())?;
            ends.learn_t()?;
            Ok((parts, caught, on_error, ends, Loader::new(lua)?))
        });
        let (parts, caught, on_error, jobs, loader) = furnished.map_err(|e: mlua::Error| fault(e.into()))?;
        let chunk = vm.load(&file.script.source, &file.script.chunk_name()).map_err(fault)?;
        vm.call::<()>(&chunk, (), settings.load_budget).map_err(fault)?;
        let plugin: Value = vm.watched(settings.load_budget, |lua| lua.globals().get("TrisulPlugin")).map_err(fault)?;
        let settle = t_gears::settle(vm.lua(), &plugin, Some(kind.name()), guid.map(|guid| guid.to_string()))
            .map_err(|e| fault(e.into()))?;
        if let Some((settle, what)) = settle {
            vm.call::<()>(&settle, what, settings.load_budget).map_err(fault)?;
        }
        let plugin: Table = vm.watched(settings.load_budget, |lua| lua.globals().get("TrisulPlugin")).map_err(fault)?;
        let (file, load_budget) = (Rc::clone(file), settings.load_budget);
        Ok(Self {
            file,
            kind,
            group: guid,
            underway,
            probe,
            vm,
            context,
            parts,
            on_error,
            caught,
            jobs,
            plugin,
            loader,
            budget,
            leaves_memory: settings.leaves_memory,
            load_budget,
        })
    }

    /// Which block it is of, and for which group.
    #[must_use]
    pub const fn seat(&self) -> (PluginKind, Option<Guid>) {
        (self.kind, self.group)
    }

    /// Calls `onload`, with what the version before has left behind, and looks up the callbacks.
    ///
    /// # Errors
    /// [`LoadFailure`]; the VM is gone then.
    pub fn load(mut self, state: Option<&State>) -> Result<(Instance, BlockTable), LoadFailure> {
        let fault = |e| LoadFailure::Fault("load", e);
        let of = |table: &Table, name: &str| function_of(&self.vm, table, name, self.load_budget).map_err(fault);
        let block_of = |kind: PluginKind, remarks: &mut Vec<manifest::Remark>| {
            let block = self.vm.watched(self.load_budget, |_| manifest::block_table(&self.plugin, kind, remarks));
            block.map(|found| found.map(|(block, _)| block)).map_err(fault)
        };
        // A monitor may bring its own where the file has none.
        let own = block_of(self.kind, &mut Vec::new())?.filter(|_| self.kind.side() == KindSide::Backend);
        let either = |name: &str| match (of(&self.plugin, name)?, &own) {
            (None, Some(block)) => of(block, name),
            (found, _) => Ok(found),
        };
        if let Some(onload) = either("onload")? {
            let failed = |e| LoadFailure::Fault("onload", e);
            let answer: Value = match state {
                Some(state) => {
                    let state = state.unpack(&mut self.loader, &self.vm, self.load_budget).map_err(failed)?;
                    self.vm.call(&onload, state, self.load_budget)
                }
                None => self.vm.call(&onload, (), self.load_budget),
            }
            .map_err(failed)?;
            if matches!(answer, Value::Boolean(false)) {
                return Err(LoadFailure::Declined);
            }
        }
        let mut remarks = Vec::new();
        let block = match block_of(self.kind, &mut remarks)? {
            Some(block) => block,
            // The block was there when the file was probed and is not now; it has no callbacks.
            None => self.vm.lua().create_table().map_err(|e| fault(e.into()))?,
        };
        let on_channel = match block_of(PluginKind::ChannelListener, &mut remarks)? {
            Some(listener) => of(&listener, "onchannelmessage")?,
            None => None,
        };
        let listed = self.vm.watched(self.load_budget, |_| self.plugin.get("functions")).unwrap_or(Value::Nil);
        self.vm.watched(self.load_budget, |_| self.jobs.open(listed)).map_err(fault)?;
        let (on_message, on_unload) = (of(&self.plugin, "onmessage")?, either("onunload")?);
        drop(self.underway);
        let instance = Instance {
            kind: self.kind,
            group: self.group,
            on_message,
            on_channel,
            on_unload,
            file: self.file,
            probe: self.probe,
            vm: self.vm,
            context: self.context,
            parts: self.parts,
            on_error: self.on_error,
            jobs: self.jobs,
            caught: self.caught,
            budget: self.budget,
            leaves_memory: self.leaves_memory,
            stuck_at_end: 0,
            health: PluginHealth::default(),
            stats: CallStats::default(),
        };
        Ok((instance, block))
    }
}

impl Instance {
    /// Creates the VM, runs the file, calls `onload`.
    ///
    /// # Errors
    /// [`LoadFailure`]; the VM is gone then.
    pub fn load(
        file: &Rc<PluginFile>,
        seat: Seat,
        engine: &Rc<EngineContext>,
        settings: &HostSettings,
        jobs: &JobPlan,
    ) -> Result<(Self, BlockTable), LoadFailure> {
        Prepared::new(file, seat, engine, settings, jobs)?.load(None)
    }
}

/// A function of a table, whose metatable may be the script's: what it raises counts as none, unless it does not return.
fn function_of(vm: &Vm, table: &Table, name: &str, budget: Budget) -> Result<Option<Function>, PluginError> {
    match vm.watched(budget, |_| table.get(name)) {
        Ok(Value::Function(function)) => Ok(Some(function)),
        Err(e) if e.kind == FaultKind::Interrupted => Err(e),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// What a block is called among those of its file.
fn block_name(kind: PluginKind, group: Option<Guid>) -> String {
    group.map_or_else(|| kind.name().to_owned(), |group| format!("{} {group}", kind.name()))
}

/// The handler that callbacks run under, and where it leaves what it caught.
fn message_handler(
    vm: &Vm,
    probe: Option<&Rc<Probe>>,
    context: &Rc<VmContext>,
) -> mlua::Result<(Rc<RefCell<Vec<Caught>>>, Function)> {
    let caught: Rc<RefCell<Vec<Caught>>> = Rc::default();
    let store = Rc::clone(&caught);
    let guard = std::sync::Arc::clone(vm.guard());
    let context = Rc::clone(context);
    // The VM must not keep its own probe.
    let probe = probe.map(Rc::downgrade);
    type Fault = (mlua::LuaString, mlua::LuaString, Option<mlua::LuaString>);
    let fault = vm.lua().create_function(move |_, (message, traceback, callback): Fault| {
        if let Some(probe) = probe.as_ref().and_then(Weak::upgrade) {
            probe.failed();
        }
        context.gears.failed(&message.to_string_lossy());
        let cut = |text: &mlua::LuaString| {
            let bytes = text.as_bytes();
            bytes[..bytes.len().min(4096)].to_vec()
        };
        let named = callback.and_then(|name| NAMED.into_iter().find(|known| name == *known));
        store.borrow_mut().push(Caught {
            message: cut(&message),
            traceback: cut(&traceback),
            progress: guard.progress.load(Ordering::Relaxed),
            callback: named,
        });
        Ok(())
    })?;
    let handler = own_text(vm.lua(), "=millstream.on_error", ON_ERROR)?.call(fault)?;
    Ok((caught, handler))
}
