//! Arguments about a run's life: where its settings come from, who may speak to it, as whom it runs; and the commands that
//! look at settings or speak to a run.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where settings come from, who may speak to the run, as whom it runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Process")]
pub struct LifeArgs {
    /// Take settings from this TOML file (see millstream config sample); arguments and variables win over it
    ///
    /// Without this option the variable MILLSTREAM_CONFIG may name a file. No other file is looked for.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Leave out what the file or a variable says of this setting, such as input.filter; repeatable
    #[arg(long, value_name = "SECTION.KEY")]
    pub unset: Vec<String>,

    /// Answer millstream status, stats, reload, stop and others on this Unix socket
    ///
    /// Runs over interfaces do so without this option, on a socket named after the process in $XDG_RUNTIME_DIR/millstream, or
    /// /run/millstream.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// No control socket
    #[arg(long, conflicts_with = "control")]
    pub no_control: bool,

    /// Become this user once interfaces and outputs are open, before plugins are loaded; only root can
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// `millstream config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a configuration file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Show the settings that hold, and where each was made
    Show {
        /// The file; without it the one that MILLSTREAM_CONFIG names
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,

        /// Print a JSON document instead of text
        #[arg(long)]
        json: bool,

        /// Options of run, behind --
        #[arg(last = true, value_name = "OPTIONS")]
        options: Vec<std::ffi::OsString>,
    },
    /// Print a commented configuration file with every setting and its default
    Sample,
}

/// Which run is spoken to.
#[derive(Debug, Args)]
pub struct SpeakArgs {
    /// The run's control socket; without it that of the only run there is
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Print the JSON answer instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    /// Which run.
    #[command(flatten)]
    pub speak: SpeakArgs,

    /// Leave everything undone that is under way
    #[arg(long)]
    pub at_once: bool,
}
