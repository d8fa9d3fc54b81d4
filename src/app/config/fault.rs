//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// In a variable of the environment.
    Variable(String),
    /// On the command line.
    Argument(String),
}

impl Place {
    /// Of a range of bytes of a file's text.
    #[must_use]
    pub fn of(path: &Path, text: &str, span: &Range<usize>) -> Self {
        // A span may point behind the last byte, or, in damaged text, into a character.
        let at = (0..=span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self::File { path: path.to_owned(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) | Self::Argument(name) => f.write_str(name),
        }
    }
}

/// Something that cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What is wrong and what to type instead.
    pub message: String,
}

impl Fault {
    /// A fault at a place.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use std::path::Path;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let of = |text: &str, at| Place::of(Path::new("x"), text, &(at..at)).to_string();
        assert_eq!(of("a\nbc", 3), "x:2:2");
        assert_eq!(of("é = 1", 2), "x:1:2");
        assert_eq!(of("é", 1), "x:1:1");
        assert_eq!(of("", 9), "x:1:1");
        assert_eq!(of("a\n", 9), "x:2:1");
    }
}
