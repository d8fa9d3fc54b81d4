//! Rows of a store as people and programs read them: aligned columns, a JSON document, comma-separated values.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};

use super::check::nearest;
use super::cli::AnswerArgs;
use super::moment;
use super::screen::{Audience, Paint, Screen, columns};
use super::settings;
use crate::sink::store_query::{Answer, Cell, QueryError, Reader};
use crate::sink::{harmless, latest_store, steers, store_file};
use crate::time::Timestamp;

/// Longest text of a cell in columns; more is cut.
const WIDEST: usize = 100;
/// Names that a wrong one may stand for.
const MOST_MEANT: usize = 3;

/// Opens the store that was named, or that of the latest run with one of its own.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn reader(store: Option<&Path>) -> anyhow::Result<Reader> {
    let file: PathBuf = match store {
        Some(path) => store_file(path),
        None => {
            let data = settings::data_directory();
            latest_store(&data).with_context(|| {
                let runs = data.join("runs");
                format!(
                    "no store in {}; name one with --store PATH, or make one: millstream run --store",
                    runs.display()
                )
            })?
        }
    };
    Ok(Reader::open(&file)?)
}

/// The time range that was asked for.
///
/// # Errors
/// When a time cannot be understood, or the range ends before it begins.
pub fn times(from: Option<&str>, to: Option<&str>, reader: &Reader) -> anyhow::Result<moment::Range> {
    moment::range(from, to, reader.span()?.map_or(Timestamp::EPOCH, |(_, last)| last))
}

/// What is said where there is nothing to show; `what` is what there is none of.
///
/// # Errors
/// When the store cannot be read.
pub fn nothing(what: &str, args: &AnswerArgs, range: moment::Range, reader: &Reader) -> Result<String, QueryError> {
    if args.limit == Some(0) {
        return Ok("nothing found: --limit 0 leaves no rows".to_owned());
    }
    Ok(match reader.span()? {
        None => format!("nothing found: no {what}, as nothing is stored yet"),
        Some(_) if range == (None, None) => format!("nothing found: no {what} in this store"),
        Some((first, last)) => {
            let (asked, first, last) = (moment::range_text(range), moment::text(first), moment::text(last));
            format!("nothing found: no {what}{asked}; this store has {first} to {last}")
        }
    })
}

/// A complaint with the names that were probably meant.
#[must_use]
pub fn complaint(error: QueryError) -> anyhow::Error {
    let meant = match &error {
        QueryError::NoGroup { name, there, .. } | QueryError::NoTracker { name, there } => {
            meant(name, there.iter().map(String::as_str))
        }
        QueryError::NoMeter { name, there, .. } => meant(name, there.iter().map(|(_, name)| name.as_str())),
        _ => Vec::new(),
    };
    if meant.is_empty() {
        return error.into();
    }
    let meant: Vec<String> = meant.into_iter().map(|name| format!("'{name}'")).collect();
    anyhow!("{error}; did you mean {}?", meant.join(" or "))
}

/// Names that have a text in them, else one that is few edits away.
fn meant<'a>(asked: &str, there: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let asked = asked.to_lowercase();
    let there: Vec<(String, &str)> = there.map(|name| (name.to_lowercase(), name)).collect();
    let named = |small: &str| there.iter().find(|(name, _)| name == small).map(|(_, name)| *name);
    let with = there.iter().filter(|(name, _)| asked.len() > 1 && name.contains(&asked)).map(|(_, name)| *name);
    let with: Vec<&str> = with.take(MOST_MEANT).collect();
    if with.is_empty() {
        return nearest(&asked, there.iter().map(|(name, _)| name.as_str())).and_then(named).into_iter().collect();
    }
    with
}

/// Writes an answer in the form that was asked for; of an empty one people are told `why`.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    answer: &Answer,
    args: &AnswerArgs,
    why: impl FnOnce() -> Result<String, QueryError>,
    screen: &mut Screen<'_>,
) -> anyhow::Result<()> {
    if args.json {
        return Ok(screen.json(&document(answer))?);
    }
    if args.csv {
        return Ok(write_csv(answer, screen)?);
    }
    if answer.rows.is_empty() {
        return Ok(writeln!(screen, "{}", why()?)?);
    }
    let is_filled = |&column: &usize| {
        let name = answer.columns[column].0;
        answer.rows.iter().any(|row| row.get(column).is_some_and(|cell| !shown(name, cell).is_empty()))
    };
    let filled: Vec<usize> = (0..answer.columns.len()).filter(is_filled).collect();
    let mut rows = vec![filled.iter().map(|&column| answer.columns[column].0.to_owned()).collect::<Vec<String>>()];
    for row in &answer.rows {
        rows.push(filled.iter().map(|&column| shown(answer.columns[column].0, &row[column])).collect());
    }
    align_numbers(&mut rows, answer, &filled);
    let lines = columns(&rows);
    for (number, line) in lines.iter().enumerate() {
        let line = if number == 0 { screen.paint(Paint::Strong, line) } else { line.clone() };
        writeln!(screen, "{line}")?;
    }
    Ok(())
}

/// Numbers stand to the right of their columns.
fn align_numbers(rows: &mut [Vec<String>], answer: &Answer, filled: &[usize]) {
    for (place, &column) in filled.iter().enumerate() {
        let is_number = |row: &Vec<Cell>| !matches!(row.get(column), Some(Cell::Text(_) | Cell::Time(_)));
        if answer.rows.iter().all(is_number) {
            let width = rows.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
            for row in rows.iter_mut() {
                row[place] = format!("{:>width$}", row[place]);
            }
        }
    }
}

/// A cell on a terminal: on one line, nothing that steers it.
pub fn shown(column: &str, cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Int(number) => number.to_string(),
        // Nearly all values are exact.
        Cell::Real(0.0) if column == "error" => String::new(),
        Cell::Real(share) if column == "share" => format!("{:.1} %", share * 100.0),
        Cell::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.0}"),
        Cell::Real(number) => format!("{number:.3}"),
        Cell::Time(time) => moment::text(*time),
        Cell::Text(text) => {
            let short: String = text.chars().take(WIDEST).map(|c| if steers(c) { ' ' } else { c }).collect();
            let short = short.trim_end().to_owned();
            if text.chars().nth(WIDEST).is_some() { short + "..." } else { short }
        }
    }
}

/// The rows as objects.
#[must_use]
pub fn document(answer: &Answer) -> Value {
    let object = |row: &Vec<Cell>| {
        let fields = answer.columns.iter().zip(row).map(|(column, cell)| (column.0.to_owned(), value(cell)));
        Value::Object(fields.collect::<Map<String, Value>>())
    };
    Value::Array(answer.rows.iter().map(object).collect())
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Text(text) => Value::from(text.clone()),
        Cell::Int(number) => Value::from(*number),
        Cell::Real(number) if number.fract() == 0.0 && number.abs() < 1e15 => Value::from(*number as i64),
        Cell::Real(number) => Value::from(*number),
        Cell::Time(time) => Value::from(moment::text(*time)),
    }
}

/// RFC 4180, with the names of the columns first.
fn write_csv(answer: &Answer, screen: &mut Screen<'_>) -> io::Result<()> {
    let names: Vec<String> = answer.columns.iter().map(|column| column.0.to_owned()).collect();
    write!(screen, "{}\r\n", names.join(","))?;
    for row in &answer.rows {
        let cells: Vec<String> = row.iter().map(field).collect();
        let line = cells.join(",");
        let line = if screen.audience() == Audience::Terminal { harmless(line.as_bytes()) } else { line };
        write!(screen, "{line}\r\n")?;
    }
    Ok(())
}

fn field(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') => {
            format!("\"{}\"", text.replace('"', "\"\""))
        }
        Cell::Text(text) => text.clone(),
        Cell::Null => String::new(),
        other => match value(other) {
            Value::String(text) => text,
            number => number.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{complaint, document, write};
    use crate::app::cli::AnswerArgs;
    use crate::app::screen::Screen;
    use crate::sink::ColourMode;
    use crate::sink::store_query::{Answer, Cell, Column, QueryError};
    use crate::time::Timestamp;

    fn answer() -> Answer {
        let text = |text: &str| Cell::Text(text.to_owned());
        Answer {
            columns: vec![Column("time"), Column("key"), Column("label"), Column("value")],
            rows: vec![
                vec![Cell::Time(Timestamp::new(1, 0)), text("a,\"b\"\n"), Cell::Null, Cell::Real(12.0)],
                vec![Cell::Time(Timestamp::new(2, 0)), text("\x1b[31mc\u{202e}\u{9b}"), Cell::Null, Cell::Real(0.5)],
            ],
        }
    }

    fn written(args: &AnswerArgs) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, ColourMode::Never);
        write(&answer(), args, why, &mut screen).unwrap();
        drop(screen);
        String::from_utf8(out).unwrap()
    }

    fn why() -> Result<String, QueryError> {
        Ok("nothing found: no rows".to_owned())
    }

    #[test]
    fn columns_are_aligned_empty_ones_left_out_and_nothing_steers_the_terminal() {
        let text = written(&AnswerArgs::default());
        assert_eq!(
            text,
            "time                         key     value\n\
             1970-01-01T00:00:01.000000Z  a,\"b\"      12\n\
             1970-01-01T00:00:02.000000Z   [31mc  0.500\n"
        );
    }

    #[test]
    fn comma_separated_values_are_quoted_where_needed() {
        let text = written(&AnswerArgs { csv: true, ..AnswerArgs::default() });
        assert!(
            text.starts_with("time,key,label,value\r\n1970-01-01T00:00:01.000000Z,\"a,\"\"b\"\"\n\",,12\r\n"),
            "{text}"
        );
    }

    #[test]
    fn programs_get_everything_and_terminals_nothing_that_steers() {
        let written = |args: &AnswerArgs, on_terminal: bool| {
            let mut out = Vec::new();
            let mut screen =
                if on_terminal { Screen::on_terminal(&mut out) } else { Screen::new(&mut out, ColourMode::Never) };
            write(&answer(), args, why, &mut screen).unwrap();
            drop(screen);
            String::from_utf8(out).unwrap()
        };
        let (csv, json) =
            (AnswerArgs { csv: true, ..AnswerArgs::default() }, AnswerArgs { json: true, ..AnswerArgs::default() });
        assert!(written(&csv, false).contains("\x1b[31mc\u{202e}\u{9b}"));
        assert!(written(&csv, true).contains(",\"a,\"\"b\"\"\n\",") && written(&csv, true).contains(", [31mc  ,"));
        let document = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let shown = written(&json, true);
        assert!(!shown.replace('\n', "").contains(|c: char| c.is_control() || c == '\u{202e}'), "{shown:?}");
        assert_eq!(document(&shown), document(&written(&json, false)));
    }

    #[test]
    fn errors_are_shown_to_people_where_there_are_any_and_to_programs_always() {
        let rows = |errors: [f64; 2]| Answer {
            columns: vec![Column("value"), Column("error")],
            rows: errors.map(|error| vec![Cell::Real(7.0), Cell::Real(error)]).to_vec(),
        };
        let shown = |answer: &Answer, args: &AnswerArgs| {
            let mut out = Vec::new();
            write(answer, args, why, &mut Screen::new(&mut out, ColourMode::Never)).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = AnswerArgs::default();
        assert_eq!(shown(&rows([0.0, 0.0]), &text), "value\n    7\n    7\n");
        assert_eq!(shown(&rows([0.0, 2.5]), &text), "value  error\n    7\n    7  2.500\n");
        let csv = AnswerArgs { csv: true, ..AnswerArgs::default() };
        assert_eq!(shown(&rows([0.0, 2.5]), &csv), "value,error\r\n7,0\r\n7,2.5\r\n");
        assert_eq!(document(&rows([0.0, 0.0]))[0]["error"], 0);
        assert_eq!(shown(&Answer::default(), &text), "nothing found: no rows\n");
    }

    #[test]
    fn names_that_are_near_are_offered() {
        let said = |name: &str| {
            let there = ["Hosts", "HostsIPv6", "DNS Resources", "Apps"].map(str::to_owned).to_vec();
            complaint(QueryError::NoGroup { kind: "counter", name: name.to_owned(), there }).to_string()
        };
        assert!(said("hots").ends_with("Apps; did you mean 'Hosts'?"), "{}", said("hots"));
        assert!(said("dns").ends_with("did you mean 'DNS Resources'?"), "{}", said("dns"));
        assert!(said("host").ends_with("did you mean 'Hosts' or 'HostsIPv6'?"), "{}", said("host"));
        assert!(said("flows of today").ends_with("there are: Hosts, HostsIPv6, DNS Resources, Apps"));
        let there = vec![(0, "Total".to_owned()), (3, "Total Packets".to_owned())];
        let meter = QueryError::NoMeter { group: "Hosts".to_owned(), name: "packets".to_owned(), there };
        assert!(complaint(meter).to_string().ends_with("3 (Total Packets); did you mean 'Total Packets'?"));
    }

    #[test]
    fn a_document_has_one_object_a_row() {
        assert_eq!(document(&answer())[1]["value"], 0.5);
        assert_eq!(document(&answer())[0]["key"], "a,\"b\"\n");
        assert!(document(&answer())[0]["label"].is_null());
    }
}
