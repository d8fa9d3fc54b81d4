//! What the terminal can show: colours, characters, width.

use std::io::IsTerminal;

use super::cli::ColourChoice;
use crate::sink::{Charset, ColourMode, TextStyle};

/// Columns when nobody knows better.
const DEFAULT_WIDTH: usize = 100;

/// Whether a line on standard error can be drawn again and again.
#[must_use]
pub fn shows_progress() -> bool {
    std::io::stderr().is_terminal() && !is_dumb()
}

/// Whether the terminal knows no escape sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// How text goes to standard output: plain and ASCII in a pipe, `NO_COLOR` respected.
#[must_use]
pub fn style(choice: ColourChoice) -> TextStyle {
    let terminal = std::io::stdout().is_terminal();
    let dumb = is_dumb();
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match choice {
        ColourChoice::Always => ColourMode::Always,
        ColourChoice::Auto if terminal && !dumb && !no_colour => ColourMode::Always,
        _ => ColourMode::Never,
    };
    let charset = if terminal && !dumb { Charset::Unicode } else { Charset::Ascii };
    TextStyle { colour, charset, width: width() }
}

/// Columns of the terminal; `COLUMNS` decides where it is set.
fn width() -> usize {
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    set.or_else(|| terminal_size::terminal_size().map(|(width, _)| usize::from(width.0))).unwrap_or(DEFAULT_WIDTH)
}
