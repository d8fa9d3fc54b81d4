//! Arguments about the pipelines of a run.

use clap::{Args, Subcommand};

use super::life::SpeakArgs;

/// `millstream gears`.
#[derive(Debug, Args)]
pub struct GearsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: GearsCommand,
}

/// What can be done with pipelines.
#[derive(Debug, Subcommand)]
pub enum GearsCommand {
    /// List the pipelines: their steps, what they did, whether they take records
    List(SpeakArgs),
    /// Show one pipeline step by step, with its last errors
    Plan(GearArgs),
    /// Let a pipeline take no records until it is resumed
    Pause(GearArgs),
    /// Let a pipeline take records again
    Resume(GearArgs),
    /// Let a pipeline take no records any more
    Remove(GearArgs),
}

/// Which pipeline, of which run.
#[derive(Debug, Args)]
pub struct GearArgs {
    /// Its name, or `PLUGIN/NAME` where several plugins have one of the name
    pub name: String,

    /// Which run.
    #[command(flatten)]
    pub speak: SpeakArgs,
}
