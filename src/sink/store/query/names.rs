//! Finding groups, meters and keys by what people call them.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, params};

use super::ranges::pieces;
use super::reader::{QueryError, Reader};
use crate::guid::Guid;
use crate::key::{Host, port_key};
use crate::metrics::{Group, GroupKind, Registry, Vartype};
use crate::sink::report::{readable, text_of};
use crate::sink::store::row::Text;
use crate::sink::store::schema;

/// A group in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Its number in the file.
    pub id: i64,
    /// Its identity.
    pub guid: String,
    /// Its title.
    pub name: String,
    /// Seconds per bucket.
    pub bucketsize: i64,
    /// Group whose labels name the keys.
    pub resolver: Option<String>,
}

/// A meter of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterName {
    /// Its id.
    pub id: u8,
    /// How it accumulates.
    pub vartype: Vartype,
    /// Its title.
    pub name: String,
    /// Its units.
    pub units: String,
}

impl Reader {
    /// The groups of a kind; of counter groups only those that have counters.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn groups(&self, kind: GroupKind) -> Result<Vec<GroupName>, QueryError> {
        let has_counters = "EXISTS (SELECT 1 FROM sqlite_master m WHERE m.name = 'counters_' || g.id)";
        self.groups_where(kind, if kind == GroupKind::Counter { has_counters } else { "1" })
    }

    fn groups_where(&self, kind: GroupKind, condition: &str) -> Result<Vec<GroupName>, QueryError> {
        let mut select = self.prepare(&format!(
            "SELECT id, guid, name, bucketsize, resolver FROM groups g WHERE kind = ?1 AND {condition} ORDER BY id"
        ))?;
        let groups = select.query_map([kind.name()], |row| {
            Ok(GroupName {
                id: row.get(0)?,
                guid: row.get(1)?,
                name: text(row.get_ref(2)?),
                bucketsize: row.get(3)?,
                resolver: row.get(4)?,
            })
        })?;
        Ok(groups.collect::<Result<_, _>>()?)
    }

    /// The group of a GUID or of a name, of either case where no other group has it as it is written.
    ///
    /// # Errors
    /// [`QueryError::NoGroup`] with the names there are; [`QueryError::SeveralGroups`] with the GUIDs of a name.
    pub fn group(&self, kind: GroupKind, name: &str) -> Result<GroupName, QueryError> {
        one_of(&self.groups(kind)?, kind, name)
    }

    /// The group of a vertex, which need not have counters.
    pub(super) fn vertex_group(&self, name: &str) -> Result<GroupName, QueryError> {
        one_of(&self.groups_where(GroupKind::Counter, "1")?, GroupKind::Counter, name)
    }

    /// The same of a group that has counters or toppers.
    pub(super) fn ranked_group(&self, name: &str) -> Result<GroupName, QueryError> {
        let groups = self.groups_where(
            GroupKind::Counter,
            "(EXISTS (SELECT 1 FROM sqlite_master m WHERE m.name = 'counters_' || g.id)
              OR EXISTS (SELECT 1 FROM toppers t WHERE t.grp = g.id))",
        )?;
        one_of(&groups, GroupKind::Counter, name)
    }

    /// The meters of a group that have counters, by id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn meters(&self, group: &GroupName) -> Result<Vec<MeterName>, QueryError> {
        self.meters_where(group, "'m' || id IN (SELECT name FROM pragma_table_info(?2))")
    }

    /// The meter of an id or of a name among those that have counters or toppers.
    pub(super) fn ranked_meter(&self, group: &GroupName, name: Option<&str>) -> Result<MeterName, QueryError> {
        let meters = self.meters_where(
            group,
            "('m' || id IN (SELECT name FROM pragma_table_info(?2))
              OR EXISTS (SELECT 1 FROM toppers t WHERE t.grp = meters.grp AND t.meter = meters.id))",
        )?;
        meter_of(&meters, group, name)
    }

    fn meters_where(&self, group: &GroupName, condition: &str) -> Result<Vec<MeterName>, QueryError> {
        let sql = format!("SELECT id, vartype, name, units FROM meters WHERE grp = ?1 AND {condition} ORDER BY id");
        let mut select = self.prepare(&sql)?;
        let meters = select.query_map(params![group.id, schema::counters(group.id)], |row| {
            Ok(MeterName {
                id: row.get(0)?,
                vartype: Vartype::from_number(row.get(1)?).unwrap_or(Vartype::Counter),
                name: text(row.get_ref(2)?),
                units: text(row.get_ref(3)?),
            })
        })?;
        Ok(meters.collect::<Result<_, _>>()?)
    }

    /// The meter of an id or of a name, of either case; without either the first one.
    ///
    /// # Errors
    /// [`QueryError::NoMeter`] with the meters there are.
    pub fn meter(&self, group: &GroupName, name: Option<&str>) -> Result<MeterName, QueryError> {
        meter_of(&self.meters(group)?, group, name)
    }

    /// The number of a key of the group that people may call otherwise.
    ///
    /// # Errors
    /// [`QueryError::NoKey`].
    pub(super) fn key(&self, group: &GroupName, asked: &str) -> Result<i64, QueryError> {
        // Numbers are those of the keys of all groups. The coarsest rows are few, and each says of one key that it is there.
        let parts = pieces(self, group, i64::MIN, i64::MAX)?;
        let mut counted = self.prepare(&format!(
            "SELECT 1 FROM intervals i CROSS JOIN {} c ON c.level = i.level AND c.bucket = i.bucket AND c.key = ?5
             WHERE i.grp = ?1 AND i.level = ?2 AND i.bucket >= ?3 AND i.bucket < ?4 LIMIT 1",
            schema::counters(group.id)
        ))?;
        let found = self.called(group, asked, |key| {
            let Some(id) = self.key_number(key)? else { return Ok(None) };
            for piece in &parts {
                if counted.exists(params![group.id, piece.level, piece.from, piece.to, id])? {
                    return Ok(Some(id));
                }
            }
            Ok(None)
        })?;
        found.ok_or_else(|| QueryError::NoKey { group: group.name.clone(), key: asked.to_owned() })
    }

    /// The number of a key, if any group has it.
    pub(super) fn key_number(&self, key: &[u8]) -> rusqlite::Result<Option<i64>> {
        self.prepare("SELECT id FROM keys WHERE key = ?1")?.query_row([Text(key)], |row| row.get(0)).optional()
    }

    /// What `find` has for the first key that may be meant: the text as it is, the key of the address or port it says, or one
    /// that is shown with it as its label.
    pub(super) fn called<T>(
        &self,
        group: &GroupName,
        asked: &str,
        mut find: impl FnMut(&[u8]) -> rusqlite::Result<Option<T>>,
    ) -> Result<Option<T>, QueryError> {
        if let Some(found) = find(asked.as_bytes())? {
            return Ok(Some(found));
        }
        if let Some(host) = Host::from_readable(asked)
            && let Some(found) = find(host.key().as_bytes())?
        {
            return Ok(Some(found));
        }
        if let Ok(port) = asked.parse()
            && let Some(found) = find(port_key(port).as_bytes())?
        {
            return Ok(Some(found));
        }
        for key in Labels::new(self, group)?.labelled(asked)? {
            if let Some(found) = find(&key)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The meter of an id or of a name, of either case; without either the first one.
fn meter_of(meters: &[MeterName], group: &GroupName, name: Option<&str>) -> Result<MeterName, QueryError> {
    let found = match name {
        None => meters.first(),
        Some(name) => {
            let id: Option<u8> = name.parse().ok();
            let named = || meters.iter().find(|meter| meter.name.eq_ignore_ascii_case(name));
            meters.iter().find(|meter| Some(meter.id) == id).or_else(named)
        }
    };
    found.cloned().ok_or_else(|| {
        let there = meters.iter().map(|meter| (meter.id, meter.name.clone())).collect();
        QueryError::NoMeter { group: group.name.clone(), name: name.unwrap_or_default().to_owned(), there }
    })
}

/// The group that is meant by a GUID, a name, or an alias of either.
fn one_of(groups: &[GroupName], kind: GroupKind, name: &str) -> Result<GroupName, QueryError> {
    let by_guid = Guid::parse(name.as_bytes()).ok().map(|guid| guid.to_string());
    let find = |guid: &Option<String>| groups.iter().find(|group| Some(&group.guid) == guid.as_ref());
    if let Some(group) = find(&by_guid) {
        return Ok(group.clone());
    }
    let of_either_case: Vec<&GroupName> = groups.iter().filter(|group| group.name.eq_ignore_ascii_case(name)).collect();
    let as_written: Vec<&GroupName> = of_either_case.iter().copied().filter(|group| group.name == name).collect();
    match if as_written.is_empty() { &of_either_case[..] } else { &as_written[..] } {
        [] => {}
        [group] => return Ok((*group).clone()),
        several => {
            let guids: Vec<&str> = several.iter().map(|group| group.guid.as_str()).collect();
            return Err(QueryError::SeveralGroups {
                kind: kind.name(),
                name: name.to_owned(),
                guids: guids.join(", "),
            });
        }
    }
    // An alias is known from the definitions that come with the program.
    let registry = Registry::new();
    let alias = match Guid::parse(name.as_bytes()) {
        Ok(guid) => registry.find(kind, guid),
        Err(_) => registry
            .groups(kind)
            .find(|group| group.name_alias.as_ref().is_some_and(|a| a.eq_ignore_ascii_case(name.as_bytes()))),
    };
    if let Some(group) = find(&alias.map(|group| group.guid.to_string())) {
        return Ok(group.clone());
    }
    let there = groups.iter().map(|group| group.name.clone()).collect();
    Err(QueryError::NoGroup { kind: kind.name(), name: name.to_owned(), there })
}

/// What is shown for the keys of a group.
pub(super) struct Labels<'a> {
    reader: &'a Reader,
    group: i64,
    resolver: Option<i64>,
    registry: Registry,
    guid: Option<Guid>,
}

impl<'a> Labels<'a> {
    pub(super) fn new(reader: &'a Reader, group: &GroupName) -> Result<Self, QueryError> {
        let sql = "SELECT id FROM groups WHERE kind = 'counter' AND guid = ?1";
        let resolver = match &group.resolver {
            Some(guid) => reader.db.query_row(sql, [guid], |row| row.get(0)).optional()?,
            None => None,
        };
        let guid = Guid::parse(group.guid.as_bytes()).ok();
        Ok(Self { reader, group: group.id, resolver, registry: Registry::new(), guid })
    }

    /// The label: that of the group, the one every installation has, or that of the group that resolves keys.
    pub(super) fn label(&self, key: &[u8]) -> Result<Option<String>, QueryError> {
        let set = |group: i64| -> rusqlite::Result<Option<String>> {
            let mut select = self.reader.prepare("SELECT label FROM labels WHERE grp = ?1 AND key = ?2")?;
            let label = select.query_row(params![group, Text(key)], |row| Ok(text(row.get_ref(0)?))).optional()?;
            Ok(label.filter(|label| !label.is_empty()))
        };
        if let Some(label) = set(self.group)? {
            return Ok(Some(label));
        }
        if let Some(label) = self.fixed().and_then(|group| group.fixed_label(key)) {
            return Ok(Some(text_of(label)));
        }
        Ok(self.resolver.map(set).transpose()?.flatten())
    }

    /// The keys that have a text as their label.
    fn labelled(&self, asked: &str) -> Result<Vec<Vec<u8>>, QueryError> {
        let set = |group: i64| -> rusqlite::Result<Vec<Vec<u8>>> {
            let mut select = self.reader.prepare("SELECT key FROM labels WHERE grp = ?1 AND label = ?2")?;
            let key = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default());
            select.query_map(params![group, asked], key)?.collect()
        };
        let mut keys = set(self.group)?;
        if let Some(group) = self.fixed() {
            keys.extend(group.fixed_keys(asked.as_bytes()).map(<[u8]>::to_vec));
        }
        if let Some(resolver) = self.resolver {
            keys.extend(set(resolver)?);
        }
        // A label that goes before may hide the one that was found.
        let mut shown = Vec::with_capacity(keys.len());
        for key in keys {
            if self.label(&key)?.as_deref() == Some(asked) {
                shown.push(key);
            }
        }
        Ok(shown)
    }

    /// The keys that may be shown with a label which `matches`: another one may go before it.
    pub(super) fn maybe_labelled(&self, matches: impl Fn(&str) -> bool) -> Result<HashSet<Vec<u8>>, QueryError> {
        let mut keys = HashSet::new();
        let mut select = self.reader.prepare("SELECT key, label FROM labels WHERE grp = ?1")?;
        for group in [Some(self.group), self.resolver].into_iter().flatten() {
            let mut rows = select.query([group])?;
            while let Some(row) = rows.next()? {
                if matches(&text(row.get_ref(1)?)) {
                    keys.insert(row.get_ref(0)?.as_bytes().map(<[u8]>::to_vec).unwrap_or_default());
                }
            }
        }
        let fixed = self.fixed().into_iter().flat_map(Group::fixed_labels);
        keys.extend(fixed.filter(|(_, label)| matches(&text_of(label))).map(|(key, _)| key.to_vec()));
        Ok(keys)
    }

    /// The group as every installation has it.
    fn fixed(&self) -> Option<&Group> {
        self.guid.and_then(|guid| self.registry.find(GroupKind::Counter, guid))
    }

    /// The attributes of a key, as `name=value; name=value`.
    pub(super) fn attributes(&self, key: &[u8]) -> Result<Option<String>, QueryError> {
        let mut select = self.reader.prepare("SELECT name, value FROM attributes WHERE grp = ?1 AND key = ?2")?;
        let pair = |row: &rusqlite::Row<'_>| Ok(format!("{}={}", text(row.get_ref(0)?), text(row.get_ref(1)?)));
        let pairs = select.query_map(params![self.group, Text(key)], pair)?.collect::<Result<Vec<_>, _>>()?;
        Ok((!pairs.is_empty()).then(|| pairs.join("; ")))
    }

    /// The address or number a key stands for, if it is not readable as it is.
    pub(super) fn readable(key: &[u8]) -> Option<String> {
        readable(key)
    }
}

/// Text or bytes of the file as text.
pub(super) fn text(value: rusqlite::types::ValueRef<'_>) -> String {
    value.as_bytes().map(text_of).unwrap_or_default()
}
