//! Arguments of `millstream api`.

use std::path::PathBuf;

use clap::Args;

/// `millstream api`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// A name (update_counter), a whole one (engine:update_counter, T.util.ntop) or an object (engine); all names without one
    pub name: Option<String>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Write the reference as pages into DIR/api and DIR/guids.md
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "json"])]
    pub markdown: Option<PathBuf>,
}
