//! `millstream man`: the manual page, all commands in one.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Outcome;
use super::cli::Cli;
use super::screen::Screen;

/// Sections that stand behind the commands, in the page's own language.
const CLOSING: &str = r#".SH "EXIT STATUS"
.TP
\fB0\fR
All well.
.TP
\fB1\fR
Finished, but some input was damaged or ended early, a plugin or a new version of it failed or did not load, an output was
not written in full or its reader was given up, or a command that looks for faults found some.
.TP
\fB2\fR
Could not run: a wrong argument, no such file, no right to capture.
.TP
\fB70\fR
A fault of millstream itself, or a plugin stuck in code that cannot be interrupted.
.SH ENVIRONMENT
.TP
\fBMILLSTREAM_LOG\fR
Least important log lines to show, as with \fB\-\-log\fR.
.TP
\fBMILLSTREAM_LUA_PATHS\fR, \fBTRISUL_LUA_PATHS\fR
Directories with plugins, separated by colons, searched besides those named with \fB\-\-plugin\fR.
.TP
\fBMILLSTREAM_DATA\fR
Directory below which plugins find their own directories.
.TP
\fBNO_COLOR\fR
No colours if set to anything.
"#;

/// Prints the page, for `man -l -` or a file in a `man1` directory.
///
/// # Errors
/// When the output cannot be written.
pub fn print(screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    screen.write_all(&page()?)?;
    Ok(Outcome::Good)
}

fn page() -> io::Result<Vec<u8>> {
    let mut program = Cli::command();
    program.build();
    let mut page = Vec::new();
    let man = Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    page.write_all(b".SH COMMANDS\n")?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        page.write_all(&command_part(command)?)?;
    }
    page.write_all(CLOSING.as_bytes())?;
    Ok(page)
}

/// A command as part of the page: its sections become parts of the section on commands.
fn command_part(command: &Command) -> io::Result<Vec<u8>> {
    // Options of the whole program stand at its head; they are not said again with each command.
    let own = command.clone().mut_args(|arg| {
        let global = arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str());
        arg.hide(global)
    });
    let man = Man::new(own);
    let mut part = Vec::new();
    man.render_synopsis_section(&mut part)?;
    man.render_description_section(&mut part)?;
    man.render_options_section(&mut part)?;
    let text = String::from_utf8_lossy(&part);
    let mut result = format!(".SS \"millstream {}\"\n", command.get_name());
    // Each section defines the same string again; the head of the page has done so.
    for line in text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el ")) {
        match line.strip_prefix(".SH ") {
            Some("SYNOPSIS" | "DESCRIPTION") => result.push_str(".PP\n"),
            Some(heading) => result.push_str(&format!(".PP\n\\fI{}\\fR\n", heading.trim_matches('"'))),
            None => {
                result.push_str(line);
                result.push('\n');
            }
        }
    }
    Ok(result.into_bytes())
}
