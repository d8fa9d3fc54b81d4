//! What `lua/async_managed.lua` asks of the host: jobs with options, their states, deferred executions, and the time.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Function, LightUserData, Lua, LuaString, MultiValue, Table, Value};

use super::context::VmContext;
use super::jobcall::JobCalls;
use super::modules;
use super::record::Side;
use super::t_async::refuse;
use crate::job::{
    Backoff, Board, Carried, Delivery, Ended, Handled, JobId, JobOptions, JobRequest, JobState, JobStatus, Letter,
    Luggage, Owner, Party, Returns, Scheduler, SectionError, Summary, Verdict, WhenCrowded,
};
use crate::lua::{Loader, Packer, Portable, bytecode_mark};

/// What the two captured variables of a job with options are called in `carry` of the Lua text.
const ON_EXECUTE: &str = "onexecute";
const DATA: &str = "data";

/// The host's side of managed jobs in one VM.
#[derive(Debug)]
pub(super) struct JobDesk {
    packer: Rc<RefCell<Packer>>,
    loader: RefCell<Loader>,
    scheduler: Rc<Scheduler>,
    calls: Rc<JobCalls>,
    context: Rc<VmContext>,
    /// Names the block among those of the plugin, for what it leaves on the disk.
    block_name: String,
    /// When the next timer is due, in seconds; infinite if there is none. The Lua text writes it in place.
    due: Cell<f64>,
    /// Time as it runs on at the end of the input.
    moved: Cell<f64>,
    /// How long an atomic section may run, and what is done about one that takes longer.
    block: Cell<(Duration, BlockPolicy)>,
    /// How many jobs that have ended are remembered, and for how many seconds.
    retain: Cell<(usize, f64)>,
    kept: RefCell<VecDeque<Kept>>,
}

/// A job that has ended and is remembered.
#[derive(Debug)]
struct Kept {
    status: JobStatus,
    result: Option<Box<[u8]>>,
    until: f64,
}

/// Most jobs that are remembered.
const MAX_KEPT: f64 = 100_000.0;

/// Most bytes that the callbacks of a job capture which is to survive its run.
const MAX_CALLBACKS: usize = 64 << 10;
/// Bytes on the disk for the jobs of one VM if nothing else is said.
const SPILL_BYTES: f64 = (1_u64 << 30) as f64;

/// What is done about an atomic section that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPolicy {
    /// It is interrupted; the worker sees the error.
    Abort,
    /// It runs to its end, and then the plugin is disabled.
    Kill,
}

/// How long an atomic section may run if nothing else is said.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Answer of `schedule_with`: the id, or nil, the reason, and true for an error.
type Scheduled = (Option<String>, Option<String>, Option<bool>);

/// The arguments of `schedule_with`: function, its data if that is text, slot, timeout, how it is to be treated, key, place.
/// And what travels with it if it goes to the disk: a function that gives callbacks and data.
type Order = (
    Function,
    Option<LuaString>,
    u64,
    Option<f64>,
    f64,
    f64,
    f64,
    f64,
    u32,
    Option<LuaString>,
    String,
    Option<Function>,
);

/// The arguments of `shape`: number of the function, timeout, how its jobs are to be treated.
type Treated = (f64, Option<f64>, f64, f64, f64, f64, u32);

/// Answer of `remember`: the number of the function and whether it captures nothing; nothing if it is to be packed for each
/// job; or nil, false and what is wrong.
type Remembered = (Option<f64>, bool, Option<String>);

/// Whether a function captures the data of its job, as one does whose data is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Captured {
    No,
    Yes,
}

/// How a job is to be treated, in the words of a script: retries, pauses before each, priority, ends that it handles.
fn treatment(retries: f64, pause: f64, most: f64, priority: f64, handled: u32) -> JobOptions {
    JobOptions {
        retries: retries.min(f64::from(u16::MAX)) as u16,
        backoff: match (seconds(pause), seconds(most)) {
            (Duration::ZERO, _) => Backoff::None,
            (pause, Duration::ZERO) => Backoff::Fixed(pause),
            (first, most) => Backoff::Exponential { first, most },
        },
        key: None,
        priority: priority as i8,
        returns: Returns::Any,
        handled: match handled {
            1 => Handled::Errors,
            2 => Handled::Timeouts,
            3 => Handled::Both,
            _ => Handled::Nothing,
        },
        name: None,
    }
}

impl JobDesk {
    pub(super) fn new(
        lua: &Lua,
        packer: &Rc<RefCell<Packer>>,
        scheduler: &Rc<Scheduler>,
        calls: &Rc<JobCalls>,
        context: &Rc<VmContext>,
        block_name: String,
    ) -> mlua::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            packer: Rc::clone(packer),
            loader: RefCell::new(Loader::new(lua)?),
            scheduler: Rc::clone(scheduler),
            calls: Rc::clone(calls),
            context: Rc::clone(context),
            block_name,
            due: Cell::new(f64::INFINITY),
            moved: Cell::new(f64::NEG_INFINITY),
            block: Cell::new((BLOCK_TIMEOUT, BlockPolicy::Abort)),
            retain: Cell::new((0, 0.0)),
            kept: RefCell::default(),
        }))
    }

    /// The time of packets, in seconds.
    pub(super) fn now(&self) -> f64 {
        self.context.time().as_secs_f64().max(self.moved.get())
    }

    /// Whether a timer is due between two batches.
    pub(super) fn is_due(&self) -> bool {
        let due = self.due.get();
        due < f64::INFINITY && due <= self.now()
    }

    /// A function as data. What of it stays behind is told once; its data has to travel as a whole.
    fn pack(&self, lua: &Lua, function: &Function, data: Captured) -> Result<Portable, String> {
        let packed = {
            let mut packer = self.packer.borrow_mut();
            packer.forget_warnings(ON_EXECUTE);
            packer.forget_warnings(DATA);
            packer.pack(lua, function).map_err(|error| error.to_string())?
        };
        for warning in &packed.warnings {
            if data == Captured::Yes && &*warning.upvalue == DATA && warning.is_loss() {
                return Err(warning.to_string().trim_start_matches("upvalue ").to_owned());
            }
            self.context.warn_once(&format!("onexecute: {warning}; {}", warning.in_its_place()));
        }
        Ok(packed.portable)
    }

    /// Remembers a function that is scheduled with options, so that the next job with it costs less.
    fn learn(&self, lua: &Lua, function: &Function) -> mlua::Result<Remembered> {
        let portable = match self.pack(lua, function, Captured::No) {
            Ok(portable) => Arc::new(portable),
            Err(why) => return Ok((None, false, Some(why))),
        };
        let Some(number) = self.packer.borrow_mut().remember(lua, function, &portable)? else {
            return Ok((None, false, None));
        };
        self.calls.remember_as(number, &portable);
        Ok((Some(number as f64), portable.is_plain(), None))
    }

    fn schedule(&self, lua: &Lua, order: Order) -> mlua::Result<Scheduled> {
        let (function, data, slot, timeout, retries, pause, most, priority, handled, key, place, travels) = order;
        let captured = if data.is_some() { Captured::No } else { Captured::Yes };
        let function = match self.pack(lua, &function, captured) {
            Ok(function) => function,
            Err(why) => return Ok((None, Some(why), Some(true))),
        };
        let options = JobOptions {
            key: key.map(|key| Box::from(&*key.as_bytes())),
            name: Some(Arc::from(place.as_str())),
            ..treatment(retries, pause, most, priority, handled)
        };
        let data = data.map_or_else(Vec::new, |data| data.as_bytes().to_vec());
        let request = JobRequest { function, data, token: slot, timeout: timeout.map(seconds) };
        let luggage = || Luggage { callbacks: travels.and_then(|callbacks| self.pack_callbacks(lua, &callbacks)) };
        Ok(match self.scheduler.schedule_or_spill(request, Some(Arc::new(options)), luggage) {
            Ok(id) => (Some(id.to_string()), None, None),
            Err(rejected) => (None, Some(refuse(&self.context, &rejected, &place)), None),
        })
    }

    /// Where the time of the next timer is to be written.
    pub(super) fn due_address(&self) -> *mut c_void {
        self.due.as_ptr().cast()
    }

    /// Callbacks for another VM; nothing if something of them would stay behind, or they capture too much.
    fn pack_callbacks(&self, lua: &Lua, callbacks: &Function) -> Option<Box<Portable>> {
        let mut packer = self.packer.borrow_mut();
        packer.forget_all_warnings();
        let packed = packer.pack(lua, callbacks);
        // What stays behind is told of where it is a fault.
        packer.forget_all_warnings();
        let packed = packed.ok().filter(|packed| !packed.warnings.iter().any(crate::lua::Warning::is_loss))?;
        (packed.portable.size() <= MAX_CALLBACKS).then(|| Box::new(packed.portable))
    }

    /// Remembers a job that has ended, if any are. To be called before its error is taken.
    pub(super) fn remember(&self, ended: &Ended) {
        let (most, seconds) = self.retain.get();
        if most == 0 {
            return;
        }
        let (now, mut status) = (self.now(), ended.status());
        if self.scheduler.delivery() == Delivery::InOrder {
            // How long it took is no property of the input.
            (status.age, status.waited, status.ran, status.worker) = Default::default();
        }
        let mut kept = self.kept.borrow_mut();
        while kept.len() >= most || kept.front().is_some_and(|first| first.until < now) {
            kept.pop_front();
        }
        kept.push_back(Kept { status, result: ended.result().map(Box::from), until: now + seconds });
    }

    /// What is known of a job: where it is, or how it ended.
    fn status(&self, lua: &Lua, id: JobId) -> mlua::Result<Option<Table>> {
        if let Some(status) = self.scheduler.status(id) {
            return status_table(lua, &status).map(Some);
        }
        let (kept, now) = (self.kept.borrow(), self.now());
        let Some(kept) = kept.iter().rev().find(|kept| kept.status.id == id && kept.until >= now) else {
            return Ok(None);
        };
        let table = status_table(lua, &kept.status)?;
        if let Some(result) = &kept.result {
            table.set("result", lua.create_string(result)?)?;
        }
        Ok(Some(table))
    }

    /// How long an atomic section may run, and what is done about one that takes longer.
    pub(super) fn block(&self) -> (Duration, BlockPolicy) {
        self.block.get()
    }

    /// A function of another VM as one of this VM.
    pub(super) fn load(&self, lua: &Lua, portable: &Portable) -> mlua::Result<Function> {
        let mut loader = self.loader.borrow_mut();
        let loaded = loader.load(lua, portable, |resolve, arguments| Ok(resolve.call::<()>(arguments)?));
        loaded.map_err(|error| mlua::Error::runtime(error.message))
    }

    /// A function of this VM that returns values, for another VM.
    pub(super) fn carry(&self, lua: &Lua, function: &Function) -> mlua::Result<Carried> {
        carry(lua, &self.packer, &Value::Function(function.clone()))
    }

    /// Makes the value that a function carries.
    fn unpack(&self, lua: &Lua, portable: &Portable) -> mlua::Result<Value> {
        self.load(lua, portable)?.call(())
    }

    /// What a letter says, as `completed` takes it.
    pub(super) fn read(&self, lua: &Lua, letter: Letter) -> mlua::Result<(String, u32, Value)> {
        let text = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
        let id = letter.id.to_string();
        Ok(match letter.verdict {
            Verdict::Resolve(Carried::Nothing) => (id, 1, Value::Nil),
            Verdict::Resolve(Carried::Text(bytes)) => (id, 1, text(&bytes)?),
            Verdict::Resolve(Carried::Value(portable)) => match self.unpack(lua, &portable) {
                Ok(value) => (id, 1, value),
                Err(error) => (id, 2, text(error.to_string().as_bytes())?),
            },
            Verdict::Reject(message) => (id, 2, text(&message)?),
            Verdict::Abort => (id, 3, Value::Nil),
        })
    }
}

/// Seconds as a script gives them: never negative, and at most a century.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(if seconds > 0.0 { seconds.min(3.2e9) } else { 0.0 })
}

/// Adds the functions of a VM of an engine but [`install_completing`].
pub(super) fn install(lua: &Lua, host: &Table, desk: &Rc<JobDesk>) -> mlua::Result<()> {
    let with = || Rc::clone(desk);
    let d = with();
    host.set("schedule_with", lua.create_function(move |lua, order: Order| d.schedule(lua, order))?)?;
    let d = with();
    host.set("remember", lua.create_function(move |lua, function: Function| d.learn(lua, &function))?)?;
    host.set("recall", Packer::recall(lua, &desk.packer)?)?;
    let d = with();
    let shape = move |(number, timeout, retries, pause, most, priority, handled): Treated| {
        d.calls.shape(number as u64, treatment(retries, pause, most, priority, handled), timeout.map(seconds))
    };
    host.set("shape", lua.create_function(move |_, treated| Ok(shape(treated)))?)?;
    let d = with();
    let value = move |lua: &Lua, index: usize| {
        let Some(portable) = d.calls.take_value(index) else { return Ok((true, Value::Nil)) };
        match d.unpack(lua, &portable) {
            Ok(value) => Ok((true, value)),
            Err(error) => Ok((false, Value::String(lua.create_string(error.to_string())?))),
        }
    };
    host.set("value", lua.create_function(move |lua, index| value(lua, index))?)?;
    let d = with();
    let adopted = move |lua: &Lua, index: usize| {
        let Some(callbacks) = d.calls.take_callbacks(index) else { return Ok(Value::Nil) };
        match d.unpack(lua, &callbacks) {
            Ok(value) => Ok(value),
            Err(error) => {
                d.context.warn_once(&format!("the callbacks of a job from the disk cannot be made: {error}"));
                Ok(Value::Nil)
            }
        }
    };
    host.set("adopted", lua.create_function(move |lua, index| adopted(lua, index))?)?;
    let d = with();
    let cancel = move |id: LuaString| JobId::parse(&id.as_bytes()).is_some_and(|id| d.scheduler.cancel_one(id));
    host.set("cancel", lua.create_function(move |_, id| Ok(cancel(id)))?)?;
    let d = with();
    host.set(
        "status",
        lua.create_function(move |lua, id: LuaString| {
            let Some(id) = JobId::parse(&id.as_bytes()) else { return Ok(None) };
            d.status(lua, id)
        })?,
    )?;
    let d = with();
    host.set("stats", lua.create_function(move |lua, ()| stats_table(lua, &d.scheduler.summary()))?)?;
    let d = with();
    host.set("now", lua.create_function(move |_, ()| Ok(d.now()))?)?;
    // The desk lives as long as the functions that have it.
    host.set("due", LightUserData(desk.due_address()))?;
    let d = with();
    host.set(
        "move",
        lua.create_function(move |_, now: f64| {
            d.moved.set(now);
            Ok(())
        })?,
    )?;
    install_deferred(lua, host, desk)?;
    let d = with();
    host.set(
        "configure_block",
        lua.create_function(move |_, (timeout, wait, kill): (Option<f64>, Option<f64>, bool)| {
            let policy = if kill { BlockPolicy::Kill } else { BlockPolicy::Abort };
            d.block.set((timeout.map_or(BLOCK_TIMEOUT, seconds), policy));
            if let Some(wait) = wait {
                d.scheduler.set_patience(seconds(wait));
            }
            Ok(())
        })?,
    )?;
    let d = with();
    host.set(
        "configure",
        lua.create_function(move |lua, limits: (f64, LuaString, f64, f64, Option<f64>)| {
            let (pending, overflow, retain, retain_for, spill_bytes) = limits;
            let when = match &*overflow.as_bytes() {
                b"drop_new" => WhenCrowded::DropNew,
                b"drop_old" => WhenCrowded::DropOld,
                b"block" if d.context.side == Side::Backend => WhenCrowded::Block,
                b"spill" => {
                    let most = spill_bytes.unwrap_or(SPILL_BYTES).max(0.0) as usize;
                    if let Err(why) = d.scheduler.spill_to_disk(&d.block_name, bytecode_mark(lua)?, most) {
                        return Ok((false, Some(why)));
                    }
                    WhenCrowded::Spill
                }
                _ => return Ok((false, None)),
            };
            // A float that is too large for it becomes the largest number.
            d.scheduler.set_limit(pending.max(0.0) as usize, when);
            d.retain.set((retain.clamp(0.0, MAX_KEPT) as usize, retain_for));
            if retain < 1.0 {
                d.kept.borrow_mut().clear();
            }
            Ok::<(bool, Option<String>), mlua::Error>((true, None))
        })?,
    )
}

fn install_deferred(lua: &Lua, host: &Table, desk: &Rc<JobDesk>) -> mlua::Result<()> {
    let d = Rc::clone(desk);
    host.set(
        "open",
        lua.create_function(move |_, ()| match d.scheduler.open() {
            Ok(id) => Ok((Some(id.to_string()), None)),
            Err(rejected) => Ok((None, Some(refuse(&d.context, &rejected, "defer")))),
        })?,
    )?;
    let d = Rc::clone(desk);
    let withdraw = move |id: LuaString| JobId::parse(&id.as_bytes()).is_some_and(|id| d.scheduler.withdraw(id));
    host.set("withdraw", lua.create_function(move |_, id| Ok(withdraw(id)))?)?;
    let d = Rc::clone(desk);
    host.set(
        "close",
        lua.create_function(move |_, state: LuaString| {
            let known = JobState::ALL.into_iter().find(|known| known.name().as_bytes() == &*state.as_bytes());
            d.scheduler.close(known.filter(|state| state.is_end()).unwrap_or(JobState::Cancelled));
            Ok(())
        })?,
    )?;
    Ok(())
}

/// Adds the function that plain `T.async` needs of the desk: `complete` in a VM of an engine.
pub(super) fn install_completing(lua: &Lua, host: &Table, desk: &Rc<JobDesk>) -> mlua::Result<()> {
    let party = Party::Engine(desk.scheduler.engine());
    install_complete(lua, host, &desk.packer, desk.scheduler.board(), party)
}

/// Adds `complete(id, verdict, value)`, which every VM has: true if the execution was open.
pub(super) fn install_complete(
    lua: &Lua,
    host: &Table,
    packer: &Rc<RefCell<Packer>>,
    board: &Board,
    party: Party,
) -> mlua::Result<()> {
    let (packer, board) = (Rc::clone(packer), board.clone());
    let complete = move |lua: &Lua, (id, verdict, value): (LuaString, u32, Value)| {
        let Some(id) = JobId::parse(&id.as_bytes()) else { return Ok((false, None)) };
        let carried = match carry(lua, &packer, &value) {
            Ok(carried) => carried,
            Err(mlua::Error::RuntimeError(message)) => return Ok((false, Some(message))),
            Err(error) => return Err(error),
        };
        let verdict = match (verdict, carried) {
            (1, carried) => Verdict::Resolve(carried),
            (2, Carried::Text(message)) => Verdict::Reject(message),
            (2, Carried::Nothing) => Verdict::Reject(b"rejected".to_vec()),
            (2, Carried::Value(_)) => return Ok((false, Some("a text is expected".to_owned()))),
            _ => Verdict::Abort,
        };
        Ok::<(bool, Option<String>), mlua::Error>((board.complete(id, party, verdict), None))
    };
    host.set("complete", lua.create_function(move |lua, arguments| complete(lua, arguments))?)
}

fn carry(lua: &Lua, packer: &Rc<RefCell<Packer>>, value: &Value) -> mlua::Result<Carried> {
    match value {
        Value::String(text) => Ok(Carried::Text(text.as_bytes().to_vec())),
        Value::Function(function) => {
            let mut packer = packer.borrow_mut();
            ["value", "results", "arguments"].into_iter().for_each(|name| packer.forget_warnings(name));
            let packed = packer.pack(lua, function).map_err(|error| mlua::Error::runtime(error.to_string()))?;
            match packed.warnings.iter().find(|warning| warning.is_loss()) {
                Some(lost) => Err(mlua::Error::runtime(lost.to_string())),
                None => Ok(Carried::Value(Box::new(packed.portable))),
            }
        }
        _ => Ok(Carried::Nothing),
    }
}

/// Adds `T.block` to the VM of a worker.
pub(super) fn install_block(lua: &Lua, t: &Table, packer: &Rc<RefCell<Packer>>, owner: &Owner) -> mlua::Result<()> {
    let (packer, owner) = (Rc::clone(packer), owner.clone());
    let loader = RefCell::new(Loader::new(lua)?);
    let enter = move |lua: &Lua, function: Function| -> mlua::Result<MultiValue> {
        let Carried::Value(portable) = carry(lua, &packer, &Value::Function(function))? else {
            return Ok(MultiValue::new());
        };
        let failed = |error: SectionError| mlua::Error::runtime(format!("T.block: {error}"));
        let Carried::Value(results) = owner.enter(*portable).map_err(failed)? else { return Ok(MultiValue::new()) };
        let mut loader = loader.borrow_mut();
        let loaded = loader.load(lua, &results, |resolve, arguments| Ok(resolve.call::<()>(arguments)?));
        drop(loader);
        loaded.map_err(|error| mlua::Error::runtime(error.message))?.call(())
    };
    // An error is told as text: one raised from here would be an object.
    let enter = lua.create_function(move |lua, function| match enter(lua, function) {
        Ok(results) => Ok((None, results)),
        Err(mlua::Error::RuntimeError(message)) => Ok((Some(message), MultiValue::new())),
        Err(error) => Ok((Some(error.to_string()), MultiValue::new())),
    })?;
    let block: Function = modules::host_chunk(lua, "millstream.block", include_str!("lua/block.lua"))?.call(enter)?;
    t.set("block", block)
}

fn status_table(lua: &Lua, status: &JobStatus) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("id", status.id.to_string())?;
    table.set("state", status.state.name())?;
    table.set("kind", status.kind.name())?;
    table.set("attempts", status.attempts)?;
    table.set("worker", status.worker)?;
    table.set("function", &*status.function)?;
    table.set("size", status.size)?;
    table.set("age", status.age.as_secs_f64())?;
    table.set("waited", status.waited.as_secs_f64())?;
    table.set("ran", status.ran.as_secs_f64())?;
    if let Some(error) = &status.error {
        table.set("error", error.message.as_str())?;
        table.set("traceback", error.traceback.as_str())?;
    }
    Ok(table)
}

fn stats_table(lua: &Lua, summary: &Summary) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, count) in [
        ("scheduled", summary.scheduled),
        ("queued", summary.queued),
        ("running", summary.running),
        ("done", summary.done),
        ("failed", summary.failed),
        ("timed_out", summary.timed_out),
        ("cancelled", summary.cancelled),
        ("dropped", summary.dropped),
        ("orphaned", summary.orphaned),
        ("retries", summary.retries),
        ("kept", summary.spill.kept),
        ("spilled", summary.spill.on_disk),
        ("spills", summary.spill.ever),
        ("adopted", summary.spill.adopted),
        ("spill_full", summary.spill.full),
        ("spill_slow", summary.spill.slow),
        ("spill_failed", summary.spill.failed),
        ("spill_unreadable", summary.spill.unreadable),
    ] {
        table.set(name, count)?;
    }
    Ok(table)
}
