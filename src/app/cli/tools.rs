//! Arguments of the commands for people who write plugins.

use std::path::PathBuf;

use clap::Args;

/// `millstream demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Plugin files or directories
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Script type, such as simplecounter; without one, the types there are
    #[arg(value_name = "TYPE")]
    pub kind: Option<String>,

    /// Name of the plugin, or the file to write
    pub name: Option<String>,
}

/// `millstream guid`.
#[derive(Debug, Args)]
pub struct GuidArgs {
    /// How many
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
}

/// `millstream doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}
