//! What a question is answered with.

use rusqlite::types::ValueRef;

use crate::sink::report::text_of;
use crate::time::Timestamp;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// A point in time.
    Time(Timestamp),
}

/// A column of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column(pub &'static str);

/// Rows with named columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with as many cells as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Answer {
    pub(super) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.iter().map(|name| Column(name)).collect(), rows: Vec::new() }
    }

    pub(super) fn add_column(&mut self, name: &'static str) {
        self.columns.push(Column(name));
    }

    /// Position of a column.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.0 == name)
    }

    /// A cell by row and name of the column.
    #[must_use]
    pub fn cell(&self, row: usize, name: &str) -> Option<&Cell> {
        self.rows.get(row)?.get(self.column(name)?)
    }
}

impl Cell {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one; times are seconds.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            Self::Time(time) => Some(time.as_secs_f64()),
            Self::Null | Self::Text(_) => None,
        }
    }

    /// Of a value as it is in the file.
    pub(super) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Int(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(text) | ValueRef::Blob(text) => Self::Text(text_of(text)),
        }
    }

    /// Of nanoseconds in the file.
    pub(super) fn time(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Integer(nanos) => Self::Time(Timestamp::from_nanos(nanos)),
            other => Self::of(other),
        }
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}
