//! Pipelines as people see them: requests about them, what is kept of them in the store, their part of the report.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::Outcome;
use super::cli::{GearArgs, GearsArgs, GearsCommand};
use super::control_socket::{self, Requests};
use super::screen::Screen;
use crate::gears::{Board, Pipeline, State, Summary};
use crate::sink::{PipelineReport, PipelineStep, keep_pipeline_state, pipeline_states};

/// `millstream gears`.
///
/// # Errors
/// When no run answers, or there is no such pipeline.
pub fn command(args: &GearsArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let about = |name: &str, args: &GearArgs, screen: &mut Screen<'_>| {
        control_socket::send(&json!({ "request": name, "name": args.name }), &args.speak, screen)
    };
    match &args.command {
        GearsCommand::List(speak) => control_socket::ask("gears", speak, screen),
        GearsCommand::Plan(args) => about("gears_plan", args, screen),
        GearsCommand::Pause(args) => about("gears_pause", args, screen),
        GearsCommand::Resume(args) => about("gears_resume", args, screen),
        GearsCommand::Remove(args) => about("gears_remove", args, screen),
    }
}

/// Tells the board where the store is, and what was decided in earlier runs.
///
/// # Errors
/// When the store cannot be read.
pub fn restore(board: &Board, store: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = store else { return Ok(()) };
    // A job may change the directory.
    board.set_store(&std::path::absolute(file).unwrap_or_else(|_| file.to_owned()));
    let states = pipeline_states(file).with_context(|| format!("--store {}", file.display()))?;
    for (plugin, name, state) in states {
        if let Some(state) = State::from_name(&state) {
            log::info!("{plugin}/{name}: {} by an earlier run", state.name());
            board.restore(&plugin, &name, state);
        }
    }
    Ok(())
}

/// Adds what the control socket answers about pipelines.
pub fn add_requests(board: &Arc<Board>, requests: &mut Requests) {
    let of = Arc::clone(board);
    requests.add("gears", "the pipelines of scripts", move |_| {
        let rows: Vec<Value> = of.list().iter().map(|pipeline| row(&pipeline.summary())).collect();
        Ok(Map::from_iter([("pipelines".to_owned(), rows.into())]))
    });
    let of = Arc::clone(board);
    requests.add("gears_plan", "one pipeline step by step; \"name\"", move |request| {
        Ok(plan(&find(&of, request)?.summary()))
    });
    for (name, purpose, state) in [
        ("gears_pause", "let a pipeline take no records until it is resumed; \"name\"", State::Paused),
        ("gears_resume", "let a pipeline take records again; \"name\"", State::Active),
        ("gears_remove", "let a pipeline take no records any more; \"name\"", State::Removed),
    ] {
        let of = Arc::clone(board);
        requests.add(name, purpose, move |request| {
            let pipeline = find(&of, request)?;
            change(&of, &pipeline, state)
        });
    }
}

fn find(board: &Board, request: &Map<String, Value>) -> Result<Arc<Pipeline>, String> {
    let name = request.get("name").and_then(Value::as_str).ok_or("the text field \"name\" is missing")?;
    let mut found = board.find(name);
    let full = |pipeline: &Arc<Pipeline>| format!("{}/{}", pipeline.description.plugin, pipeline.description.name);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let there: Vec<String> = board.list().iter().map(full).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(format!("{name:.64?}: no such pipeline; there are: {there}"))
        }
        _ => Err(format!("{name:.64?}: say which: {}", found.iter().map(full).collect::<Vec<_>>().join(", "))),
    }
}

fn change(board: &Board, pipeline: &Pipeline, state: State) -> Result<Map<String, Value>, String> {
    let description = &pipeline.description;
    if pipeline.state() == State::Removed && state == State::Paused {
        return Err(format!("{}: it is removed; resume it first", description.name));
    }
    pipeline.set_state(state);
    let kept = match board.store() {
        None => "in this run only: there is no store".to_owned(),
        Some(file) => {
            let named = (state != State::Active).then(|| state.name());
            match keep_pipeline_state(file, &description.plugin, &description.name, named) {
                Ok(()) => "in the store".to_owned(),
                Err(e) => format!("in this run only: {e}"),
            }
        }
    };
    log::info!("{}/{}: {}, kept {kept}", description.plugin, description.name, state.name());
    Ok(Map::from_iter([
        ("plugin".to_owned(), json!(description.plugin)),
        ("name".to_owned(), json!(description.name)),
        ("state".to_owned(), json!(state.name())),
        ("kept".to_owned(), json!(kept)),
    ]))
}

fn errors(summary: &Summary) -> u64 {
    (summary.steps.iter().map(|step| step.errors).sum::<f64>() + summary.result_errors) as u64
}

fn row(summary: &Summary) -> Value {
    let description = &summary.description;
    let steps: Vec<&str> = description.steps.iter().map(|step| step.kind.as_str()).collect();
    json!({
        "plugin": description.plugin,
        "name": description.name,
        "state": summary.state.name(),
        "mode": description.mode,
        "plan": format!("{} > {}", description.reader, steps.join(" > ")),
        "vms": summary.vms,
        "executions": summary.executions as u64,
        "results": summary.steps.last().map_or(summary.executions, |step| step.given) as u64,
        "errors": errors(summary),
        "skipped": summary.skipped as u64,
    })
}

fn plan(summary: &Summary) -> Map<String, Value> {
    let description = &summary.description;
    let steps: Vec<Value> = summary
        .steps
        .iter()
        .enumerate()
        .map(|(at, step)| {
            json!({
                "step": at + 1, "kind": step.text.kind, "records_in": step.taken as u64,
                "records_out": step.given as u64, "errors": step.errors as u64,
                "ns": step.nanos.map(|nanos| nanos as u64), "place": step.text.place,
            })
        })
        .collect();
    let failures: Vec<Value> = summary
        .failures
        .iter()
        .map(|failure| json!({ "step": failure.step, "count": failure.count, "message": failure.message }))
        .collect();
    let answer = json!({
        "plugin": description.plugin,
        "name": description.name,
        "reader": description.reader,
        "mode": description.mode,
        "window": description.window,
        "state": summary.state.name(),
        "vms": summary.vms,
        "executions": summary.executions as u64,
        "skipped": summary.skipped as u64,
        "over_limit": summary.over_limit as u64,
        "windows": summary.windows as u64,
        "handed_to_workers": summary.handed as u64,
        "unfinished": summary.unfinished as u64,
        "steps": steps,
        "errors": failures,
    });
    match answer {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// What the report shows.
#[must_use]
pub fn report(summaries: &[Summary]) -> Vec<PipelineReport> {
    let of = |summary: &Summary| PipelineReport {
        plugin: summary.description.plugin.clone(),
        name: summary.description.name.clone(),
        reader: summary.description.reader.clone(),
        mode: summary.description.mode.clone(),
        state: summary.state.name().to_owned(),
        executions: summary.executions as u64,
        skipped: summary.skipped as u64,
        over_limit: summary.over_limit as u64,
        windows: summary.windows as u64,
        unfinished: summary.unfinished as u64,
        errors: errors(summary),
        steps: summary
            .steps
            .iter()
            .map(|step| PipelineStep {
                step: step.text.kind.clone(),
                place: step.text.place.clone(),
                taken: step.taken as u64,
                given: step.given as u64,
                errors: step.errors as u64,
                nanos: step.nanos.map(|nanos| nanos as u64),
            })
            .collect(),
    };
    summaries.iter().map(of).collect()
}
