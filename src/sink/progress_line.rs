//! The line at the bottom of a terminal that tells how far a run is, and those who write in its place: it is wiped before they
//! do, and drawn again behind them. Nobody waits for it: where the terminal takes nothing it is left as it is.

use std::io::{Write, stderr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use super::patient::has_room;

/// Back to the start of the line, all of it erased.
const WIPE: &str = "\r\x1b[2K";
/// How often somebody who writes looks whether another one has done, and how long to wait between.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(1);

/// Whether the line is there; held by whoever writes.
static LINE: Mutex<bool> = Mutex::new(false);
/// Whether it has ever been there.
static IS_USED: AtomicBool = AtomicBool::new(false);
/// Those who have the terminal for themselves.
static HOLDERS: AtomicUsize = AtomicUsize::new(0);

/// Keeps the line away as long as it lives.
#[derive(Debug)]
pub struct Room {
    _line: Option<MutexGuard<'static, bool>>,
}

/// Keeps the line away from somebody who types.
#[derive(Debug)]
pub struct Held(());

impl Drop for Held {
    fn drop(&mut self) {
        HOLDERS.fetch_sub(1, Ordering::AcqRel);
    }
}

fn try_lock() -> Option<MutexGuard<'static, bool>> {
    match LINE.try_lock() {
        Ok(line) => Some(line),
        // Whether the line is there is known at every moment.
        Err(TryLockError::Poisoned(line)) => Some(line.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Writes to the terminal at once, so that nobody comes between, if it takes anything.
fn put(text: &str) -> bool {
    // A closed terminal is noticed by the run itself.
    has_room(&stderr(), Duration::ZERO).unwrap_or(false) && stderr().write_all(text.as_bytes()).is_ok()
}

/// Draws the line, unless somebody writes or types.
pub fn draw(line: &str) {
    let Some(mut is_there) = try_lock() else { return };
    IS_USED.store(true, Ordering::Release);
    if HOLDERS.load(Ordering::Acquire) == 0 && put(&format!("{WIPE}{line}")) {
        *is_there = true;
    }
}

/// Wipes the line and keeps it away until what is given back is dropped. Another one who writes is waited for a moment.
#[must_use]
pub fn make_room() -> Room {
    if !IS_USED.load(Ordering::Acquire) {
        return Room { _line: None };
    }
    let mut line = try_lock();
    for _ in 0..LOOKS {
        if line.is_some() {
            break;
        }
        thread::sleep(LOOK);
        line = try_lock();
    }
    if let Some(is_there) = &mut line
        && **is_there
        && put(WIPE)
    {
        **is_there = false;
    }
    Room { _line: line }
}

/// Wipes the line and keeps it away from somebody who types until what is given back is dropped.
#[must_use]
pub fn hold() -> Held {
    HOLDERS.fetch_add(1, Ordering::AcqRel);
    drop(make_room());
    Held(())
}

#[cfg(test)]
mod tests {
    use super::{HOLDERS, IS_USED, hold, make_room};
    use std::sync::atomic::Ordering;

    #[test]
    fn those_who_write_at_once_do_not_wait_for_each_other_for_ever() {
        IS_USED.store(true, Ordering::Release);
        let first = make_room();
        let second = make_room();
        assert!(first._line.is_some() && second._line.is_none());
        drop((first, second));
        let held = hold();
        assert_eq!(HOLDERS.load(Ordering::Acquire), 1);
        drop(held);
        assert_eq!(HOLDERS.load(Ordering::Acquire), 0);
        assert!(make_room()._line.is_some());
    }
}
