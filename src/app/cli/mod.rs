//! Arguments exactly as typed: the commands here, the options of each group of commands in a file of its own.

mod ask;
mod authors;
mod calls;
mod gears;
mod job_limits;
mod jobs;
mod life;
mod outputs;
mod reference;
mod reload;
mod run;
mod tools;
mod traffic_limits;
mod value;

pub use ask::{AnswerArgs, PacketsArgs, QueryArgs, QueryOrder, Question, RecoverArgs, ReportArgs, SearchArgs};
pub use authors::{ProfileArgs, ReplArgs, TestArgs};
pub use calls::{CallArgs, EngineChoice};
pub use gears::{GearArgs, GearsArgs, GearsCommand};
pub use job_limits::JobLimitArgs;
pub use jobs::{JobOrder, JobStateChoice, JobsArgs, JobsCommand};
pub use life::{ConfigArgs, ConfigCommand, LifeArgs, SpeakArgs, StopArgs};
pub use outputs::{OutputsArgs, PrintKind};
pub use reference::ApiArgs;
pub use reload::ReloadArgs;
pub use run::{
    Deterministic, InputArgs, MeteringArgs, OutputArgs, PluginArgs, ResultArgs, RunArgs, StoreArgs, StoreMode, WorkArgs,
};
pub use tools::{CheckArgs, DemoArgs, DoctorArgs, GuidArgs, NewArgs};
pub use traffic_limits::TrafficLimitArgs;

use std::ffi::OsString;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Run Lua plugins on network packets, live or from capture files, with slow work in the background.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, about, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "First steps:\n  millstream demo                          plugins on a sample capture\n  \
millstream run -r capture.pcap -p my.lua  a plugin on a capture\n  \
millstream new simplecounter my.lua      a plugin to start from\n  \
millstream doctor                        what this machine can do")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Least important log lines to show.
    #[arg(long, global = true, value_enum, default_value_t = LogChoice::Notice, env = "MILLSTREAM_LOG")]
    pub log: LogChoice,

    /// Colours in text output; `NO_COLOR` is respected.
    #[arg(long, global = true, value_enum, default_value_t = ColourChoice::Auto)]
    pub color: ColourChoice,
}

/// Log levels that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogChoice {
    /// Errors only.
    Error,
    /// Warnings and errors.
    Warn,
    /// Also what is worth knowing.
    Notice,
    /// Also what happens.
    Info,
    /// Everything.
    Debug,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColourChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Takes the arguments apart. Help and what is wrong with them have the colours that they ask for, and end the program.
#[must_use]
pub fn parse(arguments: Vec<OsString>) -> Cli {
    let mut command = Cli::command().color(colours(&arguments));
    let parsed = command.try_get_matches_from_mut(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The colours asked for, which have to be known before anything is taken apart.
fn colours(arguments: &[OsString]) -> ColorChoice {
    let options = arguments.iter().skip(1).take_while(|argument| *argument != "--");
    let mut asked = None;
    let mut before = None;
    for argument in options.filter_map(|argument| argument.to_str()) {
        let value = if before == Some("--color") { Some(argument) } else { argument.strip_prefix("--color=") };
        asked = value.and_then(|value| ColourChoice::from_str(value, false).ok()).or(asked);
        before = Some(argument);
    }
    match asked {
        Some(ColourChoice::Always) => ColorChoice::Always,
        Some(ColourChoice::Never) => ColorChoice::Never,
        Some(ColourChoice::Auto) | None => ColorChoice::Auto,
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run plugins on a capture or an interface and report what they found
    Run(Box<RunArgs>),
    /// Show plugins at work on a sample capture
    Demo(DemoArgs),
    /// List plugins: what is found where, what it does, why it is not loaded
    List(PluginArgs),
    /// Load plugins without traffic and point out mistakes
    Check(CheckArgs),
    /// Run the tests of plugins: captures in, and what comes out compared with snapshots
    Test(TestArgs),
    /// Step through a capture: packets, layers, flows, counters, and Lua at a prompt
    Repl(ReplArgs),
    /// Run plugins and show where their time went
    Profile(Box<ProfileArgs>),
    /// Explain the names of the plugin API
    Api(ApiArgs),
    /// Write a plugin to start from
    New(NewArgs),
    /// Print new GUIDs
    Guid(GuidArgs),
    /// Take packets out of a packet store: by flow, host, port, time
    Packets(PacketsArgs),
    /// Ask a store: largest keys, time series, flows, alerts, resources, edges, runs
    Query(QueryArgs),
    /// Write a page with charts of what a store holds
    Report(ReportArgs),
    /// Search the documents of a store for words
    Search(SearchArgs),
    /// Copy what can still be read of a damaged store into a new one
    Recover(RecoverArgs),
    /// Check or show settings, or print a configuration file to start from
    Config(ConfigArgs),
    /// Say what a run is doing
    Status(SpeakArgs),
    /// Say how the plugins of a run do
    Plugins(SpeakArgs),
    /// Give the figures of a run: packets, drops, jobs
    Stats(SpeakArgs),
    /// Call a function of a plugin of a run
    Call(CallArgs),
    /// Look at the jobs of a run and act on them
    Jobs(JobsArgs),
    /// List, pause, resume and remove the pipelines of a run
    Gears(GearsArgs),
    /// Have a run load changed plugins and open its outputs anew
    Reload(SpeakArgs),
    /// End a run
    Stop(StopArgs),
    /// Say what this machine can do: LuaJIT, libpcap, rights, interfaces
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

#[cfg(test)]
mod tests {
    use super::{Cli, colours};
    use clap::{ColorChoice, CommandFactory};
    use std::ffi::OsString;

    #[test]
    fn colours_are_known_before_the_arguments_are_taken_apart() {
        let of = |typed: &str| colours(&typed.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of("millstream run --help"), ColorChoice::Auto);
        assert_eq!(of("millstream --color never run --help"), ColorChoice::Never);
        assert_eq!(of("millstream run --help --color=always"), ColorChoice::Always);
        assert_eq!(of("millstream --color always run --color never"), ColorChoice::Never);
        assert_eq!(of("millstream run --color blue"), ColorChoice::Auto);
        assert_eq!(of("millstream run -- --color never"), ColorChoice::Auto);
    }

    #[test]
    fn the_argument_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
