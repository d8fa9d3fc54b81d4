//! Full-text search.

use rusqlite::{OptionalExtension, params};

use super::answer::{Answer, Cell};
use super::listed::{ALL, Range};
use super::names::text;
use super::reader::{QueryError, Reader};
use crate::sink::store::ordered::hour;
use crate::time::Timestamp;

const GROUP: &str = "(SELECT name FROM groups WHERE id = d.grp)";
/// Words of a snippet.
const SNIPPET: u32 = 16;
/// Texts that are ranked: of more, the latest ones.
const RANKED: i64 = 5_000;
/// Words of so many texts say nothing about any of them: there is no best one.
const COMMON: i64 = 50_000;

/// Documents with the words: time, group, flow, a snippet with the words in brackets, and the rank (smaller is better). Those
/// with the best of the latest 5,000 texts come first; of words that 50,000 texts have, wherever they are, those with the
/// text that was written last, without a rank. Words are those of FTS5 (`AND`, `OR`, `NOT`, `NEAR`, `"a phrase"`, `begin*`);
/// without any of its signs every word is taken as it stands.
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
    let _snapshot = reader.snapshot()?;
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
        "SELECT f.rowid, snippet(documents_fts, 0, '[', ']', '...', {SNIPPET}), {rank} FROM documents_fts f
         WHERE documents_fts MATCH ?1 AND f.rowid >= ?2 AND f.rowid <= ?3 ORDER BY {order}"
    );
    let mut select = reader.prepare(&sql)?;
    let mut texts = select.query(params![expression, first, last]).map_err(complaint)?;
    let mut with_text = [reader.prepare(&of_same_text())?, reader.prepare(&of_own_text())?];
    while answer.rows.len() < limit
        && let Some(found) = texts.next().map_err(complaint)?
    {
        for documents in &mut with_text {
            let mut rows = documents.query(params![found.get::<_, i64>(0)?, times.0, times.1])?;
            while answer.rows.len() < limit
                && let Some(row) = rows.next()?
            {
                answer.rows.push(vec![
                    Cell::time(row.get_ref(0)?),
                    Cell::Text(text(row.get_ref(1)?)),
                    Cell::Text(text(found.get_ref(1)?)),
                    Cell::of(row.get_ref(2)?),
                    Cell::of(found.get_ref(2)?),
                ]);
            }
        }
    }
    Ok(answer)
}

/// Documents of a time range with the text of an earlier row, the latest first.
fn of_same_text() -> String {
    format!(
        "SELECT d.time, {GROUP}, d.flow FROM same_texts s CROSS JOIN documents d ON d.id = s.id
         WHERE s.text = ?1 AND s.time >= ?2 AND s.time <= ?3 ORDER BY s.time DESC, s.id DESC"
    )
}

/// The document with a text of its own; in group 0 there are none.
fn of_own_text() -> String {
    format!(
        "SELECT d.time, {GROUP}, d.flow FROM documents d WHERE d.id = ?1 AND d.time >= ?2 AND d.time <= ?3 AND d.grp > 0"
    )
}

/// First and last row of the documents of the hours of a time range; `None` if there are none.
fn rows_of(reader: &Reader, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Option<(i64, i64)>, QueryError> {
    let sql = "SELECT min(first), max(last) FROM document_hours WHERE hour >= ?1 AND hour <= ?2";
    let hours = [from.map_or(i64::MIN, hour), to.map_or(i64::MAX, hour)];
    let pair = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?));
    Ok(reader.prepare(sql)?.query_row(hours, pair)?)
}

/// The row of the text that matches with so many that do not come before it, from the latest on; `None` if there are fewer.
fn nth_latest(reader: &Reader, words: &str, (first, last): (i64, i64), number: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT rowid FROM documents_fts WHERE documents_fts MATCH ?1 AND rowid >= ?2 AND rowid <= ?3
               ORDER BY rowid DESC LIMIT 1 OFFSET ?4";
    reader.prepare(sql)?.query_row(params![words, first, last, number - 1], |row| row.get(0)).optional()
}

/// The same of as many as are ranked, counting only texts that documents of a time range have: rows of other hours may lie between them. They
/// are few enough to look at, as the words are not common.
fn nth_latest_of(
    reader: &Reader,
    words: &str,
    (first, last): (i64, i64),
    (from, to): Range,
) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT f.rowid FROM documents_fts f WHERE documents_fts MATCH ?1 AND f.rowid >= ?2 AND f.rowid <= ?3
                 AND (EXISTS(SELECT 1 FROM documents d WHERE d.id = f.rowid AND d.time >= ?5 AND d.time <= ?6)
                   OR EXISTS(SELECT 1 FROM same_texts s WHERE s.text = f.rowid AND s.time >= ?5 AND s.time <= ?6))
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
