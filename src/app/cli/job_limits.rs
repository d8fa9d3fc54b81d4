//! Arguments that bound what jobs may take.

use clap::Args;

use super::value::size;
use crate::job::{Allowance, JobLimits};

/// How much the jobs of one plugin may take, and those of all plugins.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct JobLimitArgs {
    /// Worker threads of one plugin, whatever it asks for
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub job_workers: u16,

    /// Worker threads of all plugins together; each plugin has one in any case
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub job_workers_all: u16,

    /// Jobs of one plugin that may be pending
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub job_queue: u32,

    /// Data that the pending jobs of one plugin may hold (64m, 1g)
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = size)]
    pub job_bytes: u64,

    /// Size of the result of one job, at most 1g
    #[arg(long, value_name = "SIZE", default_value = "16m", value_parser = size)]
    pub job_result: u64,

    /// Results and output of one plugin's jobs that may wait to be handed out (64m, 1g)
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = size)]
    pub job_results: u64,

    /// Commands that the jobs of one plugin may have under way
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    pub job_children: u16,

    /// Commands that the jobs of all plugins together may have under way
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(1..))]
    pub job_children_all: u16,
}

impl JobLimitArgs {
    /// What they say, for a run without a place on a disk.
    #[must_use]
    pub fn limits(&self) -> JobLimits {
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        JobLimits {
            workers: self.job_workers.into(),
            jobs: self.job_queue as usize,
            bytes: bytes(self.job_bytes),
            result: bytes(self.job_result.min(1 << 30)),
            results: bytes(self.job_results),
            children: self.job_children.into(),
            all_workers: Allowance::of(self.job_workers_all.into()),
            all_children: Allowance::of(self.job_children_all.into()),
            spill: None,
        }
    }
}
