//! Settles what is run and on what, and as whom.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, bail};

use super::apart;
use super::execute::{Doors, execute};
use super::inputs::{Inputs, from_filter, open_named};
use super::others;
use super::outputs::Opened;
use super::unfed;
use crate::app::cli::{Cli, RunArgs};
use crate::app::control_socket::{Bound, default_socket};
use crate::app::job_disk::JobDisk;
use crate::app::last_words::{self, LastWords};
use crate::app::privileges::{self, Keep, User};
use crate::app::report::RunResult;
use crate::app::screen::program;
use crate::app::staging::{After, Staging, Voices, Whose};
use crate::app::{OWN_FAULT, Outcome, OwnFault, gears, report, settings, watch};
use crate::lua;
use crate::pipeline::Pace;
use crate::plugin::{Catalog, HostSettings, SkipReason, Stage, discover};
use crate::shell::typed;
use crate::time::Stopwatch;

/// Runs plugins on an input and reports.
///
/// # Errors
/// When the run cannot begin: no such file, not a capture, no right, no such plugin.
pub fn run(args: &RunArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let staging = Staging { after: After::TheEnd, ..Staging::default() };
    let mut result = perform(args, cli, &staging)?;
    if let Some(error) = result.take_unusable() {
        return Err(error.into());
    }
    report::present(&result, args, cli)
}

/// Runs plugins on an input; gives what there is to report.
///
/// # Errors
/// As for [`run`].
pub fn perform(args: &RunArgs, cli: &Cli, staging: &Staging) -> anyhow::Result<RunResult> {
    let signals = match staging.voices {
        Voices::Heard => Some(watch::keep_requests()?),
        Voices::Silent => None,
    };
    settings::check_input(&args.input)?;
    others::check(args)?;
    apart::check(args)?;
    let mut host = settings::host_settings(&args.plugins, Some(&args.work))?;
    if let Some(file) = &args.life.config {
        let full = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        host.run.environment.configfile = full.display().to_string();
    }
    let self_test = lua::quick_self_test().context("LuaJIT self-test")?;
    if !self_test.passed() {
        bail!(
            "LuaJIT cannot interrupt a compiled loop in this build: {self_test}; rebuild with: cargo build --release"
        );
    }
    privileges::keep_from_children();
    let early = open_early(args, staging)?;
    // No thread may be there before the rights are given up.
    let run_begins = signals.as_ref().map(|_| watch::end_at_once()).transpose()?;
    host.files = settings::file_rules(&mut host.run.environment.config)?;
    let last_words = LastWords::default();
    let of_stuck = last_words.clone();
    host.on_stuck = Arc::new(move |at| {
        let (plugin, stack) = (at.plugin(), at.stack());
        match at.stage {
            Stage::Callback => {
                let callback = at.callback();
                log::error!("{plugin}: {callback} does not return from a C function; packets cannot go on{stack}");
            }
            Stage::Load => {
                log::error!(
                    "{plugin}: does not return from a C function while it is loaded; the run cannot go on{stack}"
                );
            }
        }
        of_stuck.say();
        last_words::exit(i32::from(OWN_FAULT));
    });
    host.answers.clone_from(&staging.answers);
    host.profiler.clone_from(&staging.profiler);
    host.leaves_memory = staging.after == After::TheEnd;
    let standard = if staging.plugins == Whose::Named { &[][..] } else { &host.search[..] };
    let found = discover(&args.plugins.plugin, standard)?;
    let mut passed_over = 0;
    for skipped in &found.skipped {
        // Libraries lie beside plugins; one that was named was taken for a plugin.
        if skipped.reason != SkipReason::Library || args.plugins.plugin.contains(&skipped.path) {
            log::warn!("{}: not loaded: {}", skipped.path.display(), skipped.reason);
            passed_over += 1;
        }
    }
    let mut catalog = probe(found.scripts, &host)?;
    let builtin =
        settings::builtin_groups(&args.metering, settings::with_store(&args.output.results), &catalog.groups)?;
    if let Some(catalog) = Arc::get_mut(&mut catalog) {
        let notes = unfed::notes(catalog, args, &builtin, &host.run.environment.config);
        catalog.notes.extend(notes);
    }
    let (inputs, outputs, socket) = open_rest(args, staging, early, &catalog)?;
    for directory in &found.barren {
        let (shown, list) = (directory.display(), format!("{} list -p {}", program(), typed(directory)));
        log::warn!("{shown}: no plugin in this directory; try: {list}");
    }
    gears::restore(&host.run.gears, outputs.store_file())?;
    host.jobs.spill = outputs.store_file().map(JobDisk::beside);
    let pools = catalog.pools(&host);
    let doors = Doors { inputs, outputs, socket, signals, run_begins, pools, last_words };
    let since = Stopwatch::start();
    let mut result = execute(args, cli, &host, &catalog, &builtin, doors)?;
    result.wall = since.elapsed();
    result.passed_over = passed_over;
    Ok(result)
}

/// What is opened with the rights of the user who started the run, for a run that becomes another one.
#[derive(Default)]
struct Early {
    inputs: Option<Inputs>,
    outputs: Option<Opened>,
    socket: Option<Bound>,
}

/// With `--user`, opens everything that has a name and becomes that user: no plugin is read, let alone run, before that.
/// Otherwise nothing is opened before the plugins are known to load.
fn open_early(args: &RunArgs, staging: &Staging) -> anyhow::Result<Early> {
    let Some(name) = &args.life.user else {
        return Ok(Early::default());
    };
    let user = User::find(name)?;
    let inputs = open_named(args)?;
    let pace = inputs.as_ref().map_or(Pace::Packets, |inputs| inputs.pace);
    let outputs = Opened::open(args, staging, pace)?;
    let socket = bind(args, pace)?;
    outputs.hand_over(args, &user)?;
    if let Some(socket) = &socket {
        user.own(socket.path()).with_context(|| format!("giving {} to {name}", socket.path().display()))?;
    }
    let keep = if pace == Pace::Wall { Keep::Capture } else { Keep::Nothing };
    user.become_for_good(keep)?;
    log::info!("running as {}", user.name());
    Ok(Early { inputs, outputs: Some(outputs), socket })
}

/// Opens what is not open yet.
fn open_rest(
    args: &RunArgs,
    staging: &Staging,
    early: Early,
    catalog: &Catalog,
) -> anyhow::Result<(Inputs, Opened, Option<Bound>)> {
    let named = match early.inputs {
        Some(inputs) => Some(inputs),
        None => open_named(args)?,
    };
    let inputs = match named {
        Some(inputs) => inputs,
        None => from_filter(args, catalog)?,
    };
    if inputs.pace == Pace::Wall && privileges::is_root() {
        log::info!("plugins run with the rights of root; --user NAME gives them up once the capture is open");
    }
    match early.outputs {
        Some(outputs) => Ok((inputs, outputs, early.socket)),
        None => {
            let pace = inputs.pace;
            let socket = bind(args, pace)?;
            Ok((inputs, Opened::open(args, staging, pace)?, socket))
        }
    }
}

/// The control socket: where the arguments say, else of its own accord for runs over interfaces.
fn bind(args: &RunArgs, pace: Pace) -> anyhow::Result<Option<Bound>> {
    match &args.life.control {
        Some(path) => Bound::new(path).map(Some),
        None if args.life.no_control || pace == Pace::Packets => Ok(None),
        None => {
            let bound = default_socket().and_then(|path| Bound::new(&path).ok());
            if bound.is_none() {
                // Nobody asked for it, so it is no reason not to run.
                log::debug!("no control socket: no directory for it; --control PATH names a place");
            }
            Ok(bound)
        }
    }
}

/// Probes scripts on a thread with a stack for Lua and without the right to read interfaces.
///
/// # Errors
/// When the thread cannot be started or dies.
pub fn probe(scripts: Vec<crate::plugin::Script>, host: &HostSettings) -> anyhow::Result<Arc<Catalog>> {
    let probed = Catalog::probe_apart(&scripts.into(), host, privileges::forgo_capture);
    let probed = probed.context("starting a thread")?;
    Ok(Arc::new(probed.map_err(|_| OwnFault)?))
}

/// The result of a thread; a panic of it is our own fault.
///
/// # Errors
/// When the thread panicked.
pub fn join<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!(OwnFault))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::{probe, settings};
    use crate::app::cli::PluginArgs;
    use crate::plugin::Script;

    fn script(name: &str, head: &str) -> Script {
        let text = format!("{head} TrisulPlugin = {{ id = {{ name = '{name}' }} }}");
        Script { path: PathBuf::from(name), source: text.into_bytes() }
    }

    #[test]
    fn files_that_hang_in_c_are_told_of_and_left_out() {
        let mut host = settings::host_settings(&PluginArgs::default(), None).unwrap();
        host.load_budget.limit = Some(Duration::from_millis(1_500));
        let told: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
        let told_of = Arc::clone(&told);
        host.on_late = Arc::new(move |at, _| told_of.lock().unwrap().push(at.file.to_owned()));
        let hang = "local _ = ('a'):rep(40):find(('a*'):rep(40) .. 'b')";
        let binding = "local _ = 'groups'";
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let noted = format!("local f = io.open('{}', 'a') f:write('first ') f:close() {binding}", log.display());
        let scripts = vec![
            script("first.lua", &noted),
            script("hangs.lua", &format!("{hang} {binding}")),
            script("second.lua", ""),
            script("waits.lua", "io.popen('sleep 20'):read('*a')"),
            script("last.lua", binding),
        ];
        let catalog = probe(scripts, &host).unwrap();
        let loaded: Vec<bool> = catalog.entries.iter().map(|entry| entry.manifest.is_some()).collect();
        assert_eq!(loaded, [true, false, true, false, true]);
        for at in [1, 3] {
            let error = catalog.entries[at].error.as_ref().unwrap();
            assert!(error.message.starts_with("does not return from a C function"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "first ", "what was executed is not executed again");
        let told = told.lock().unwrap();
        assert!(told.contains(&PathBuf::from("hangs.lua")) && told.contains(&PathBuf::from("waits.lua")), "{told:?}");
        assert!(!told.contains(&PathBuf::from("first.lua")), "{told:?}");
    }
}
