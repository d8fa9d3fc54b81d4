//! Rows in the order of a number, the largest first.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use rusqlite::params;

use super::reader::{QueryError, Reader};
use super::records::RecordsQuery;
use crate::sink::store::lists::{BLOCK, Entry, List, decode};
use crate::time::Timestamp;

/// Smallest and largest number.
pub(super) type Range = (i64, i64);

/// Every number there is.
pub(super) const ALL: Range = (i64::MIN, i64::MAX);

/// The times that are asked for.
pub(super) fn times(query: &RecordsQuery) -> Range {
    (query.from.map_or(i64::MIN, Timestamp::as_nanos), query.to.map_or(i64::MAX, Timestamp::as_nanos))
}

/// Goes through the rows of a list whose numbers lie in a range, from the largest number on; of equal ones the row written
/// last comes first.
pub(super) fn walk(
    reader: &Reader,
    list: List,
    (low, high): Range,
    mut visit: impl FnMut(Entry) -> Result<ControlFlow<()>, QueryError>,
) -> Result<(), QueryError> {
    let (number, group) = list.columns();
    let mut select = reader.prepare(
        "SELECT first, last, entries FROM lists
         WHERE list = ?1 AND grp = ?2 AND last >= ?3 AND last <= ?4 AND first <= ?5 ORDER BY last DESC",
    )?;
    let mut rows = select.query(params![number, group, low, high.saturating_add(list.span()), high])?;
    let mut closed = rows.next()?;
    // What is left of blocks that were opened, and the largest entry of each.
    let mut blocks: Vec<Vec<Entry>> = Vec::new();
    let mut heads: BinaryHeap<(Entry, usize)> = BinaryHeap::new();
    let mut before = None;
    loop {
        // What comes next may be in any block that reaches so far.
        while let Some(row) = closed {
            let last: i64 = row.get(1)?;
            if heads.peek().is_some_and(|&((number, _), _)| number > last) {
                break;
            }
            let mut block = decode(row.get(0)?, row.get_ref(2)?.as_blob().unwrap_or_default())?;
            block.truncate(block.partition_point(|&(number, _)| number <= high));
            block.drain(..block.partition_point(|&(number, _)| number < low));
            heads.extend(block.pop().map(|entry| (entry, blocks.len())));
            blocks.push(block);
            closed = rows.next()?;
        }
        let Some((entry, at)) = heads.pop() else { return Ok(()) };
        heads.extend(blocks[at].pop().map(|entry| (entry, at)));
        // Rows that were deleted may have been numbered again.
        if before.replace(entry) != Some(entry) && visit(entry)?.is_break() {
            return Ok(());
        }
    }
}

/// A number of rows that those of a list in a range do not exceed: its blocks may be full.
pub(super) fn at_most(reader: &Reader, list: List, (low, high): Range) -> Result<usize, QueryError> {
    let (number, group) = list.columns();
    let mut select = reader.prepare(
        "SELECT count(*) FROM lists WHERE list = ?1 AND grp = ?2 AND last >= ?3 AND last <= ?4 AND first <= ?5",
    )?;
    let range = params![number, group, low, high.saturating_add(list.span()), high];
    let blocks: i64 = select.query_row(range, |row| row.get(0))?;
    Ok(usize::try_from(blocks).unwrap_or_default().saturating_mul(BLOCK))
}

/// The rows of a list in a range, from the largest number on, at most so many.
pub(super) fn largest(reader: &Reader, list: List, range: Range, limit: usize) -> Result<Vec<i64>, QueryError> {
    let mut rows = Vec::new();
    if limit > 0 {
        walk(reader, list, range, |(_, row)| {
            rows.push(row);
            Ok(if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    Ok(rows)
}
