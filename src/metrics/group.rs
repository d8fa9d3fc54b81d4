//! What a group is: its identity, its meters, and how a script's definition of one is read.

use super::layout::MAX_METERS;
use super::vartype::Vartype;
use crate::guid::Guid;

/// Bucket size in seconds when a definition gives none, or none that makes sense.
pub const DEFAULT_BUCKETSIZE: u32 = 60;

/// Topper interval in seconds when a definition gives none.
pub const DEFAULT_TOPPER_BUCKETSIZE: u32 = 300;

/// Index of a counter group in order of registration; shards count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupIndex(pub u16);

/// The kinds of groups. GUIDs and names of different kinds are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKind {
    /// Keys with meters.
    Counter,
    /// Log records of flows.
    Resource,
    /// Alerts.
    Alert,
    /// Full-text documents.
    Fts,
    /// Flows.
    Session,
}

impl GroupKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Counter, Self::Resource, Self::Alert, Self::Fts, Self::Session];

    /// Its name in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Resource => "resource",
            Self::Alert => "alert",
            Self::Fts => "fts",
            Self::Session => "session",
        }
    }
}

/// Who feeds a group, and so who may redefine it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Built in, metered natively.
    Native,
    /// Built in, metered natively when asked to.
    Optional,
    /// Built in by name only; the first script that defines it replaces it.
    Registered,
    /// Defined by a script.
    Script,
}

/// One number kept per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Its id, below 32.
    pub id: u8,
    /// How updates combine.
    pub vartype: Vartype,
    /// Keys with the largest values to track; 0 for none.
    pub top: u32,
    /// Keys with the smallest values to track.
    pub bottom: u32,
    /// Title.
    pub name: Vec<u8>,
    /// What it counts.
    pub description: Vec<u8>,
    /// Units.
    pub units: Vec<u8>,
}

/// A registered group of any kind. The fields on counting are empty for the other kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Kind.
    pub kind: GroupKind,
    /// Identity.
    pub guid: Guid,
    /// A second GUID naming the same group.
    pub alias: Option<Guid>,
    /// Title, and key in `T.countergroups` and its relatives.
    pub name: Vec<u8>,
    /// A second name.
    pub name_alias: Option<Vec<u8>>,
    /// One line on it.
    pub description: Vec<u8>,
    /// Who feeds it.
    pub level: Level,
    /// Seconds per bucket, at least 1.
    pub bucketsize: u32,
    /// Seconds per topper interval, at least 1.
    pub topper_bucketsize: u32,
    /// Counter group whose labels name this group's keys.
    pub resolver: Option<Guid>,
    /// By id, without duplicates.
    pub meters: Vec<Meter>,
    /// Fixed labels: key and label.
    pub keyinfo: Vec<(Vec<u8>, Vec<u8>)>,
    /// Labels of keys that every installation has, such as ports; those above and those set later go first.
    pub known_keys: &'static [(&'static str, &'static str)],
}

impl Group {
    /// The label a key has without anyone setting one.
    #[must_use]
    pub fn fixed_label(&self, key: &[u8]) -> Option<&[u8]> {
        let given = self.keyinfo.iter().find(|(known, _)| known == key).map(|(_, label)| &label[..]);
        let known = || self.known_keys.iter().find(|(known, _)| known.as_bytes() == key);
        given.or_else(|| known().map(|(_, label)| label.as_bytes()))
    }

    /// The keys that have a label without anyone setting it.
    pub fn fixed_keys<'a>(&'a self, label: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let given = self.keyinfo.iter().filter(move |(_, given)| given == label).map(|(key, _)| &key[..]);
        let known = self.known_keys.iter().filter(move |(_, known)| known.as_bytes() == label);
        given.chain(known.map(|(key, _)| key.as_bytes()))
    }

    /// The keys with the labels that they have without anyone setting them.
    pub fn fixed_labels(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let given = self.keyinfo.iter().map(|(key, label)| (&key[..], &label[..]));
        given.chain(self.known_keys.iter().map(|(key, label)| (key.as_bytes(), label.as_bytes())))
    }

    /// The meter with an id.
    #[must_use]
    pub fn meter(&self, id: u32) -> Option<&Meter> {
        self.meters.iter().find(|m| u32::from(m.id) == id)
    }
}

/// A column of a meter row as a script wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Missing or nil.
    Absent,
    /// A number.
    Number(f64),
    /// A string.
    Text(Vec<u8>),
}

impl Column {
    /// Its number; a numeric text counts, as Lua arithmetic would take it.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Self::Absent => None,
        }
    }

    fn text(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Absent => Vec::new(),
        }
    }
}

/// A counter group as a script defines it.
#[derive(Clone, Debug, PartialEq)]
pub struct CounterGroupDefinition {
    /// Identity.
    pub guid: Guid,
    /// Title.
    pub name: Vec<u8>,
    /// One line on it.
    pub description: Vec<u8>,
    /// `bucketsize` as written.
    pub bucketsize: Option<f64>,
    /// `topper_bucketsize` as written.
    pub topper_bucketsize: Option<f64>,
    /// `resolver_guid`.
    pub resolver: Option<Guid>,
    /// The rows of `meters`, their columns in order.
    pub meters: Vec<Vec<Column>>,
    /// Fixed labels: key and label.
    pub keyinfo: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What was noticed about a definition; the caller logs it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Notice {
    /// The meter id is not an integer from 0 to 31; the row is left out.
    #[error("meter row {row} of counter group {guid}: the id is not an integer from 0 to 31; the row is ignored")]
    BadMeterId {
        /// Group.
        guid: Guid,
        /// Row, from 1.
        row: usize,
    },
    /// A second row with the same id; the first one stays.
    #[error("meter {id} of counter group {guid} is defined twice; the first row is used")]
    DuplicateMeter {
        /// Group.
        guid: Guid,
        /// Meter.
        id: u8,
    },
    /// The vartype is none; COUNTER is used.
    #[error("meter {id} of counter group {guid} has no known vartype; COUNTER is used")]
    UnknownVartype {
        /// Group.
        guid: Guid,
        /// Meter.
        id: u8,
    },
    /// Another file defined the group before; meters only this one has were added.
    #[error("{} group {guid} is defined already; the first definition stays, {added} meters added", kind.name())]
    DefinedTwice {
        /// Kind.
        kind: GroupKind,
        /// Group.
        guid: Guid,
        /// Meters added.
        added: usize,
    },
    /// The group is built in and metered by the host; meters only the script has were added.
    #[error("{} group {guid} is built in; its definition stays, {added} meters added", kind.name())]
    BuiltIn {
        /// Kind.
        kind: GroupKind,
        /// Group.
        guid: Guid,
        /// Meters added.
        added: usize,
    },
    /// No further group can be registered.
    #[error("{} group {guid} is ignored: {limit} groups exist already", kind.name())]
    TooMany {
        /// Kind.
        kind: GroupKind,
        /// Group.
        guid: Guid,
        /// The limit.
        limit: usize,
    },
}

impl Notice {
    /// True if it is worth a warning; the others are for information.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::DefinedTwice { .. })
    }
}

/// Seconds as a script wrote them: rounded, at least 1; `default` for nothing, zero, negative or not finite.
pub(super) fn seconds(written: Option<f64>, default: u32) -> u32 {
    match written {
        // The cast saturates at the largest size.
        Some(secs) if secs > 0.0 && secs.is_finite() => (secs.round() as u32).max(1),
        _ => default,
    }
}

/// The meters of a definition, by id; at least one.
pub(super) fn read_meters(guid: Guid, rows: &[Vec<Column>], notices: &mut Vec<Notice>) -> Vec<Meter> {
    let mut meters: Vec<Meter> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let Some(id) = meter_id(row.first()) else {
            notices.push(Notice::BadMeterId { guid, row: index + 1 });
            continue;
        };
        if meters.iter().any(|m| m.id == id) {
            notices.push(Notice::DuplicateMeter { guid, id });
            continue;
        }
        let vartype = row.get(1).and_then(Column::number).and_then(Vartype::from_number).unwrap_or_else(|| {
            notices.push(Notice::UnknownVartype { guid, id });
            Vartype::Counter
        });
        meters.push(read_row(id, vartype, row));
    }
    if meters.is_empty() {
        let name = b"Count".to_vec();
        meters.push(Meter {
            id: 0,
            vartype: Vartype::Counter,
            top: 0,
            bottom: 0,
            name,
            description: Vec::new(),
            units: Vec::new(),
        });
    }
    meters.sort_by_key(|m| m.id);
    meters
}

fn meter_id(column: Option<&Column>) -> Option<u8> {
    let id = column?.number()?;
    (id.fract() == 0.0 && (0.0..MAX_METERS as f64).contains(&id)).then_some(id as u8)
}

/// Columns 3 and later. A text in column 4 means the form with six columns, which has no bottom count.
fn read_row(id: u8, vartype: Vartype, row: &[Column]) -> Meter {
    let count = |at: usize| row.get(at).and_then(Column::number).map_or(0, |n| n.max(0.0) as u32);
    let text = |at: usize| row.get(at).map_or_else(Vec::new, Column::text);
    let (bottom, texts) = match row.get(3) {
        Some(Column::Text(_)) => (0, 3),
        _ => (count(3), 4),
    };
    Meter {
        id,
        vartype,
        top: count(2),
        bottom,
        name: text(texts),
        description: text(texts + 1),
        units: text(texts + 2),
    }
}
