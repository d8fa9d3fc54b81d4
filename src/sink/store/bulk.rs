//! Statements that enter many rows at once: finding the place of a row behind another, opening tables and ending the
//! statement cost more than the row itself.
//!
//! They say `OR ROLLBACK`, which is what the writer does when a row cannot be entered; otherwise SQLite would keep the pages
//! that a statement changes, to be able to undo that statement alone.

use std::fmt::Write as _;

/// Rows of a statement for many.
pub(super) const ROWS: usize = 32;

/// An `INSERT` of rows of so many columns, up to what follows the values.
pub(super) fn insert(into: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("INSERT {into} VALUES");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            // Writing into a string does not fail.
            let _ = write!(sql, "{}?{}", if column == 1 { "" } else { ", " }, row * columns + column);
        }
        sql.push(')');
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::insert;

    #[test]
    fn parameters_are_counted_through() {
        assert_eq!(insert("INTO t(a, b)", 2, 1), "INSERT INTO t(a, b) VALUES(?1, ?2)");
        assert_eq!(insert("INTO t(a, b)", 2, 2), "INSERT INTO t(a, b) VALUES(?1, ?2), (?3, ?4)");
    }
}
