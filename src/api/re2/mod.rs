//! `T.re2`: RE2 patterns in linear time.
//!
//! A pattern is translated from RE2's syntax to that of the `regex` crate ([`translate`]), because the two differ in
//! dozens of corners (`\d` is ASCII in RE2, `\Q..\E`, `\C`, octal escapes, `[[]`, `a**`), then compiled within limits on
//! memory. Differences left: with `utf8 = false`, `case_sensitive = false` folds ASCII letters only; `posix_syntax` is
//! accepted and ignored.

mod matcher;
mod object;
mod syntax;

pub use matcher::{Matcher, Options, PatternError};
pub use object::install;
pub use syntax::{Encoding, SyntaxError, SyntaxOptions, translate};
