//! Standard output as the commands see it: locked, buffered, with colours only where they are wanted.

use std::io::{self, BufWriter, IsTerminal, Write};

use super::cli::ColourChoice;
use super::terminal;
use crate::sink::{ColourMode, steers};

/// What a piece of text is, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// All well.
    Good,
    /// Worth a look.
    Doubtful,
    /// Wrong.
    Bad,
    /// Less important than what stands around it.
    Faint,
    /// What to look at first.
    Strong,
}

/// Who reads what a command has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A terminal, which control characters steer.
    Terminal,
    /// A file or another program, which gets everything as it is.
    Program,
}

/// Where a command writes what it has to say.
pub struct Screen<'a> {
    out: Box<dyn Write + 'a>,
    colours: ColourMode,
    audience: Audience,
}

impl Screen<'static> {
    /// Standard output; colours as asked for, by default only on a terminal and without `NO_COLOR`.
    #[must_use]
    pub fn stdout(choice: ColourChoice) -> Self {
        let colours = terminal::style(choice).colour;
        let audience = if io::stdout().is_terminal() { Audience::Terminal } else { Audience::Program };
        Self { out: Box::new(BufWriter::new(io::stdout().lock())), colours, audience }
    }
}

impl<'a> Screen<'a> {
    /// Any writer.
    #[cfg(test)]
    pub fn new(out: impl Write + 'a, colours: ColourMode) -> Self {
        Self { out: Box::new(out), colours, audience: Audience::Program }
    }

    /// Any writer, as if it were a terminal.
    #[cfg(test)]
    pub fn on_terminal(out: impl Write + 'a) -> Self {
        Self { out: Box::new(out), colours: ColourMode::Never, audience: Audience::Terminal }
    }

    /// Who reads it.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// The text with the escape sequences of its colour, if there are colours.
    #[must_use]
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if self.colours == ColourMode::Never {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => "32",
            Paint::Doubtful => "33",
            Paint::Bad => "31",
            Paint::Faint => "2",
            Paint::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A JSON document, indented.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn json(&mut self, document: &serde_json::Value) -> io::Result<()> {
        match self.audience {
            Audience::Program => serde_json::to_writer_pretty(&mut self.out, document)?,
            Audience::Terminal => {
                for c in serde_json::to_string_pretty(document)?.chars() {
                    // Outside of strings there are none but ends of lines.
                    if c != '\n' && steers(c) {
                        write!(self.out, "\\u{:04x}", u32::from(c))
                    } else {
                        write!(self.out, "{c}")
                    }?;
                }
            }
        }
        self.out.write_all(b"\n")
    }
}

impl Write for Screen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// True if a command failed only because nobody reads its output any more, as in `millstream man | head`.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |kind: io::ErrorKind| kind == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| closed(e.kind()))
            || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind).is_some_and(closed)
    })
}

/// This program as it was typed, for lines that are meant to be typed next.
#[must_use]
pub fn program() -> String {
    let typed = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
    typed
        .filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
        .unwrap_or_else(|| "millstream".to_owned())
}

/// `1 plugin`, `2 plugins`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// The lines of aligned columns, two blanks apart; the last column is not padded.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |text: &String| text.chars().count();
    let widths: Vec<usize> =
        (0..width).map(|c| rows.iter().filter_map(|row| row.get(c)).map(length).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width + 2 - length(cell)));
        }
        line.truncate(line.trim_end().len());
        line
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{ColourMode, Paint, Screen, columns, count, is_closed_pipe};
    use anyhow::Context;
    use std::io;

    #[test]
    fn colours_are_left_out_where_they_are_off() {
        let screen = |colours| Screen::new(io::sink(), colours);
        assert_eq!(screen(ColourMode::Never).paint(Paint::Bad, "x"), "x");
        assert_eq!(screen(ColourMode::Always).paint(Paint::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        assert_eq!(columns(&[row(["a", "é", "x"]), row(["long", "b", ""])]), ["a     é  x", "long  b"]);
        assert_eq!(count(1, "plugin"), "1 plugin");
        assert_eq!(count(0, "plugin"), "0 plugins");
    }

    #[test]
    fn a_closed_pipe_is_recognised_below_its_context() {
        let failed = |kind| Err::<(), _>(io::Error::from(kind)).context("writing").unwrap_err();
        assert!(is_closed_pipe(&failed(io::ErrorKind::BrokenPipe)));
        assert!(!is_closed_pipe(&failed(io::ErrorKind::StorageFull)));
    }
}
