//! `millstream demo`: the plugins of the project on a capture that comes with it.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Parser;

use super::Outcome;
use super::cli::{Cli, Command, DemoArgs, RunArgs};
use super::run;
use super::screen::{Paint, Screen, columns, program};
use crate::shell::typed;

/// The capture, below the project's folder.
pub const CAPTURE: &str = "pcaps/demo.pcap";
/// The plugins, below the project's folder.
const PLUGINS: &str = "plugins";
/// Without it the plugin that tells of new hosts has nothing to do.
const BUILTIN: &str = "Hosts";
/// Keys of a meter, so that the report does not run away.
const TOP: &str = "5";
/// Without it the plugin that hashes files has nothing to do.
const EXTRACTION: &str = "Reassembly>FileExtraction>Enabled=true";

/// Runs the demonstration: a word before, the report of a run, what to type next.
///
/// # Errors
/// When the project's files are not found or the run cannot begin.
pub fn demo(args: &DemoArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let folder = project_folder()?;
    let (capture, plugins) = (shown(&folder.join(CAPTURE)), shown(&folder.join(PLUGINS)));
    let run_args = run_arguments(&capture, &plugins, args)?;
    if !args.json {
        let mut screen = Screen::stdout(cli.color);
        let title = screen.paint(Paint::Strong, "The plugins of this project on the capture that comes with it");
        let (capture, plugins) = (typed(&capture), typed(&plugins));
        writeln!(
            screen,
            "{title}:\n  {} run -r {capture} -p {plugins} --builtin {BUILTIN} --top {TOP} --set '{EXTRACTION}'\n",
            program()
        )?;
        screen.flush()?;
        // The run writes from several threads, so the lock must be gone before it starts.
    }
    let outcome = run::run(&run_args, cli)?;
    if !args.json {
        let mut screen = Screen::stdout(cli.color);
        next_steps(&capture, &plugins, &mut screen)?;
        screen.flush()?;
    }
    Ok(outcome)
}

fn next_steps(capture: &Path, plugins: &Path, screen: &mut Screen<'_>) -> std::io::Result<()> {
    let (capture, plugins, program) = (typed(capture), typed(plugins), program());
    let steps = [
        ("new simplecounter my-counter".to_owned(), "write my-counter.lua, with comments"),
        ("check my-counter.lua".to_owned(), "point out mistakes"),
        (format!("run -r {capture} -p my-counter.lua"), "see what it counts"),
        (format!("list -p {plugins}"), "what the plugins of the demo are"),
        ("doctor".to_owned(), "is this machine ready for live packets"),
    ];
    let rows: Vec<Vec<String>> =
        steps.into_iter().map(|(step, purpose)| vec![format!("  {program} {step}"), purpose.to_owned()]).collect();
    let title = screen.paint(Paint::Strong, "Next, a plugin of your own:");
    writeln!(screen, "\n{title}\n{}", columns(&rows).join("\n"))
}

/// The arguments of the run, as if they had been typed.
fn run_arguments(capture: &Path, plugins: &Path, args: &DemoArgs) -> anyhow::Result<Box<RunArgs>> {
    let mut typed = ["millstream", "run", "-r"].map(std::ffi::OsString::from).to_vec();
    typed.extend([capture.into(), "-p".into(), plugins.into()]);
    typed.extend(["--builtin", BUILTIN, "--top", TOP, "--set", EXTRACTION].map(std::ffi::OsString::from));
    if args.json {
        typed.push("--json".into());
    }
    match Cli::try_parse_from(typed).context("arguments of the demo")?.command {
        Command::Run(run_args) => Ok(run_args),
        other => bail!("the demo is a run, not {other:?}"),
    }
}

/// The capture of the demo as somebody in the current directory would write it, if it is there.
#[must_use]
pub fn capture() -> Option<PathBuf> {
    Some(shown(&project_folder().ok()?.join(CAPTURE)))
}

/// The folder with the capture and the plugins: that of the executable, the current one, the one it was built in.
fn project_folder() -> anyhow::Result<PathBuf> {
    let mut candidates = Vec::new();
    if let Ok(executable) = std::env::current_exe() {
        // Beside the executable, two levels up from target/release, or where packages put it.
        candidates.extend(executable.ancestors().skip(1).take(3).map(Path::to_path_buf));
        candidates.extend(executable.ancestors().nth(2).map(|prefix| prefix.join("share/millstream")));
    }
    candidates.extend(std::env::current_dir());
    candidates.push(PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    match candidates.iter().find(|folder| folder.join(CAPTURE).is_file() && folder.join(PLUGINS).is_dir()) {
        Some(folder) => Ok(folder.clone()),
        None => bail!(
            "{CAPTURE} and {PLUGINS} were found neither beside this executable nor in the current directory; go to the \
             folder of the project and type: millstream demo"
        ),
    }
}

/// The path as somebody in the current directory would write it.
fn shown(path: &Path) -> PathBuf {
    std::env::current_dir()
        .ok()
        .and_then(|current| path.strip_prefix(current).ok().map(Path::to_path_buf))
        .unwrap_or_else(|| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::{DemoArgs, project_folder, run_arguments};
    use std::path::Path;

    #[test]
    fn the_demo_is_a_run_over_the_files_of_the_project() {
        assert!(project_folder().unwrap().join("pcaps/demo.pcap").is_file());
        let args = run_arguments(Path::new("a.pcap"), Path::new("p"), &DemoArgs { json: true }).unwrap();
        assert_eq!(args.input.read, [Path::new("a.pcap")]);
        assert_eq!(args.plugins.plugin, [Path::new("p")]);
        assert_eq!(args.plugins.set, [super::EXTRACTION]);
        assert_eq!(args.metering.builtin, [super::BUILTIN]);
        assert!(args.plugins.json);
    }
}
