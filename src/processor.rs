//! Which threads get the processor when there is not enough of it.

/// What the threads that work for the packet threads run at, as the system counts: above 0 is less.
const NICE: libc::c_int = 10;

/// Gives the calling thread, and the processes and threads it starts, less of the processor than packet threads get. Without
/// effect where the system refuses.
#[expect(unsafe_code, reason = "a call of the system")]
pub fn yield_to_packets() {
    // SAFETY: on Linux this changes the calling thread only; it takes numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{NICE, yield_to_packets};

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
}
