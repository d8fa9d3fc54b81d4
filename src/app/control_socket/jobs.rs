//! `millstream jobs`.

use std::time::Duration;

use serde_json::json;

use super::command::{exchange, show};
use crate::app::Outcome;
use crate::app::cli::{JobsArgs, JobsCommand};
use crate::app::screen::Screen;

/// Asks a run about its jobs and shows the answer.
///
/// # Errors
/// When no run answers, or there is no such job.
pub fn jobs(args: &JobsArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let (question, speak) = match &args.command {
        JobsCommand::List { plugin, state, limit, speak } => {
            let state = state.map(|state| state.name());
            (json!({ "request": "jobs", "plugin": plugin, "state": state, "limit": limit }), speak)
        }
        JobsCommand::Show { id, speak } => (json!({ "request": "job", "id": id }), speak),
        JobsCommand::Top { by, limit, speak } => {
            (json!({ "request": "jobs_top", "by": by.name(), "limit": limit }), speak)
        }
        JobsCommand::Plan { pipeline: Some(name), speak } => (json!({ "request": "gears_plan", "name": name }), speak),
        JobsCommand::Plan { pipeline: None, speak } => (json!({ "request": "gears" }), speak),
        JobsCommand::Cancel { ids, speak } => (json!({ "request": "jobs_cancel", "ids": ids }), speak),
        JobsCommand::Dead { plugin, limit, speak } => {
            (json!({ "request": "jobs_dead", "plugin": plugin, "limit": limit }), speak)
        }
        JobsCommand::Retry { id, speak } => (json!({ "request": "jobs_retry", "id": id }), speak),
        JobsCommand::Resolve { id, value, speak } => (json!({ "request": "resolve", "id": id, "value": value }), speak),
        JobsCommand::Reject { id, message, speak } => {
            (json!({ "request": "reject", "id": id, "message": message }), speak)
        }
        JobsCommand::Abort { id, speak } => (json!({ "request": "abort", "id": id }), speak),
    };
    let answer = exchange(&question, speak, Duration::ZERO)?;
    let missed = answer["unknown"].as_array().is_some_and(|ids| !ids.is_empty());
    show(answer, speak, screen)?;
    Ok(if missed { Outcome::Flawed } else { Outcome::Good })
}
