//! Recorded answers of jobs as text: blocks of lines, `name value`, texts in quotation marks.

use std::fmt::Write;

use super::quoted::{Misquoted, quote, unquote};
use crate::job::{Answer, JobState, OutputLine, Question};

const HEAD: &str = "\
# Answers of jobs, in the order scheduled. Written by: millstream test --record\n";

/// Why a recording cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    line: usize,
    what: String,
}

/// The recording as text.
#[must_use]
pub fn write(answers: &[Answer]) -> String {
    let mut out = HEAD.to_owned();
    for answer in answers {
        let Question { plugin, function, data } = &answer.question;
        let mut line = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name} {value}");
        };
        line("\njob", &format!("{} {}", quote(plugin.as_bytes()), quote(function.as_bytes())));
        line("data", &quote(data));
        for output in &answer.output {
            match output {
                OutputLine::Print(text) => line("print", &quote(text)),
                OutputLine::Log { level, text } => line("log", &format!("{level} {}", quote(text))),
            }
        }
        if let Some(result) = &answer.result {
            line("result", &quote(result));
        }
        let error = quote(answer.error.as_deref().unwrap_or_default().as_bytes());
        match answer.state {
            JobState::Failed => line("failed", &error),
            JobState::TimedOut => line("timed-out", &error),
            _ => {}
        }
    }
    out
}

/// A recording read back.
///
/// # Errors
/// [`Unreadable`] with the line.
pub fn read(text: &str) -> Result<Vec<Answer>, Unreadable> {
    let mut answers: Vec<Answer> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |what: String| Unreadable { line: number + 1, what };
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let bytes = |value: &str| unquote(value.trim()).map_err(|e: Misquoted| fail(e.to_string()));
        let text = |value: &str| Ok(String::from_utf8_lossy(&bytes(value)?).into_owned());
        if name == "job" {
            let Some((plugin, function)) = value.split_once("\" \"") else {
                return Err(fail("a plugin and a function are needed".to_owned()));
            };
            let (plugin, function) = (text(&format!("{plugin}\""))?, text(&format!("\"{function}"))?);
            let question = Question { plugin, function, data: Vec::new() };
            answers.push(Answer { question, state: JobState::Done, result: None, error: None, output: Vec::new() });
            continue;
        }
        let Some(answer) = answers.last_mut() else { return Err(fail("a line 'job' comes first".to_owned())) };
        match name {
            "data" => answer.question.data = bytes(value)?,
            "result" => answer.result = Some(bytes(value)?),
            "print" => answer.output.push(OutputLine::Print(bytes(value)?)),
            "log" => {
                let (level, said) = value.split_once(' ').unwrap_or((value, ""));
                let level = level.parse().map_err(|_| fail(format!("'{level}' is no log level")))?;
                answer.output.push(OutputLine::Log { level, text: bytes(said)? });
            }
            "failed" => (answer.state, answer.error) = (JobState::Failed, Some(text(value)?)),
            "timed-out" => (answer.state, answer.error) = (JobState::TimedOut, Some(text(value)?)),
            other => return Err(fail(format!("'{other}' is not known here"))),
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::{Answer, JobState, OutputLine, Question, read, write};

    fn answer(data: &[u8], state: JobState, result: Option<&[u8]>) -> Answer {
        let question =
            Question { plugin: "a b.lua".to_owned(), function: "a b.lua:12".to_owned(), data: data.to_vec() };
        let error = (state != JobState::Done).then(|| "a.lua:3: \"no\"".to_owned());
        let output = vec![OutputLine::Print(b"x\ny".to_vec()), OutputLine::Log { level: 4, text: b"\xff".to_vec() }];
        Answer { question, state, result: result.map(<[u8]>::to_vec), error, output }
    }

    #[test]
    fn recordings_come_back_as_they_were() {
        let answers = [
            answer(b"\0\xffdata\n", JobState::Done, Some(b"\x01")),
            answer(b"", JobState::Done, None),
            answer(b"x", JobState::Failed, None),
            answer(b"y", JobState::TimedOut, None),
        ];
        assert_eq!(read(&write(&answers)).unwrap(), answers);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        assert_eq!(read("\nresult \"x\"\n").unwrap_err().to_string(), "line 2: a line 'job' comes first");
        let text = write(&[answer(b"", JobState::Done, None)]) + "what \"x\"\n";
        assert!(read(&text).unwrap_err().to_string().ends_with("'what' is not known here"));
    }
}
