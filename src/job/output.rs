//! What a job prints and logs, kept until its completion is delivered.

use std::cell::RefCell;
use std::rc::Rc;

/// Most bytes of output a job keeps.
const LIMIT: usize = 1 << 20;
/// What a line costs beyond its text, so that a million empty lines are not free.
const LINE_COST: usize = 48;

/// One line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputLine {
    /// Printed text without the newline.
    Print(Vec<u8>),
    /// A log record.
    Log {
        /// Severity as the plugin gave it.
        level: i32,
        /// Its text.
        text: Vec<u8>,
    },
}

impl OutputLine {
    pub(super) fn size(&self) -> usize {
        let (Self::Print(text) | Self::Log { text, .. }) = self;
        text.len() + LINE_COST
    }
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<OutputLine>,
    size: usize,
    cut: u64,
}

/// Where the functions of a worker's VM put output of the job that runs. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct JobOutput(Rc<RefCell<Lines>>);

impl JobOutput {
    /// Keeps a line, or counts it if the job has too many.
    pub fn push(&self, line: OutputLine) {
        let mut lines = self.0.borrow_mut();
        let size = line.size();
        if lines.size + size > LIMIT {
            lines.cut += 1;
            return;
        }
        lines.size += size;
        lines.lines.push(line);
    }

    /// Empties it: the lines and how many were left out.
    pub(super) fn take(&self) -> (Vec<OutputLine>, u64) {
        let mut lines = self.0.borrow_mut();
        if lines.size == 0 && lines.cut == 0 {
            return (Vec::new(), 0);
        }
        let Lines { lines, cut, .. } = std::mem::take(&mut *lines);
        (lines, cut)
    }
}

#[cfg(test)]
mod tests {
    use super::{JobOutput, LIMIT, OutputLine};

    #[test]
    fn output_beyond_the_limit_is_counted() {
        let output = JobOutput::default();
        for _ in 0..5 {
            output.push(OutputLine::Print(vec![b'x'; LIMIT / 4]));
        }
        output.push(OutputLine::Log { level: 4, text: b"small".to_vec() });
        let (lines, cut) = output.take();
        assert_eq!((lines.len(), cut), (4, 2));
        assert_eq!(output.take(), (Vec::new(), 0));
    }
}
