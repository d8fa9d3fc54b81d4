//! What can be asked about the jobs of a run: which there are, what is known of one, which take most; and taking them back.
//!
//! Answers are bounded, and nothing here reaches a packet thread: the pools are asked.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::letters;
use super::life::fields;
use crate::app::check::nearest;
use crate::app::control_socket::Requests;
use crate::app::reload::Lineup;
use crate::job::{JobId, JobState, JobStatus, Pool};
use crate::plugin::{Catalog, CatalogEntry};

/// Jobs of one plugin that are looked at for one answer.
const MOST_LOOKED_AT: usize = 10_000;
/// Rows of an answer.
const MOST_ROWS: usize = 1_000;
/// Rows unless told otherwise.
const ROWS: usize = 50;
/// Jobs that one request may take back.
const MOST_CANCELLED: usize = 1_000;
/// Longest text of an error in an answer.
const MOST_TEXT: usize = 4_096;

type Fields = Map<String, Value>;

/// Adds the requests about jobs.
pub fn add_requests(lineup: &Lineup, requests: &mut Requests) {
    let add = |requests: &mut Requests, name, purpose, answer: fn(&Lineup, &Fields) -> Result<Value, String>| {
        let lineup = lineup.clone();
        requests.add(name, purpose, move |request| answer(&lineup, request).map(fields));
    };
    add(requests, "jobs", "jobs that wait or run; \"plugin\", \"state\", \"limit\" narrow it down", list);
    add(requests, "job", "what is known of the job \"id\"", show);
    add(requests, "jobs_top", "the largest jobs \"by\" age, waited, ran or size_bytes; and each plugin's sum", top);
    add(requests, "jobs_cancel", "take back the jobs \"ids\"", cancel);
}

/// A text field of a request; `None` if it is missing or null.
pub(super) fn text<'a>(request: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{name}: text is needed, not {other:.64}")),
    }
}

/// How many rows a request wants.
pub(super) fn limit(request: &Fields) -> Result<usize, String> {
    match request.get("limit") {
        None | Some(Value::Null) => Ok(ROWS),
        Some(Value::Number(number)) if number.as_u64().is_some_and(|limit| limit > 0) => {
            Ok(number.as_u64().map_or(ROWS, |limit| usize::try_from(limit).unwrap_or(MOST_ROWS).min(MOST_ROWS)))
        }
        Some(other) => Err(format!("limit: a number from 1 to {MOST_ROWS} is needed, not {other:.64}")),
    }
}

/// A plugin by its name or that of its file, whose ending may be left out.
pub(super) fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a CatalogEntry, String> {
    let own = |entry: &'a CatalogEntry| entry.manifest.as_ref().map(|manifest| manifest.id.name.as_str());
    let of_file = |entry: &CatalogEntry| entry.name == name || entry.name.strip_suffix(".lua") == Some(name);
    let found = catalog.entries.iter().find(|entry| own(entry) == Some(name));
    if let Some(entry) = found.or_else(|| catalog.entries.iter().find(|entry| of_file(entry))) {
        return Ok(entry);
    }
    let meant = nearest(name, catalog.entries.iter().filter_map(own));
    let meant = meant.map_or("\"plugins\" lists what there is".to_owned(), |meant| format!("did you mean {meant:?}?"));
    Err(format!("{name:.64?}: no such plugin; {meant}"))
}

pub(super) fn id_of(text: &str) -> Result<JobId, String> {
    JobId::parse(text.as_bytes()).ok_or_else(|| format!("{text:.64?} is not the id of a job, such as 0-17"))
}

/// The pools with the names of their plugins; only one of them, if a request names it.
fn pools(lineup: &Lineup, only: Option<&str>) -> Result<Vec<(String, Pool)>, String> {
    let (catalog, pools) = (lineup.catalog(), lineup.pools());
    let only = only.map(|name| find(&catalog, name).map(|entry| entry.id)).transpose()?;
    let all = catalog.entries.iter().zip(pools.iter());
    let wanted = all.filter(|(entry, _)| only.is_none_or(|id| entry.id == id));
    Ok(wanted.map(|(entry, pool)| (entry.name.clone(), pool.clone())).collect())
}

fn list(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let (limit, state) = (limit(request)?, text(request, "state")?);
    let state = match state {
        None => None,
        Some("queued") => Some(JobState::Queued),
        Some("running") => Some(JobState::Running),
        Some(other) => return Err(format!("state: queued or running is needed, not {other:.64?}")),
    };
    let pools = pools(lineup, text(request, "plugin")?)?;
    let count = if state.is_some() { MOST_LOOKED_AT } else { limit };
    let mut jobs: Vec<(&str, JobStatus)> = Vec::new();
    for (name, pool) in &pools {
        let own = pool.jobs(count).into_iter().filter(|job| state.is_none_or(|state| job.state == state));
        jobs.extend(own.take(limit).map(|job| (name.as_str(), job)));
    }
    jobs.sort_by_key(|(_, job)| (Reverse(job.age), job.id));
    jobs.truncate(limit);
    let pending: usize = pools.iter().map(|(_, pool)| pool.pending()).sum();
    Ok(json!({ "pending": pending, "shown": jobs.len(), "jobs": rows(&jobs) }))
}

fn show(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let text = text(request, "id")?.ok_or("the text field \"id\" is missing")?;
    let id = id_of(text)?;
    let found = pools(lineup, None)?.into_iter().find_map(|(name, pool)| Some((name, pool.status(id)?)));
    let Some((name, job)) = found else {
        let remembered = letters::remembered(lineup, id)?;
        return remembered.ok_or_else(|| format!("no job {id} waits or runs, or is remembered"));
    };
    let mut row = row(&name, &job);
    if let (Value::Object(row), Some(error)) = (&mut row, &job.error) {
        row.insert("error".to_owned(), json!(cut(&error.message)));
        row.insert("traceback".to_owned(), json!(cut(&error.traceback)));
    }
    Ok(row)
}

fn top(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let limit = limit(request)?;
    let by = text(request, "by")?.unwrap_or("age");
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let size: fn(&JobStatus) -> Duration = match by {
        "age" => |job| job.age,
        "waited" => waited,
        "ran" => ran,
        "size_bytes" => |job| Duration::from_nanos(job.size as u64),
        other => return Err(format!("by: age, waited, ran or size_bytes is needed, not {other:.64?}")),
    };
    let pools = pools(lineup, None)?;
    let mut jobs: Vec<(&str, JobStatus)> = Vec::new();
    let mut plugins = Vec::new();
    for (name, pool) in &pools {
        let summary = pool.summary();
        if summary.scheduled > 0 {
            plugins.push(json!({ "plugin": name, "pending": pool.pending(), "queued": summary.queued,
                "running": summary.running, "done": summary.done, "failed": summary.failed,
                "timed_out": summary.timed_out, "cancelled": summary.cancelled, "dropped": summary.dropped }));
        }
        jobs.extend(pool.jobs(MOST_LOOKED_AT).into_iter().map(|job| (name.as_str(), job)));
        jobs.sort_by_key(|(_, job)| (Reverse(nanos(size(job))), job.id));
        jobs.truncate(limit);
    }
    plugins.truncate(MOST_ROWS);
    Ok(json!({ "by": by, "plugins": plugins, "jobs": rows(&jobs) }))
}

fn cancel(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let Some(Value::Array(wanted)) = request.get("ids") else {
        return Err("the field \"ids\" is missing: a list of ids, such as [\"0-17\"]".to_owned());
    };
    if wanted.len() > MOST_CANCELLED {
        return Err(format!("ids: at most {MOST_CANCELLED} jobs are taken back at a time"));
    }
    let wanted: Result<Vec<JobId>, String> = wanted.iter().map(|id| id_of(id.as_str().unwrap_or_default())).collect();
    let pools = pools(lineup, None)?;
    let is_cancelled = |id: &JobId| pools.iter().any(|(_, pool)| pool.cancel(*id));
    let (cancelled, unknown): (Vec<JobId>, Vec<JobId>) = wanted?.into_iter().partition(is_cancelled);
    let names = |ids: &[JobId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(json!({ "cancelled": names(&cancelled), "unknown": names(&unknown) }))
}

fn rows(jobs: &[(&str, JobStatus)]) -> Vec<Value> {
    jobs.iter().map(|(name, job)| row(name, job)).collect()
}

fn row(plugin: &str, job: &JobStatus) -> Value {
    let seconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
    json!({
        "id": job.id.to_string(),
        "plugin": plugin,
        "state": job.state.name(),
        "kind": job.kind.name(),
        "function": &*job.function,
        "attempts": job.attempts,
        "worker": job.worker,
        "age": seconds(job.age),
        "waited": seconds(waited(job)),
        "ran": seconds(ran(job)),
        "data_bytes": job.data,
        "size_bytes": job.size,
        "result_bytes": job.result,
    })
}

/// How long it waited for a worker, up to now.
fn waited(job: &JobStatus) -> Duration {
    if job.state == JobState::Queued && job.attempts == 0 { job.age } else { job.waited }
}

/// How long it ran, up to now.
fn ran(job: &JobStatus) -> Duration {
    if job.state == JobState::Running { job.age.saturating_sub(job.waited) } else { job.ran }
}

/// The beginning of a text.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(MOST_TEXT)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::{cut, id_of, limit, text};
    use serde_json::{Map, Value, json};

    fn request(value: Value) -> Map<String, Value> {
        super::fields(value)
    }

    #[test]
    fn fields_of_a_request_are_what_they_should_be_or_refused() {
        assert_eq!(limit(&request(json!({}))), Ok(50));
        assert_eq!(limit(&request(json!({ "limit": 7 }))), Ok(7));
        assert_eq!(limit(&request(json!({ "limit": u64::MAX }))), Ok(1_000));
        for wrong in [json!(0), json!(-1), json!(1.5), json!("x")] {
            assert!(limit(&request(json!({ "limit": wrong }))).is_err());
        }
        assert_eq!(text(&request(json!({ "plugin": null })), "plugin"), Ok(None));
        assert!(text(&request(json!({ "plugin": 1 })), "plugin").is_err());
        assert!(id_of("0-17").is_ok());
        assert_eq!(id_of("x").unwrap_err(), "\"x\" is not the id of a job, such as 0-17");
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(3_000)).len(), 4_096);
        assert_eq!(cut(&format!("x{}", "é".repeat(3_000))).len(), 4_095);
    }
}
