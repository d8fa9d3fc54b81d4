//! The chapters of the reference, and looking names up in them.

use std::sync::LazyLock;

use super::entry::{Entry, Object};
use super::text;

/// Objects that belong together: a page of the documentation.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// Name of the page's file, without ending.
    pub file: &'static str,
    /// Title.
    pub title: &'static str,
    /// What it is about, in a sentence or two.
    pub about: &'static str,
    text: &'static str,
}

const fn chapter(file: &'static str, title: &'static str, about: &'static str, text: &'static str) -> Chapter {
    Chapter { file, title, about, text }
}

/// All chapters, in reading order.
pub const CHAPTERS: [Chapter; 7] = [
    chapter(
        "definitions",
        "The plugin and its definitions",
        "The table `TrisulPlugin`, and the blocks that define groups.",
        include_str!("texts/definitions.txt"),
    ),
    chapter(
        "frontend",
        "Blocks of the frontend",
        "Blocks that see packets and flows. They run on the packet thread and must be quick.",
        include_str!("texts/frontend.txt"),
    ),
    chapter(
        "backend",
        "Blocks of the backend",
        "Blocks that see what was counted and recorded, window by window.",
        include_str!("texts/backend.txt"),
    ),
    chapter(
        "engine",
        "The engine",
        "What a script can tell the host to count, record, tag and send.",
        include_str!("texts/engine.txt"),
    ),
    chapter(
        "packets",
        "Packets, bytes, flows",
        "What callbacks of the frontend are given.",
        include_str!("texts/packets.txt"),
    ),
    chapter(
        "records",
        "Alerts, resources, documents, flow records",
        "What callbacks of the backend are given.",
        include_str!("texts/records.txt"),
    ),
    chapter(
        "t",
        "The table T",
        "Functions and values that are there in every VM, patterns, background work, modules.",
        include_str!("texts/t.txt"),
    ),
];

static OBJECTS: LazyLock<Vec<(usize, Object)>> = LazyLock::new(|| {
    let of =
        |(index, chapter): (usize, &Chapter)| text::read(chapter.text).0.into_iter().map(move |object| (index, object));
    CHAPTERS.iter().enumerate().flat_map(of).collect()
});

impl Chapter {
    /// Its objects.
    pub fn objects(&self) -> impl Iterator<Item = &'static Object> {
        OBJECTS.iter().filter(move |(index, _)| CHAPTERS[*index].file == self.file).map(|(_, object)| object)
    }

    /// Lines of its text that are not understood; none, as a test makes sure.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        text::read(self.text).1
    }
}

/// Every object of the reference.
pub fn objects() -> impl Iterator<Item = &'static Object> {
    OBJECTS.iter().map(|(_, object)| object)
}

/// The object of a name.
#[must_use]
pub fn object(name: &str) -> Option<&'static Object> {
    objects().find(|object| object.name == name)
}

/// Names of an object: its entries and the objects below it.
#[must_use]
pub fn names(owner: &str) -> Vec<&'static str> {
    let own = object(owner).into_iter().flat_map(|object| &object.entries).map(|entry| entry.name);
    let below = objects().filter_map(|object| object.name.strip_prefix(owner)?.strip_prefix('.'));
    let mut names: Vec<&str> = Vec::new();
    for name in own.chain(below.filter(|rest| !rest.contains('.'))) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Entries that a name can mean: a whole path (`engine:add_alert`, `T.util.ntop`) or the name alone.
#[must_use]
pub fn find(name: &str) -> Vec<&'static Entry> {
    let plain = |text: &str| text.replace(':', ".").to_ascii_lowercase();
    let asked = plain(name.trim_end_matches("()"));
    let all = || objects().flat_map(|object| &object.entries);
    let exact: Vec<_> = all().filter(|entry| plain(&entry.path()) == asked).collect();
    if !exact.is_empty() {
        return exact;
    }
    all().filter(|entry| entry.name.to_ascii_lowercase() == asked).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{CHAPTERS, find, names, object, objects};

    #[test]
    fn every_line_of_the_texts_is_understood() {
        for chapter in CHAPTERS {
            assert_eq!(chapter.faults(), Vec::<String>::new(), "{}", chapter.file);
            assert!(chapter.objects().next().is_some());
        }
    }

    #[test]
    fn names_are_there_once_and_sentences_end() {
        let (mut known, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for object in objects() {
            assert!(known.insert(object.name), "{} is there twice", object.name);
            assert!(object.doc.ends_with('.'), "{}: {}", object.name, object.doc);
            for entry in &object.entries {
                assert!(seen.insert(entry.path()), "{} is there twice", entry.path());
                assert!(entry.doc.ends_with('.'), "{}: {}", entry.path(), entry.doc);
            }
        }
    }

    #[test]
    fn a_name_is_found_with_and_without_its_owner() {
        let paths = |name| find(name).iter().map(|entry| entry.path()).collect::<Vec<_>>();
        assert_eq!(paths("engine:update_counter"), ["engine:update_counter"]);
        assert_eq!(paths("engine.update_counter()"), ["engine:update_counter"]);
        assert_eq!(paths("t.util.ntop"), ["T.util.ntop"]);
        assert_eq!(paths("wire_length"), ["Packet:wire_length"]);
        assert!(paths("onbeginflush").len() > 4);
        assert!(paths("nothing of the kind").is_empty());
        assert!(object("Packet").is_some());
    }

    #[test]
    fn names_of_an_object_are_its_entries_and_what_lies_below() {
        let t = names("T");
        assert!(t.contains(&"util") && t.contains(&"log") && !t.contains(&"K.vartype"), "{t:?}");
        assert_eq!(names("T.K"), ["vartypes", "loglevel", "vartype"]);
    }
}
