//! `T.async`: slow work leaves the packet thread here, and its results come back.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::constants::{LogFn, LogLevel};
use super::context::VmContext;
use super::engine::EngineParts;
use super::global_t::{self, Outlets, RunIdentity, VmIdentity};
use super::modules;
use super::record::{Record, Side};
use super::t_host::HostFunctions;
use crate::job::{
    Completion, Delivery, FileOp, JobIds, JobKind, JobRequest, JobState, OutputLine, Pool, Scheduler, VmFactory, Wait,
    WorkerContext,
};
use crate::lua::{Packer, PluginError, Vm, VmOptions};

const ASYNC: &str = include_str!("lua/async.lua");
/// Completions handed to Lua at once.
const BATCH: usize = 64;

/// The end of a pool that one VM of an engine holds.
#[derive(Debug)]
pub struct AsyncEnd {
    scheduler: Rc<Scheduler>,
    deliver: Function,
    delivery: Delivery,
}

/// What a VM's end is made from.
#[derive(Clone, Copy, Debug)]
pub struct JobSide<'a> {
    /// The script's pool.
    pub pool: &'a Pool,
    /// Numbers of the engine's jobs.
    pub ids: &'a JobIds,
    /// When results are delivered.
    pub delivery: Delivery,
}

/// Completions of one call of [`AsyncEnd::collect`], ready to be handed to the VM.
#[derive(Debug, Default)]
pub struct Arrived {
    /// How many.
    pub count: usize,
    /// Flat list for the deliver function.
    pub items: Option<Table>,
    /// Jobs that failed, with the function and why.
    pub failures: Vec<(Arc<str>, PluginError)>,
}

/// Installs `T.async` in a VM of an engine.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(
    lua: &Lua,
    t: &Table,
    parts: &EngineParts,
    context: &Rc<VmContext>,
    on_error: &Function,
    jobs: JobSide<'_>,
) -> mlua::Result<AsyncEnd> {
    let engine = Rc::clone(&context.engine);
    let keeper = move || engine.keep.borrow().clone();
    let scheduler = Rc::new(Scheduler::new(jobs.pool, jobs.ids, jobs.delivery).keeping(keeper));
    let host = lua.create_table()?;
    for name in ["to_text", "to_number", "bad"] {
        host.set(name, parts.objects.get::<Function>(name)?)?;
    }
    host.set("nil_argument", parts.host.get::<Function>("nil_argument")?)?;
    let pending = Rc::clone(&scheduler);
    host.set("pending", lua.create_function(move |_, ()| Ok(pending.pending()))?)?;
    host.set("schedule", schedule_function(lua, &scheduler, context)?)?;
    let (files, on_files) = (Rc::clone(&scheduler), Rc::clone(context));
    install_files(lua, &host, move |operation| {
        if let Err(rejected) = files.schedule_file(operation, 0) {
            on_files.warn_once("more than 100000 items are pending; new ones are dropped");
            on_files.record(dropped(rejected.id.to_string(), "file", String::new()));
        }
    })?;
    let (table, deliver): (Table, Function) =
        modules::run_host_chunk_multi(lua, "millstream.async", ASYNC, (&parts.objects, host, &parts.engine, on_error))?;
    t.set("async", table)?;
    Ok(AsyncEnd { scheduler, deliver, delivery: jobs.delivery })
}

fn dropped(id: String, kind: &'static str, function: String) -> Record {
    Record::Job { id, state: JobState::Dropped.name(), kind, function, attempt: 1 }
}

/// `schedule(function, data, number)`: the job's id, or nil and the reason, or nil, the reason and true for an error.
fn schedule_function(lua: &Lua, scheduler: &Rc<Scheduler>, context: &Rc<VmContext>) -> mlua::Result<Function> {
    let packer = RefCell::new(Packer::new(lua)?);
    let (scheduler, context) = (Rc::clone(scheduler), Rc::clone(context));
    lua.create_function(move |lua, (function, data, number): (Function, LuaString, u64)| {
        let packed = match packer.borrow_mut().pack(lua, &function) {
            Ok(packed) => packed,
            Err(e) => return (Value::Nil, e.to_string(), true).into_lua_multi_on(lua),
        };
        for warning in &packed.warnings {
            context.warn_once(&format!("onexecute: {warning}; it is nil there"));
        }
        let code = Arc::clone(packed.portable.code().location());
        let data = data.as_bytes().to_vec();
        match scheduler.schedule(JobRequest { function: packed.portable, data, token: number, timeout: None }) {
            Ok(id) => id.to_string().into_lua_multi_on(lua),
            Err(rejected) => {
                context.warn_once("more than 100000 items are pending; new ones are dropped");
                context.record(dropped(rejected.id.to_string(), "schedule", code.to_string()));
                (Value::Nil, rejected.to_string()).into_lua_multi_on(lua)
            }
        }
    })
}

/// Short for the trait call below.
trait OnLua {
    fn into_lua_multi_on(self, lua: &Lua) -> mlua::Result<MultiValue>;
}

impl<T: mlua::IntoLuaMulti> OnLua for T {
    fn into_lua_multi_on(self, lua: &Lua) -> mlua::Result<MultiValue> {
        self.into_lua_multi(lua)
    }
}

fn install_files(lua: &Lua, host: &Table, submit: impl Fn(FileOp) + 'static) -> mlua::Result<()> {
    let submit = Rc::new(submit);
    let on_buffer = Rc::clone(&submit);
    host.set(
        "file",
        lua.create_function(move |_, (name, a, b): (String, LuaString, Option<LuaString>)| {
            let first = FileOp::path_of(&a.as_bytes());
            let second = b.map(|b| FileOp::path_of(&b.as_bytes())).unwrap_or_default();
            submit(match name.as_str() {
                "cat" => FileOp::Cat { from: first, to: second },
                "rm" => FileOp::Remove { path: first },
                _ => FileOp::Copy { from: first, to: second },
            });
            Ok(())
        })?,
    )?;
    host.set(
        "copybuffer",
        lua.create_function(move |_, (bytes, name, position): (LuaString, LuaString, Option<f64>)| {
            on_buffer(FileOp::CopyBuffer {
                bytes: bytes.as_bytes().to_vec(),
                path: FileOp::path_of(&name.as_bytes()),
                position: position.map(|position| position.max(0.0) as u64),
            });
            Ok(())
        })?,
    )
}

impl AsyncEnd {
    /// Jobs whose completions were not handed out yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.scheduler.outstanding()
    }

    /// How completions are handed out.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// Hands over what was scheduled since the last time.
    pub fn flush(&self) {
        self.scheduler.flush();
    }

    /// The function that hands completions to their `onresult`: `deliver(items, first, count) -> next`.
    #[must_use]
    pub fn deliver_function(&self) -> &Function {
        &self.deliver
    }

    /// Takes up to 64 completions that have arrived; costs one load if there are none.
    pub fn poll(&self) -> Vec<Completion> {
        let mut completions = Vec::new();
        if self.scheduler.outstanding() > 0 {
            self.scheduler.poll(BATCH, &mut completions);
        }
        completions
    }

    /// Waits until all jobs have ended and takes their completions in the order scheduled; those that have arrived when the
    /// wait ends early.
    pub fn await_all(&self, wait: &Wait<'_>) -> Vec<Completion> {
        self.scheduler.settle(wait)
    }

    /// Waits until all jobs have ended and takes their completions in the order scheduled. What is missing when the wait
    /// ends early is cancelled and comes as such.
    pub fn settle(&self, wait: &Wait<'_>) -> Vec<Completion> {
        let mut completions = self.scheduler.settle(wait);
        if self.scheduler.outstanding() > 0 {
            self.scheduler.cancel();
            completions.append(&mut self.scheduler.settle(&Wait::default()));
        }
        completions
    }

    /// Waits until something has arrived; false if nothing will, or not in time.
    #[must_use]
    pub fn wait(&self, wait: &Wait<'_>) -> bool {
        self.scheduler.wait(wait)
    }

    /// Takes back every job that has not ended; they come as completions.
    pub fn cancel(&self) {
        self.scheduler.cancel();
    }

    /// Records how each job ended and what it printed, and lists what is to be delivered.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn collect(&self, lua: &Lua, context: &VmContext, completions: Vec<Completion>) -> mlua::Result<Arrived> {
        let mut arrived = Arrived { count: completions.len(), ..Arrived::default() };
        let items = lua.create_table_with_capacity(3 * completions.len(), 0)?;
        for (index, completion) in completions.into_iter().enumerate() {
            let at = 3 * index + 1;
            items.raw_set(at, completion.token)?;
            // The script waits only if there is something to deliver; otherwise its onresult is forgotten.
            let delivered = completion.state == JobState::Done && completion.result.is_some();
            items.raw_set(at + 1, lua.create_string(if delivered { &completion.data[..] } else { b"" })?)?;
            match &completion.result {
                Some(result) if delivered => items.raw_set(at + 2, lua.create_string(result)?)?,
                _ => items.raw_set(at + 2, false)?,
            }
            record(context, completion, &mut arrived.failures);
        }
        arrived.items = Some(items);
        Ok(arrived)
    }
}

fn record(context: &VmContext, completion: Completion, failures: &mut Vec<(Arc<str>, PluginError)>) {
    for line in completion.output {
        context.record_as(
            Side::Async,
            match line {
                OutputLine::Print(text) => Record::Print { text },
                OutputLine::Log { level, text } => Record::Log { level: LogLevel::from_number(level.into()), text },
            },
        );
    }
    if completion.output_cut > 0 {
        let text = format!("onexecute: {} lines of output left out: a job keeps at most 1 MiB", completion.output_cut);
        context.record_as(Side::Async, Record::Log { level: LogLevel::Warn, text: text.into_bytes() });
    }
    if context.engine.job_events.get() {
        let function =
            if completion.kind == JobKind::Schedule { completion.function.to_string() } else { String::new() };
        let (kind, state) = (completion.kind.name(), completion.state.name());
        context
            .record_as(Side::Async, Record::Job { id: completion.id.to_string(), state, kind, function, attempt: 1 });
    }
    if let Some(error) = completion.error {
        failures.push((completion.function, error));
    }
}

/// What the VMs of a script's workers are made with.
#[derive(Clone, Debug)]
pub struct WorkerVmOptions {
    /// File name of the script.
    pub name: String,
    /// Most bytes a VM may hold.
    pub memory_limit: usize,
    /// Entries in front of `package.path`.
    pub package_path: Vec<String>,
    /// What `T` says about the run.
    pub run: RunIdentity,
}

/// Makes the VMs of a script's workers: `T` without an engine, file functions that act at once. `next_id` numbers them.
#[must_use]
pub fn worker_factory(options: WorkerVmOptions, next_id: Arc<dyn Fn() -> u32 + Send + Sync>) -> VmFactory {
    Arc::new(move |worker| {
        let vm = Vm::new(&VmOptions {
            name: options.name.clone(),
            memory_limit: options.memory_limit,
            package_path: options.package_path.clone(),
        })?;
        install_worker(&vm, &options.run, worker, next_id())?;
        Ok(vm)
    })
}

fn install_worker(vm: &Vm, run: &RunIdentity, worker: &WorkerContext, contextid: u32) -> mlua::Result<()> {
    let lua = vm.lua();
    modules::install_searcher(lua)?;
    let output = worker.output.clone();
    let log: LogFn = Rc::new(move |level, text| {
        output.push(OutputLine::Log { level: level as i32, text: text.as_bytes().to_vec() });
    });
    let on_print = worker.output.clone();
    let print: global_t::PrintFn = Rc::new(move |text| on_print.push(OutputLine::Print(text.to_vec())));
    let nothing = lua.create_function(|_, _: MultiValue| Ok(()))?;
    let host = HostFunctions {
        createkey: nothing.clone(),
        broadcast: nothing,
        id: lua.create_function(|_, ()| Ok(""))?,
        log: global_t::log_function(lua, &log)?,
    };
    let identity = VmIdentity { contextid, engine_type: "frontend" };
    let t = global_t::install(lua, run, &identity, Outlets { log: Rc::clone(&log), print, host })?;
    let host = lua.create_table()?;
    let arguments = modules::arguments(lua)?;
    host.set("to_text", arguments.get::<Function>("text")?)?;
    host.set("to_number", arguments.get::<Function>("optional_number")?)?;
    let on_nil = Rc::clone(&log);
    host.set(
        "nil_argument",
        lua.create_function(move |_, method: String| {
            on_nil(LogLevel::Debug, &format!("{method}(): a required argument is nil, nothing done"));
            Ok(())
        })?,
    )?;
    host.set("pending", lua.create_function(|_, ()| Ok(0))?)?;
    install_files(lua, &host, move |operation| {
        if let Err(e) = operation.run(|| true) {
            log(LogLevel::Error, &e.to_string());
        }
    })?;
    let (table, _): (Table, Function) =
        modules::run_host_chunk_multi(lua, "millstream.async", ASYNC, (Value::Nil, host, Value::Nil, Value::Nil))?;
    t.set("async", table)
}
