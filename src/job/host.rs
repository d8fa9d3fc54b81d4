//! Functions that replace those of the standard library in the VM of a worker.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mlua::{AnyUserData, Lua, LuaString, Value};

use crate::lua::{Guard, HOST_CHUNK, Portable, own_text};
use crate::time::Stopwatch;

use super::board::Carried;
use super::output::{JobOutput, OutputLine};
use super::popen::PipeHandle;
use super::process::Pipe;
use super::section::{Section, SectionError};
use super::slot::Slot;

/// Longest wait before looking again whether the job has been cancelled.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// What host functions know of the job that runs.
#[derive(Debug)]
pub(super) struct Control {
    pub slot: Arc<Slot>,
    pub output: JobOutput,
    started: Cell<Option<(Stopwatch, Duration)>>,
    expired: Cell<bool>,
    /// On which side the owner is, if that was said.
    side: Cell<Option<&'static str>>,
    on_side: RefCell<Option<OnSide>>,
    /// What the watchdog sees of the worker's VM.
    guard: RefCell<Option<Arc<Guard>>>,
    /// Atomic sections that wait for owners, of the whole pool.
    asked: Arc<AtomicUsize>,
}

/// Is told on which side the owner of a job is.
struct OnSide(Box<dyn Fn(&'static str)>);

impl fmt::Debug for OnSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnSide")
    }
}

/// How often a worker that waits for its owner looks whether it still should, and tells the watchdog that it is well: less
/// than the distance of the watchdog's samples.
const PAUSE: Duration = Duration::from_millis(4);

/// The way from a worker's VM to the owner of the job that runs in it.
#[derive(Clone, Debug)]
pub struct Owner(pub(super) Rc<Control>);

impl Owner {
    /// Calls a function with the side on which the owner of the job that runs is, now and whenever it is another one.
    pub fn on_side(&self, tell: impl Fn(&'static str) + 'static) {
        self.0.side.get().into_iter().for_each(&tell);
        *self.0.on_side.borrow_mut() = Some(OnSide(Box::new(tell)));
    }

    /// Has a function run by the owner, between two batches, and waits for it. The deadline of the job stands still.
    ///
    /// # Errors
    /// When the owner does not run it, or it fails.
    pub fn enter(&self, function: Portable) -> Result<Carried, SectionError> {
        let control = &self.0;
        let (job, home) = control.slot.running_job().ok_or(SectionError::Cancelled)?;
        let section = Section::new(job, function);
        home.ask(&section)?;
        control.asked.fetch_add(1, Ordering::Relaxed);
        let since = Stopwatch::start();
        let patience = Duration::from_millis(home.patience.load(Ordering::Relaxed));
        let result = section.wait(PAUSE, || {
            if let Some(guard) = &*control.guard.borrow() {
                guard.progress.fetch_add(1, Ordering::Relaxed);
            }
            if control.slot.is_disowned() {
                return Err(SectionError::Cancelled);
            }
            if since.elapsed() >= patience { Err(SectionError::TooLate(patience)) } else { Ok(()) }
        });
        control.asked.fetch_sub(1, Ordering::Relaxed);
        control.stood_still(since.elapsed());
        result
    }
}

impl Control {
    pub(super) fn new(slot: Arc<Slot>, asked: Arc<AtomicUsize>) -> Rc<Self> {
        let (output, guard) = (JobOutput::default(), RefCell::default());
        let (started, expired) = (Cell::default(), Cell::new(false));
        let (side, on_side) = (Cell::default(), RefCell::default());
        Rc::new(Self { slot, output, started, expired, side, on_side, guard, asked })
    }

    /// Names what the watchdog sees of the worker's VM.
    pub(super) fn set_guard(&self, guard: &Arc<Guard>) {
        self.guard.replace(Some(Arc::clone(guard)));
    }

    /// The job has waited for its owner, which does not count as running.
    fn stood_still(&self, waited: Duration) {
        self.slot.extend(waited);
        if let Some((started, deadline)) = self.started.get() {
            self.started.set(Some((started, deadline.saturating_add(waited))));
        }
    }

    /// A job begins.
    pub(super) fn begin(&self, started: Stopwatch, deadline: Duration, side: Option<&'static str>) {
        self.started.set(Some((started, deadline)));
        self.expired.set(false);
        if self.side.replace(side) != side
            && let (Some(side), Some(OnSide(tell))) = (side, &*self.on_side.borrow())
        {
            tell(side);
        }
    }

    /// The job is over: its children end with it. Tells whether a host function ran into the deadline.
    pub(super) fn end(&self) -> bool {
        self.started.set(None);
        self.slot.children.end();
        self.expired.get()
    }

    /// How long a host function may wait now, at most [`LOOK`].
    pub(super) fn left(&self) -> mlua::Result<Duration> {
        let Some((started, deadline)) = self.started.get() else { return Ok(LOOK) };
        if self.slot.is_disowned() {
            self.expired.set(true);
            return Err(mlua::Error::runtime("job was cancelled"));
        }
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            self.expired.set(true);
            self.slot.children.end();
            return Err(mlua::Error::runtime(format!("job exceeded its deadline of {deadline:?}")));
        }
        Ok(left.min(LOOK))
    }

    /// Waits for a command to end and gives its wait status.
    pub(super) fn wait(&self, pid: u32) -> mlua::Result<i32> {
        // Short commands are noticed at once, long ones cost nothing: the pause is an eighth of what they have taken.
        let mut pause = Duration::from_micros(100);
        loop {
            // Of a job that was cancelled, what ended was ended.
            if let Some(status) = self.slot.children.status(pid)?
                && !self.slot.is_disowned()
            {
                return Ok(status);
            }
            let left = self.left()?;
            thread::sleep(pause.min(left));
            pause = (pause * 9 / 8).min(Duration::from_millis(10));
        }
    }
}

/// Puts the functions of the host in place.
pub(super) fn install(lua: &Lua, control: &Rc<Control>) -> mlua::Result<()> {
    let output = control.output.clone();
    let emit = lua.create_function(move |_, text: LuaString| {
        output.push(OutputLine::Print(text.as_bytes().to_vec()));
        Ok(())
    })?;
    let shell = Rc::clone(control);
    let execute = lua.create_function(move |_, command: Option<LuaString>| {
        // Without a command the question is whether there is a shell.
        let Some(command) = command else { return Ok(1) };
        shell.left()?;
        match shell.slot.children.start(&command.as_bytes(), Pipe::None) {
            Ok(started) => shell.wait(started.pid),
            // What system() gives when it cannot start a process.
            Err(_) => Ok(-1),
        }
    })?;
    let owner = Rc::clone(control);
    let popen = lua.create_function(move |lua, (command, mode): (LuaString, Option<LuaString>)| {
        PipeHandle::open(lua, &owner, &command, mode.as_ref())
    })?;
    let kind = lua.create_function(|_, value: Value| Ok(kind_of(value.as_userdata())))?;
    own_text(lua, &format!("={HOST_CHUNK}/job"), include_str!("host.lua"))?.call::<()>((emit, execute, popen, kind))
}

fn kind_of(value: Option<&AnyUserData>) -> Option<&'static str> {
    value?.borrow::<PipeHandle>().ok().map(|handle| handle.kind())
}
