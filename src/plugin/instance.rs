//! One block of one plugin file in one VM on one engine: loading, calling, faults, unloading.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use mlua::{FromLua, FromLuaMulti, Function, IntoLuaMulti, LightUserData, Table, Value};

use super::discover::Script;
use super::health::{Health as PluginHealth, Verdict};
use super::kind::{PluginKind, Side as KindSide};
use super::manifest::{Block, Subscriptions};
use crate::api::t_async::AsyncEnd;
use crate::api::{EngineContext, EngineParts, LogLevel, MonitoredGroup, Record, ScriptId, VmContext, values};
use crate::guid::Guid;
use crate::lua::{Budget, FaultKind, Health, PluginError, Probe, Slow, Tokens, Vm, has_no_place};
use crate::time::{Stopwatch, Timestamp};

/// How long after a remark about slow callbacks the next one comes, in stream time.
const BETWEEN_REMARKS: Duration = Duration::from_secs(60);

/// A plugin file as instances need it.
#[derive(Debug)]
pub struct PluginFile {
    /// Index in the run's list.
    pub id: ScriptId,
    /// The file.
    pub script: Script,
    /// File name.
    pub name: String,
    /// What it calls itself.
    pub title: String,
    /// Messages it wants.
    pub subscriptions: Subscriptions,
    /// Class id for broadcasts.
    pub clsid: Option<Guid>,
    /// Async worker threads wanted.
    pub workers: usize,
    /// Entries in front of `package.path`.
    pub package_path: Vec<String>,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

impl PluginFile {
    /// A block of the file.
    #[must_use]
    pub fn block(&self, kind: PluginKind) -> Option<&Block> {
        self.blocks.iter().find(|block| block.kind == kind)
    }
}

/// Why an instance is not there.
#[derive(Debug)]
pub enum LoadFailure {
    /// The file or its `onload` failed.
    Fault(&'static str, PluginError),
    /// `onload` returned false.
    Declined,
}

/// What an instance did, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Callbacks made.
    pub calls: u64,
    /// Time in them, the driver's included.
    pub nanos: u64,
    /// Callbacks slower than the budget's mark.
    pub slow: u64,
}

/// How one instance did, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceReport {
    /// Which script.
    pub script: ScriptId,
    /// Which block.
    pub kind: PluginKind,
    /// Calls and time.
    pub stats: CallStats,
    /// Faults of all kinds.
    pub faults: u64,
    /// Faults that were interruptions.
    pub interrupted: u64,
    /// Calls not made because it was suspended or disabled.
    pub skipped: u64,
    /// Why it was disabled, if it was.
    pub disabled: Option<&'static str>,
    /// Bytes its VM holds.
    pub memory: usize,
}

/// A fault as the message handler in the VM saw it.
#[derive(Debug)]
pub(super) struct Caught {
    pub(super) message: Vec<u8>,
    pub(super) traceback: Vec<u8>,
    /// The progress word at that moment.
    pub(super) progress: i32,
    /// Which callback it was, where the caller does not know.
    pub(super) callback: Option<&'static str>,
}

/// One VM of a plugin.
#[derive(Debug)]
pub struct Instance {
    /// The file.
    pub file: Rc<PluginFile>,
    /// Which block.
    pub kind: PluginKind,
    /// The group it is bound to, on the backend.
    pub group: Option<Guid>,
    /// What looks on, if anything does. Before the VM, which it needs to the end.
    pub(super) probe: Option<Rc<Probe>>,
    pub(super) vm: Vm,
    pub(super) context: Rc<VmContext>,
    pub(super) parts: EngineParts,
    pub(super) on_error: Function,
    pub(super) jobs: AsyncEnd,
    pub(super) caught: Rc<RefCell<Vec<Caught>>>,
    pub(super) on_message: Option<Function>,
    pub(super) on_channel: Option<Function>,
    pub(super) on_unload: Option<Function>,
    pub(super) budget: Budget,
    /// The process ends with the run.
    pub(super) leaves_memory: bool,
    /// Times in a row that the end of the input was got no further because of errors outside of callbacks.
    pub(super) stuck_at_end: u32,
    /// Faults and suspensions.
    pub health: PluginHealth,
    /// Calls and time.
    pub stats: CallStats,
}

/// What callbacks an instance's block has, looked up once after `onload`.
pub type BlockTable = Table;

/// Where an instance belongs.
#[derive(Clone, Debug)]
pub struct Seat {
    /// Which block of the file.
    pub kind: PluginKind,
    /// Rank among the VMs of the engine.
    pub order: u32,
    /// The group it is bound to, on the backend.
    pub group: Option<MonitoredGroup>,
}

impl Seat {
    /// A place without a group.
    #[must_use]
    pub const fn new(kind: PluginKind, order: u32) -> Self {
        Self { kind, order, group: None }
    }
}

impl Instance {
    /// Which block it is of, and for which group.
    #[must_use]
    pub const fn seat(&self) -> (PluginKind, Option<Guid>) {
        (self.kind, self.group)
    }

    /// The VM.
    #[must_use]
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// The VM's context.
    #[must_use]
    pub fn context(&self) -> &Rc<VmContext> {
        &self.context
    }

    /// The parts that driver loops are made from.
    #[must_use]
    pub fn parts(&self) -> &EngineParts {
        &self.parts
    }

    /// The message handler of callbacks.
    #[must_use]
    pub fn on_error(&self) -> &Function {
        &self.on_error
    }

    /// Makes a driver loop from text, giving it `args`.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn driver(&self, text: &'static str, name: &str, args: impl IntoLuaMulti) -> Result<Function, PluginError> {
        let chunk = self.vm.own(text, name)?;
        self.vm.call(&chunk, args, Budget { limit: None, slow: None })
    }

    /// Makes the objects of the VM fit for a callback that may keep what it is lent.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn lend_values(&self) -> Result<(), PluginError> {
        Ok(values::install(self.vm.lua(), &self.parts.objects, &self.context.engine)?)
    }

    /// True if messages may reach this VM.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.on_message.is_some() || self.on_channel.is_some()
    }

    /// Calls into the VM within the budget, timed. The progress word is cleared afterwards and its last value returned.
    pub fn enter<R: FromLuaMulti>(
        &mut self,
        function: &Function,
        args: impl IntoLuaMulti,
    ) -> (Result<R, PluginError>, i32) {
        if let Some(probe) = &self.probe {
            probe.enter(&self.vm);
        }
        let watch = Stopwatch::start();
        let result = self.vm.call(function, args, self.budget);
        self.context.end_call();
        let nanos = watch.elapsed().as_nanos() as u64;
        self.stats.nanos += nanos;
        if let Some(probe) = &self.probe {
            probe.leave(&self.vm, nanos);
        }
        let last = self.context.guard.progress.swap(0, Ordering::Relaxed);
        (result, last)
    }

    /// Calls into the VM without a budget: for callbacks that may wait.
    pub fn enter_unlimited<R: FromLuaMulti>(
        &mut self,
        function: &Function,
        args: impl IntoLuaMulti,
    ) -> (Result<R, PluginError>, i32) {
        self.enter_within(Budget { limit: None, slow: None }, function, args)
    }

    /// Calls into the VM within another budget than that of its callbacks.
    pub(super) fn enter_within<R: FromLuaMulti>(
        &mut self,
        budget: Budget,
        function: &Function,
        args: impl IntoLuaMulti,
    ) -> (Result<R, PluginError>, i32) {
        let usual = std::mem::replace(&mut self.budget, budget);
        let entered = self.enter(function, args);
        self.budget = usual;
        entered
    }

    /// How it did.
    #[must_use]
    pub fn outcome(&self) -> InstanceReport {
        InstanceReport {
            script: self.file.id,
            kind: self.kind,
            stats: self.stats,
            faults: self.health.faults,
            interrupted: self.health.interrupted,
            skipped: self.health.skipped,
            disabled: self.health.disabled(),
            memory: self.vm.used_memory(),
        }
    }

    /// Calls a callback that is no packet callback, and deals with its failure.
    pub fn callback<R: FromLuaMulti>(&mut self, name: &str, function: &Function, args: impl IntoLuaMulti) -> Option<R> {
        if !self.health.may_run(self.context.time()) {
            self.health.skipped += 1;
            return None;
        }
        self.stats.calls += 1;
        self.begins(name);
        let (result, _) = self.enter(function, args);
        match result {
            Ok(value) => {
                self.ended(name, 1);
                Some(value)
            }
            Err(e) => {
                self.fault(name, &e);
                self.ended(name, 1);
                None
            }
        }
    }

    /// A callback that counts its calls and its time, if anything looks on; otherwise the callback.
    ///
    /// # Errors
    /// When the VM is out of memory.
    pub fn watched(&self, name: &str, callback: Function) -> Result<Function, PluginError> {
        match &self.probe {
            Some(probe) => Ok(probe.wrap(name, &callback)?),
            None => Ok(callback),
        }
    }

    /// Tells whoever looks on that a callback begins that is not [`Instance::watched`].
    pub(super) fn begins(&self, name: &str) {
        if let Some(probe) = &self.probe {
            probe.open(name);
        }
    }

    /// The same for its end; it stood for so many calls.
    pub(super) fn ended(&self, name: &str, calls: u64) {
        if let Some(probe) = &self.probe {
            probe.close(name, calls);
        }
    }

    /// The VM is not entered for a while: if stacks are sampled, those of others are.
    pub(super) fn rest(&self) {
        if let Some(probe) = &self.probe {
            probe.rest();
        }
    }

    /// Counts and reports a fault.
    pub fn fault(&mut self, callback: &str, error: &PluginError) {
        if let Some(probe) = &self.probe {
            // If the message handler was not called.
            probe.failed();
        }
        self.context.gears.failed(&error.message);
        let now = self.context.time();
        let was_disabled = self.health.disabled().is_some();
        if self.health.fault(callback, error.kind, now) == Verdict::Report {
            self.report(callback, &error.message, &error.traceback);
        }
        if !was_disabled && self.health.disabled().is_some() {
            self.context
                .log(LogLevel::Error, format!("{callback}: disabled: interrupted three times within ten minutes"));
        }
        if error.kind == FaultKind::Memory && self.vm.tidy() == Health::Replace {
            self.health.disable("out of memory");
            self.context.log(
                LogLevel::Error,
                format!("{callback}: disabled: out of memory, and a collection frees too little"),
            );
        }
    }

    pub(super) fn report(&self, callback: &str, message: &str, traceback: &str) {
        let placed;
        let message = if has_no_place(message) {
            placed = self.with_place(callback, message);
            &placed
        } else {
            message
        };
        let mut text = format!("{callback}: {message}");
        if !traceback.trim().is_empty() {
            text.push('\n');
            text.push_str(traceback.trim_end());
        }
        self.context.log(LogLevel::Error, text);
        let fault = Record::Fault { callback: callback.to_owned(), message: message.to_owned(), count: 1 };
        self.context.record_as(self.context.side, fault);
    }

    /// Does something on the occasion of a packet, an event or a row: what is recorded belongs to it.
    pub fn at(&mut self, progress: i32, act: impl FnOnce(&mut Self)) {
        self.context.guard.progress.store(progress, Ordering::Relaxed);
        act(self);
        self.context.guard.progress.store(0, Ordering::Relaxed);
    }

    /// Reads tables of the script within the budget of a callback: their metatables may run code of the script.
    ///
    /// # Errors
    /// What that code raises, and what the reading fails with.
    pub fn reading<R>(&self, read: impl FnOnce() -> mlua::Result<R>) -> Result<R, PluginError> {
        self.vm.watched(self.budget, |_| read())
    }

    /// A field of one of the script's tables, see [`Instance::reading`].
    ///
    /// # Errors
    /// As there; a value of another type is one as well.
    pub fn field<V: FromLua>(&self, table: &Table, name: &str) -> Result<V, PluginError> {
        self.reading(|| table.get(name))
    }

    /// Forgets what the message handler caught at a packet whose callback then failed for good: one callback, one fault.
    pub fn forget_caught(&mut self, progress: i32) {
        self.caught.borrow_mut().retain(|caught| caught.progress != progress);
    }

    /// Takes the faults that the message handler caught during the last call.
    pub fn take_caught(&mut self, callback: &'static str) {
        self.take_caught_by(|_| callback);
    }

    /// The same where the progress word tells which callback it was.
    pub fn take_caught_by(&mut self, name: impl Fn(i32) -> &'static str) {
        let caught = std::mem::take(&mut *self.caught.borrow_mut());
        let mut full = None;
        for Caught { message, traceback, progress, callback } in caught {
            // The fault belongs to the packet at which it happened.
            self.context.guard.progress.store(progress, Ordering::Relaxed);
            let callback = callback.unwrap_or_else(|| name(progress));
            let now = self.context.time();
            let error = PluginError::caught(&message, &traceback);
            if error.kind == FaultKind::Memory {
                full = Some(callback);
            }
            if self.health.fault(callback, error.kind, now) == Verdict::Report {
                self.report(callback, &error.message, &error.traceback);
            }
        }
        self.context.guard.progress.store(0, Ordering::Relaxed);
        if let Some(callback) = full
            && self.vm.tidy() == Health::Replace
        {
            self.health.disable("out of memory");
            self.context.log(
                LogLevel::Error,
                format!("{callback}: disabled: out of memory, and a collection frees too little"),
            );
        }
    }

    /// An error that does not say where it happened, with the line of the callback.
    fn with_place(&self, callback: &str, message: &str) -> String {
        let path: Vec<&str> = callback.split('.').collect();
        let line = Tokens::of(&self.file.script.source).line_of_field(&path);
        format!("{}:{line}: {message} (in the callback that begins there)", self.file.name)
    }

    /// Tells of faults that were only counted; `None` tells of all, and of slow callbacks.
    pub fn tell_silent(&mut self, now: Option<Timestamp>) {
        if now.is_none() {
            self.tell_slow(Duration::ZERO);
        }
        for (callback, count) in self.health.take_silent(now) {
            self.context.log(LogLevel::Error, format!("{callback}: {count} further errors"));
            self.context.record(Record::Fault { callback, message: "further errors".to_owned(), count });
        }
    }

    /// Suspends the packet callbacks after too many errors in a row.
    pub fn suspend(&mut self, callback: &str) {
        let length = self.health.suspend(self.context.time());
        self.context.log(
            LogLevel::Error,
            format!(
                "{callback}: suspended for {} s after {} errors in a row",
                length.as_secs(),
                super::health::ROW_LIMIT
            ),
        );
    }

    /// Delivers a message if the plugin wants it.
    pub fn deliver(&mut self, id: &[u8], class: Option<Guid>, text: &[u8]) {
        if class.is_some() {
            if class != self.file.clsid {
                return;
            }
            if let Some(function) = self.on_channel.clone() {
                return self.message_call("channellistener.onchannelmessage", &function, id, text);
            }
        } else if !wanted(&self.file.subscriptions, id) {
            return;
        }
        if let Some(function) = self.on_message.clone() {
            self.message_call("onmessage", &function, id, text);
        }
    }

    fn message_call(&mut self, name: &str, function: &Function, id: &[u8], text: &[u8]) {
        let lua = self.vm.lua().clone();
        match (lua.create_string(id), lua.create_string(text)) {
            (Ok(id), Ok(text)) => {
                self.callback::<()>(name, function, (id, text));
            }
            (Err(e), _) | (_, Err(e)) => self.fault(name, &PluginError::from_lua(&e)),
        }
    }

    /// Work between two batches: collect garbage above the soft limit, tell of slow callbacks.
    pub fn between_batches(&mut self) {
        if self.vm.tidy() == Health::Replace {
            self.health.disable("out of memory");
        }
        self.tell_slow(BETWEEN_REMARKS);
    }

    /// Counts the callbacks that were slow and tells of them, unless that was done within `pause`.
    fn tell_slow(&mut self, pause: Duration) {
        if let Some(slow) = self.context.guard.take_slow() {
            self.stats.slow += u64::from(slow.count);
            self.health.slow(slow);
        }
        if let Some(slow) = self.health.take_slow(self.context.time(), pause) {
            // Not among the records: how long something took is no property of the input, and runs over files repeat exactly.
            log::warn!("[{}] {}", self.file.name, slow_text(self.kind, slow));
        }
    }

    /// Calls `onunload`; the instance makes no callback afterwards. Gives what it returned.
    pub fn unload(&mut self) -> Option<Value> {
        self.jobs.close();
        let mut left = None;
        if let Some(function) = self.on_unload.take() {
            self.begins("onunload");
            match self.enter::<Value>(&function, ()).0 {
                Ok(value) => left = Some(value),
                Err(e) => self.fault("onunload", &e),
            }
            self.ended("onunload", 1);
        }
        self.on_message = None;
        self.on_channel = None;
        left
    }

    /// The same at the end of a run. What finalizers print is still heard.
    pub fn unload_at_end(&mut self) {
        self.unload();
        self.vm.finalize();
        if self.leaves_memory {
            self.vm.leave_memory();
        }
    }
}

fn slow_text(kind: PluginKind, slow: Slow) -> String {
    let (kind, held_up) = (kind.name(), if kind.side() == KindSide::Backend { "flushes" } else { "packets" });
    let longest = slow.longest.as_secs_f64() * 1e3;
    match slow.count {
        1 => format!("{kind}: a slow callback took {longest:.0} ms, which holds up the {held_up}"),
        count => {
            format!("{kind}: {count} slow callbacks, the longest took {longest:.0} ms, which holds up the {held_up}")
        }
    }
}

fn wanted(subscriptions: &Subscriptions, id: &[u8]) -> bool {
    match subscriptions {
        Subscriptions::All => true,
        Subscriptions::Listed(_) if id.is_empty() => true,
        Subscriptions::Listed(ids) => Guid::parse(id).is_ok_and(|id| ids.contains(&id)),
    }
}

thread_local! {
    /// Never set: the stop word of plugins whose loop need not stop for messages.
    static NEVER: Cell<&'static AtomicI32> = Cell::new(Box::leak(Box::new(AtomicI32::new(0))));
}

/// The address of a stop word for a driver loop: the engine's, or one that is never set.
#[must_use]
pub fn stop_word(engine: Option<&EngineContext>) -> LightUserData {
    let word: *const AtomicI32 = match engine {
        Some(engine) => &raw const *engine.stop,
        None => NEVER.with(|never| std::ptr::from_ref(never.get())),
    };
    LightUserData(word.cast_mut().cast())
}

#[cfg(test)]
mod tests {
    use super::{PluginKind, Slow, slow_text, wanted};
    use crate::plugin::manifest::Subscriptions;
    use std::time::Duration;

    #[test]
    fn one_slow_callback_and_several_are_told_of_in_words_of_their_own() {
        let text = |kind, count| slow_text(kind, Slow { count, longest: Duration::from_millis(70), progress: 0 });
        let one = "simplecounter: a slow callback took 70 ms, which holds up the packets";
        assert_eq!(text(PluginKind::SimpleCounter, 1), one);
        let three = "cg_monitor: 3 slow callbacks, the longest took 70 ms, which holds up the flushes";
        assert_eq!(text(PluginKind::from_name("cg_monitor").unwrap(), 3), three);
    }

    #[test]
    fn broadcasts_reach_all_and_addressed_messages_those_who_listed_them() {
        let id = "{11111111-2222-3333-4444-55555555555a}";
        let listed = Subscriptions::Listed(vec![id.parse().unwrap()]);
        assert!(wanted(&Subscriptions::All, b"anything"));
        assert!(wanted(&listed, id.to_uppercase().as_bytes()));
        assert!(wanted(&listed, b""));
        assert!(!wanted(&Subscriptions::Listed(Vec::new()), id.as_bytes()));
    }
}
