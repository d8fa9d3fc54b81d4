//! Full-text search.

use rusqlite::{OptionalExtension, params};

use super::answer::{Answer, Cell};
use super::names::text;
use super::reader::{QueryError, Reader};
use crate::time::Timestamp;

/// Words of a snippet.
const SNIPPET: u32 = 16;
/// Documents that are ranked: of more, the latest ones.
const RANKED: i64 = 5_000;

/// Documents with the words, the best of the latest 5,000 first: time, group, flow, a snippet with the words in brackets, and the rank (smaller
/// is better). Words are those of FTS5 (`AND`, `OR`, `NOT`, `NEAR`, `"a phrase"`, `begin*`); without any of its signs every
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
    let first = latest(reader, &expression, first, last).map_err(complaint)?;
    let sql = format!(
        "SELECT d.time, (SELECT name FROM groups WHERE id = d.grp),
           snippet(documents_fts, 0, '[', ']', '...', {SNIPPET}), d.flow, f.rank
         FROM documents_fts f CROSS JOIN documents d ON d.id = f.rowid
         WHERE documents_fts MATCH ?1 AND f.rowid >= ?3 AND f.rowid <= ?4 AND d.time >= ?5 AND d.time <= ?6
         ORDER BY f.rank LIMIT ?2"
    );
    let mut select = reader.prepare(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let from = from.map_or(i64::MIN, Timestamp::as_nanos);
    let to = to.map_or(i64::MAX, Timestamp::as_nanos);
    let mut rows = select.query(params![expression, limit, first, last, from, to]).map_err(complaint)?;
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

/// First and last row of the documents of a time range; `None` if there are none.
fn rows_of(reader: &Reader, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Option<(i64, i64)>, QueryError> {
    if from.is_none() && to.is_none() {
        return Ok(Some((i64::MIN, i64::MAX)));
    }
    let sql = "SELECT min(id), max(id) FROM documents INDEXED BY documents_time WHERE time >= ?1 AND time <= ?2";
    let times = [from.map_or(i64::MIN, Timestamp::as_nanos), to.map_or(i64::MAX, Timestamp::as_nanos)];
    let pair = |row: &rusqlite::Row<'_>| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?));
    Ok(reader.prepare(sql)?.query_row(times, pair)?)
}

/// The first row from which on no more documents match than are ranked.
fn latest(reader: &Reader, expression: &str, first: i64, last: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT rowid FROM documents_fts WHERE documents_fts MATCH ?1 AND rowid >= ?2 AND rowid <= ?3
               ORDER BY rowid DESC LIMIT 1 OFFSET ?4";
    let mut select = reader.prepare(sql)?;
    let row = select.query_row(params![expression, first, last, RANKED - 1], |row| row.get(0)).optional()?;
    Ok(row.unwrap_or(first))
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
