//! What a worker thread does: fetch a job, do it, send it home.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlua::{FromLua, IntoLua, Lua, Value};

use crate::lua::{Budget, FaultKind, Health, Loader, PluginError, Portable, Vm};
use crate::time::Stopwatch;

use super::host::{self, Control};
use super::model::{Job, JobState, Work};
use super::output::OutputLine;
use super::pool::{MAX_RESULT, Shared, WorkerContext};
use super::process;
use super::slot::{Assignment, Life, Slot};

/// The life of a worker thread.
pub(super) fn run(shared: &Arc<Shared>, slot: &Arc<Slot>, number: usize) {
    process::yield_to_packets();
    let _ending = Ending { shared, slot };
    let mut worker = Worker { shared, control: Control::new(Arc::clone(slot)), number, machine: None };
    let mut next = shared.fetch(slot);
    while let Some(assignment) = next {
        let outcome = worker.perform(assignment);
        next = advance(shared, slot, outcome);
    }
}

/// Sends the finished job home and gives the next one; `None` if the thread has to end.
fn advance(shared: &Shared, slot: &Slot, outcome: Outcome) -> Option<Assignment> {
    let now = Stopwatch::start();
    let (finished, next, life) = {
        let mut state = slot.lock();
        let finished = Slot::finish(&mut state, now);
        let next = if state.life == Life::Serving { state.local.pop_front() } else { None };
        let next = next.and_then(|queued| slot.start(&mut state, queued, now));
        (finished, next, state.life)
    };
    if let Some(job) = finished.job {
        shared.deliver(outcome.into_job(job));
    }
    if let Some(lanes) = &finished.lanes {
        shared.release(lanes);
    }
    if life == Life::Abandoned {
        return None;
    }
    next.or_else(|| shared.fetch(slot))
}

/// Leaves a note when the thread ends while it has a job, which only a panic can do, or after it was given up.
struct Ending<'a> {
    shared: &'a Shared,
    slot: &'a Slot,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let mut state = self.slot.lock();
        if state.life == Life::Abandoned {
            self.shared.counters.workers_stuck.fetch_sub(1, Ordering::Relaxed);
        } else {
            state.life = Life::Ended;
        }
    }
}

/// A VM and what is needed to run jobs in it.
struct Machine {
    loader: Loader,
    vm: Vm,
}

struct Worker<'a> {
    shared: &'a Shared,
    control: Rc<Control>,
    number: usize,
    machine: Option<Machine>,
}

/// How a job went.
struct Outcome {
    state: JobState,
    data: Vec<u8>,
    /// Kept so that what it holds is freed on the thread that allocated it.
    work: Option<Work>,
    result: Option<Vec<u8>>,
    error: Option<PluginError>,
    output: (Vec<OutputLine>, u64),
}

impl Outcome {
    fn into_job(self, mut job: Box<Job>) -> Box<Job> {
        let completion = &mut job.completion;
        completion.state = self.state;
        completion.data = self.data;
        completion.result = self.result;
        completion.error = self.error;
        (completion.output, completion.output_cut) = self.output;
        job.work = self.work;
        job
    }
}

impl Worker<'_> {
    fn perform(&mut self, assignment: Assignment) -> Outcome {
        let Assignment { work, started, deadline } = assignment;
        self.control.begin(started, deadline);
        let (result, data, work) = match work {
            Work::Lua { function, data } => {
                let result = self.run_lua(&function, &data, started, deadline);
                (result, data, Work::Lua { function, data: Vec::new() })
            }
            Work::File(operation) => {
                let slot = &self.control.slot;
                let result = operation.run(|| !slot.is_disowned() && started.elapsed() < deadline);
                let error = |error: super::native::FileError| PluginError {
                    kind: if started.elapsed() < deadline { FaultKind::Error } else { FaultKind::Interrupted },
                    message: error.to_string(),
                    traceback: String::new(),
                };
                (result.map(|()| None).map_err(error), Vec::new(), Work::File(operation))
            }
        };
        let expired = self.control.end();
        let output = self.control.output.take();
        let (state, result, error) = match result {
            Ok(_) if expired => (JobState::TimedOut, None, Some(overdue(deadline))),
            Ok(result) => (JobState::Done, result, None),
            Err(error) if expired || error.kind == FaultKind::Interrupted => (JobState::TimedOut, None, Some(error)),
            Err(error) => (JobState::Failed, None, Some(error)),
        };
        Outcome { state, data, work: Some(work), result, error, output }
    }

    fn run_lua(
        &mut self,
        function: &Portable,
        data: &[u8],
        started: Stopwatch,
        deadline: Duration,
    ) -> Result<Option<Vec<u8>>, PluginError> {
        let machine = match &mut self.machine {
            Some(machine) => machine,
            none => none.insert(Machine::new(self.shared, &self.control, self.number)?),
        };
        let Machine { vm, loader } = machine;
        let mut budget = Budget { limit: Some(deadline), slow: None };
        let loaded = loader.load(vm.lua(), function, |resolve, arguments| {
            budget.limit = Some(deadline.saturating_sub(started.elapsed()));
            vm.call(resolve, arguments, budget)
        });
        let returned = loaded.and_then(|function| vm.call::<Returned>(&function, Data(data), budget));
        if vm.tidy() == Health::Replace {
            self.machine = None;
            self.shared.counters.vms_replaced.fetch_add(1, Ordering::Relaxed);
        }
        match returned? {
            Returned::Bytes(result) => Ok(Some(result)),
            Returned::Nothing => Ok(None),
            Returned::TooLarge(length) => {
                let message = format!("result of {length} bytes exceeds the limit of {MAX_RESULT}");
                Err(PluginError::caught(message.as_bytes(), b""))
            }
        }
    }
}

impl Machine {
    fn new(shared: &Shared, control: &Rc<Control>, number: usize) -> Result<Self, PluginError> {
        let vm = (shared.factory)(&WorkerContext { worker: number, output: control.output.clone() })?;
        let set_up = || {
            host::install(vm.lua(), control)?;
            Loader::new(vm.lua())
        };
        let loader = set_up().map_err(|error| PluginError::caught(error.to_string().as_bytes(), b""))?;
        Ok(Self { loader, vm })
    }
}

fn overdue(deadline: Duration) -> PluginError {
    let message = format!("job exceeded its deadline of {deadline:?}");
    PluginError { kind: FaultKind::Interrupted, message, traceback: String::new() }
}

/// The argument of a job's function.
struct Data<'a>(&'a [u8]);

impl IntoLua for Data<'_> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self.0).map(Value::String)
    }
}

/// What a job's function returned.
enum Returned {
    Bytes(Vec<u8>),
    Nothing,
    TooLarge(usize),
}

impl FromLua for Returned {
    fn from_lua(value: Value, lua: &Lua) -> mlua::Result<Self> {
        let text = match value {
            Value::String(text) => text,
            number @ (Value::Integer(_) | Value::Number(_)) => match lua.coerce_string(number)? {
                Some(text) => text,
                None => return Ok(Self::Nothing),
            },
            _ => return Ok(Self::Nothing),
        };
        let bytes = text.as_bytes();
        Ok(if bytes.len() > MAX_RESULT { Self::TooLarge(bytes.len()) } else { Self::Bytes(bytes.to_vec()) })
    }
}
