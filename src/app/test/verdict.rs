//! How a case ended, and how that is shown.

use std::io::{self, Write};

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::cases::Found;
use crate::app::screen::{Paint, Screen, program};
use crate::shell::typed;

/// Lines of a difference that are shown.
const SHOWN: usize = 100;
/// Lines of context around one.
const CONTEXT: usize = 2;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As before.
    Passed,
    /// The snapshot was written.
    Written,
    /// There is no snapshot yet.
    New,
    /// Something else came out.
    Different {
        /// The snapshot.
        earlier: String,
        /// What came out.
        now: String,
    },
    /// Jobs had no recorded answer.
    Unanswered(Vec<String>),
    /// It could not run.
    Broken(String),
}

impl Verdict {
    /// Whether the case is all right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Passed | Self::Written)
    }

    /// One word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Written => "written",
            Self::New => "new",
            Self::Different { .. } => "different",
            Self::Unanswered(_) => "unanswered",
            Self::Broken(_) => "broken",
        }
    }

    /// A line for the case, and below it what there is to say.
    ///
    /// # Errors
    /// When the screen cannot be written to.
    pub fn show(&self, found: &Found, screen: &mut Screen<'_>) -> io::Result<()> {
        let paint = if self.is_good() { Paint::Good } else { Paint::Bad };
        let word = screen.paint(paint, if self.is_good() { self.name() } else { "FAILED" });
        writeln!(screen, "{word} {}", found.name())?;
        let program = program();
        let again = format!("{program} test {}", typed(&found.file));
        match self {
            Self::Passed | Self::Written => Ok(()),
            Self::New => writeln!(screen, "  there is no snapshot yet; to write one: {again} --update"),
            Self::Unanswered(questions) => {
                for question in questions {
                    writeln!(screen, "  no recorded answer for {question}")?;
                }
                writeln!(screen, "  to let the jobs run and record what they answer: {again} --record")
            }
            Self::Broken(problem) => writeln!(screen, "  {}", problem.replace('\n', "\n  ")),
            Self::Different { earlier, now } => {
                for (tag, line) in difference(earlier, now) {
                    let line = match tag {
                        ChangeTag::Delete => screen.paint(Paint::Bad, &format!("- {line}")),
                        ChangeTag::Insert => screen.paint(Paint::Good, &format!("+ {line}")),
                        ChangeTag::Equal => screen.paint(Paint::Faint, &format!("  {line}")),
                    };
                    writeln!(screen, "  {line}")?;
                }
                writeln!(screen, "  - the snapshot, + this run; if this run is right: {again} --update")
            }
        }
    }

    /// The same for programs.
    #[must_use]
    pub fn document(&self, found: &Found) -> Value {
        let mut document = json!({
            "name": found.name(),
            "file": found.file.display().to_string(),
            "verdict": self.name(),
        });
        match self {
            Self::Different { earlier, now } => {
                let lines = difference(earlier, now).into_iter().map(|(tag, line)| format!("{tag}{line}"));
                document["difference"] = lines.collect::<Vec<_>>().into();
            }
            Self::Unanswered(questions) => document["unanswered"] = questions.clone().into(),
            Self::Broken(problem) => document["problem"] = problem.clone().into(),
            Self::Passed | Self::Written | Self::New => {}
        }
        document
    }
}

/// The lines that differ, with some around them.
fn difference(earlier: &str, now: &str) -> Vec<(ChangeTag, String)> {
    let diff = TextDiff::from_lines(earlier, now);
    let mut lines = Vec::new();
    let mut left_out = 0;
    for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if number > 0 {
            lines.push((ChangeTag::Equal, "...".to_owned()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            if lines.len() >= SHOWN {
                left_out += 1;
            } else {
                lines.push((change.tag(), change.value().trim_end_matches('\n').to_owned()));
            }
        }
    }
    if left_out > 0 {
        lines.push((ChangeTag::Equal, format!("... and {left_out} more lines")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_shows_what_changed_and_a_little_around_it() {
        let text = |middle: &str| format!("a\nb\nc\n{middle}\nd\ne\nf\n");
        let lines: Vec<String> =
            difference(&text("x"), &text("y")).iter().map(|(tag, line)| format!("{tag}{line}")).collect();
        assert_eq!(lines, [" b", " c", "-x", "+y", " d", " e"]);
    }

    #[test]
    fn long_differences_are_cut() {
        let many: String = (0..1_000).map(|i| format!("{i}\n")).collect();
        let lines = difference("", &many);
        assert_eq!(lines.len(), 101);
        assert_eq!(lines[100].1, "... and 900 more lines");
    }
}
