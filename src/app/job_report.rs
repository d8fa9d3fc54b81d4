//! What became of jobs, as the report tells it: states, waiting and running times, and what went wrong, by plugin.

use std::time::Duration;

use super::report::RunResult;
use crate::job::{Summary, Times};
use crate::plugin::CatalogEntry;
use crate::sink::{JobLatency, JobTimes, Jobs, NamedCount, PluginJobs};

/// The jobs of all scripts together and of each; `None` without any.
pub fn jobs(result: &RunResult) -> Option<Jobs> {
    let all = result.jobs.iter().filter(|summary| summary.scheduled > 0);
    // Without any there is nothing to tell.
    all.clone().next()?;
    let mut ended = states(&Summary::default());
    for summary in all.clone() {
        ended.iter_mut().zip(states(summary)).for_each(|(sum, (_, count))| sum.1 += count);
    }
    let most = |pick: fn(&Summary) -> Duration| micros(all.clone().map(pick).max().unwrap_or_default());
    let plugins = result.catalog.entries.iter().zip(&result.jobs).filter(|(_, jobs)| jobs.scheduled > 0);
    Some(Jobs {
        submitted: all.clone().map(|summary| summary.scheduled).sum(),
        ended: named(&ended),
        workers: result.workers,
        // Those of the slowest script: what holds for half of the jobs of each holds for half of all.
        latency: all.clone().any(|summary| summary.whole.count > 0).then(|| JobLatency {
            p50_us: most(|s| s.whole.p50),
            p99_us: most(|s| s.whole.p99),
            max_us: most(|s| s.whole.max),
        }),
        plugins: plugins.map(plugin).collect(),
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn named(counts: &[(&str, u64)]) -> Vec<NamedCount> {
    let some = counts.iter().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| NamedCount { name: (*name).to_owned(), count: *count }).collect()
}

fn states(jobs: &Summary) -> [(&'static str, u64); 7] {
    [
        ("done", jobs.done),
        ("failed", jobs.failed),
        ("timed_out", jobs.timed_out),
        ("cancelled", jobs.cancelled),
        ("dropped", jobs.dropped),
        ("orphaned", jobs.orphaned),
        ("kept_on_disk", jobs.spill.kept),
    ]
}

fn plugin((entry, jobs): (&CatalogEntry, &Summary)) -> PluginJobs {
    let times = |times: &Times| JobTimes {
        p50_us: micros(times.p50),
        p90_us: micros(times.p90),
        p99_us: micros(times.p99),
        max_us: micros(times.max),
    };
    PluginJobs {
        name: entry.name.clone(),
        submitted: jobs.scheduled,
        ended: named(&states(jobs)),
        wait: times(&jobs.waits),
        run: times(&jobs.runs),
        failures: failures(jobs),
        retries: jobs.retries,
        spilled: jobs.spill.ever,
        adopted: jobs.spill.adopted,
    }
}

/// What went wrong: each job under one reason, the most special there is.
fn failures(jobs: &Summary) -> Vec<NamedCount> {
    let spill = jobs.spill;
    let special =
        jobs.out_of_memory + jobs.result_too_large + jobs.results_over_limit + jobs.no_worker + spill.unreadable;
    let no_disk = spill.full + spill.slow + spill.failed;
    named(&[
        ("error", jobs.failed.saturating_sub(special)),
        ("out_of_memory", jobs.out_of_memory),
        ("result_too_large", jobs.result_too_large),
        ("results_full", jobs.results_over_limit),
        ("no_worker", jobs.no_worker),
        ("spill_unreadable", spill.unreadable),
        ("timed_out", jobs.timed_out.saturating_sub(jobs.workers_abandoned)),
        ("stuck", jobs.timed_out.min(jobs.workers_abandoned)),
        ("cancelled", jobs.cancelled),
        ("orphaned", jobs.orphaned),
        ("queue_full", jobs.dropped.saturating_sub(no_disk)),
        ("spill_full", spill.full),
        ("spill_slow", spill.slow),
        ("spill_failed", spill.failed),
    ])
}
