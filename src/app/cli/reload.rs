//! Arguments about plugin files that change while a run goes on.

use clap::Args;

/// Whether plugin files are watched.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Plugins")]
pub struct ReloadArgs {
    /// Load changed plugin files again while the run goes on, with files as input too (default for interfaces)
    #[arg(long, conflicts_with = "no_watch")]
    pub watch: bool,

    /// Do not watch plugin files
    #[arg(long)]
    pub no_watch: bool,
}
