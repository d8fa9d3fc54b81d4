//! Arguments of the commands that look at the jobs of a run.

use clap::{Args, Subcommand, ValueEnum};

use super::SpeakArgs;

/// `millstream jobs`.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: JobsCommand,
}

/// What can be done with the jobs of a run.
#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List jobs that wait or run, the oldest first
    List {
        /// Only those of this plugin: its name, or that of its file
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,

        /// Only those in this state
        #[arg(long, value_enum, value_name = "STATE")]
        state: Option<JobStateChoice>,

        /// Jobs shown
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// Tell all that is known of a job that waits or runs, or has ended and is remembered
    Show {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// List the jobs that take most, and what each plugin has under way
    Top {
        /// Of what
        #[arg(long, value_enum, value_name = "WHAT", default_value_t = JobOrder::Age)]
        by: JobOrder,

        /// Jobs shown
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// List the pipelines, or show one step by step, as `gears list` and `gears plan` do
    Plan {
        /// Name of a pipeline
        #[arg(value_name = "PIPELINE")]
        pipeline: Option<String>,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// Take jobs back, whether they wait or run
    Cancel {
        /// Their ids
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// List dead letters: jobs that failed or timed out for good
    Dead {
        /// Only those of this plugin: its name, or that of its file
        #[arg(long, value_name = "NAME")]
        plugin: Option<String>,

        /// Jobs shown
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
        limit: u16,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// Schedule a dead letter again
    Retry {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// Complete what a script has deferred, with a text or with nothing
    Resolve {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,

        /// The result
        #[arg(value_name = "VALUE")]
        value: Option<String>,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// Complete what a script has deferred with an error
    Reject {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,

        /// What went wrong
        #[arg(value_name = "MESSAGE")]
        message: Option<String>,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
    /// End what a script has deferred; only its onfree is told
    Abort {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,

        /// Which run.
        #[command(flatten)]
        speak: SpeakArgs,
    },
}

/// States of jobs that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobStateChoice {
    /// Waiting for a worker.
    Queued,
    /// With a worker.
    Running,
}

impl JobStateChoice {
    /// The word of the request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
        }
    }
}

/// What the largest jobs are the largest of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobOrder {
    /// Time since they were scheduled.
    Age,
    /// Time they waited for a worker.
    Waited,
    /// Time they have been running.
    Ran,
    /// Bytes they hold.
    Size,
}

impl JobOrder {
    /// The word of the request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Waited => "waited",
            Self::Ran => "ran",
            Self::Size => "size_bytes",
        }
    }
}
