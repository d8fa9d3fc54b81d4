//! What the report shows of pipelines of scripts.

use serde::Serialize;

use super::human;
use super::text::{Page, Paint};

/// How one pipeline did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineReport {
    /// The plugin.
    pub plugin: String,
    /// Name within the plugin.
    pub name: String,
    /// Where its records came from.
    pub reader: String,
    /// How it was executed.
    pub mode: String,
    /// `active`, `paused` or `removed`.
    pub state: String,
    /// Executions.
    pub executions: u64,
    /// Records that came while it was paused or removed.
    pub skipped: u64,
    /// Records that a limit turned away.
    pub over_limit: u64,
    /// Windows closed.
    pub windows: u64,
    /// Executions of workers that came to nothing.
    pub unfinished: u64,
    /// Errors in all steps.
    pub errors: u64,
    /// Its steps.
    pub steps: Vec<PipelineStep>,
}

/// How one step did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PipelineStep {
    /// What it does.
    pub step: String,
    /// File and line of its function; empty without one.
    pub place: String,
    /// Records it was given.
    pub taken: u64,
    /// Records that left it.
    pub given: u64,
    /// Records at which it failed.
    pub errors: u64,
    /// Nanoseconds in it, of an execution; only some executions are measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nanos: Option<u64>,
}

impl Page {
    /// A line for each pipeline: what came in, what each step gave on, what went wrong.
    pub(super) fn pipelines(&mut self, pipelines: &[PipelineReport]) {
        self.section(Paint::Title, "Pipelines");
        for pipeline in pipelines {
            let mut line = format!("  {}/{}: {}", pipeline.plugin, pipeline.name, pipeline.reader);
            line.push_str(&format!(" {}", human::count(pipeline.executions as f64)));
            for step in &pipeline.steps {
                line.push_str(&format!(" > {} {}", step.step, human::count(step.given as f64)));
            }
            for (count, what) in [
                (pipeline.errors, "errors"),
                (pipeline.over_limit, "over the limit"),
                (pipeline.unfinished, "unfinished"),
                (pipeline.skipped, "skipped"),
            ] {
                if count > 0 {
                    line.push_str(&format!(", {} {what}", human::count(count as f64)));
                }
            }
            if pipeline.state != "active" {
                line.push_str(&format!(" ({})", pipeline.state));
            }
            self.line(&line);
        }
    }
}
