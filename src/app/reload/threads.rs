//! The threads that run scripts, and how a change reaches them.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::pipeline::{Answer, ORDERS, Order, Reach};
use crate::plugin::Edition;

/// How often it is looked whether answers are waited for no longer.
const TICK: Duration = Duration::from_millis(50);

/// A thread that runs scripts.
#[derive(Debug)]
struct Crewed {
    reach: Reach,
    thread: usize,
    queue: Sender<Order>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Threads(Vec<Crewed>);

impl Threads {
    /// Adds a thread: [`Reach::Backend`] for one that runs the backend and nothing else.
    pub fn add(&mut self, reach: Reach, thread: usize) -> Receiver<Order> {
        let (queue, orders) = bounded(ORDERS);
        self.0.push(Crewed { reach, thread, queue });
        orders
    }

    /// Sends a change to the backends first, whose wishes the packet threads must know, then to these; what became of it.
    /// With `only`, to these threads, for the side that is named with them. Waits for the answers until `is_over`.
    pub fn publish(&self, edition: &Edition, only: &[(Reach, usize)], is_over: impl Fn() -> bool) -> Vec<Answer> {
        let mut all = Vec::new();
        for stage in [Reach::Backend, Reach::Whole] {
            let each = all.iter().filter_map(|answer: &Answer| answer.wants.as_deref()).cloned();
            let wants = each.reduce(|wants, more| wants.or(&more)).map(Arc::new);
            let (answers, heard) = bounded(2 * self.0.len() + 1);
            for crewed in self.0.iter().filter(|crewed| crewed.reach == stage) {
                let mut sides = only.iter().filter(|(_, thread)| *thread == crewed.thread).map(|(reach, _)| *reach);
                let reach = match (sides.next(), sides.next()) {
                    (None, _) if !only.is_empty() && wants.is_none() => continue,
                    // Nothing but what the backend wants.
                    (None, _) if !only.is_empty() => Reach::Backend,
                    (Some(side), None) => side,
                    _ => Reach::Whole,
                };
                let (edition, wants) = (edition.clone(), wants.clone());
                // A thread that has ended changes nothing any more.
                let _ = crewed.queue.send(Order { edition, reach, wants, answers: answers.clone() });
            }
            drop(answers);
            all.extend(hear(&heard, &is_over));
            if all.iter().any(|answer| answer.swap.failure().is_some()) {
                break;
            }
        }
        all
    }
}

/// Waits for answers until nobody is left who could give one.
fn hear(heard: &Receiver<Answer>, is_over: &impl Fn() -> bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        match heard.recv_timeout(TICK) {
            Ok(answer) => answers.push(answer),
            Err(RecvTimeoutError::Timeout) if !is_over() => {}
            Err(_) => return answers,
        }
    }
}
