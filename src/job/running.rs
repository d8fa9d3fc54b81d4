//! The process groups of commands that scripts and jobs have started: none of them outlives the process, however that ends.

use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use super::process::kill_group;

/// How long commands are waited for that are being started when the process ends.
const LAST_MOMENT: Duration = Duration::from_millis(250);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(1);

/// Those of the process.
static RUNNING: Mutex<Running> = Mutex::new(Running { leaders: Vec::new(), starting: 0, is_over: false });

pub(super) struct Running {
    /// None of them is reaped: their numbers cannot be those of strangers.
    leaders: Vec<u32>,
    /// Commands on their way.
    starting: usize,
    /// The process ends.
    is_over: bool,
}

/// Locked, for whoever reaps a leader: nobody else may end a group whose number is free again.
pub(super) fn lock() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a command that leads a group of its own.
pub(super) fn start(command: &mut Command) -> io::Result<Child> {
    {
        let mut running = lock();
        if running.is_over {
            return Err(io::Error::other("the process ends"));
        }
        running.starting += 1;
    }
    let started = command.spawn();
    let mut running = lock();
    running.starting -= 1;
    if let Ok(child) = &started {
        running.leaders.push(child.id());
        if running.is_over {
            kill_group(child.id());
        }
    }
    started
}

impl Running {
    /// The leader of a group is about to be reaped, or was just now.
    pub(super) fn forget(&mut self, leader: u32) {
        self.leaders.retain(|known| *known != leader);
    }
}

/// Ends all commands that run, and starts none from now on: the process ends.
pub fn end_commands() {
    {
        let mut running = lock();
        running.is_over = true;
        running.leaders.iter().for_each(|leader| kill_group(*leader));
    }
    // What is on its way ends as soon as it is there.
    let mut waited = Duration::ZERO;
    while waited < LAST_MOMENT && lock().starting > 0 {
        thread::sleep(LOOK);
        waited += LOOK;
    }
}
