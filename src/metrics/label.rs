//! What is known of keys besides their metrics: labels, descriptions and named attributes.

use std::collections::HashMap;

use crate::guid::Guid;

/// Label and description of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLabel {
    /// What is shown for the key.
    pub label: Vec<u8>,
    /// A longer text.
    pub description: Vec<u8>,
}

/// Whether setting something changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new or different now.
    Changed,
    /// It was so already.
    Same,
    /// Dropped: the limit is reached.
    Limited,
}

type Key = (Guid, Vec<u8>);

type Attribute = (Guid, Vec<u8>, Vec<u8>);

/// Labels and attributes of keys, within a limit of entries and of bytes.
#[derive(Clone, Debug)]
pub struct KeyNotes {
    labels: HashMap<Key, KeyLabel, foldhash::fast::RandomState>,
    attributes: HashMap<Attribute, Vec<u8>, foldhash::fast::RandomState>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
    limited: u64,
}

impl Default for KeyNotes {
    fn default() -> Self {
        Self::new(1_000_000, 256 << 20)
    }
}

impl KeyNotes {
    /// At most `max_entries` labels and attributes with `max_bytes` of text in all.
    #[must_use]
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            labels: HashMap::default(),
            attributes: HashMap::default(),
            bytes: 0,
            max_entries,
            max_bytes,
            limited: 0,
        }
    }

    /// Sets the label of a key, and its description if one is given. An empty label removes the label.
    pub fn set_label(&mut self, group: Guid, key: &[u8], label: &[u8], description: Option<&[u8]>) -> Change {
        let id = (group, key.to_vec());
        let old = self.labels.get(&id);
        let new = KeyLabel {
            label: label.to_vec(),
            description: description.or(old.map(|o| &o.description[..])).unwrap_or_default().to_vec(),
        };
        let old_bytes = old.map_or(0, |o| key.len() + o.bytes());
        let remove = new.bytes() == 0;
        if old == Some(&new) || (remove && old.is_none()) {
            return Change::Same;
        }
        let new_bytes = if remove { 0 } else { key.len() + new.bytes() };
        let growth = usize::from(old.is_none());
        if !self.admit(growth, old_bytes, new_bytes) {
            return Change::Limited;
        }
        if remove {
            self.labels.remove(&id);
        } else {
            self.labels.insert(id, new);
        }
        Change::Changed
    }

    /// Sets a named value of a key, replacing the one of that name.
    pub fn set_attribute(&mut self, group: Guid, key: &[u8], name: &[u8], value: &[u8]) -> Change {
        let id = (group, key.to_vec(), name.to_vec());
        let old = self.attributes.get(&id);
        if old.is_some_and(|old| old == value) {
            return Change::Same;
        }
        let fixed = key.len() + name.len();
        let old_bytes = old.map_or(0, |old| fixed + old.len());
        let growth = usize::from(old.is_none());
        if !self.admit(growth, old_bytes, fixed + value.len()) {
            return Change::Limited;
        }
        self.attributes.insert(id, value.to_vec());
        Change::Changed
    }

    /// Accounts for `entries` more and for `new` bytes in place of `old`; false if they do not fit.
    fn admit(&mut self, entries: usize, old: usize, new: usize) -> bool {
        let full = entries > 0 && self.len() + entries > self.max_entries;
        let bytes = self.bytes - old + new;
        if full || (new > old && bytes > self.max_bytes) {
            self.limited += 1;
            return false;
        }
        self.bytes = bytes;
        true
    }

    /// Number of labels and attributes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len() + self.attributes.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were dropped by the limit.
    #[must_use]
    pub fn limited(&self) -> u64 {
        self.limited
    }

    /// Number of labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels.len()
    }

    /// Number of attributes.
    #[must_use]
    pub fn attributes(&self) -> usize {
        self.attributes.len()
    }

    /// Label and description of a key.
    #[must_use]
    pub fn label(&self, group: Guid, key: &[u8]) -> Option<&KeyLabel> {
        self.labels.get(&(group, key.to_vec()))
    }

    /// A named value of a key.
    #[must_use]
    pub fn attribute(&self, group: Guid, key: &[u8], name: &[u8]) -> Option<&[u8]> {
        self.attributes.get(&(group, key.to_vec(), name.to_vec())).map(Vec::as_slice)
    }

    /// Takes in what another engine noted; what it set wins.
    pub fn merge(&mut self, other: Self) {
        self.limited += other.limited;
        for ((group, key), label) in other.labels {
            self.set_label(group, &key, &label.label, Some(&label.description));
        }
        for ((group, key, name), value) in other.attributes {
            self.set_attribute(group, &key, &name, &value);
        }
    }
}

impl KeyLabel {
    fn bytes(&self) -> usize {
        self.label.len() + self.description.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, KeyNotes};
    use crate::guid::Guid;

    const GROUP: Guid = Guid::from_u128(1);

    #[test]
    fn the_same_label_again_grows_nothing_and_an_absent_description_stays() {
        let mut notes = KeyNotes::new(10, 1_000);
        assert_eq!(notes.set_label(GROUP, b"k", b"name", Some(b"long")), Change::Changed);
        for _ in 0..1_000 {
            assert_eq!(notes.set_label(GROUP, b"k", b"name", None), Change::Same);
        }
        assert_eq!((notes.len(), notes.bytes), (1, 9));
        assert_eq!(notes.set_label(GROUP, b"k", b"other", None), Change::Changed);
        assert_eq!(notes.label(GROUP, b"k").unwrap().description, b"long");
        assert_eq!(notes.set_label(GROUP, b"k", b"", Some(b"")), Change::Changed);
        assert_eq!((notes.len(), notes.bytes, notes.label(GROUP, b"k")), (0, 0, None));
    }

    #[test]
    fn labels_and_attributes_share_their_limits() {
        let mut notes = KeyNotes::new(2, 20);
        assert_eq!(notes.set_attribute(GROUP, b"k", b"os", b"unix"), Change::Changed);
        assert_eq!(notes.set_attribute(GROUP, b"k", b"os", b"unix"), Change::Same);
        assert_eq!(notes.set_label(GROUP, b"a", &[b'x'; 100], None), Change::Limited);
        assert_eq!(notes.set_label(GROUP, b"a", b"x", None), Change::Changed);
        assert_eq!(notes.set_label(GROUP, b"b", b"x", None), Change::Limited);
        assert_eq!((notes.limited(), notes.attribute(GROUP, b"k", b"os")), (2, Some(&b"unix"[..])));
    }
}
