//! Reads the texts of the reference.
//!
//! `= name` begins an object. A line that begins with `:` (method), `.` (function), `-` (field), `#` (constant) or `>`
//! (callback) begins an entry: name, shape, ` | `, places, and perhaps ` | extension` or ` | legacy`. What follows says what
//! it does; lines indented by four blanks are an example.

use super::entry::{Entry, EntryKind, Object, Origin};

/// The objects of a text, and the lines that are not understood.
pub(super) fn read(text: &'static str) -> (Vec<Object>, Vec<String>) {
    let mut objects: Vec<Object> = Vec::new();
    let mut faults = Vec::new();
    for block in text.split("\n\n").map(str::trim_end).filter(|block| !block.trim().is_empty()) {
        let block = block.trim_start_matches('\n');
        let (head, body) = block.split_once('\n').unwrap_or((block, ""));
        let (doc, example) = split_example(body);
        if let Some(name) = head.strip_prefix("= ") {
            objects.push(Object { name, doc, example, entries: Vec::new() });
            continue;
        }
        match (objects.last_mut(), entry(head)) {
            (Some(object), Some(entry)) if !doc.is_empty() => {
                object.entries.push(Entry { owner: object.name, doc, example, ..entry });
            }
            _ => faults.push(head.to_owned()),
        }
    }
    (objects, faults)
}

/// What is said, and the example behind it.
fn split_example(body: &'static str) -> (&'static str, &'static str) {
    match body.find("\n    ") {
        Some(at) => (&body[..at], &body[at + 1..]),
        None => (body, ""),
    }
}

fn entry(head: &'static str) -> Option<Entry> {
    let kind = EntryKind::of_mark(head.chars().next()?)?;
    let mut parts = head[1..].split(" | ");
    let (what, sides) = (parts.next()?.trim(), parts.next()?.trim());
    let origin = match parts.next().map(str::trim) {
        None => Origin::Published,
        Some("extension") => Origin::Extension,
        Some("legacy") => Origin::Legacy,
        Some(_) => return None,
    };
    let end = what.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(what.len());
    let (name, shape) = what.split_at(end);
    let is_known = !sides.is_empty() && sides.chars().all(|side| "FBW".contains(side));
    let fits = match kind {
        EntryKind::Field => shape.starts_with(": "),
        EntryKind::Constant => shape.starts_with(" = "),
        _ => shape.starts_with('('),
    };
    (is_known && fits && !name.is_empty() && parts.next().is_none()).then_some(Entry {
        kind,
        owner: "",
        name,
        shape,
        sides,
        origin,
        doc: "",
        example: "",
    })
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::api::reference::{EntryKind, Origin};

    #[test]
    fn objects_entries_and_examples_are_told_apart() {
        let (objects, faults) = read(
            "= a.b\nWhat it is.\n    x = 1\n\n:f(x [, y]) -> number | FB | extension\nDoes.\nMore.\n    f(1)\n    f(2)\n\n-v: text | W\nIs.\n",
        );
        assert_eq!(faults, Vec::<String>::new());
        let object = &objects[0];
        assert_eq!((object.name, object.doc, object.example), ("a.b", "What it is.", "    x = 1"));
        let method = &object.entries[0];
        assert_eq!((method.kind, method.origin), (EntryKind::Method, Origin::Extension));
        assert_eq!(method.title(), "a.b:f(x [, y]) -> number");
        assert_eq!((method.doc, method.example), ("Does.\nMore.", "    f(1)\n    f(2)"));
        assert_eq!(method.places(), "frontend, backend");
        assert_eq!(
            (object.entries[1].title().as_str(), object.entries[1].places().as_str()),
            ("a.b.v: text", "workers")
        );
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for wrong in
            [":f(x)\nNo places.", ":f(x) | X\nd", ":f | F\nd", "-v | F\nd", ":f(x) | F | else\nd", ":f(x) | F", "text"]
        {
            let text: &'static str = Box::leak(format!("= o\nd\n\n{wrong}\n").into_boxed_str());
            assert_eq!(read(text).1.len(), 1, "{wrong}");
        }
    }
}
