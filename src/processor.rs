//! Which threads get the processor when there is not enough of it, and what is done by all processors at once.

use std::sync::Once;

use rayon::ThreadPoolBuilder;
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

/// What the threads that work for the packet threads run at, as the system counts: above 0 is less.
const NICE: libc::c_int = 10;

/// Gives the calling thread, and the processes and threads it starts, less of the processor than packet threads get. Without
/// effect where the system refuses.
#[expect(unsafe_code, reason = "a call of the system")]
pub fn yield_to_packets() {
    // SAFETY: on Linux this changes the calling thread only; it takes numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// Parts for which other threads are worth waking.
const MANY: usize = 20_000;

/// Does the same with all items and gives the results in their order: side by side if the items have many parts in all, on
/// threads that leave the processor to packet threads.
pub fn side_by_side<T: Send, R: Send>(items: Vec<T>, parts: usize, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    static POOL: Once = Once::new();
    if parts < MANY {
        return items.into_iter().map(work).collect();
    }
    POOL.call_once(|| {
        let pool = ThreadPoolBuilder::new().thread_name(|number| format!("side-{number}"));
        // Fails where there are such threads already, which then do it.
        let _ = pool.start_handler(|_| yield_to_packets()).build_global();
    });
    items.into_par_iter().map(work).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{MANY, NICE, side_by_side, yield_to_packets};

    /// The nineteenth field of a thread's line is its priority.
    fn nice() -> i32 {
        let line = std::fs::read_to_string("/proc/thread-self/stat").expect("the system tells");
        let behind_name = line.rsplit_once(')').expect("a name in parentheses").1;
        behind_name.split_whitespace().nth(16).and_then(|field| field.parse().ok()).expect("a number")
    }

    #[test]
    fn only_the_thread_that_asks_yields() {
        let before = nice();
        let yielded = std::thread::spawn(|| {
            yield_to_packets();
            nice()
        });
        assert_eq!(yielded.join().expect("no panic"), NICE.max(before));
        assert_eq!(nice(), before);
    }

    #[test]
    fn only_much_work_is_done_by_threads_that_yield() {
        let before = nice();
        let at = |parts| side_by_side((0..100).collect(), parts, |item| (item, nice()));
        assert_eq!(at(MANY - 1), (0..100).map(|item| (item, before)).collect::<Vec<_>>());
        assert_eq!(at(MANY), (0..100).map(|item| (item, NICE.max(before))).collect::<Vec<_>>());
    }
}
