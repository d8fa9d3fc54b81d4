//! Full-text search.

use rusqlite::{OptionalExtension, params};

use super::answer::{Answer, Cell};
use super::listed::{ALL, Range};
use super::names::text;
use super::reader::{QueryError, Reader};
use crate::sink::store::ordered::hour;
use crate::time::Timestamp;

/// Words of a snippet.
const SNIPPET: u32 = 16;
/// Documents that are ranked: of more, the latest ones.
const RANKED: i64 = 5_000;
/// Words of so many documents say nothing about any of them: there is no best one.
const COMMON: i64 = 50_000;

/// Documents with the words: time, group, flow, a snippet with the words in brackets, and the rank (smaller is better). The
/// best of the latest 5,000 come first; of words that 50,000 have anywhere, the documents written last, without a rank. Words are those of FTS5 (`AND`, `OR`, `NOT`, `NEAR`, `"a phrase"`, `begin*`); without any of its signs every
/// word is taken as it stands.
///
/// # Errors
/// [`QueryError::Words`] for what FTS5 cannot read.
pub fn search(
    reader: &Reader,
    words: &str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    limit: usize,
) -> Result<Answer, QueryError> {
    let mut answer = Answer::new(&["time", "group", "snippet", "flow", "rank"]);
    let expression = expression(words);
    let wrong = |error: &dyn std::fmt::Display| QueryError::Words { words: words.to_owned(), error: error.to_string() };
    if expression.is_empty() {
        return Err(wrong(&"there are no words"));
    }
    let complaint = |e: rusqlite::Error| match e.sqlite_error_code() {
        // Errors in the expression have no code of their own.
        Some(rusqlite::ErrorCode::Unknown) | None => wrong(&e),
        _ => QueryError::Database(e),
    };
    let Some((first, last)) = rows_of(reader, from, to)? else { return Ok(answer) };
    let is_common = is_common(reader, &expression).map_err(complaint)?;
    let times = (from.map_or(i64::MIN, Timestamp::as_nanos), to.map_or(i64::MAX, Timestamp::as_nanos));
    let ranked_from = || match times {
        ALL => nth_latest(reader, &expression, (first, last), RANKED),
        times => nth_latest_of(reader, &expression, (first, last), times),
    };
    let first = if is_common { first } else { ranked_from().map_err(complaint)?.unwrap_or(first) };
    let (rank, order) = if is_common { ("NULL", "f.rowid DESC") } else { ("f.rank", "f.rank") };
    let sql = format!(
        "SELECT d.time, (SELECT name FROM groups WHERE id = d.grp),
           snippet(documents_fts, 0, '[', ']', '...', {SNIPPET}), d.flow, {rank}
         FROM documents_fts f CROSS JOIN documents d ON d.id = f.rowid
         WHERE documents_fts MATCH ?1 AND f.rowid >= ?3 AND f.rowid <= ?4 AND d.time >= ?5 AND d.time <= ?6
         ORDER BY {order} LIMIT ?2"
    );
    let mut select = reader.prepare(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = select.query(params![expression, limit, first, last, times.0, times.1]).map_err(complaint)?;
    while let Some(row) = rows.next().map_err(complaint)? {
        answer.rows.push(vec![
            Cell::time(row.get_ref(0)?),
            Cell::Text(text(row.get_ref(1)?)),
            Cell::Text(text(row.get_ref(2)?)),
            Cell::of(row.get_ref(3)?),
            Cell::of(row.get_ref(4)?),
        ]);
    }
    Ok(answer)
}

/// First and last row of the documents of the hours of a time range; `None` if there are none.
fn rows_of(reader: &Reader, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Option<(i64, i64)>, QueryError> {
    let sql = "SELECT min(first), max(last) FROM document_hours WHERE hour >= ?1 AND hour <= ?2";
    let hours = [from.map_or(i64::MIN, hour), to.map_or(i64::MAX, hour)];
    let pair = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?));
    Ok(reader.prepare(sql)?.query_row(hours, pair)?)
}

/// The row of the document that matches with so many that do not come before it, from the latest on; `None` if there are fewer.
fn nth_latest(reader: &Reader, words: &str, (first, last): (i64, i64), number: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT rowid FROM documents_fts WHERE documents_fts MATCH ?1 AND rowid >= ?2 AND rowid <= ?3
               ORDER BY rowid DESC LIMIT 1 OFFSET ?4";
    reader.prepare(sql)?.query_row(params![words, first, last, number - 1], |row| row.get(0)).optional()
}

/// The same of as many as are ranked, counting only documents of a time range: rows of other hours may lie between them. They
/// are few enough to look at, as the words are not common.
fn nth_latest_of(
    reader: &Reader,
    words: &str,
    (first, last): (i64, i64),
    (from, to): Range,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT f.rowid FROM documents_fts f CROSS JOIN documents d ON d.id = f.rowid
               WHERE documents_fts MATCH ?1 AND f.rowid >= ?2 AND f.rowid <= ?3 AND d.time >= ?5 AND d.time <= ?6
               ORDER BY f.rowid DESC LIMIT 1 OFFSET ?4";
    let values = params![words, first, last, RANKED - 1, from, to];
    reader.prepare(sql)?.query_row(values, |row| row.get(0)).optional()
}

/// Whether ranking would take long: it looks for each word and phrase in all documents there are, whatever the range is.
/// Single words are found quickly enough.
fn is_common(reader: &Reader, expression: &str) -> rusqlite::Result<bool> {
    let quoted = expression.split('"').skip(1).step_by(2);
    let phrases = quoted.filter(|text| text.contains(|c: char| !c.is_alphanumeric())).map(|text| format!("\"{text}\""));
    for part in phrases.chain([expression.to_owned()]) {
        if nth_latest(reader, &part, (i64::MIN, i64::MAX), COMMON)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The words as FTS5 takes them.
fn expression(words: &str) -> String {
    let operator = |word: &str| matches!(word, "AND" | "OR" | "NOT") || word.starts_with("NEAR");
    let signs = |c: char| matches!(c, '"' | '*' | '(' | ')' | '^' | '{' | '}');
    if words.contains(signs) || words.split_whitespace().any(operator) {
        return words.trim().to_owned();
    }
    let quoted: Vec<String> = words.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" ")
}
