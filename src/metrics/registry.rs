//! All groups of a run: the built-in ones in their order, then those of scripts.

use std::collections::{HashMap, HashSet};

use super::builtin;
use super::group::{
    CounterGroupDefinition, DEFAULT_BUCKETSIZE, DEFAULT_TOPPER_BUCKETSIZE, Group, GroupIndex, GroupKind, Level, Notice,
    read_meters, seconds,
};
use crate::guid::Guid;

/// Most groups of one kind.
const MAX_GROUPS: usize = 10_000;

/// The groups of every kind, in order of registration.
#[derive(Clone, Debug)]
pub struct Registry {
    groups: Vec<Group>,
    // INVARIANT: the positions in `groups` of the counter groups; a GroupIndex indexes this list.
    counters: Vec<usize>,
    by_guid: HashMap<(GroupKind, Guid), usize>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The built-in groups.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Self { groups: Vec::new(), counters: Vec::new(), by_guid: HashMap::new() };
        for group in builtin::groups() {
            registry.add(group);
        }
        registry
    }

    fn add(&mut self, group: Group) {
        let at = self.groups.len();
        for guid in std::iter::once(group.guid).chain(group.alias) {
            self.by_guid.insert((group.kind, guid), at);
        }
        if group.kind == GroupKind::Counter {
            self.counters.push(at);
        }
        self.groups.push(group);
    }

    fn is_full(&self, kind: GroupKind) -> bool {
        self.groups.iter().filter(|g| g.kind == kind).count() >= MAX_GROUPS
    }

    /// Registers a script's counter group, or merges it with the one that has its GUID. Shards made earlier do not see
    /// the change.
    pub fn define_counter_group(&mut self, definition: CounterGroupDefinition) -> Vec<Notice> {
        let mut notices = Vec::new();
        let guid = definition.guid;
        let kind = GroupKind::Counter;
        let meters = read_meters(guid, &definition.meters, &mut notices);
        let known = self.by_guid.get(&(kind, guid)).copied();
        if known.is_none() && self.is_full(kind) {
            notices.push(Notice::TooMany { kind, guid, limit: MAX_GROUPS });
            return notices;
        }
        let group = Group {
            kind,
            guid,
            alias: None,
            name: definition.name,
            name_alias: None,
            description: definition.description,
            level: Level::Script,
            bucketsize: seconds(definition.bucketsize, DEFAULT_BUCKETSIZE),
            topper_bucketsize: seconds(definition.topper_bucketsize, DEFAULT_TOPPER_BUCKETSIZE),
            resolver: definition.resolver,
            meters,
            keyinfo: definition.keyinfo,
            known_keys: &[],
        };
        match known {
            None => self.add(group),
            Some(at) => notices.extend(merge(&mut self.groups[at], group, &definition.meters)),
        }
        notices
    }

    /// Registers a script's resource or alert group; the first definition of a GUID wins.
    pub fn define_group(&mut self, kind: GroupKind, guid: Guid, name: &[u8], description: &[u8]) -> Vec<Notice> {
        debug_assert_ne!(kind, GroupKind::Counter, "counter groups have meters");
        if let Some(known) = self.find(kind, guid) {
            return vec![match known.level {
                Level::Script => Notice::DefinedTwice { kind, guid, added: 0 },
                _ => Notice::BuiltIn { kind, guid, added: 0 },
            }];
        }
        if self.is_full(kind) {
            return vec![Notice::TooMany { kind, guid, limit: MAX_GROUPS }];
        }
        self.add(Group {
            kind,
            guid,
            alias: None,
            name: name.to_vec(),
            name_alias: None,
            description: description.to_vec(),
            level: Level::Script,
            bucketsize: DEFAULT_BUCKETSIZE,
            topper_bucketsize: DEFAULT_TOPPER_BUCKETSIZE,
            resolver: None,
            meters: Vec::new(),
            keyinfo: Vec::new(),
            known_keys: &[],
        });
        Vec::new()
    }

    /// All groups of a kind, in order of registration.
    pub fn groups(&self, kind: GroupKind) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(move |g| g.kind == kind)
    }

    /// All counter groups, in the order of their indices.
    pub fn counter_groups(&self) -> impl ExactSizeIterator<Item = &Group> {
        self.counters.iter().map(|&at| &self.groups[at])
    }

    /// The group with a GUID, or with an alias of it.
    #[must_use]
    pub fn find(&self, kind: GroupKind, guid: Guid) -> Option<&Group> {
        self.by_guid.get(&(kind, guid)).map(|&at| &self.groups[at])
    }

    /// The first group with a name, or with an alias of it; exact.
    #[must_use]
    pub fn find_name(&self, kind: GroupKind, name: &[u8]) -> Option<&Group> {
        self.groups(kind).find(|g| g.name == name || g.name_alias.as_deref() == Some(name))
    }

    /// The index of a counter group.
    #[must_use]
    pub fn counter_index(&self, guid: Guid) -> Option<GroupIndex> {
        let at = *self.by_guid.get(&(GroupKind::Counter, guid))?;
        self.counters.binary_search(&at).ok().map(|index| GroupIndex(index as u16))
    }

    /// The counter group with an index.
    #[must_use]
    pub fn counter_group(&self, index: GroupIndex) -> Option<&Group> {
        self.counters.get(usize::from(index.0)).map(|&at| &self.groups[at])
    }
}

/// Merges a later definition of the same group. `rows` tells whether it named any meters at all.
fn merge(known: &mut Group, later: Group, rows: &[Vec<super::group::Column>]) -> Option<Notice> {
    let (kind, guid) = (known.kind, known.guid);
    if known.level == Level::Registered {
        *known = Group { alias: known.alias, name_alias: known.name_alias.take(), guid, ..later };
        return None;
    }
    let before = known.meters.len();
    if !rows.is_empty() {
        let missing: Vec<_> = later.meters.into_iter().filter(|m| known.meter(u32::from(m.id)).is_none()).collect();
        known.meters.extend(missing);
        known.meters.sort_by_key(|m| m.id);
    }
    // Tens of thousands of keys may have one.
    let mut labelled: HashSet<Vec<u8>> = known.keyinfo.iter().map(|(key, _)| key.clone()).collect();
    known.keyinfo.extend(later.keyinfo.into_iter().filter(|(key, _)| labelled.insert(key.clone())));
    let added = known.meters.len() - before;
    Some(match known.level {
        Level::Script => Notice::DefinedTwice { kind, guid, added },
        _ => Notice::BuiltIn { kind, guid, added },
    })
}
