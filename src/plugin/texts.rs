//! How much of a definition's texts and lists is kept. What a file may hold in its VM would otherwise be copied into the
//! registry, every event, report and store.

use std::borrow::Cow;
use std::fmt;

use mlua::{Table, Value};

use crate::api::engine::{until_key_end, until_nul};
use crate::metrics::{Column, MAX_KEY_LEN, MAX_TEXT_BYTES};

/// Longest title, author, name of a meter, unit.
const MAX_NAME: usize = MAX_KEY_LEN;
/// Longest description or label.
const MAX_DESCRIPTION: usize = MAX_TEXT_BYTES;
/// Longest text that may stand for a number.
const MAX_NUMBER: usize = 64;
/// Texts that are named in a remark; the others are counted.
const NAMED: usize = 3;

/// A text that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where it is, such as `countergroup.control.name`.
    field: String,
    /// How long it is.
    bytes: usize,
    /// How much of it is kept.
    kept: usize,
}

/// All texts of a file that were cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    named: Vec<Cut>,
    others: usize,
    /// The row of a list that is being read, from 1; 0 is none.
    row: usize,
}

impl Cuts {
    /// The field of the first one.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.named.first().map(|cut| &*cut.field)
    }

    /// What follows is of this row of a list; of none with 0.
    pub(super) const fn begin_row(&mut self, row: usize) {
        self.row = row;
    }

    fn note(&mut self, field: &str, bytes: usize, kept: usize) {
        if self.named.len() < NAMED {
            let field = if self.row > 0 { format!("{field}[{}]", self.row) } else { field.to_owned() };
            self.named.push(Cut { field, bytes, kept });
        } else {
            self.others += 1;
        }
    }

    fn keep<'a>(&mut self, field: &str, text: &'a [u8], limit: usize) -> &'a [u8] {
        let kept = head(text, limit);
        if kept.len() < text.len() {
            self.note(field, text.len(), kept.len());
        }
        kept
    }

    fn text(&mut self, field: &str, value: &Value, limit: usize) -> Option<Vec<u8>> {
        match value {
            Value::String(text) => Some(self.keep(field, &text.as_bytes(), limit).to_vec()),
            Value::Integer(number) => Some(number.to_string().into_bytes()),
            Value::Number(number) => Some(number.to_string().into_bytes()),
            _ => None,
        }
    }

    /// A title, or another text of a few words.
    pub(super) fn name(&mut self, field: &str, value: &Value) -> Option<Vec<u8>> {
        self.text(field, value, MAX_NAME)
    }

    /// A text that may go on for longer.
    pub(super) fn description(&mut self, field: &str, value: &Value) -> Option<Vec<u8>> {
        self.text(field, value, MAX_DESCRIPTION)
    }

    /// A key as counters have it.
    pub(super) fn key(&mut self, field: &str, value: &Value) -> Option<Vec<u8>> {
        let Value::String(text) = value else { return self.name(field, value) };
        let (text, key) = (text.as_bytes(), until_key_end(&text.as_bytes()));
        if key.len() == MAX_KEY_LEN && text.get(MAX_KEY_LEN).is_some_and(|&next| next != 0) {
            self.note(field, text.len(), MAX_KEY_LEN);
        }
        Some(key)
    }

    /// The label of a key.
    pub(super) fn label(&mut self, field: &str, value: &Value) -> Option<Vec<u8>> {
        self.description(field, value).map(|label| until_nul(&label))
    }

    /// The columns of a meter's row. A text in column 4 means the form without a bottom count.
    pub(super) fn meter(&mut self, field: &str, row: &Table) -> mlua::Result<Vec<Column>> {
        let cells = (1..=7).map(|at| row.get::<Value>(at)).collect::<mlua::Result<Vec<_>>>()?;
        let texts = if matches!(cells[3], Value::String(_)) { 3 } else { 4 };
        let mut columns = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            columns.push(match cell {
                Value::Integer(number) => Column::Number(*number as f64),
                Value::Number(number) => Column::Number(*number),
                Value::String(text) => {
                    let limit = if at == texts + 1 { MAX_DESCRIPTION } else { MAX_NAME };
                    Column::Text(self.keep(field, &text.as_bytes(), limit).to_vec())
                }
                _ => Column::Absent,
            });
        }
        Ok(columns)
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = if self.named.len() + self.others == 1 { "text" } else { "texts" };
        write!(f, "{texts} too long: ")?;
        for (index, Cut { field, bytes, kept }) in self.named.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{field} has {bytes} bytes, of which the first {kept} are used")?;
        }
        if self.others > 0 {
            write!(f, "; and {} more", self.others)?;
        }
        Ok(())
    }
}

/// The first bytes of a text, without half a character at the end.
fn head(text: &[u8], limit: usize) -> &[u8] {
    if text.len() <= limit {
        return text;
    }
    let is_inside = |at: usize| text[at] & 0xC0 == 0x80;
    let end = (limit.saturating_sub(3)..=limit).rev().find(|&at| !is_inside(at)).unwrap_or(limit);
    &text[..end]
}

/// The number that a value is, or that a text of reasonable length says.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => {
            let bytes = text.as_bytes();
            let digits: Cow<'_, str> = String::from_utf8_lossy(bytes.trim_ascii());
            if digits.len() > MAX_NUMBER { None } else { digits.parse().ok() }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cuts, MAX_NAME, head, number};
    use mlua::{Lua, Value};

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(head(b"abc", 3), b"abc");
        assert_eq!(head(b"abcd", 3), b"abc");
        assert_eq!(head("abé".as_bytes(), 3), b"ab");
        assert_eq!(head("a😀".as_bytes(), 4), b"a");
        assert_eq!(head(&[0x80; 10], 4), [0x80; 4], "no character at all");
    }

    #[test]
    fn a_few_cuts_are_named_and_the_others_counted() {
        let lua = Lua::new();
        let long = Value::String(lua.create_string("x".repeat(1_000)).unwrap());
        let mut cuts = Cuts::default();
        assert_eq!(cuts.name("a", &long).unwrap().len(), MAX_NAME);
        assert_eq!(cuts.description("b", &long).unwrap().len(), 1_000);
        let key = Value::String(lua.create_string("k".repeat(254) + "é\0").unwrap());
        assert_eq!(cuts.key("k", &Value::String(lua.create_string("k\0more").unwrap())), Some(b"k".to_vec()));
        assert_eq!(cuts.to_string(), "text too long: a has 1000 bytes, of which the first 255 are used");
        assert_eq!(cuts.key("k", &key).unwrap().len(), 255, "as counters cut it");
        for field in ["c", "d", "e"] {
            cuts.name(field, &long);
        }
        assert!(cuts.to_string().starts_with("texts too long: a has"), "{cuts}");
        assert!(cuts.to_string().ends_with("; and 2 more"), "{cuts}");
        assert_eq!(cuts.first(), Some("a"));
    }

    #[test]
    fn numbers_may_be_texts_of_a_few_digits() {
        let lua = Lua::new();
        let text = |text: &str| Value::String(lua.create_string(text).unwrap());
        assert_eq!(number(&text(" 12 ")), Some(12.0));
        assert_eq!(number(&text(&"1".repeat(65))), None);
        assert_eq!(number(&Value::Nil), None);
    }
}
