//! `millstream query`: what a store holds.

use anyhow::{Context, bail};

use super::Outcome;
use super::answer;
use super::cli::{QueryArgs, QueryOrder, Question};
use super::moment;
use super::screen::Screen;
use crate::metrics::GroupKind;
use crate::sink::store_query::{
    Answer, FlowOrder, KeysQuery, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, alerts, documents, edges,
    flows, jobs, keys, resources, runs, series, top, toppers, tracked,
};

/// Points of a series unless told otherwise.
const POINTS: usize = 10_000;
/// Rows of a list unless told otherwise.
const ROWS: usize = 20;

/// Answers a question from a store.
///
/// # Errors
/// When the store cannot be read or the question makes no sense in it.
pub fn query(args: &QueryArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    check(args)?;
    let reader = answer::reader(args.answer.store.as_deref())?;
    let range = answer::times(args.answer.from.as_deref(), args.answer.to.as_deref(), &reader)?;
    let answered = ask(args, &reader, range).map_err(|e| answer::complaint(reader.complaint(e)))?;
    let why = || answer::nothing(&subject(args, &reader)?, &args.answer, range, &reader);
    answer::write(&answered, &args.answer, why, screen)?;
    Ok(Outcome::Good)
}

fn check(args: &QueryArgs) -> anyhow::Result<()> {
    let name = args.question.name();
    let needs_group = matches!(args.question, Question::Top | Question::Toppers | Question::Keys | Question::Series);
    if needs_group && args.group.is_none() {
        bail!("query {name}: which counter group? as in: millstream query {name} Hosts");
    }
    let takes_group = !matches!(args.question, Question::Flows | Question::Jobs | Question::Runs);
    if !takes_group && args.group.is_some() {
        bail!("query {name} takes no group");
    }
    let takes_key = matches!(args.question, Question::Keys | Question::Series | Question::Edges);
    if !takes_key && args.key.is_some() {
        bail!("query {name} takes no key");
    }
    if args.meter.is_some() && !matches!(args.question, Question::Top | Question::Toppers | Question::Series) {
        bail!("--meter is for query top, query toppers and query series");
    }
    if args.by.is_some() && args.question != Question::Flows {
        let instead = match args.question {
            Question::Top | Question::Toppers => format!("; query {name} goes by the meter of --meter"),
            _ => String::new(),
        };
        bail!("--by is for query flows, as in: millstream query flows --by time{instead}");
    }
    if args.tracked.is_some() && args.question != Question::Flows {
        bail!("--tracked is for query flows");
    }
    Ok(())
}

/// What is asked for, in words.
fn subject(args: &QueryArgs, reader: &Reader) -> Result<String, QueryError> {
    let what = match (args.question, &args.tracked) {
        (Question::Top | Question::Series, _) => "values",
        (Question::Toppers, _) => "toppers",
        (Question::Keys, _) => "keys",
        (Question::Flows, Some(tracker)) => return Ok(format!("snapshots of flow tracker '{tracker}'")),
        (Question::Flows, None) => "flows that began",
        (Question::Alerts, _) => "alerts",
        (Question::Resources, _) => "resources",
        (Question::Docs, _) => "documents",
        (Question::Edges, _) => "links",
        (Question::Jobs, _) => "ends of jobs",
        (Question::Runs, _) => "runs",
    };
    let group = args.group.as_ref().map(|group| format!(" of group '{group}'")).unwrap_or_default();
    let key = args.key.as_ref().map(|key| match args.question {
        Question::Keys => format!(" that contain '{key}'"),
        _ => format!(" of key '{key}'"),
    });
    let meter = args.meter.as_ref().map(|meter| format!(" and meter '{meter}'"));
    let meter = match (args.question, meter) {
        (_, Some(meter)) => meter,
        (Question::Top | Question::Toppers | Question::Series, None) => untold_meter(args, reader)?,
        _ => String::new(),
    };
    Ok(format!("{what}{group}{}{meter}", key.unwrap_or_default()))
}

/// The meter that was taken because none was named, if there are others.
fn untold_meter(args: &QueryArgs, reader: &Reader) -> Result<String, QueryError> {
    let Ok(group) = reader.group(GroupKind::Counter, args.group.as_deref().unwrap_or_default()) else {
        return Ok(String::new());
    };
    Ok(match reader.meters(&group)?.as_slice() {
        [first, _, ..] => format!(" and meter '{}' (--meter names others)", first.name),
        _ => String::new(),
    })
}

fn ask(args: &QueryArgs, reader: &Reader, (from, to): moment::Range) -> Result<Answer, QueryError> {
    let group = args.group.clone().unwrap_or_default();
    let limit = args.answer.limit.unwrap_or(if args.question == Question::Series { POINTS } else { ROWS });
    let meter = args.meter.clone();
    let records = RecordsQuery { group: args.group.clone(), key: args.key.clone(), from, to, limit };
    match args.question {
        Question::Top => top(reader, &TopQuery { group, meter, from, to, limit }),
        Question::Toppers => toppers(reader, &TopQuery { group, meter, from, to, limit }),
        Question::Keys => keys(reader, &KeysQuery { group, containing: args.key.clone(), from, to, limit }),
        Question::Series => series(reader, &SeriesQuery { group, key: args.key.clone(), meter, from, to, limit }),
        Question::Flows => {
            if let Some(tracker) = &args.tracked {
                return tracked(reader, tracker, &records);
            }
            let order = match args.by {
                None | Some(QueryOrder::Bytes) => FlowOrder::Bytes,
                Some(QueryOrder::Time) => FlowOrder::Time,
            };
            flows(reader, &records, order)
        }
        Question::Alerts => alerts(reader, &records),
        Question::Resources => resources(reader, &records),
        Question::Docs => documents(reader, &records),
        Question::Edges => edges(reader, &records),
        Question::Jobs => jobs(reader, &records),
        Question::Runs => runs(reader, &records),
    }
}

impl Question {
    /// As it is typed.
    fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Searches the documents of a store.
///
/// # Errors
/// When the store cannot be read or the words cannot be understood.
pub fn search(args: &super::cli::SearchArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let reader = answer::reader(args.answer.store.as_deref())?;
    let range = answer::times(args.answer.from.as_deref(), args.answer.to.as_deref(), &reader)?;
    let words = args.words.join(" ");
    let limit = args.answer.limit.unwrap_or(ROWS);
    let found = crate::sink::store_query::search(&reader, &words, range.0, range.1, limit);
    let found = found.map_err(|e| reader.complaint(e)).context("search")?;
    let why = || answer::nothing(&format!("documents with '{words}'"), &args.answer, range, &reader);
    answer::write(&found, &args.answer, why, screen)?;
    Ok(Outcome::Good)
}
