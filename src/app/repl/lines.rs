//! What is typed: with editing and history on a terminal, line by line otherwise.

use std::io::{self, BufRead, IsTerminal};

use anyhow::Context;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

/// Where lines come from.
pub enum Lines {
    /// Somebody who types.
    Terminal(Box<DefaultEditor>),
    /// A pipe or a file.
    Pipe,
}

impl Lines {
    /// Standard input.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open() -> anyhow::Result<Self> {
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            return Ok(Self::Terminal(Box::new(DefaultEditor::new().context("the terminal")?)));
        }
        Ok(Self::Pipe)
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        match self {
            Self::Terminal(editor) => loop {
                match editor.readline(prompt) {
                    Ok(line) => {
                        // Without a history nothing is lost but comfort.
                        let _ = editor.add_history_entry(&line);
                        return Ok(Some(line));
                    }
                    Err(ReadlineError::Interrupted) => {}
                    Err(ReadlineError::Eof) => return Ok(None),
                    Err(e) => return Err(e).context("reading a line"),
                }
            },
            Self::Pipe => {
                let mut line = Vec::new();
                let read = io::stdin().lock().read_until(b'\n', &mut line).context("reading a line")?;
                Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned()))
            }
        }
    }
}
