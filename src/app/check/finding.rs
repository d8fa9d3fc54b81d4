//! What `check` found, and how it is said.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::app::screen::{Paint, Screen, count};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work.
    Error,
    /// Something probably does not do what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing to tell the author of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as given or found.
    pub file: String,
    /// Line in it, from 1.
    pub line: u32,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do; empty if the message says it.
    pub advice: String,
}

/// Findings about one file.
#[derive(Debug)]
pub struct Findings {
    file: String,
    list: Vec<Finding>,
}

impl Findings {
    /// None yet.
    #[must_use]
    pub fn of(file: String) -> Self {
        Self { file, list: Vec::new() }
    }

    /// Adds one, unless the same was said before: several blocks of a file run into the same mistake.
    pub fn add(&mut self, severity: Severity, line: u32, message: impl Into<String>, advice: impl Into<String>) {
        let (message, advice) = (message.into(), advice.into());
        let finding = Finding { file: self.file.clone(), line: line.max(1), severity, message, advice };
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    /// The findings in the order of their lines, the worst of a line first.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| (finding.line, finding.severity));
        self.list
    }
}

/// Everything found in a number of files.
#[derive(Debug)]
pub struct Verdict {
    /// Files looked at.
    pub files: usize,
    /// Findings, file by file.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// How many findings are that bad.
    #[must_use]
    pub fn number(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// Writes the findings as a compiler would, and the numbers at the end.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn text(&self, screen: &mut Screen<'_>) -> io::Result<()> {
        for finding in &self.findings {
            let paint = match finding.severity {
                Severity::Error => Paint::Bad,
                Severity::Warning => Paint::Doubtful,
                Severity::Note => Paint::Faint,
            };
            let word = screen.paint(paint, finding.severity.name());
            let place = screen.paint(Paint::Strong, &format!("{}:{}:", finding.file, finding.line));
            writeln!(screen, "{place} {word}: {}", finding.message)?;
            if !finding.advice.is_empty() {
                writeln!(screen, "    {}", finding.advice)?;
            }
        }
        let number = |severity: Severity| count(self.number(severity), severity.name());
        let files = count(self.files, "file");
        if self.findings.is_empty() {
            return writeln!(screen, "{files} checked: {}", screen.paint(Paint::Good, "nothing to complain about"));
        }
        let (errors, warnings, notes) = (number(Severity::Error), number(Severity::Warning), number(Severity::Note));
        writeln!(screen, "{files} checked: {errors}, {warnings}, {notes}")
    }

    /// The same as a JSON document.
    #[must_use]
    pub fn document(&self) -> Value {
        let finding = |f: &Finding| {
            json!({
                "file": f.file,
                "line": f.line,
                "severity": f.severity.name(),
                "message": f.message,
                "advice": f.advice,
            })
        };
        json!({
            "files": self.files,
            "errors": self.number(Severity::Error),
            "warnings": self.number(Severity::Warning),
            "notes": self.number(Severity::Note),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Findings, Severity, Verdict};
    use crate::app::screen::Screen;
    use crate::sink::ColourMode;

    #[test]
    fn findings_are_said_once_in_the_order_of_lines() {
        let mut findings = Findings::of("p.lua".to_owned());
        findings.add(Severity::Note, 9, "later", "");
        for _ in 0..2 {
            findings.add(Severity::Error, 0, "wrong", "do right");
        }
        let verdict = Verdict { files: 1, findings: findings.sorted() };
        let mut text = Vec::new();
        verdict.text(&mut Screen::new(&mut text, ColourMode::Never)).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "p.lua:1: error: wrong\n    do right\np.lua:9: note: later\n1 file checked: 1 error, 0 warnings, 1 note\n"
        );
        assert_eq!(verdict.document()["findings"][1]["line"], 9);
    }
}
