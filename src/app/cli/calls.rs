//! Arguments of `millstream call`.

use std::time::Duration;

use clap::Args;

use super::{SpeakArgs, value};

/// `millstream call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The function, with its plugin's name before it; millstream plugins lists what there is
    #[arg(value_name = "PLUGIN.NAME", required_unless_present = "result")]
    pub function: Option<String>,

    /// What it is called with; behind -- what begins with a hyphen
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    pub args: Vec<String>,

    /// Hand over arguments that are JSON as the values they stand for
    #[arg(long)]
    pub json_args: bool,

    /// Do not wait: print the id of the call
    #[arg(long = "async")]
    pub is_async: bool,

    /// With --async: call this function with what the other one returns: a table with id, function, and result or error
    #[arg(long, value_name = "PLUGIN.NAME", requires = "is_async")]
    pub callback: Option<String>,

    /// Give what an earlier call has returned, by its id
    #[arg(long, value_name = "ID", conflicts_with_all = ["function", "args", "json_args", "is_async", "engine"])]
    pub result: Option<String>,

    /// How long to wait for the answer; 60 s unless told otherwise, and not at all with --result
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub timeout: Option<Duration>,

    /// The packet thread or backend whose VM answers, or all; the first that has the function unless told otherwise
    #[arg(long, value_name = "N|all")]
    pub engine: Option<EngineChoice>,

    /// Which run.
    #[command(flatten)]
    pub speak: SpeakArgs,
}

/// Whose VM answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// That of one thread.
    One(u16),
    /// One of every thread.
    All,
}

impl std::str::FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.parse().map(Self::One).map_err(|_| "the number of a thread, such as 0, or all is needed".to_owned())
    }
}
