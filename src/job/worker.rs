//! What a worker thread does: fetch a job, do it, send it home.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::lua::{
    Budget, Direct, FaultKind, HOST_CHUNK, Health, Loader, Others, Packer, Place, PluginError, Portable, Probe, Ready,
    Returned, Vm,
};
use crate::processor;
use crate::time::Stopwatch;

use super::completion::CompletionQueue;
use super::host::{self, Control, Owner};
use super::model::{Job, Work};
use super::options::Returns;
use super::output::OutputLine;
use super::pool::WorkerContext;
use super::shared::Shared;
use super::slot::{Again, Assignment, Life, Slot};
use super::state::{JobState, Step};

/// Most functions that are kept ready; a plugin that compiles text for every job must not fill the VM.
const MAX_READY: usize = 1024;

/// A function that returns its argument is how a value travels.
const CARRY: &str = "return function(result) return function() return result end end";

/// The life of a worker thread.
pub(super) fn run(shared: &Arc<Shared>, slot: &Arc<Slot>, number: usize) {
    processor::yield_to_packets();
    let _ending = Ending { shared, slot };
    let mut worker =
        Worker { shared, control: Control::new(Arc::clone(slot), Arc::clone(&shared.asked)), number, machine: None };
    let mut home = None;
    let mut next = shared.fetch(slot);
    while let Some(assignment) = next {
        let again = assignment.again;
        let mut outcome = worker.perform(assignment);
        if again == Again::IfItFails && matches!(outcome.state, JobState::Failed | JobState::TimedOut) {
            match shared.retry(slot, outcome.work, Stopwatch::start()) {
                Ok(()) => {
                    next = if slot.lock().life == Life::Abandoned { None } else { shared.fetch(slot) };
                    continue;
                }
                Err(work) => outcome.work = work,
            }
        }
        next = advance(shared, slot, outcome, &mut home);
    }
}

/// Sends the finished job home and gives the next one; `None` if the thread has to end. `home` is where the job before went:
/// most go to the same.
fn advance(
    shared: &Shared,
    slot: &Slot,
    outcome: Outcome,
    home: &mut Option<Arc<CompletionQueue>>,
) -> Option<Assignment> {
    let now = Stopwatch::start();
    let (finished, next, life) = {
        let mut state = slot.lock();
        let finished = Slot::finish(&mut state, now);
        let serves = state.life == Life::Serving && !shared.has_urgent();
        let next = if serves { state.local.pop_front() } else { None };
        let next = next.and_then(|queued| slot.start(&mut state, queued, now));
        (finished, next, state.life)
    };
    if let Some(mut job) = finished.job {
        outcome.fill(&mut job);
        let home = match home {
            Some(home) if Arc::ptr_eq(home, &job.home) => home,
            other => other.insert(Arc::clone(&job.home)),
        };
        shared.deliver(job, home);
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

/// What a function returned.
enum Produced {
    Nothing,
    /// A text, which is in the room for results.
    Text,
    Value(Box<Portable>),
    TooLarge(usize),
}

/// A VM and what is needed to run jobs in it.
struct Machine {
    /// How often VMs had been renewed when this one was made.
    renewals: u64,
    /// Most bytes of a result.
    max_result: usize,
    loader: Loader,
    packer: Packer,
    /// Makes a function that returns its argument.
    carry: mlua::Function,
    direct: Direct,
    /// Functions that capture nothing, by the number of their code: one closure serves all of their jobs.
    ready: HashMap<u64, Ready, RandomState>,
    /// Before the VM, which it needs to the end.
    probe: Option<Probe>,
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
    /// Function and data go home: what they hold is freed on the thread that allocated it.
    work: Work,
    result: Option<Vec<u8>>,
    value: Option<Box<Portable>>,
    error: Option<PluginError>,
    output: (Vec<OutputLine>, u64),
}

impl Outcome {
    fn fill(self, job: &mut Job) {
        job.step(Step::End(self.state));
        job.work = Some(self.work);
        let (output, output_cut) = self.output;
        if self.error.is_some() || !output.is_empty() || output_cut > 0 || self.value.is_some() {
            let remains = job.remains();
            (remains.error, remains.value) = (self.error, self.value);
            (remains.output, remains.output_cut) = (output, output_cut);
        }
        job.result = self.result;
    }
}

impl Worker<'_> {
    fn perform(&mut self, assignment: Assignment) -> Outcome {
        let Assignment { mut work, started, deadline, returns, side, .. } = assignment;
        self.control.begin(started, deadline, side);
        let mut value = None;
        let result = match &mut work {
            // There is no time to begin in.
            _ if deadline.is_zero() => Err(overdue(deadline)),
            Work::Lua { function, data, room } => {
                room.clear();
                self.run_lua(function, data, room, returns, (started, deadline)).map(|produced| match produced {
                    Produced::Nothing | Produced::TooLarge(_) => None,
                    Produced::Text => Some(std::mem::take(room)),
                    Produced::Value(portable) => {
                        value = Some(portable);
                        None
                    }
                })
            }
            Work::File(operation) => {
                let slot = &self.control.slot;
                let result = operation.run(|| !slot.is_disowned() && started.elapsed() < deadline);
                let error = |error: super::native::FileError| PluginError {
                    kind: if started.elapsed() < deadline { FaultKind::Error } else { FaultKind::Interrupted },
                    message: error.to_string(),
                    traceback: String::new(),
                };
                result.map(|()| None).map_err(error)
            }
        };
        let expired = self.control.end();
        let output = self.control.output.take();
        if expired || result.is_err() {
            value = None;
        }
        let (state, result, error) = match result {
            Ok(_) if expired => (JobState::TimedOut, None, Some(overdue(deadline))),
            Ok(result) => (JobState::Done, result, None),
            Err(error) if expired || error.kind == FaultKind::Interrupted => (JobState::TimedOut, None, Some(error)),
            Err(error) => (JobState::Failed, None, Some(error)),
        };
        Outcome { state, work, result, value, error, output }
    }

    fn too_large(&self, length: usize) -> PluginError {
        self.shared.counters.result_too_large.fetch_add(1, Ordering::Relaxed);
        let message = format!("result of {length} bytes exceeds the limit of {}", self.shared.options.max_result);
        PluginError::caught(message.as_bytes(), b"")
    }

    fn run_lua(
        &mut self,
        function: &Portable,
        data: &[u8],
        result: &mut Vec<u8>,
        returns: Returns,
        time: (Stopwatch, Duration),
    ) -> Result<Produced, PluginError> {
        match self.in_machine(function, |machine| machine.run(function, data, result, returns, time))? {
            Produced::TooLarge(length) => Err(self.too_large(length)),
            produced => Ok(produced),
        }
    }

    /// Runs a job in the VM of this worker, which is made if there is none or the plugin has changed, and goes if the job left
    /// it beyond use.
    fn in_machine<R>(
        &mut self,
        function: &Portable,
        run: impl FnOnce(&mut Machine) -> Result<R, PluginError>,
    ) -> Result<R, PluginError> {
        if self.machine.as_ref().is_some_and(|machine| machine.renewals != self.shared.renewals()) {
            self.machine = None;
        }
        let machine = match &mut self.machine {
            Some(machine) => machine,
            none => none.insert(Machine::new(self.shared, &self.control, self.number)?),
        };
        let watch = machine.begin(function);
        let returned = run(machine);
        machine.end(function, watch, &returned);
        if machine.vm.tidy() == Health::Replace {
            self.machine = None;
            self.shared.counters.vms_replaced.fetch_add(1, Ordering::Relaxed);
        }
        returned
    }
}

impl Machine {
    fn new(shared: &Shared, control: &Rc<Control>, number: usize) -> Result<Self, PluginError> {
        // Before the VM: a change that comes meanwhile costs another one.
        let renewals = shared.renewals();
        let vm = (shared.factory)(&WorkerContext {
            worker: number,
            output: control.output.clone(),
            board: shared.options.board.clone(),
            owner: Owner(Rc::clone(control)),
        })?;
        control.set_guard(vm.guard());
        let set_up = || {
            host::install(vm.lua(), control)?;
            let carry = vm.lua().load(CARRY).set_name(format!("={HOST_CHUNK}/job")).eval()?;
            Ok((Loader::new(vm.lua())?, Direct::new(vm.lua())?, Packer::new(vm.lua())?, carry))
        };
        let failed = |error: mlua::Error| PluginError::caught(error.to_string().as_bytes(), b"");
        let (loader, direct, packer, carry) = set_up().map_err(failed)?;
        let probe = |profiler| Probe::new(profiler, &vm, Place::Worker);
        let probe = shared.options.profiler.as_ref().map(probe).transpose()?;
        let max_result = shared.options.max_result;
        Ok(Self { renewals, max_result, loader, packer, carry, direct, ready: HashMap::default(), probe, vm })
    }

    /// Tells the probe, if there is one, that a job begins.
    fn begin(&self, function: &Portable) -> Option<Stopwatch> {
        let probe = self.probe.as_ref()?;
        probe.enter(&self.vm);
        let watch = Stopwatch::start();
        probe.open(function.code().location());
        Some(watch)
    }

    /// The same for its end. No job may follow for a long time, so others are sampled meanwhile.
    fn end<R>(&self, function: &Portable, watch: Option<Stopwatch>, returned: &Result<R, PluginError>) {
        let Some((probe, watch)) = self.probe.as_ref().zip(watch) else { return };
        if returned.is_err() {
            probe.failed();
        }
        probe.close(function.code().location(), 1);
        probe.leave(&self.vm, watch.elapsed().as_nanos() as u64);
        probe.rest();
        probe.publish();
    }

    fn run(
        &mut self,
        function: &Portable,
        data: &[u8],
        result: &mut Vec<u8>,
        returns: Returns,
        (started, deadline): (Stopwatch, Duration),
    ) -> Result<Produced, PluginError> {
        let code = function.code().id();
        let mut budget = Budget { limit: Some(deadline), slow: None };
        if let Some(ready) = self.ready.get(&code).copied() {
            let returned = self.call(ready, data, result, returns, budget);
            if !self.vm.is_pristine(&self.direct, ready) {
                self.ready.remove(&code);
            }
            return returned;
        }
        let Self { loader, vm, .. } = self;
        let loaded = loader.load(vm.lua(), function, |resolve, arguments| {
            budget.limit = Some(deadline.saturating_sub(started.elapsed()));
            vm.call(resolve, arguments, budget)
        })?;
        let ready = self.direct.pass(&loaded)?;
        let returned = self.call(ready, data, result, returns, budget);
        if function.is_plain() && returned.is_ok() && self.vm.is_pristine(&self.direct, ready) {
            self.keep(code, &loaded);
        }
        self.direct.passed();
        returned
    }

    fn call(
        &mut self,
        ready: Ready,
        data: &[u8],
        result: &mut Vec<u8>,
        returns: Returns,
        budget: Budget,
    ) -> Result<Produced, PluginError> {
        let others = match returns {
            Returns::Text => Others::Ignored,
            Returns::Any => Others::Kept,
        };
        match self.vm.call_bytes(&self.direct, ready, data, (result, self.max_result), others, budget)? {
            Returned::Bytes => Ok(Produced::Text),
            Returned::Nothing => Ok(Produced::Nothing),
            Returned::TooLarge(length) => Ok(Produced::TooLarge(length)),
            Returned::Other => self.pack_value(budget),
        }
    }

    /// What the last call returned, as data.
    fn pack_value(&mut self, budget: Budget) -> Result<Produced, PluginError> {
        let Self { packer, carry, vm, max_result, direct, .. } = self;
        let carrier: mlua::Function = vm.call(carry, direct.take_other()?, budget)?;
        packer.forget_warnings("result");
        let packed = packer.pack(vm.lua(), &carrier);
        let refused = |why: &str| PluginError::caught(format!("result: {why}").as_bytes(), b"");
        let packed = packed.map_err(|error| refused(&error.to_string()))?;
        if let Some(lost) = packed.warnings.iter().find(|warning| warning.is_loss()) {
            return Err(refused(&lost.to_string()));
        }
        let size = packed.portable.size();
        Ok(if size > *max_result { Produced::TooLarge(size) } else { Produced::Value(Box::new(packed.portable)) })
    }

    /// Keeps a function ready. When there is no room for it, it is loaded anew every time.
    fn keep(&mut self, code: u64, function: &mlua::Function) {
        if self.ready.len() >= MAX_READY {
            let Ok(direct) = Direct::new(self.vm.lua()) else { return };
            self.ready.clear();
            self.direct = direct;
        }
        if let Ok(ready) = self.direct.keep(function) {
            self.ready.insert(code, ready);
        }
    }
}

fn overdue(deadline: Duration) -> PluginError {
    let message = format!("job exceeded its deadline of {deadline:?}");
    PluginError { kind: FaultKind::Interrupted, message, traceback: String::new() }
}
