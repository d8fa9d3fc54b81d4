//! What can be asked about jobs that only the VM that scheduled them knows of: jobs that failed for good, jobs that ended and
//! are remembered; and completing deferred executions from outside.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::jobs::{find, id_of, limit, text};
use super::life::fields;
use crate::app::control_socket::Requests;
use crate::app::reload::Lineup;
use crate::job::{Carried, Door, Errand, ErrandError, JobId, Order, Party, Progress, Reply, Verdict};
use crate::time::Stopwatch;

/// How long the threads may take to answer; they do so between two batches.
const PATIENCE: Duration = Duration::from_secs(2);
/// VMs that are asked for one answer.
const MOST_ASKED: usize = 1_000;

type Fields = Map<String, Value>;

/// Adds the requests about jobs that have ended, and about deferred executions.
pub fn add_requests(lineup: &Lineup, requests: &mut Requests) {
    let add = |requests: &mut Requests, name, purpose, answer: fn(&Lineup, &Fields) -> Result<Value, String>| {
        let lineup = lineup.clone();
        requests.add(name, purpose, move |request| answer(&lineup, request).map(fields));
    };
    add(requests, "jobs_dead", "jobs that failed for good and are kept; \"plugin\", \"limit\" narrow it down", dead);
    add(requests, "jobs_retry", "schedule the dead letter \"id\" again", retry);
    add(requests, "resolve", "complete the deferred execution \"id\" with the text \"value\"", |lineup, request| {
        let value = text(request, "value")?.map_or(Carried::Nothing, |text| Carried::Text(text.as_bytes().to_vec()));
        complete(lineup, request, Verdict::Resolve(value))
    });
    add(requests, "reject", "complete the deferred execution \"id\" with the error \"message\"", |lineup, request| {
        let message = text(request, "message")?.unwrap_or("rejected");
        complete(lineup, request, Verdict::Reject(message.as_bytes().to_vec()))
    });
    add(requests, "abort", "end the deferred execution \"id\" without a word", |lineup, request| {
        complete(lineup, request, Verdict::Abort)
    });
}

/// The VMs of all plugins, or of one, with the names of the plugins.
fn doors(lineup: &Lineup, only: Option<&str>) -> Result<Vec<(String, Door)>, String> {
    let (catalog, pools) = (lineup.catalog(), lineup.pools());
    let only = only.map(|name| find(&catalog, name).map(|entry| entry.id)).transpose()?;
    let all = catalog.entries.iter().zip(pools.iter());
    let wanted = all.filter(|(entry, _)| only.is_none_or(|id| entry.id == id));
    Ok(wanted
        .flat_map(|(entry, pool)| pool.doors().list().into_iter().map(|door| (entry.name.clone(), door)))
        .collect())
}

/// What a VM said, with the name of its plugin.
type Said = (String, Result<Value, String>);

/// Asks several VMs at once; gives what they say, with the plugin's name, and how many did not answer in time.
fn ask(doors: Vec<(String, Door)>, order: &Order) -> (Vec<Said>, usize) {
    let since = Stopwatch::start();
    let asked: Vec<(String, Result<Arc<Errand>, ErrandError>)> =
        doors.into_iter().take(MOST_ASKED).map(|(name, door)| (name, door.ask(order.clone()))).collect();
    let (mut answers, mut silent) = (Vec::new(), 0);
    for (name, errand) in asked {
        let progress = match &errand {
            Ok(errand) => errand.wait(PATIENCE.saturating_sub(since.elapsed())),
            Err(error) => Progress::Ended(Err(error.clone())),
        };
        match progress {
            Progress::Ended(Err(ErrandError::Closed | ErrandError::Gone)) => silent += 1,
            Progress::Ended(Err(error)) => answers.push((name, Err(error.to_string()))),
            Progress::Ended(Ok(reply)) => answers.push((name, Ok(value(&reply)))),
            Progress::Waiting | Progress::Begun => {
                // Nobody waits for it any more; one that was begun answers nobody.
                let _ = errand.is_ok_and(|errand| errand.withdraw());
                silent += 1;
            }
        }
    }
    (answers, silent)
}

fn value(reply: &Reply) -> Value {
    match reply {
        Reply::Nothing => Value::Null,
        Reply::Text(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        Reply::Json(bytes) => serde_json::from_str(&String::from_utf8_lossy(bytes)).unwrap_or(Value::Null),
    }
}

fn dead(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let limit = limit(request)?;
    let (answers, silent) = ask(doors(lineup, text(request, "plugin")?)?, &Order::Letters);
    let mut rows = Vec::new();
    for (name, answer) in answers {
        let Ok(Value::Array(letters)) = answer else { continue };
        rows.extend(letters.into_iter().map(|letter| {
            json!({ "id": letter["id"], "plugin": name, "state": letter["state"], "error": letter["error"],
                "data": letter["data"] })
        }));
    }
    rows.sort_by_key(|row| row["id"].as_str().and_then(|id| JobId::parse(id.as_bytes())));
    let count = rows.len();
    rows.truncate(limit);
    Ok(json!({ "count": count, "shown": rows.len(), "vms_silent": silent, "jobs": rows }))
}

/// The VMs that may know a job: those of the thread that its id names.
fn owners(lineup: &Lineup, id: JobId) -> Result<Vec<(String, Door)>, String> {
    let mut doors = doors(lineup, None)?;
    doors.retain(|(_, door)| door.engine() == id.engine());
    Ok(doors)
}

fn retry(lineup: &Lineup, request: &Fields) -> Result<Value, String> {
    let id = id_of(text(request, "id")?.ok_or("the text field \"id\" is missing")?)?;
    let (answers, silent) = ask(owners(lineup, id)?, &Order::Retry(id));
    let none = format!("no dead letter has the id {id}");
    for (name, answer) in answers {
        match answer {
            Ok(new) => return Ok(json!({ "id": new, "was": id.to_string(), "plugin": name })),
            Err(error) if error == none => {}
            Err(error) => return Err(error),
        }
    }
    Err(if silent > 0 { format!("{none}; {silent} VMs did not answer in time") } else { none })
}

/// What is known of a job that has ended.
pub fn remembered(lineup: &Lineup, id: JobId) -> Result<Option<Value>, String> {
    let (answers, _) = ask(owners(lineup, id)?, &Order::Status(id));
    let known = answers.into_iter().find_map(|(name, answer)| match answer {
        Ok(Value::Object(status)) => {
            let mut row = fields(json!({ "id": id.to_string(), "plugin": name }));
            row.extend(status);
            Some(Value::Object(row))
        }
        _ => None,
    });
    Ok(known)
}

fn complete(lineup: &Lineup, request: &Fields, verdict: Verdict) -> Result<Value, String> {
    let id = id_of(text(request, "id")?.ok_or("the text field \"id\" is missing")?)?;
    let pools = lineup.pools();
    // One board for all plugins.
    let done = pools.first().is_some_and(|pool| pool.board().complete(id, Party::Elsewhere, verdict));
    if done {
        Ok(json!({ "id": id.to_string() }))
    } else {
        Err(format!("nothing is open under {id}: it is unknown, has ended, or somebody else has completed it"))
    }
}
