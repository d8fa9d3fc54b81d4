//! Arguments of the commands that run plugins for those who write them: their tests, a prompt, a profile.

use std::path::PathBuf;

use clap::Args;

use super::run::RunArgs;

/// `millstream test`.
#[derive(Debug, Args)]
#[command(
    after_help = "A case is a file PLUGIN_DIR/tests/NAME/CASE.toml beside the plugin PLUGIN_DIR/NAME.lua; what it is \
compared with is CASE.snap, recorded answers of jobs are CASE.jobs.\n\nExit status: 0 all cases passed; 1 some did not; \
2 there was nothing to run, or it could not run."
)]
pub struct TestArgs {
    /// Plugin directories, plugins, or cases
    #[arg(value_name = "PLUGIN_DIR", default_value = ".")]
    pub paths: Vec<PathBuf>,

    /// Only cases with this in their name (plugin/case); repeatable
    #[arg(long, value_name = "NAME")]
    pub filter: Vec<String>,

    /// Write the snapshots anew from what came out
    #[arg(long)]
    pub update: bool,

    /// Let jobs do their work and record their answers beside the snapshot
    #[arg(long, conflicts_with = "replay")]
    pub record: bool,

    /// Answer jobs from recordings only, also where there is none yet (the default where there is one)
    #[arg(long)]
    pub replay: bool,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream profile`.
#[derive(Debug, Args)]
#[command(
    after_help = "Time is measured around each callback. For jobs it is the time on the worker, waiting included. \
With --json the profile stands in place of the report."
)]
pub struct ProfileArgs {
    /// The run, as typed for `millstream run`.
    #[command(flatten)]
    pub run: RunArgs,

    /// Sample stacks and write them here, folded, for tools that draw flame graphs; the numbers are nanoseconds
    #[arg(long, value_name = "FILE", help_heading = "Profile")]
    pub folded: Option<PathBuf>,
}

/// `millstream repl`.
#[derive(Debug, Args)]
#[command(
    after_help = "Type help at the prompt. Lines are read from standard input, so commands can come from a pipe as \
well."
)]
pub struct ReplArgs {
    /// Capture file; repeatable
    #[arg(short = 'r', long = "read", value_name = "FILE", num_args = 1.., required = true)]
    pub read: Vec<PathBuf>,

    /// Only packets that match a capture filter, as tcpdump takes it
    #[arg(short = 'f', long, value_name = "BPF")]
    pub filter: Option<String>,

    /// Where plugins come from, which see the packets as they are stepped over.
    #[command(flatten)]
    pub plugins: super::run::PluginArgs,
}
