//! How a thread of an output waits for work: for a while it looks again and again, so that packet threads need not wake it.
//! Waking a thread that sleeps in a queue is a call of the system, which takes a packet thread as long as some packets do.

use std::thread::sleep;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);
/// A thread that has found nothing for so long sleeps until it is woken.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// What comes next; waits no longer than that.
pub(super) fn next<T>(queue: &Receiver<T>, limit: Duration) -> Result<T, RecvTimeoutError> {
    let mut waited = Duration::ZERO;
    loop {
        match queue.try_recv() {
            Ok(item) => return Ok(item),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if waited >= limit => return Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) if waited >= PATIENCE => return queue.recv_timeout(limit.saturating_sub(waited)),
            Err(TryRecvError::Empty) => {}
        }
        let pause = PAUSE.min(limit.saturating_sub(waited));
        sleep(pause);
        waited += pause;
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::{RecvTimeoutError, bounded};

    use super::{PATIENCE, next};
    use crate::time::Stopwatch;

    #[test]
    fn what_comes_while_it_looks_and_while_it_sleeps_is_taken_in_order() {
        let (give, take) = bounded(4);
        let second = Duration::from_secs(1);
        give.send(1).unwrap();
        let giver = thread::spawn(move || {
            for (pause, number) in [(PATIENCE / 5, 2), (PATIENCE * 3, 3)] {
                thread::sleep(pause);
                give.send(number).unwrap();
            }
        });
        assert_eq!((1..=3).map(|_| next(&take, 10 * second).unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        giver.join().unwrap();
        assert_eq!(next(&take, second), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn it_waits_for_ever_where_it_is_told_so() {
        let (give, take) = bounded(1);
        let giver = thread::spawn(move || {
            thread::sleep(PATIENCE * 2);
            give.send(1).unwrap();
        });
        assert_eq!(next(&take, Duration::MAX), Ok(1));
        giver.join().unwrap();
        assert_eq!(next(&take, Duration::MAX), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn it_waits_as_long_as_it_is_told() {
        let (_give, take) = bounded::<()>(1);
        for limit in [Duration::ZERO, PATIENCE / 10, PATIENCE * 2] {
            let watch = Stopwatch::start();
            assert_eq!(next(&take, limit), Err(RecvTimeoutError::Timeout));
            assert!(watch.elapsed() >= limit);
        }
    }
}
