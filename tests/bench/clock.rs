//! The time that figures are made of.

use std::path::Path;
use std::time::Duration;

/// Time this thread has been on a processor, so that other load does not count.
pub fn thread_cpu() -> Duration {
    on_cpu(Path::new("/proc/thread-self"))
}

/// The same for the thread of a folder of `/proc`.
pub fn on_cpu(thread: &Path) -> Duration {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// The middle one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
