//! `millstream query`: what a store holds.

use anyhow::{Context, bail};

use super::Outcome;
use super::answer;
use super::cli::{QueryArgs, QueryOrder, Question};
use super::screen::Screen;
use crate::sink::store_query::{
    Answer, FlowOrder, KeysQuery, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, alerts, documents, edges,
    flows, jobs, keys, resources, runs, series, top, tracked,
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
    let (from, to) = answer::times(args.answer.from.as_deref(), args.answer.to.as_deref(), &reader)?;
    let answered = ask(args, &reader, from, to).map_err(|e| reader.complaint(e))?;
    answer::write(&answered, &args.answer, screen)?;
    Ok(Outcome::Good)
}

fn check(args: &QueryArgs) -> anyhow::Result<()> {
    let name = args.question.name();
    let needs_group = matches!(args.question, Question::Top | Question::Keys | Question::Series);
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
    if args.meter.is_some() && !matches!(args.question, Question::Top | Question::Series) {
        bail!("--meter is for query top and query series");
    }
    if args.tracked.is_some() && args.question != Question::Flows {
        bail!("--tracked is for query flows");
    }
    Ok(())
}

fn ask(
    args: &QueryArgs,
    reader: &Reader,
    from: Option<crate::time::Timestamp>,
    to: Option<crate::time::Timestamp>,
) -> Result<Answer, QueryError> {
    let group = args.group.clone().unwrap_or_default();
    let limit = args.answer.limit.unwrap_or(if args.question == Question::Series { POINTS } else { ROWS });
    let meter = args.meter.clone();
    let records = RecordsQuery { group: args.group.clone(), key: args.key.clone(), from, to, limit };
    match args.question {
        Question::Top => top(reader, &TopQuery { group, meter, from, to, limit }),
        Question::Keys => keys(reader, &KeysQuery { group, containing: args.key.clone(), from, to, limit }),
        Question::Series => series(reader, &SeriesQuery { group, key: args.key.clone(), meter, from, to, limit }),
        Question::Flows => {
            if let Some(tracker) = &args.tracked {
                return tracked(reader, tracker, &records);
            }
            let order = if args.by == QueryOrder::Bytes { FlowOrder::Bytes } else { FlowOrder::Time };
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
    let (from, to) = answer::times(args.answer.from.as_deref(), args.answer.to.as_deref(), &reader)?;
    let words = args.words.join(" ");
    let limit = args.answer.limit.unwrap_or(ROWS);
    let found = crate::sink::store_query::search(&reader, &words, from, to, limit);
    let found = found.map_err(|e| reader.complaint(e)).context("search")?;
    answer::write(&found, &args.answer, screen)?;
    Ok(Outcome::Good)
}
