//! `millstream completions`: what a shell needs to complete arguments.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Outcome;
use super::cli::Cli;
use super::screen::Screen;

/// Prints the completion script of a shell.
///
/// # Errors
/// When the output cannot be written.
pub fn print(shell: Shell, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    // Generated into memory first: the generator panics when it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "millstream", &mut script);
    screen.write_all(&script)?;
    Ok(Outcome::Good)
}
