//! The reference as pages.

use std::fmt::Write as _;

use super::chapter::{CHAPTERS, Chapter, objects};
use super::entry::{Entry, EntryKind, Object};

/// What stands above every page.
const MADE: &str =
    "<!-- Made by `millstream api --markdown docs` from src/api/reference/texts; change it there. -->\n\n";
/// Longest text that still fits the cell of a table.
const MAX_CELL: usize = 240;

/// A page of the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Name of its file.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// All pages, the index first.
#[must_use]
pub fn pages() -> Vec<Page> {
    let index = Page { file: "README.md".to_owned(), text: index() };
    std::iter::once(index)
        .chain(CHAPTERS.iter().map(|chapter| Page { file: format!("{}.md", chapter.file), text: page(chapter) }))
        .collect()
}

fn index() -> String {
    let mut text = format!(
        "{MADE}# API reference\n\nEvery name that a script can use. `millstream api NAME` prints an entry on the terminal.\n\n\
         In signatures brackets mark what may be left out, and `?` a value that may be nil. *Frontend* is the packet side, \
         *backend* the side that sees windows of 60 seconds, *workers* are where `onexecute` runs.\n\n\
         | Page | What is on it |\n| --- | --- |\n"
    );
    for chapter in CHAPTERS {
        let links: Vec<String> = chapter.objects().map(|object| link(&chapter, object.name, object.name)).collect();
        let _ =
            writeln!(text, "| [{}]({}.md) | {}<br>{} |", chapter.title, chapter.file, chapter.about, links.join(", "));
    }
    text.push_str(
        "\nAlso: [keys and flow ids](../keys.md), [GUIDs and built-in groups](../guids.md).\n\n## All names\n\n",
    );
    let mut names: Vec<(String, String)> = Vec::new();
    for chapter in CHAPTERS {
        for entry in chapter.objects().flat_map(|object| &object.entries) {
            names.push((entry.name.to_ascii_lowercase(), link(&chapter, &format!("`{}`", entry.path()), entry.owner)));
        }
    }
    names.sort();
    let mut letter = '\0';
    for (name, link) in &names {
        let first = name.chars().next().unwrap_or('\0');
        if first != letter {
            let _ = write!(text, "{}**{}** ", if letter == '\0' { "" } else { "\n\n" }, first.to_ascii_uppercase());
            letter = first;
        }
        let _ = write!(text, "{link} ");
    }
    let mut text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let _ = writeln!(text, "\n{} names in {} objects, tables and blocks.", names.len(), objects().count());
    text
}

fn link(chapter: &Chapter, shown: &str, object: &str) -> String {
    format!("[{shown}]({}.md#{})", chapter.file, anchor(object))
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || "_-".contains(*c)).collect::<String>().to_lowercase()
}

fn page(chapter: &Chapter) -> String {
    let mut text = format!("{MADE}# {}\n\n{} [All pages](README.md).\n", chapter.title, chapter.about);
    for object in chapter.objects() {
        let _ = write!(text, "\n## {}\n\n{}\n", object.name, object.doc.replace('\n', "\n\n"));
        write_example(&mut text, object.example);
        if is_short(object) { write_table(&mut text, object) } else { write_sections(&mut text, object) }
    }
    text
}

/// True if all entries fit a table.
fn is_short(object: &Object) -> bool {
    object.entries.iter().all(|entry| entry.example.is_empty() && entry.doc.len() <= MAX_CELL)
}

fn write_table(text: &mut String, object: &Object) {
    if object.entries.is_empty() {
        return;
    }
    text.push_str("\n| Name | Where | What |\n| --- | --- | --- |\n");
    for entry in &object.entries {
        let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}{}` | {} | {} |",
            entry.name,
            cell(entry.shape),
            [entry.places().as_str(), entry.remark()]
                .iter()
                .filter(|part| !part.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join("; "),
            cell(entry.doc)
        );
    }
}

fn write_sections(text: &mut String, object: &Object) {
    for entry in &object.entries {
        let _ = write!(text, "\n### {}\n\n`{}`\n\n{}\n", heading(entry), entry.title(), where_and_what(entry));
        write_example(text, entry.example);
    }
}

fn heading(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Method | EntryKind::Function => entry.name.to_owned(),
        kind => format!("{} ({})", entry.name, kind.name()),
    }
}

fn where_and_what(entry: &Entry) -> String {
    let remark = if entry.remark().is_empty() { String::new() } else { format!("; {}", entry.remark()) };
    format!("*{}{remark}.* {}", entry.places(), entry.doc.replace('\n', "\n\n"))
}

fn write_example(text: &mut String, example: &str) {
    if example.is_empty() {
        return;
    }
    text.push_str("\n```lua\n");
    for line in example.lines() {
        let _ = writeln!(text, "{}", line.strip_prefix("    ").unwrap_or(line));
    }
    text.push_str("```\n");
}

#[cfg(test)]
mod tests {
    use super::{anchor, pages};

    #[test]
    fn every_link_leads_to_a_heading() {
        let pages = pages();
        let headings = |file: &str| {
            let page = pages.iter().find(|page| page.file == file).unwrap_or_else(|| panic!("no page {file}"));
            page.text.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect::<Vec<_>>()
        };
        for part in pages[0].text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            let Some((file, wanted)) = target.split_once('#') else { continue };
            assert!(headings(file).iter().any(|found| found == wanted), "{target}");
        }
    }

    #[test]
    fn no_line_ends_in_blanks() {
        for page in pages() {
            assert!(page.text.lines().all(|line| line.trim_end() == line), "{}", page.file);
            assert!(page.text.ends_with('\n') && !page.text.ends_with("\n\n"), "{}", page.file);
        }
    }
}
