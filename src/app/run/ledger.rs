//! Calls whose answers are asked for later: kept for a while, up to a number and a size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::job::{Errand, JobId, Progress, Reply};
use crate::time::Stopwatch;

/// Most calls that are kept.
const MOST_CALLS: usize = 1_000;
/// Most bytes of answers that are kept.
const MOST_BYTES: usize = 64 << 20;
/// How long an answer is kept at least, unless there is no room.
const KEPT: Duration = Duration::from_secs(600);

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was called: the plugin and its function.
    pub function: String,
    /// The call.
    pub errand: Arc<Errand>,
    /// When it was made.
    pub since: Stopwatch,
    /// When it was first seen to have ended.
    ended: Option<Stopwatch>,
    bytes: usize,
}

/// The calls, the oldest first.
#[derive(Debug, Default)]
pub struct Ledger(VecDeque<Entry>);

impl Ledger {
    /// Keeps a call; false if there are too many that have not ended.
    pub fn keep(&mut self, function: String, errand: &Arc<Errand>, since: Stopwatch) -> bool {
        self.sweep();
        if self.0.len() >= MOST_CALLS && !self.drop_oldest() {
            return false;
        }
        let errand = Arc::clone(errand);
        self.0.push_back(Entry { function, errand, since, ended: None, bytes: 0 });
        true
    }

    /// A call that is kept.
    pub fn find(&mut self, id: JobId) -> Option<Entry> {
        let found = self.0.iter().find(|entry| entry.errand.id() == id).cloned();
        self.sweep();
        found
    }

    /// Whether there is room for another call.
    pub fn has_room(&mut self) -> bool {
        self.sweep();
        self.0.len() < MOST_CALLS || self.0.iter().any(|entry| entry.ended.is_some())
    }

    /// Lets go of what has been kept long enough.
    fn sweep(&mut self) {
        for entry in self.0.iter_mut().filter(|entry| entry.ended.is_none()) {
            if let Progress::Ended(result) = entry.errand.wait(Duration::ZERO) {
                entry.ended = Some(Stopwatch::start());
                entry.bytes = match result {
                    Ok(Reply::Text(bytes) | Reply::Json(bytes)) => bytes.len(),
                    Ok(Reply::Nothing) | Err(_) => 0,
                };
            }
        }
        self.0.retain(|entry| entry.ended.is_none_or(|ended| ended.elapsed() < KEPT));
        while self.0.iter().map(|entry| entry.bytes).sum::<usize>() > MOST_BYTES && self.drop_oldest() {}
    }

    /// Drops the oldest call that has ended; false if none has.
    fn drop_oldest(&mut self) -> bool {
        let oldest = self.0.iter().position(|entry| entry.ended.is_some());
        oldest.and_then(|at| self.0.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, MOST_BYTES, MOST_CALLS};
    use crate::job::{Doors, JobIds, Order, Reply};
    use crate::time::Stopwatch;

    #[test]
    fn as_many_calls_are_kept_as_there_is_room_for_and_those_without_an_answer_stay() {
        let door = Doors::make(&JobIds::new(0), 0, "functions");
        let mut ledger = Ledger::default();
        let mut ids = Vec::new();
        let mut keep = |ledger: &mut Ledger| {
            let errand = door.ask(Order::Letters).unwrap();
            ids.push(errand.id());
            let begun = door.next().unwrap();
            (ledger.keep("p.f".to_owned(), &errand, Stopwatch::start()), begun)
        };
        let mut begun = Vec::new();
        for _ in 0..MOST_CALLS {
            let (kept, one) = keep(&mut ledger);
            assert!(kept);
            begun.push(one);
        }
        assert!(!ledger.has_room());
        assert!(!keep(&mut ledger).0, "nothing has ended");
        begun.remove(5).end(Ok(Reply::Nothing));
        assert!(ledger.has_room());
        assert!(keep(&mut ledger).0);
        assert!(ledger.find(ids[0]).is_some());
        assert!(ledger.find(ids[5]).is_none(), "it made room");
        for one in begun.drain(..3) {
            one.end(Ok(Reply::Text(vec![b'x'; MOST_BYTES / 2])));
        }
        ledger.sweep();
        assert!(ledger.find(ids[0]).is_none() && ledger.find(ids[2]).is_some(), "only so many bytes are kept");
    }
}
