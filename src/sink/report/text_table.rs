//! Aligned columns.

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows of cells whose columns are as wide as their widest cell.
#[derive(Debug, Default)]
pub(super) struct Table {
    align: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(align: &[Align]) -> Self {
        Self { align: align.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.align.len());
        self.rows.push(cells);
    }

    /// The lines, at most `width` characters each: the widest left-aligned column gives way. Columns without any text are
    /// left out.
    pub fn lines(mut self, indent: usize, width: usize, ellipsis: char) -> Vec<String> {
        let columns = self.align.len();
        let mut widths: Vec<usize> =
            (0..columns).map(|c| self.rows.iter().map(|r| chars(&r[c])).max().unwrap_or(0)).collect();
        let gaps = 2 * widths.iter().filter(|&&w| w > 0).count().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps + indent > width {
            let flexible = (0..columns).filter(|&c| self.align[c] == Align::Left).max_by_key(|&c| widths[c]);
            match flexible.filter(|&c| widths[c] > 8) {
                Some(column) => widths[column] -= 1,
                None => break,
            }
        }
        let mut lines = Vec::with_capacity(self.rows.len());
        for row in &mut self.rows {
            let mut line = " ".repeat(indent);
            let mut first = true;
            for (column, cell) in row.iter().enumerate().filter(|&(c, _)| widths[c] > 0) {
                if !first {
                    line.push_str("  ");
                }
                first = false;
                let cell = cut(cell, widths[column], ellipsis);
                let pad = " ".repeat(widths[column] - chars(&cell));
                match self.align[column] {
                    Align::Left => line.extend([cell.as_str(), &pad]),
                    Align::Right => line.extend([pad.as_str(), &cell]),
                }
            }
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}

/// Characters on screen, near enough: double-width ones count once.
pub(super) fn chars(text: &str) -> usize {
    text.chars().count()
}

/// At most `width` characters, the last one an ellipsis if something is missing.
pub(super) fn cut(text: &str, width: usize, ellipsis: char) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain([ellipsis]).collect()
}
