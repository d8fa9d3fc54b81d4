//! What is known of each script of a run: its version, and how its files were when it was looked at last.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::watched::Marks;
use crate::api::ScriptId;
use crate::api::modules::{FileMark, Libraries};
use crate::guid::Guid;
use crate::plugin::{Catalog, CatalogEntry, Definition};
use crate::time::Timestamp;

/// One script.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its file.
    pub path: PathBuf,
    /// How many versions have run.
    pub version: u32,
    /// When the one that runs was loaded.
    pub since: Timestamp,
    /// Whether there is one that runs.
    pub runs: bool,
    /// Whether the latest one did not load.
    pub has_failed: bool,
    /// Its file and libraries when the latest version was looked at.
    marks: Marks,
    /// The same at the latest look.
    latest: Marks,
    /// What its first version defined.
    definitions: Vec<Definition>,
    /// Definitions that were warned of.
    warned: BTreeSet<Guid>,
}

/// All scripts, by number, and their order.
#[derive(Debug)]
pub struct Roster {
    cards: Vec<Card>,
    places: Vec<ScriptId>,
}

impl Card {
    fn new(entry: &CatalogEntry, since: Timestamp) -> Self {
        let manifest = entry.manifest.as_ref();
        Self {
            path: entry.script.path.clone(),
            version: u32::from(manifest.is_some()),
            since,
            runs: manifest.is_some(),
            has_failed: entry.error.is_some(),
            marks: Marks::new(),
            latest: Marks::new(),
            definitions: manifest.map(|m| m.definitions.clone()).unwrap_or_default(),
            warned: BTreeSet::new(),
        }
    }

    /// Whether the file or a library is not as it was.
    pub fn has_changed(&self) -> bool {
        self.marks.iter().any(|(path, mark)| FileMark::of(path) != *mark)
    }

    /// Notes how the file and the libraries are.
    pub fn look(&mut self, script: ScriptId, libraries: &Libraries) {
        let libraries = libraries.of(script).into_iter().map(|(path, _)| path);
        let files = libraries.chain([self.path.clone()]);
        self.latest = files.map(|path| (path.clone(), FileMark::of(&path))).collect();
    }

    /// Whether they were not so the last time; once for each change.
    pub fn take_change(&mut self) -> bool {
        let has_changed = self.marks.iter().any(|(path, mark)| self.latest.get(path) != Some(mark));
        self.marks.clone_from(&self.latest);
        has_changed
    }

    /// Libraries that a VM has read since the last look are watched from now on.
    pub fn look_at_new(&mut self, script: ScriptId, libraries: &Libraries) {
        for (path, mark) in libraries.of(script) {
            self.marks.entry(path).or_insert(mark);
        }
    }

    /// Definitions of a version that take no effect, each once: those there are were settled at the start of the run.
    pub fn without_effect(&mut self, entry: &CatalogEntry, catalog: &Catalog) -> Vec<Guid> {
        let is_new = self.definitions.is_empty();
        let all = entry.manifest.iter().flat_map(|manifest| &manifest.definitions);
        let late = all.filter(|definition| {
            let guid = guid_of(definition);
            // Of several definitions of one GUID the first is used, which is not that of a new file.
            !(self.definitions.contains(definition) || is_new && is_known(catalog, definition, guid))
        });
        late.map(guid_of).filter(|guid| self.warned.insert(*guid)).collect()
    }
}

fn guid_of(definition: &Definition) -> Guid {
    match definition {
        Definition::Counter(group) => group.guid,
        Definition::Group { guid, .. } => *guid,
        Definition::Protocol(protocol) => protocol.guid,
    }
}

fn is_known(catalog: &Catalog, definition: &Definition, guid: Guid) -> bool {
    match definition {
        Definition::Counter(_) => catalog.groups.counter_index(guid).is_some(),
        Definition::Group { kind, .. } => catalog.groups.find(*kind, guid).is_some(),
        Definition::Protocol(_) => catalog.protocols.id(guid).is_some(),
    }
}

impl Roster {
    /// The scripts that a run begins with.
    pub fn new(catalog: &Catalog, since: Timestamp, libraries: &Libraries) -> Self {
        let mut cards: Vec<Card> = catalog.entries.iter().map(|entry| Card::new(entry, since)).collect();
        for (entry, card) in catalog.entries.iter().zip(&mut cards) {
            card.look_at_new(entry.id, libraries);
            card.marks.insert(card.path.clone(), FileMark::of(&card.path));
        }
        Self { cards, places: catalog.entries.iter().map(|entry| entry.id).collect() }
    }

    /// All of them, by number.
    pub fn cards(&mut self) -> impl Iterator<Item = (ScriptId, &mut Card)> {
        self.cards.iter_mut().enumerate().map(|(index, card)| (ScriptId(index as u16), card))
    }

    /// One of them.
    pub fn card(&mut self, script: ScriptId) -> Option<&mut Card> {
        self.cards.get_mut(usize::from(script.0))
    }

    /// The number of a file that was known before.
    pub fn find(&self, path: &Path) -> Option<ScriptId> {
        self.cards.iter().position(|card| card.path == path).map(|index| ScriptId(index as u16))
    }

    /// A number for a file that is new; `None` if there are no more.
    pub fn next(&self) -> Option<ScriptId> {
        // Native modules have the last ones.
        u16::try_from(self.cards.len()).ok().filter(|&next| next < u16::MAX - 256).map(ScriptId)
    }

    /// Adds a file under the next number.
    pub fn add(&mut self, entry: &CatalogEntry, mark: Option<FileMark>, since: Timestamp) {
        let mut card = Card::new(entry, since);
        (card.version, card.runs) = (0, false);
        // Nothing that it defines was there at the start.
        card.definitions.clear();
        card.marks = Marks::from([(card.path.clone(), mark)]);
        card.latest.clone_from(&card.marks);
        self.cards.push(card);
        self.places.push(entry.id);
    }

    /// The order of the scripts.
    pub fn places(&self) -> &[ScriptId] {
        &self.places
    }

    /// Takes on the order in which files were found. Those that were not found stay behind the one they stood behind.
    pub fn put_in_order(&mut self, found: &[ScriptId]) {
        let mut places = found.to_vec();
        for (at, script) in self.places.iter().enumerate() {
            if places.contains(script) {
                continue;
            }
            let before = self.places[..at].iter().rev().find_map(|known| places.iter().position(|p| p == known));
            places.insert(before.map_or(0, |before| before + 1), *script);
        }
        self.places = places;
    }
}

#[cfg(test)]
mod tests {
    use super::Roster;
    use crate::api::ScriptId;

    fn ids(numbers: &[u16]) -> Vec<ScriptId> {
        numbers.iter().map(|&number| ScriptId(number)).collect()
    }

    #[test]
    fn new_files_take_their_place_and_absent_ones_keep_theirs() {
        let mut roster = Roster { cards: Vec::new(), places: ids(&[0, 1, 2]) };
        roster.put_in_order(&ids(&[0, 3, 1, 2]));
        assert_eq!(roster.places(), ids(&[0, 3, 1, 2]));
        roster.put_in_order(&ids(&[4, 0, 2]));
        assert_eq!(roster.places(), ids(&[4, 0, 3, 1, 2]));
        roster.put_in_order(&ids(&[2]));
        assert_eq!(roster.places().last(), Some(&ScriptId(2)));
        assert_eq!(roster.places().len(), 5);
    }
}
