//! A run from its first thread to its last.

use std::sync::Arc;

use super::inputs::Inputs;
use super::outputs::Outputs;
use super::threads::Staff;
use crate::app::cli::{Cli, RunArgs};
use crate::app::interim::{Form, Reporter};
use crate::app::report::{self, RunResult};
use crate::app::terminal;
use crate::app::watch::Watcher;
use crate::builtin::Selection;
use crate::job;
use crate::pipeline::Control;
use crate::plugin::{Catalog, HostSettings};

/// Starts the threads, waits for them, and gathers what they leave behind.
///
/// # Errors
/// When an output cannot be written or a thread not be started, or one panicked.
pub fn execute(
    args: &RunArgs,
    cli: &Cli,
    host: &HostSettings,
    catalog: &Arc<Catalog>,
    builtin: &Selection,
    inputs: Inputs,
) -> anyhow::Result<RunResult> {
    let (pace, engines, names) = (inputs.pace, inputs.sources.len(), inputs.names());
    let control = Arc::new(Control::default());
    let outputs = Outputs::open(args, cli, catalog, (pace, &control), &names)?;
    let mut head = outputs.head();
    report::announce(catalog, &mut head);
    let pools = catalog.pools(host);
    let reporter = match args.output.report_every {
        Some(_) => {
            let form = if args.plugins.json { Form::Json } else { Form::Text(terminal::style(cli.color)) };
            Some(Reporter::start(catalog, engines, args.output.top, form, outputs.console().sender())?)
        }
        None => None,
    };
    let staff = Staff {
        args,
        host,
        catalog,
        builtin,
        outputs: &outputs,
        control: &control,
        pools: &pools,
        reporter: reporter.as_ref(),
    };
    let threads = staff.start(inputs)?;
    let watcher = Watcher::start(Arc::clone(&control), pace, Arc::clone(&pools), outputs.eve_handle())?;
    let mut result = threads.wait(&control, catalog)?;
    watcher.stop();
    if let Some(reporter) = reporter {
        reporter.stop();
    }
    // What still runs, runs for nobody; its children end with the run.
    pools.iter().for_each(job::Pool::abort);
    result.jobs = pools.iter().map(job::Pool::summary).collect();
    result.inputs = names;
    let with_jobs = catalog.entries.iter().zip(&result.jobs).filter(|(_, jobs)| jobs.scheduled > 0);
    result.workers = with_jobs.filter_map(|(entry, _)| entry.manifest.as_ref()).map(|m| m.workers as u32).sum();
    outputs.close(head, &mut result);
    result.is_quiet = control.is_quiet();
    Ok(result)
}
