//! What an instance scheduled comes back: results of jobs are delivered between two batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlua::{Function, IntoLuaMulti};

use super::health::Verdict;
use super::instance::Instance;
use super::kind::PluginKind;
use crate::api::job_desk::BlockPolicy;
use crate::api::t_async::JobSide;
use crate::api::{LogLevel, ScriptId};
use crate::job::{Carried, Delivery, Ended, JobIds, Pool, Section, SectionError, Settled, Settling, Wait};
use crate::lua::{Budget, FaultKind, PluginError};
use crate::time::Stopwatch;

/// Times in a row that letting time run on at the end may fail.
const MAX_STUCK: u32 = 100;
/// With delivery in order: jobs outstanding above which all are waited for, below the 100,000 at which they are dropped.
const SETTLE_ABOVE: usize = 50_000;
/// How long completions may hold up the next batch of packets.
pub(super) const DELIVERY_TIME: Duration = Duration::from_micros(200);
/// Completions delivered in one call into the VM.
const DELIVERED_AT_ONCE: usize = 64;

/// The pools of all scripts and how one engine uses them.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// One pool per script, shared by its VMs on all engines.
    pub pools: Arc<[Pool]>,
    /// Numbers of this engine's jobs.
    pub ids: JobIds,
    /// When results are delivered.
    pub delivery: Delivery,
}

impl JobPlan {
    pub(super) fn of<'a>(&'a self, script: ScriptId, kind: PluginKind, block: &'a str) -> JobSide<'a> {
        let pool = &self.pools[usize::from(script.0)];
        JobSide { pool, ids: &self.ids, delivery: self.delivery, kind: kind.name(), block }
    }
}

/// Whether time may run on at the end of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// It may.
    None,
    /// The run was told to stop.
    AtOnce,
}

/// Whether anything was left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Something.
    Something,
    /// Nothing.
    Nothing,
}

impl Instance {
    /// Jobs whose results were not delivered yet.
    #[must_use]
    pub fn outstanding_jobs(&self) -> usize {
        self.jobs.outstanding()
    }

    /// Whether results may have come, or something else of the asynchronous kind is due.
    #[must_use]
    pub fn has_async_work(&self) -> bool {
        self.jobs.outstanding() > 0 || self.jobs.has_business() || self.jobs.is_called()
    }

    /// Hands over what was scheduled, and delivers what has finished. With delivery in order nothing is delivered until
    /// so much is outstanding that the queue would overflow; then all of it, which is a point that does not depend on how
    /// fast the workers are. That wait ends as soon as `stopping` is set; the jobs go on then.
    pub fn take_completions(&mut self, stopping: &AtomicBool) {
        if self.jobs.is_called() {
            self.run_errands();
        }
        if self.jobs.has_business() {
            if self.jobs.is_asked() {
                self.run_sections();
            }
            let as_they_come = self.jobs.delivery() == Delivery::AsFinished;
            self.take_letters(if as_they_come { Settling::Yes } else { Settling::No });
            self.tick();
        }
        if self.jobs.outstanding() == 0 {
            return;
        }
        self.jobs.flush();
        if self.jobs.delivery() == Delivery::InOrder {
            if self.jobs.in_memory() >= SETTLE_ABOVE {
                let mut ended = Vec::new();
                let wait = Wait { limit: None, cancel: Some(stopping) };
                let mut settled = self.jobs.await_all(&wait, &mut ended);
                while settled == Settled::Asked {
                    self.run_sections();
                    settled = self.jobs.await_all(&wait, &mut ended);
                }
                if settled == Settled::Elsewhere {
                    return;
                }
                self.deliver_in_parts(ended);
                self.take_letters(Settling::Yes);
            }
            return;
        }
        let watch = Stopwatch::start();
        loop {
            let mut ended = self.jobs.list();
            self.jobs.poll(&mut ended);
            let count = ended.len();
            self.deliver_completions(ended);
            if count < DELIVERED_AT_ONCE || watch.elapsed() >= DELIVERY_TIME {
                return;
            }
        }
    }

    /// Waits for all jobs and delivers their results in the order scheduled; what is missing when the wait ends early is
    /// cancelled.
    pub fn settle(&mut self, wait: &Wait<'_>) {
        let (watch, mut ended) = (Stopwatch::start(), Vec::new());
        loop {
            let limit = wait.limit.map(|limit| limit.saturating_sub(watch.elapsed()));
            match self.jobs.settle(&Wait { limit, cancel: wait.cancel }, &mut ended) {
                Settled::Asked => self.run_sections(),
                // The caller comes by the others, and then back here.
                Settled::Elsewhere => return,
                Settled::Yes => break,
            }
        }
        self.deliver_in_parts(ended);
        self.take_letters(Settling::Yes);
    }

    /// Runs the functions that workers wait for, for as long as the next packets can.
    fn run_sections(&mut self) {
        if !self.knows_managed("block") {
            return;
        }
        let watch = Stopwatch::start();
        loop {
            match self.jobs.next_section() {
                Ok(Some((run, section))) => {
                    let result = self.run_section(&run, &section);
                    section.finish(result);
                }
                Ok(None) => return,
                Err(e) => return self.fault("block", &PluginError::from_lua(&e)),
            }
            if watch.elapsed() >= DELIVERY_TIME {
                return;
            }
        }
    }

    fn run_section(&mut self, run: &Function, section: &Section) -> Result<Carried, SectionError> {
        let failed = |error: mlua::Error| SectionError::Failed(PluginError::from_lua(&error).message);
        if let Some(why) = self.health.disabled() {
            return Err(SectionError::Failed(format!("the plugin is disabled: {why}")));
        }
        let lua = self.vm.lua().clone();
        let function = self.jobs.section_function(&lua, section).map_err(failed)?;
        let (timeout, policy) = self.jobs.block();
        let limit = (policy == BlockPolicy::Abort).then_some(timeout);
        let watch = Stopwatch::start();
        let (result, _) = self.enter_within::<Function>(Budget { limit, slow: None }, run, function);
        if policy == BlockPolicy::Kill && watch.elapsed() > timeout {
            self.health.disable("an atomic section took too long");
            let text = format!("block: disabled: an atomic section of {} took longer than {timeout:?}", section.job());
            self.context.log(LogLevel::Error, text);
        }
        let results = result.map_err(|error| SectionError::Failed(error.message))?;
        self.jobs.carry(&lua, &results).map_err(failed)
    }

    /// At the end of the input, for an instance alone: waits for the jobs, lets time run on, until nothing is left.
    pub fn settle_all(&mut self, wait: &Wait<'_>) {
        let watch = Stopwatch::start();
        self.close_door();
        loop {
            let limit = wait.limit.map(|limit| limit.saturating_sub(watch.elapsed()));
            if self.jobs.outstanding() > 0 {
                self.settle(&Wait { limit, cancel: wait.cancel });
                continue;
            }
            let cut = wait.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed));
            let over = cut || limit.is_some_and(|limit| limit.is_zero());
            if self.run_out(if over { Haste::AtOnce } else { Haste::None }) == Left::Nothing
                && self.jobs.outstanding() == 0
            {
                return;
            }
        }
    }

    /// Has the texts of managed jobs read, where it is not the script that first asks for them. False if they cannot be.
    pub(super) fn knows_managed(&mut self, callback: &'static str) -> bool {
        match self.vm.keep_house(|_| self.jobs.managed().fill()) {
            Ok(()) => true,
            Err(e) => {
                self.fault(callback, &e);
                false
            }
        }
    }

    /// Reads what others have completed.
    fn take_letters(&mut self, settling: Settling) {
        if self.jobs.has_mail() && !self.knows_managed("resolve") {
            return;
        }
        let (completed, letters) = match self.jobs.letters(settling) {
            Ok(Some(letters)) => letters,
            Ok(None) => return,
            Err(e) => return self.fault("resolve", &PluginError::from_lua(&e)),
        };
        for letter in letters {
            match self.jobs.read(self.vm.lua(), letter) {
                Ok(what) => self.piece("resolve", &completed, what),
                Err(e) => self.fault("resolve", &PluginError::from_lua(&e)),
            }
        }
    }

    /// Does what is due by the time of packets.
    fn tick(&mut self) {
        match self.jobs.tick() {
            Ok(None) => {}
            Ok(Some((tick, now))) => self.piece("timer", &tick, now),
            Err(e) => self.fault("timer", &PluginError::from_lua(&e)),
        }
    }

    /// At the end of the input, when no job is left: lets time run on to what is due next. Gives whether anything was left
    /// to do; with `AtOnce`, what is left is cancelled instead.
    pub fn run_out(&mut self, haste: Haste) -> Left {
        self.take_letters(Settling::Yes);
        if self.health.disabled().is_some() {
            return Left::Nothing;
        }
        let run_out = match self.jobs.run_out() {
            Ok(Some(run_out)) => run_out,
            Ok(None) => return Left::Nothing,
            Err(e) => {
                self.fault("timer", &PluginError::from_lua(&e));
                return Left::Nothing;
            }
        };
        // Once more after an interruption: what was left undone by it is done then.
        for _ in 0..2 {
            let (result, _) = self.enter::<bool>(&run_out, haste == Haste::AtOnce);
            self.take_caught("timer");
            match result {
                Ok(left) => {
                    self.stuck_at_end = 0;
                    return if left { Left::Something } else { Left::Nothing };
                }
                Err(e) => self.fault("timer", &e),
            }
            // A VM without memory would say the same for ever.
            if self.health.disabled().is_some() {
                return Left::Nothing;
            }
        }
        // Callbacks fail without this function failing; one that cannot even begin would never come to an end.
        self.stuck_at_end += 1;
        if self.stuck_at_end < MAX_STUCK { Left::Something } else { Left::Nothing }
    }

    fn piece(&mut self, name: &'static str, function: &Function, arguments: impl IntoLuaMulti) {
        let (result, _) = self.enter::<()>(function, arguments);
        self.take_caught(name);
        if let Err(e) = result {
            self.fault(name, &e);
        }
    }

    fn deliver_in_parts(&mut self, ended: Vec<Ended>) {
        let mut left = ended.into_iter();
        while left.len() > 0 {
            let mut part = self.jobs.list();
            part.extend(left.by_ref().take(DELIVERED_AT_ONCE));
            self.deliver_completions(part);
        }
    }

    fn deliver_completions(&mut self, mut ended: Vec<Ended>) {
        let mut failures = Vec::new();
        let count = self.jobs.collect(&self.context, &mut ended, &mut failures);
        for (id, function, error) in failures {
            let message = format!("{} ({function}, job {id})", error.message);
            self.fault_of_job(&PluginError { message, ..error });
        }
        let deliver = self.jobs.deliver_function().clone();
        let mut first = 0;
        while first < count {
            let before = first;
            self.begins("onresult");
            let (result, last) = self.enter::<usize>(&deliver, (first, count));
            match result {
                Ok(reached) => first = reached,
                Err(e) => {
                    // The progress word counts down from -1; the guilty one is left behind.
                    first = usize::try_from(-i64::from(last)).unwrap_or(count).max(first + 1);
                    self.fault("onresult", &e);
                }
            }
            self.ended("onresult", (first - before) as u64);
            self.take_caught("onresult");
        }
        self.jobs.give_back(ended);
    }

    /// A job failed: counted and reported as a fault of the plugin, but it suspends nothing here.
    fn fault_of_job(&mut self, error: &PluginError) {
        let kind = if error.kind == FaultKind::Interrupted { FaultKind::Error } else { error.kind };
        if self.health.fault("onexecute", kind, self.context.time()) == Verdict::Report {
            self.report("onexecute", &error.message, &error.traceback);
        }
    }
}
