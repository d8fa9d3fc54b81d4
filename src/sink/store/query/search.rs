//! Full-text search.

use rusqlite::params;

use super::answer::{Answer, Cell};
use super::names::text;
use super::reader::{QueryError, Reader};
use crate::time::Timestamp;

/// Words of a snippet.
const SNIPPET: u32 = 16;

/// Documents with the words, the best first: time, group, flow, a snippet with the words in brackets, and the rank (smaller
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
    let range = if from.is_some() || to.is_some() { "AND d.time >= ?3 AND d.time <= ?4" } else { "" };
    let sql = format!(
        "SELECT d.time, (SELECT name FROM groups WHERE id = d.grp),
           snippet(documents_fts, 0, '[', ']', '...', {SNIPPET}), d.flow, f.rank
         FROM documents_fts f CROSS JOIN documents d ON d.id = f.rowid
         WHERE documents_fts MATCH ?1 {range} ORDER BY f.rank LIMIT ?2"
    );
    let mut select = reader.prepare(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let result = if range.is_empty() {
        select.query(params![expression, limit])
    } else {
        let from = from.map_or(i64::MIN, Timestamp::as_nanos);
        let to = to.map_or(i64::MAX, Timestamp::as_nanos);
        select.query(params![expression, limit, from, to])
    };
    let complaint = |e: rusqlite::Error| match e.sqlite_error_code() {
        // Errors in the expression have no code of their own.
        Some(rusqlite::ErrorCode::Unknown) | None => wrong(&e),
        _ => QueryError::Database(e),
    };
    let mut rows = result.map_err(complaint)?;
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
