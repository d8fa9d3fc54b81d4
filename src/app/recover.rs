//! `millstream recover`: what can still be read of a damaged store, in a new one.

use std::io::Write;

use super::Outcome;
use super::cli::RecoverArgs;
use super::screen::{Screen, columns, count};
use crate::sink::{Salvaged, recover, store_file};

/// Copies what can be read, and says what is lost.
///
/// # Errors
/// When nothing can be read, or the new store cannot be written.
pub fn command(args: &RecoverArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let tables = recover(&store_file(&args.damaged), &args.new)?;
    let filled = tables.iter().filter(|(_, table)| table.rows > 0 || !table.is_whole());
    let line = |(name, table): &(&str, Salvaged)| vec![(*name).to_owned(), table.rows.to_string(), lost(table)];
    let lines: Vec<Vec<String>> = filled.map(line).collect();
    let header = ["table", "rows", "lost"].map(str::to_owned).to_vec();
    for line in columns(&[&[header][..], &lines].concat()) {
        writeln!(screen, "{line}")?;
    }
    Ok(if tables.iter().all(|(_, table)| table.is_whole()) { Outcome::Good } else { Outcome::Flawed })
}

/// What a table has lost, in words.
fn lost(table: &Salvaged) -> String {
    let mut parts = Vec::new();
    if table.gaps > 0 {
        parts.push(table.unread.map_or("an unknown number".to_owned(), |unread| format!("at most {unread}")));
    }
    if table.senseless > 0 {
        parts.push(format!("{} without sense", count_of(table.senseless)));
    }
    parts.join(", ")
}

fn count_of(rows: u64) -> String {
    count(usize::try_from(rows).unwrap_or(usize::MAX), "row")
}

#[cfg(test)]
mod tests {
    use super::lost;
    use crate::sink::Salvaged;

    #[test]
    fn what_is_lost_is_told_as_far_as_it_is_known() {
        let table = |senseless, gaps, unread| Salvaged { rows: 7, senseless, gaps, unread };
        assert_eq!(lost(&table(0, 0, None)), "");
        assert_eq!(lost(&table(0, 2, Some(40))), "at most 40");
        assert_eq!(lost(&table(1, 1, None)), "an unknown number, 1 row without sense");
    }
}
