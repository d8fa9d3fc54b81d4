//! `millstream call`.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::command::{exchange, show};
use crate::app::Outcome;
use crate::app::cli::{CallArgs, EngineChoice};
use crate::app::screen::Screen;

/// How long an answer is waited for unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls a function of a plugin of a run, or asks for what an earlier call has returned.
///
/// # Errors
/// When no run answers, there is no such function, or it fails.
pub fn call(args: &CallArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let usual = if args.result.is_some() { Duration::ZERO } else { PATIENCE };
    let timeout = args.timeout.unwrap_or(usual);
    let question = match &args.result {
        Some(id) => json!({ "request": "call_result", "id": id, "timeout": timeout.as_secs_f64() }),
        None => json!({
            "request": "call",
            "function": args.function,
            "args": args.args.iter().map(|text| if args.json_args { parsed(text) } else { json!(text) }).collect::<Vec<_>>(),
            "engine": args.engine.map(|engine| match engine {
                EngineChoice::One(number) => json!(number),
                EngineChoice::All => json!("all"),
            }),
            "timeout": timeout.as_secs_f64(),
            "async": args.is_async,
            "callback": args.callback,
        }),
    };
    let answer = exchange(&question, &args.speak, timeout)?;
    let waits = answer["state"].as_str().is_some_and(|state| state != "done");
    let failed = answer["results"].as_array().is_some_and(|rows| rows.iter().any(|row| row["error"].is_string()));
    if args.speak.json {
        show(answer, &args.speak, screen)?;
    } else {
        print(&answer, args, screen)?;
    }
    Ok(if waits || failed { Outcome::Flawed } else { Outcome::Good })
}

/// What a text stands for if it is JSON, and itself if it is not.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

fn print(answer: &Value, args: &CallArgs, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    if let Some(rows) = answer["results"].as_array() {
        for row in rows {
            write!(screen, "{}: ", row["engine"])?;
            match row["error"].as_str() {
                Some(error) => writeln!(screen, "error: {error}")?,
                None if row["result"].is_null() && row["result_hex"].is_null() => writeln!(screen, "-")?,
                None => result(row, screen)?,
            }
        }
        return Ok(());
    }
    if args.is_async {
        let ids = answer["ids"].as_array().cloned().unwrap_or_else(|| vec![answer["id"].clone()]);
        for id in ids {
            writeln!(screen, "{}", id.as_str().unwrap_or_default())?;
        }
        return Ok(());
    }
    if let Some(state) = answer["state"].as_str().filter(|state| *state != "done") {
        writeln!(screen, "{state}")?;
        return Ok(());
    }
    result(answer, screen)
}

/// Text as it is, any other value as JSON, nothing for nothing.
fn result(answer: &Value, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    if let Some(hex) = answer["result_hex"].as_str() {
        let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(byte).collect();
        return Ok(screen.write_all(&bytes)?);
    }
    match &answer["result"] {
        Value::Null => Ok(()),
        Value::String(text) if text.ends_with('\n') => Ok(write!(screen, "{text}")?),
        Value::String(text) => Ok(writeln!(screen, "{text}")?),
        other => Ok(writeln!(screen, "{other}")?),
    }
}
