//! The command: an entry, an object, the list of all, or the pages.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use super::guids;
use crate::api::reference::{self, CHAPTERS, Entry, Object};
use crate::app::Outcome;
use crate::app::check::nearest;
use crate::app::cli::ApiArgs;
use crate::app::screen::{Paint, Screen, columns};

/// Names offered when the one asked for does not exist.
const MAX_OFFERS: usize = 6;
/// Columns that text fills.
const WIDTH: usize = 100;

/// Prints what was asked for, or writes the pages.
///
/// # Errors
/// When there is no such name, or the output cannot be written.
pub fn api(args: &ApiArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    if let Some(folder) = &args.markdown {
        write_pages(folder, screen)?;
        return Ok(Outcome::Good);
    }
    let Some(name) = &args.name else {
        if args.json {
            let all: Vec<Value> = reference::objects().map(object_document).collect();
            screen.json(&json!({ "objects": all }))?;
        } else {
            list(screen)?;
        }
        return Ok(Outcome::Good);
    };
    let object = reference::objects().find(|object| object.name.eq_ignore_ascii_case(name));
    let entries = reference::find(name);
    if object.is_none() && entries.is_empty() {
        anyhow::bail!("the plugin API has no '{name}'{}", offers(name));
    }
    if args.json {
        let objects: Vec<Value> = object.into_iter().map(object_document).collect();
        let entries: Vec<Value> = entries.into_iter().map(entry_document).collect();
        screen.json(&json!({ "objects": objects, "entries": entries }))?;
        return Ok(Outcome::Good);
    }
    if let Some(object) = object {
        write_object(object, screen)?;
    }
    for (number, entry) in entries.into_iter().enumerate() {
        if number > 0 || object.is_some() {
            writeln!(screen)?;
        }
        write_entry(entry, screen)?;
    }
    Ok(Outcome::Good)
}

fn write_pages(folder: &Path, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    let pages = reference::pages().into_iter().map(|page| (folder.join("api").join(page.file), page.text));
    for (path, text) in pages.chain([(folder.join("guids.md"), guids::page())]) {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("{}: cannot be made", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
        writeln!(screen, "{}", path.display())?;
    }
    Ok(())
}

fn list(screen: &mut Screen<'_>) -> io::Result<()> {
    for chapter in CHAPTERS {
        let title = screen.paint(Paint::Strong, chapter.title);
        writeln!(screen, "{title}")?;
        let mut rows = Vec::new();
        for object in chapter.objects() {
            let mut names: Vec<&str> = object.entries.iter().map(|entry| entry.name).collect();
            names.dedup();
            let lines = wrap(&names.join(", "), WIDTH - 28);
            for (number, line) in lines.into_iter().enumerate() {
                let name = if number == 0 { object.name } else { "" };
                rows.push(vec![format!("  {name:<24}"), line]);
            }
        }
        for line in columns(&rows) {
            writeln!(screen, "{line}")?;
        }
        writeln!(screen)?;
    }
    writeln!(screen, "one of them: millstream api engine:update_counter")
}

fn write_object(object: &Object, screen: &mut Screen<'_>) -> io::Result<()> {
    let name = screen.paint(Paint::Strong, object.name);
    writeln!(screen, "{name}")?;
    paragraphs(object.doc, screen)?;
    example(object.example, screen)?;
    let rows: Vec<Vec<String>> = object
        .entries
        .iter()
        .map(|entry| vec![format!("  {}{}", entry.name, entry.shape), entry.places(), entry.remark().to_owned()])
        .collect();
    if !rows.is_empty() {
        writeln!(screen)?;
    }
    for line in columns(&rows) {
        writeln!(screen, "{line}")?;
    }
    Ok(())
}

fn write_entry(entry: &Entry, screen: &mut Screen<'_>) -> io::Result<()> {
    let title = screen.paint(Paint::Strong, &entry.title());
    writeln!(screen, "{title}")?;
    let remark = if entry.remark().is_empty() { String::new() } else { format!("; {}", entry.remark()) };
    let places = screen.paint(Paint::Faint, &format!("  {} ({}{remark})", entry.kind.name(), entry.places()));
    writeln!(screen, "{places}")?;
    paragraphs(entry.doc, screen)?;
    example(entry.example, screen)
}

fn paragraphs(doc: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    for line in doc.lines().flat_map(|line| wrap(line, WIDTH - 2)) {
        writeln!(screen, "  {line}")?;
    }
    Ok(())
}

fn example(example: &str, screen: &mut Screen<'_>) -> io::Result<()> {
    if !example.is_empty() {
        writeln!(screen, "\n{example}")?;
    }
    Ok(())
}

/// Lines of at most `width` characters; a word that is longer has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What may have been meant, as the end of a message.
fn offers(name: &str) -> String {
    let last = name.rsplit([':', '.']).next().unwrap_or(name).trim_end_matches("()");
    let all = || reference::objects().flat_map(|object| &object.entries);
    let mut offers: Vec<String> = Vec::new();
    if let Some(near) = nearest(last, all().map(|entry| entry.name)) {
        offers.extend(all().filter(|entry| entry.name == near).map(Entry::path));
    }
    if let Some(near) = nearest(name, reference::objects().map(|object| object.name)) {
        offers.push(near.to_owned());
    }
    if last.len() > 2 {
        let part = last.to_ascii_lowercase();
        offers.extend(all().filter(|entry| entry.name.to_ascii_lowercase().contains(&part)).map(Entry::path));
    }
    let mut shown: Vec<String> = Vec::new();
    for offer in offers {
        if !shown.contains(&offer) && shown.len() < MAX_OFFERS {
            shown.push(offer);
        }
    }
    if shown.is_empty() {
        "; all names: millstream api".to_owned()
    } else {
        format!("; did you mean {}?", shown.join(", "))
    }
}

fn object_document(object: &Object) -> Value {
    let entries: Vec<Value> = object.entries.iter().map(entry_document).collect();
    json!({ "name": object.name, "doc": object.doc, "example": unindented(object.example), "entries": entries })
}

fn entry_document(entry: &Entry) -> Value {
    json!({
        "path": entry.path(),
        "kind": entry.kind.name(),
        "owner": entry.owner,
        "name": entry.name,
        "signature": entry.title(),
        "places": entry.places().split(", ").collect::<Vec<_>>(),
        "remark": entry.remark(),
        "doc": entry.doc,
        "example": unindented(entry.example),
    })
}

fn unindented(example: &str) -> String {
    example.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{offers, wrap};

    #[test]
    fn lines_are_as_long_as_they_may_be() {
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("abcdef g", 3), ["abcdef", "g"]);
        assert!(wrap("", 3).is_empty());
    }

    #[test]
    fn the_name_that_was_meant_is_offered() {
        assert!(offers("engine:update_countr").contains("did you mean engine:update_counter"));
        assert!(offers("Pakcet").contains("Packet"));
        assert!(offers("onflow").contains("flowmonitor.onflowattribute"));
        assert_eq!(offers("qqqqqqqq"), "; all names: millstream api");
    }
}
