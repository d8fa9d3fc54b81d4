//! The command line: what is typed, what it means, and wiring the parts together.
//!
//! [`cli`] holds arguments as typed, `settings.rs` what they mean, `run/` a run from start to report; each other command has
//! a file of its own. Exit status: 0 all well, 1 finished with damaged input, failed plugins or outputs that lack something,
//! 2 could not run, 70 our own fault.

mod answer;
mod api;
mod chart;
mod check;
pub mod cli;
mod completions;
mod config;
mod control_socket;
mod demo;
mod doctor;
mod gears;
mod guid;
mod interim;
mod job_disk;
mod job_report;
mod last_words;
mod list;
mod logging;
mod man;
mod moment;
mod new;
mod notify;
mod packets;
mod privileges;
mod profile;
mod query;
mod recover;
mod reload;
mod repl;
mod report;
mod report_page;
mod run;
mod same_file;
mod screen;
mod settings;
mod staging;
mod terminal;
mod test;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::sink::harmless;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All well.
    Good,
    /// Finished, but some input was damaged, a plugin failed, an output lacks something, or faults were looked for and found.
    Flawed,
    /// A configuration was looked at with which nothing could run.
    Unusable,
}

/// A thread of ours panicked; it has said where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of millstream panicked; this is our own fault, please report the lines above")]
pub struct OwnFault;

/// Exit status when something of ours broke.
pub const OWN_FAULT: u8 = 70;
/// Exit status when the command could not run.
const COULD_NOT_RUN: u8 = 2;

/// Runs the command that was typed.
#[must_use]
pub fn main() -> ExitCode {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let arguments = match config::complete(typed, &variables) {
        Ok(arguments) => arguments,
        Err(faults) => {
            use std::io::Write;
            for fault in &faults {
                // A closed standard error leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "millstream: {}", harmless(fault.to_string().as_bytes()));
            }
            return ExitCode::from(COULD_NOT_RUN);
        }
    };
    let cli = cli::parse(arguments);
    logging::start(cli.log);
    let ended = dispatch(&cli);
    last_words::hold();
    match ended {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Flawed) => ExitCode::from(1),
        Ok(Outcome::Unusable) => ExitCode::from(COULD_NOT_RUN),
        Err(e) if screen::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            use std::io::Write;
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "millstream: {}", harmless(format!("{e:#}").as_bytes()));
            ExitCode::from(if e.is::<OwnFault>() { OWN_FAULT } else { COULD_NOT_RUN })
        }
    }
}

fn dispatch(cli: &cli::Cli) -> anyhow::Result<Outcome> {
    use std::io::Write;

    use cli::Command;
    // These write from several threads or in bulk and take standard output only when they need it.
    match &cli.command {
        Command::Run(args) => return run::run(args, cli),
        Command::Demo(args) => return demo::demo(args, cli),
        Command::Packets(args) => return packets::packets(args),
        Command::Test(args) => return test::test(args, cli),
        Command::Profile(args) => return profile::profile(args, cli),
        Command::Repl(args) => return repl::repl(args, cli),
        _ => {}
    }
    let mut screen = screen::Screen::stdout(cli.color);
    let outcome = match &cli.command {
        Command::Api(args) => api::api(args, &mut screen),
        Command::List(args) => list::list(args, &mut screen),
        Command::New(args) => new::write(args, &mut screen),
        Command::Guid(args) => guid::print(args, &mut screen),
        Command::Doctor(args) => doctor::examine(args, &mut screen),
        Command::Completions { shell } => completions::print(*shell, &mut screen),
        Command::Man => man::print(&mut screen),
        Command::Check(args) => check::check(args, &mut screen),
        Command::Config(args) => config::command(args, &mut screen),
        Command::Status(args) => control_socket::ask("status", args, &mut screen),
        Command::Plugins(args) => control_socket::ask("plugins", args, &mut screen),
        Command::Stats(args) => control_socket::ask("stats", args, &mut screen),
        Command::Gears(args) => gears::command(args, &mut screen),
        Command::Call(args) => control_socket::call(args, &mut screen),
        Command::Jobs(args) => control_socket::jobs(args, &mut screen),
        Command::Reload(args) => control_socket::ask("reload", args, &mut screen),
        Command::Stop(args) => control_socket::stop(args, &mut screen),
        Command::Query(args) => query::query(args, &mut screen),
        Command::Report(args) => report_page::report(args, &mut screen),
        Command::Search(args) => query::search(args, &mut screen),
        Command::Recover(args) => recover::command(args, &mut screen),
        Command::Run(_)
        | Command::Demo(_)
        | Command::Packets(_)
        | Command::Test(_)
        | Command::Profile(_)
        | Command::Repl(_) => unreachable!("taken care of above"),
    }?;
    screen.flush()?;
    Ok(outcome)
}
