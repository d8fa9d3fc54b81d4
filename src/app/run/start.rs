//! Settles what is run and on what.

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, bail};

use super::execute::execute;
use super::inputs::open_inputs;
use super::others;
use crate::app::cli::{Cli, RunArgs};
use crate::app::{OWN_FAULT, Outcome, OwnFault, report, settings};
use crate::lua::{self, spawn_lua_thread};
use crate::plugin::{Catalog, HostSettings, SkipReason, discover};
use crate::time::Stopwatch;

/// Runs plugins on an input and reports.
///
/// # Errors
/// When the run cannot begin: no such file, not a capture, no right, no such plugin.
pub fn run(args: &RunArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    settings::check_input(&args.input)?;
    others::check(args)?;
    let host = settings::host_settings(&args.plugins, Some(&args.work))?;
    let self_test = lua::quick_self_test().context("LuaJIT self-test")?;
    if !self_test.passed() {
        bail!(
            "LuaJIT cannot interrupt a compiled loop in this build: {self_test}; rebuild with: cargo build --release"
        );
    }
    let mut host = host;
    host.files = settings::file_rules(&mut host.run.environment.config)?;
    host.on_stuck = Arc::new(|plugin| {
        log::error!("{plugin}: a callback does not return from a C function; packets cannot go on");
        signal_hook::low_level::exit(i32::from(OWN_FAULT));
    });
    let found = discover(&args.plugins.plugin, &host.search)?;
    for skipped in &found.skipped {
        // Libraries lie beside plugins; one that was named was taken for a plugin.
        if skipped.reason != SkipReason::Library || args.plugins.plugin.contains(&skipped.path) {
            log::warn!("{}: not loaded: {}", skipped.path.display(), skipped.reason);
        }
    }
    let catalog = probe(found.scripts, &host)?;
    let builtin =
        settings::builtin_groups(&args.metering, settings::with_store(&args.output.results), &catalog.groups)?;
    let inputs = open_inputs(args, &catalog)?;
    let watch = Stopwatch::start();
    let mut result = execute(args, cli, &host, &catalog, &builtin, inputs)?;
    result.wall = watch.elapsed();
    report::present(&result, args, cli)
}

/// Probes scripts on a thread with a stack for Lua.
///
/// # Errors
/// When the thread cannot be started or dies.
pub fn probe(scripts: Vec<crate::plugin::Script>, host: &HostSettings) -> anyhow::Result<Arc<Catalog>> {
    let host = host.clone();
    let thread = spawn_lua_thread("probe", move || Catalog::probe(scripts, &host)).context("starting a thread")?;
    Ok(Arc::new(join(thread)?))
}

/// The result of a thread; a panic of it is our own fault.
///
/// # Errors
/// When the thread panicked.
pub fn join<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!(OwnFault))
}
