//! `T.async`: slow work leaves the packet thread here, and its results come back.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, IntoLua, LightUserData, Lua, LuaString, MultiValue, Table, Value};

use super::constants::{LogFn, LogLevel};
use super::context::VmContext;
use super::engine::EngineParts;
use super::functions::{self, FunctionDesk, FunctionTable};
use super::global_t::{self, Outlets, RunIdentity, VmIdentity};
use super::job_desk::{self, BlockPolicy, JobDesk};
use super::jobcall::{BATCH, JobCalls};
use super::modules::{self, Libraries};
use super::record::{Record, ScriptId, Side};
use super::t_gears;
use super::t_host::HostFunctions;
use crate::job::{
    Carried, Delivery, Doors, Ended, FileOp, JobId, JobIds, JobKind, JobRequest, JobState, Letter, OutputLine,
    Overflow, Party, Pool, Rejected, Scheduler, Section, SectionError, Settled, Settling, VmFactory, Wait,
    WorkerContext,
};
use crate::lua::{PackError, Packed, Packer, PluginError, Vm, VmOptions};

const ASYNC: &str = include_str!("lua/async.lua");
const MANAGED: &str = include_str!("lua/async_managed.lua");
const FUNCTIONS: &str = include_str!("lua/functions.lua");
const TASKS: &str = include_str!("lua/async_tasks.lua");
/// `T.block` where there is nothing to be blocked.
const NO_BLOCK: &str =
    "local error = error return function() error('ERR_NOTAVAIL: block() is available inside onexecute only', 2) end";

/// The end of a pool that one VM of an engine holds.
#[derive(Debug)]
pub struct AsyncEnd {
    pub(super) scheduler: Rc<Scheduler>,
    calls: Rc<JobCalls>,
    desk: Rc<JobDesk>,
    deliver: Function,
    managed: Managed,
    pub(super) functions: FunctionTable,
    packer: Rc<RefCell<Packer>>,
    /// An empty list, kept for its memory.
    list: RefCell<Vec<Ended>>,
}

/// What the Lua texts of managed jobs share with the host: `tick`, `completed`, `run_out` and others. They are read when
/// something of it is first looked up, by the script or here: most scripts have plain jobs or none.
#[derive(Clone, Debug)]
pub struct Managed {
    table: Table,
    is_filled: Rc<Cell<bool>>,
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
    /// The kind of block that the VM is of.
    pub kind: &'static str,
    /// Names the block among those of the plugin.
    pub block: &'a str,
}

/// A job that failed: which one, its function, and why.
pub type JobFailure = (JobId, Arc<str>, PluginError);

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
    let scheduler =
        Rc::new(Scheduler::new(jobs.pool, jobs.ids, jobs.delivery).keeping(keeper).on_side(context.side.name()));
    let host = lua.create_table()?;
    for name in ["to_text", "to_number", "bad"] {
        host.set(name, parts.objects.get::<Function>(name)?)?;
    }
    host.set("nil_argument", parts.host.get::<Function>("nil_argument")?)?;
    let pending = Rc::clone(&scheduler);
    host.set("pending", lua.create_function(move |_, ()| Ok(pending.pending()))?)?;
    let calls = Rc::new(JobCalls::new(Rc::clone(&scheduler)));
    host.set("calls", LightUserData(JobCalls::table_address()))?;
    host.set("items", LightUserData(calls.items_address()))?;
    host.set("jobs", LightUserData(ptr::from_ref(&*calls).cast_mut().cast()))?;
    host.set("prefix", jobs.ids.prefix())?;
    let packer = Rc::new(RefCell::new(Packer::new(lua)?));
    host.set("schedule", schedule_function(lua, &packer, &scheduler, &calls, context)?)?;
    let again = Rc::clone(&calls);
    host.set(
        "again",
        Packer::again(lua, &packer, move |code, data, slot| {
            Some(again.schedule(code, data, slot as u64)).filter(|answer| *answer >= 0.0)
        })?,
    )?;
    // Keeps the object alive as long as the functions that point to it.
    host.set("owner", lua.create_any_userdata(Rc::clone(&calls))?)?;
    let (refused, on_refused) = (Rc::clone(&calls), Rc::clone(context));
    host.set(
        "rejected",
        lua.create_function(move |_, ()| {
            Ok(refused.take_rejected().map(|(rejected, code)| refuse(&on_refused, &rejected, &code)))
        })?,
    )?;
    let (files, on_files) = (Rc::clone(&scheduler), Rc::clone(context));
    install_files(lua, &host, move |operation| {
        if let Err(rejected) = files.schedule_file(operation, 0) {
            on_files.warn_once(&in_general(rejected.overflow));
            on_files.record(dropped(rejected.id.to_string(), "file", String::new()));
        }
    })?;
    let desk = JobDesk::new(lua, &packer, &scheduler, &calls, context, jobs.block.to_owned())?;
    job_desk::install_completing(lua, &host, &desk)?;
    let doors = jobs.pool.doors();
    let functions = FunctionDesk::new(Doors::make(jobs.ids, context.order.get(), jobs.kind), doors);
    let is_filled = install_texts(lua, &host, &packer, &desk, &functions)?;
    let (table, deliver, managed, register): (Table, Function, Table, Function) =
        modules::run_host_chunk_multi(lua, "millstream.async", ASYNC, (&parts.objects, host, &parts.engine, on_error))?;
    t.set("async", table)?;
    t.set("register_function", register)?;
    let managed = Managed { table: managed, is_filled };
    let functions = FunctionTable::new(functions, managed.clone(), parts)?;
    t.set("block", modules::run_host_chunk(lua, "millstream.block", NO_BLOCK, ())?)?;
    Ok(AsyncEnd { scheduler, calls, desk, deliver, managed, functions, packer, list: RefCell::default() })
}

/// Adds `texts()`, which gives the functions of the texts that are read later and adds what they call to the host's table,
/// and `extend`. What it returns tells whether they were asked for.
fn install_texts(
    lua: &Lua,
    host: &Table,
    packer: &Rc<RefCell<Packer>>,
    desk: &Rc<JobDesk>,
    functions: &Rc<FunctionDesk>,
) -> mlua::Result<Rc<Cell<bool>>> {
    host.set("extend", packer.borrow().extending()?)?;
    let is_filled = Rc::new(Cell::new(false));
    let (to, desk, functions, note) = (host.clone(), Rc::clone(desk), Rc::clone(functions), Rc::clone(&is_filled));
    let texts = move |lua: &Lua| {
        note.set(true);
        job_desk::install(lua, &to, &desk)?;
        functions::install(lua, &to, &functions)?;
        let texts = lua.create_table()?;
        texts.set("managed", modules::host_chunk(lua, "millstream.async_managed", MANAGED)?)?;
        texts.set("tasks", modules::host_chunk(lua, "millstream.async_tasks", TASKS)?)?;
        texts.set("functions", modules::host_chunk(lua, "millstream.functions", FUNCTIONS)?)?;
        Ok(texts)
    };
    host.set("texts", lua.create_function(move |lua, ()| texts(lua))?)?;
    Ok(is_filled)
}

impl Managed {
    /// One of the functions.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn function(&self, name: &str) -> mlua::Result<Function> {
        self.table.get(name)
    }

    /// Reads the texts, unless they were.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn fill(&self) -> mlua::Result<()> {
        if self.is_filled() { Ok(()) } else { self.function("tick").map(drop) }
    }

    /// Changes a field.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn set(&self, name: &str, value: impl IntoLua) -> mlua::Result<()> {
        self.table.raw_set(name, value)
    }

    /// Whether there has been anything but plain jobs.
    #[must_use]
    pub fn is_filled(&self) -> bool {
        self.is_filled.get()
    }

    /// The table itself.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}

fn dropped(id: String, kind: &'static str, function: String) -> Record {
    Record::Job { id, state: JobState::Dropped.name(), kind, function, attempt: 1 }
}

/// What a plugin is told once when its jobs are refused; about single ones `schedule` tells.
fn in_general(overflow: Overflow) -> String {
    match overflow {
        Overflow::Jobs(limit) => format!("more than {limit} items are pending; new ones are dropped"),
        Overflow::Bytes(limit) => format!("pending items hold more than {limit} bytes; new ones are dropped"),
        Overflow::Disk(limit) => format!("jobs on the disk hold more than {limit} bytes; new ones are dropped"),
        Overflow::DiskSlow | Overflow::DiskFailed | Overflow::DiskClosed => {
            "the disk does not take more jobs; new ones are dropped".to_owned()
        }
    }
}

/// Tells of a job that was dropped; gives the reason in words.
pub(super) fn refuse(context: &VmContext, rejected: &Rejected, function: &str) -> String {
    context.warn_once(&in_general(rejected.overflow));
    context.record(dropped(rejected.id.to_string(), "schedule", function.to_owned()));
    rejected.to_string()
}

/// Answer of `schedule`: the job's id, or nil and the reason, or nil, the reason and true for an error; and the number of
/// the function, if the next job with this closure can do without this function.
type Scheduled = (Option<String>, Option<String>, Option<bool>, Option<f64>);

/// `schedule(function, data, slot)`: any function, whatever it captures.
fn schedule_function(
    lua: &Lua,
    packer: &Rc<RefCell<Packer>>,
    scheduler: &Rc<Scheduler>,
    calls: &Rc<JobCalls>,
    context: &Rc<VmContext>,
) -> mlua::Result<Function> {
    let packer = Rc::clone(packer);
    let (scheduler, calls, context) = (Rc::clone(scheduler), Rc::clone(calls), Rc::clone(context));
    lua.create_function(move |lua, (function, data, slot): (Function, LuaString, u64)| {
        let packed = match packer.borrow_mut().pack(lua, &function) {
            Ok(packed) => packed,
            Err(e) => return Ok::<Scheduled, _>((None, Some(e.to_string()), Some(true), None)),
        };
        for warning in &packed.warnings {
            context.warn_once(&format!("onexecute: {warning}; {}", warning.in_its_place()));
        }
        let code = Arc::clone(packed.portable.code().location());
        let data = data.as_bytes();
        let (number, scheduled) = if packed.portable.is_plain() {
            let function = Arc::new(packed.portable);
            let number = calls.remember(&function);
            (Some(number), scheduler.schedule_again(&function, &data, slot))
        } else {
            let request = JobRequest { function: packed.portable, data: data.to_vec(), token: slot, timeout: None };
            (None, scheduler.schedule(request))
        };
        Ok(match scheduled {
            Ok(id) => (Some(id.to_string()), None, None, number),
            Err(rejected) => (None, Some(refuse(&context, &rejected, &code)), None, number),
        })
    })
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
    /// What the Lua text of managed jobs shares with other texts of ours.
    #[must_use]
    pub fn managed(&self) -> &Managed {
        &self.managed
    }

    /// Jobs whose completions were not handed out yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.scheduler.outstanding()
    }

    /// The same without those that are on the disk.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.scheduler.in_memory()
    }

    /// How completions are handed out.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        self.scheduler.delivery()
    }

    /// Turns a function of the VM into data, as a job would be.
    ///
    /// # Errors
    /// As for [`Packer::pack`].
    pub fn pack(&self, lua: &Lua, function: &Function) -> Result<Packed, PackError> {
        self.packer.borrow_mut().pack(lua, function)
    }

    /// Has `T`, now complete, stand for the worker's own in functions that capture parts of it.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn learn_t(&self) -> mlua::Result<()> {
        self.packer.borrow_mut().complete("T")
    }

    /// Hands over what was scheduled since the last time.
    pub fn flush(&self) {
        self.scheduler.flush();
    }

    /// The function that hands completions to their `onresult`: `deliver(first, count) -> next`.
    #[must_use]
    pub fn deliver_function(&self) -> &Function {
        &self.deliver
    }

    /// An empty list for jobs that have ended.
    #[must_use]
    pub fn list(&self) -> Vec<Ended> {
        self.list.take()
    }

    /// Takes up to 64 jobs that have ended; costs one load if there are none.
    pub fn poll(&self, into: &mut Vec<Ended>) {
        if self.scheduler.outstanding() > 0 {
            self.scheduler.poll_ended(BATCH, into);
        }
    }

    /// Waits until all jobs have ended and takes them in the order scheduled; those that have arrived when the wait ends
    /// early.
    pub fn await_all(&self, wait: &Wait<'_>, into: &mut Vec<Ended>) -> Settled {
        self.scheduler.settle_ended(wait, into)
    }

    /// Waits until all jobs have ended and takes them in the order scheduled. What is missing when the wait ends early is
    /// cancelled and comes as such.
    pub fn settle(&self, wait: &Wait<'_>, into: &mut Vec<Ended>) -> Settled {
        let settled = self.scheduler.settle_ended(wait, into);
        if settled != Settled::Yes || self.scheduler.outstanding() == 0 {
            return settled;
        }
        // What is on the disk comes the next time, as long as there is time.
        if self.scheduler.in_memory() == 0 && !wait.is_over_at_once() {
            return settled;
        }
        self.scheduler.refuse_sections();
        self.scheduler.cancel();
        self.scheduler.settle_ended(&Wait::default(), into)
    }

    /// Whether workers ask for atomic sections that may be run between two batches. Over files they are run where results
    /// are handed out.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.scheduler.delivery() == Delivery::AsFinished && self.scheduler.is_asked()
    }

    /// The next atomic section, begun: it must be finished. With it the function that runs it, `section(f) -> results`.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn next_section(&self) -> mlua::Result<Option<(Function, Arc<Section>)>> {
        while let Some(section) = self.scheduler.take_section() {
            if section.begin() {
                let run = self.managed.function("section");
                return match run {
                    Ok(run) => Ok(Some((run, section))),
                    Err(error) => {
                        section.finish(Err(SectionError::Failed(error.to_string())));
                        Err(error)
                    }
                };
            }
        }
        Ok(None)
    }

    /// How long an atomic section may run, and what is done about one that takes longer.
    #[must_use]
    pub fn block(&self) -> (Duration, BlockPolicy) {
        self.desk.block()
    }

    /// What a section is to run, as a function of this VM.
    ///
    /// # Errors
    /// When it cannot be made here.
    pub fn section_function(&self, lua: &Lua, section: &Section) -> mlua::Result<Function> {
        self.desk.load(lua, section.function())
    }

    /// What a section returned, for its worker.
    ///
    /// # Errors
    /// When it cannot travel.
    pub fn carry(&self, lua: &Lua, results: &Function) -> mlua::Result<Carried> {
        self.desk.carry(lua, results)
    }

    /// Whether timers are due, letters have come, or workers ask for sections. Loads and comparisons.
    #[must_use]
    pub fn has_business(&self) -> bool {
        self.desk.is_due() || self.scheduler.has_mail() || self.is_asked()
    }

    /// The function that does what is due, `tick(now)`, and what it takes for now; none where nothing ever was.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn tick(&self) -> mlua::Result<Option<(Function, f64)>> {
        if !self.managed.is_filled() {
            return Ok(None);
        }
        Ok(Some((self.managed.function("tick")?, self.desk.now())))
    }

    /// The function that lets time run on at the end of the input: `run_out(at_once) -> whether anything was left`; none
    /// where there is no time to run on.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn run_out(&self) -> mlua::Result<Option<Function>> {
        if !self.managed.is_filled() {
            self.managed.set("over", true)?;
            return Ok(None);
        }
        self.managed.function("run_out").map(Some)
    }

    /// Whether letters have come.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.scheduler.has_mail()
    }

    /// The letters that stand now, and the function that reads them, `completed(id, verdict, value)`; none where none has
    /// come.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn letters(&self, settling: Settling) -> mlua::Result<Option<(Function, Vec<Letter>)>> {
        if !self.scheduler.has_mail() {
            return Ok(None);
        }
        let completed = self.managed.function("completed")?;
        Ok(Some((completed, self.scheduler.take_mail(settling))))
    }

    /// What `completed` is called with for a letter. A value that cannot be made here makes it a failure.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn read(&self, lua: &Lua, letter: Letter) -> mlua::Result<(String, u32, Value)> {
        self.desk.read(lua, letter)
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

    /// Records how each job ended and what it printed, lists those that failed, and shows them to the VM; gives how many
    /// it shows, which is all if there are no more than 64. They must be kept until the VM has read them.
    pub fn collect(&self, context: &VmContext, ended: &mut [Ended], failures: &mut Vec<JobFailure>) -> usize {
        for ended in ended.iter_mut() {
            self.desk.remember(ended);
            record(context, ended, failures);
        }
        self.calls.show(ended)
    }

    /// Takes back a list of jobs when the VM has read it.
    pub fn give_back(&self, mut ended: Vec<Ended>) {
        self.scheduler.give_back(&mut ended);
        self.list.replace(ended);
    }
}

fn record(context: &VmContext, ended: &mut Ended, failures: &mut Vec<JobFailure>) {
    let (output, output_cut) = ended.take_output();
    for line in output {
        context.record_as(
            Side::Async,
            match line {
                OutputLine::Print(text) => Record::Print { text },
                OutputLine::Log { level, text } => Record::Log { level: LogLevel::from_number(level.into()), text },
            },
        );
    }
    if output_cut > 0 {
        let id = ended.id();
        let text = format!("onexecute: job {id}: {output_cut} lines of output left out: a job keeps at most 1 MiB");
        context.record_as(Side::Async, Record::Log { level: LogLevel::Warn, text: text.into_bytes() });
    }
    if context.engine.job_events.get() {
        let function = if ended.kind() == JobKind::Schedule { ended.function().to_string() } else { String::new() };
        let (kind, state, attempt) = (ended.kind().name(), ended.state().name(), u32::from(ended.attempts().max(1)));
        context.record_as(Side::Async, Record::Job { id: ended.id().to_string(), state, kind, function, attempt });
    }
    if let Some(error) = ended.take_error() {
        let Some(options) = ended.options() else {
            failures.push((ended.id(), Arc::clone(ended.function()), error));
            return;
        };
        let handled = options.handled;
        let is_handled = if ended.state() == JobState::TimedOut { handled.timeouts() } else { handled.errors() };
        ended.set_result(error.message.clone().into_bytes());
        if !is_handled {
            failures.push((ended.id(), Arc::clone(ended.function()), error));
        }
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
    /// The script.
    pub script: ScriptId,
    /// Where the files are noted that `require` reads.
    pub libraries: Libraries,
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
        vm.furnish(|lua| {
            options.libraries.watch(lua, options.script)?;
            install_worker(lua, &options.run, worker, next_id())
        })?;
        Ok(vm)
    })
}

fn install_worker(lua: &Lua, run: &RunIdentity, worker: &WorkerContext, contextid: u32) -> mlua::Result<()> {
    modules::install_searcher(lua)?;
    let output = worker.output.clone();
    let log: LogFn = Rc::new(move |level, text| {
        output.push(OutputLine::Log { level: level as i32, text: text.to_vec() });
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
    let identity = VmIdentity { contextid, engine_type: None };
    let t = global_t::install(lua, run, &identity, Outlets { log: Rc::clone(&log), print, host })?;
    // VMs of both sides may share a worker, so that the job that runs says what it is.
    let of_job = t.clone();
    worker.owner.on_side(move |side| drop(of_job.raw_set("enginetype", side)));
    let host = lua.create_table()?;
    let arguments = modules::arguments(lua)?;
    host.set("to_text", arguments.get::<Function>("text")?)?;
    host.set("to_number", arguments.get::<Function>("optional_number")?)?;
    let on_nil = Rc::clone(&log);
    host.set(
        "nil_argument",
        lua.create_function(move |_, method: String| {
            on_nil(LogLevel::Debug, format!("{method}(): a required argument is nil, nothing done").as_bytes());
            Ok(())
        })?,
    )?;
    host.set("pending", lua.create_function(|_, ()| Ok(0))?)?;
    let packer = Rc::new(RefCell::new(Packer::new(lua)?));
    job_desk::install_complete(lua, &host, &packer, &worker.board, Party::Elsewhere)?;
    job_desk::install_block(lua, &t, &packer, &worker.owner)?;
    install_files(lua, &host, move |operation| {
        if let Err(e) = operation.run(|| true) {
            log(LogLevel::Error, e.to_string().as_bytes());
        }
    })?;
    let table: Table =
        modules::run_host_chunk_multi(lua, "millstream.async", ASYNC, (Value::Nil, host, Value::Nil, Value::Nil))?;
    t.set("async", table)?;
    t_gears::install_for_worker(lua, &t)?;
    packer.borrow_mut().complete("T")
}
