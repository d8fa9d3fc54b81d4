//! The end of files that several engines share: each stays until all have read their last packet and heard each other out.
//!
//! What is asked of another engine's flow is done before that flow ends with the input, and what engines tell each other
//! because of packets arrives before what they say because flows and jobs end.

use std::rc::Rc;
use std::time::Duration;

use super::control::Stop;
use super::engine::Engine;

/// How long an engine waits for a letter before it looks after other work.
const LOOK: Duration = Duration::from_millis(2);
/// Rounds in which engines answer each other, and answers in all, after the last packet; scripts that answer each message
/// with another never end by themselves.
const LAST_ROUNDS: usize = 1_000;
const LAST_ANSWERS: usize = 50_000;

impl Engine {
    /// Serves the other engines until nobody has anything to say any more. Returns at once when the run was told to stop, or
    /// when an engine went away without having read its last packet.
    pub(super) fn meet(&mut self) {
        let context = Rc::clone(&self.context);
        let Some(seat) = context.peers.seat() else { return };
        let ticks = self.take_ticks();
        self.idle();
        let (mut rounds, mut answers) = (0, 0);
        let mut is_here = false;
        while self.control.stop() == Stop::No {
            self.frontend.take_completions(self.control.stopping());
            self.hand_on();
            self.reload();
            self.answer();
            let is_quiet = self.is_quiet();
            if is_quiet {
                context.peers.settle();
                seat.arrive();
                is_here = true;
            }
            if seat.is_over() {
                break;
            }
            // What others say while they read packets has no end of its own either.
            let counts = !is_here || seat.all_are_here();
            let heard = context.peers.await_letters(if is_quiet { LOOK } else { Duration::ZERO });
            if seat.is_over() {
                context.peers.hold(heard);
                break;
            }
            if is_quiet && heard.is_empty() {
                continue;
            }
            let letters = heard.len();
            self.frontend.hear(heard);
            let messages = self.answer_letters();
            if counts {
                rounds += 1;
                answers += letters + messages;
            }
            if rounds > LAST_ROUNDS || answers > LAST_ANSWERS {
                self.frontend.drop_mail();
                if is_here {
                    seat.end();
                    break;
                }
                (rounds, answers) = (0, 0);
            }
        }
        if self.control.stop() == Stop::No {
            self.pass_over(&ticks);
            self.pass_to_end();
        }
        seat.leave();
    }

    /// Whether nothing waits that was asked of flows or said.
    fn is_quiet(&self) -> bool {
        let context = &self.context;
        context.commands.borrow().is_empty() && context.notes.borrow().is_empty() && context.mail.borrow().is_empty()
    }

    /// Carries out what was asked of flows and delivers what was said; what that leads to waits. Gives the number of messages.
    fn answer_letters(&mut self) -> usize {
        if self.flows.is_some() {
            self.begin_without_packets();
        }
        let had_wishes = !self.context.commands.borrow().is_empty();
        self.pass_time(None);
        if had_wishes {
            // Flows that end because they were asked to.
            self.pass_time(None);
        }
        let messages = self.frontend.deliver_round();
        self.close_batch();
        messages
    }
}
