//! `millstream status`, `plugins`, `stats`, `reload` and `stop`.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{LIMIT, only_run, request};
use crate::app::Outcome;
use crate::app::cli::{SpeakArgs, StopArgs};
use crate::app::screen::{Screen, columns};

/// Sends a request without fields and shows the answer.
///
/// # Errors
/// When no run answers.
pub fn ask(name: &str, args: &SpeakArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    send(&json!({ "request": name }), args, screen)
}

/// Asks a run to end.
///
/// # Errors
/// When no run answers.
pub fn stop(args: &StopArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    send(&json!({ "request": "stop", "at_once": args.at_once }), &args.speak, screen)
}

/// Sends a request and shows the answer.
///
/// # Errors
/// When no run answers.
pub fn send(question: &Value, args: &SpeakArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    show(exchange(question, args, Duration::ZERO)?, args, screen)?;
    Ok(Outcome::Good)
}

/// Sends a request to the run that the arguments name, or the only one; the run may wait so long for what is asked.
pub(super) fn exchange(question: &Value, args: &SpeakArgs, patience: Duration) -> anyhow::Result<Value> {
    let socket = match &args.control {
        Some(path) => path.clone(),
        None => only_run()?,
    };
    request(&socket, question, LIMIT + patience)
}

/// Shows an answer as the arguments want it.
pub(super) fn show(mut answer: Value, args: &SpeakArgs, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    if args.json {
        screen.json(&answer)?;
    } else {
        if let Value::Object(fields) = &mut answer {
            fields.shift_remove("ok");
        }
        for line in lines(&answer) {
            writeln!(screen, "{line}")?;
        }
    }
    Ok(())
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(elements) if elements.is_empty() => "-".to_owned(),
        Value::Array(elements) => elements.iter().map(word).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// An answer as text: a line for each field, a table for each list of objects.
#[must_use]
pub fn lines(answer: &Value) -> Vec<String> {
    let Value::Object(fields) = answer else { return vec![word(answer)] };
    let mut out = Vec::new();
    let plain: Vec<Vec<String>> = fields
        .iter()
        .filter(|(_, value)| !is_table(value) && !value.is_object())
        .map(|(name, value)| vec![name.replace('_', " "), word(value)])
        .collect();
    out.extend(columns(&plain));
    for (name, value) in fields {
        if let Value::Object(inner) = value {
            let rows: Vec<Vec<String>> =
                inner.iter().map(|(name, value)| vec![format!("  {name}"), word(value)]).collect();
            out.push(format!("{}:", name.replace('_', " ")));
            out.extend(columns(&rows));
        }
        let Some(rows) = value.as_array().filter(|_| is_table(value)) else { continue };
        let head: Vec<&String> = rows[0].as_object().into_iter().flat_map(|row| row.keys()).collect();
        let mut table = vec![head.iter().map(|name| name.replace('_', " ")).collect::<Vec<_>>()];
        table.extend(rows.iter().map(|row| head.iter().map(|name| word(&row[name.as_str()])).collect()));
        out.push(format!("{}:", name.replace('_', " ")));
        out.extend(columns(&table).into_iter().map(|line| format!("  {line}")));
    }
    out
}

fn is_table(value: &Value) -> bool {
    value.as_array().is_some_and(|rows| rows.first().is_some_and(Value::is_object))
}

#[cfg(test)]
mod tests {
    use super::lines;
    use serde_json::json;

    #[test]
    fn answers_are_lines_and_tables() {
        let answer = json!({ "packets": 3, "inputs": ["a", "b"], "drops": { "kernel": 1 },
            "plugins": [{ "name": "x", "calls": 7 }, { "name": "long", "calls": 8 }] });
        let expected = [
            "packets  3",
            "inputs   a, b",
            "drops:",
            "  kernel  1",
            "plugins:",
            "  name  calls",
            "  x     7",
            "  long  8",
        ];
        assert_eq!(lines(&answer), expected);
    }
}
