//! Where engines that share files meet when each has read its last packet.
//!
//! An engine that has come serves its inbox until all have come and no letter is on its way. A letter is on its way from
//! before it is sent until everything is done that it led to; so once all are here and none is on its way, nobody has
//! anything to do or to say any more, and that stays so until the first one finds it out. What is sent later is of the time
//! after the meeting: whoever reads a letter and then finds the meeting over knows that the letter is.
//! An engine that goes away before the end of its packets, whatever the reason, ends the meeting for those who have come.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What all engines of a run share.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    /// Engines that are here.
    here: AtomicU64,
    /// Engines that will not come or have gone away.
    gone: AtomicU64,
    /// Letters on their way.
    letters: AtomicU64,
    over: AtomicBool,
}

impl Meeting {
    /// To be said before a letter is sent.
    pub fn on_its_way(&self) {
        self.letters.fetch_add(1, Ordering::SeqCst);
    }

    /// So many letters have led to everything they lead to, or were not sent.
    pub fn done(&self, letters: u64) {
        self.letters.fetch_sub(letters, Ordering::SeqCst);
    }
}

/// One engine's place at the meeting.
#[derive(Debug)]
pub struct Seat {
    meeting: Arc<Meeting>,
    /// Number of the engine.
    pub(super) own: u32,
    /// How many there are.
    pub(super) engines: u32,
    presence: Cell<Presence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Reading,
    Here,
    Gone,
}

impl Seat {
    pub(super) fn new(meeting: &Arc<Meeting>, own: u32, engines: u32) -> Self {
        Self { meeting: Arc::clone(meeting), own, engines, presence: Cell::new(Presence::Reading) }
    }

    /// The engine has read its last packet and has nothing left to do.
    pub fn arrive(&self) {
        if self.presence.replace(Presence::Here) == Presence::Reading {
            self.meeting.here.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The engine waits for nobody and is not to be waited for.
    pub fn leave(&self) {
        let before = self.presence.replace(Presence::Gone);
        if before == Presence::Gone || self.meeting.over.load(Ordering::SeqCst) {
            return;
        }
        if before == Presence::Here {
            self.meeting.here.fetch_sub(1, Ordering::SeqCst);
        }
        self.meeting.gone.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether nobody is to be waited for any more.
    #[must_use]
    pub fn all_are_here(&self) -> bool {
        // In the order that counts nobody twice who goes away meanwhile.
        let gone = self.meeting.gone.load(Ordering::SeqCst);
        gone + self.meeting.here.load(Ordering::SeqCst) >= u64::from(self.engines)
    }

    /// Whether all are here and nothing is on its way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let meeting = &self.meeting;
        if meeting.over.load(Ordering::SeqCst) {
            return true;
        }
        // Letters to an engine that is gone are never done with.
        let is_over = self.all_are_here()
            && (meeting.gone.load(Ordering::SeqCst) > 0 || meeting.letters.load(Ordering::SeqCst) == 0);
        if is_over {
            self.end();
        }
        is_over
    }

    /// Ends the meeting although letters are on their way.
    pub fn end(&self) {
        self.meeting.over.store(true, Ordering::SeqCst);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
