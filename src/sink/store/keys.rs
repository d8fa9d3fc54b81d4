//! Numbers of groups and keys.

use std::collections::HashMap;
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params};

use super::bulk::{self, ROWS};
use super::row::Text;
use super::schema;
use crate::guid::Guid;
use crate::metrics::{Group, GroupKind, Registry, Vartype};
use crate::sink::report::text_of;

/// Keys whose numbers are remembered twice over; more are looked up.
const REMEMBERED: usize = 400_000;

/// What the file calls the groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    ids: HashMap<(GroupKind, Guid), i64, foldhash::fast::RandomState>,
}

impl Groups {
    /// Writes the definitions of all groups. A name or a meter that changed is replaced, one that is gone stays. Rows are
    /// read as the latest definition says, so one that gives earlier rows another meaning is told of.
    pub(super) fn define(&mut self, db: &Connection, registry: &Registry) -> rusqlite::Result<()> {
        for kind in GroupKind::ALL {
            for group in registry.groups(kind) {
                for change in changes(db, group)? {
                    let (file, name) = (db.path().unwrap_or_default(), text_of(&group.name));
                    log::warn!(
                        "store {file}: counter group {name}: {change}; what it has from before is shown as that, too: \
                         another store (--store FILE) keeps them apart"
                    );
                }
                let id = define(db, group)?;
                self.ids.insert((kind, group.guid), id);
                if let Some(alias) = group.alias {
                    self.ids.insert((kind, alias), id);
                }
            }
        }
        Ok(())
    }

    /// The number of a group; one that nobody defined is called by its GUID.
    pub(super) fn id(&mut self, db: &Connection, kind: GroupKind, guid: Guid) -> rusqlite::Result<i64> {
        if let Some(id) = self.ids.get(&(kind, guid)) {
            return Ok(*id);
        }
        let text = guid.to_string();
        let sql = "INSERT INTO groups(kind, guid, name, description, bucketsize) VALUES(?1, ?2, ?2, '', 0)
                   ON CONFLICT(kind, guid) DO UPDATE SET kind = kind RETURNING id";
        let id = db.prepare_cached(sql)?.query_row(params![kind.name(), text], |row| row.get(0))?;
        self.ids.insert((kind, guid), id);
        Ok(id)
    }
}

/// What the counters that the file has of a group were called before, where it makes a difference.
fn changes(db: &Connection, group: &Group) -> rusqlite::Result<Vec<String>> {
    if group.kind != GroupKind::Counter {
        return Ok(Vec::new());
    }
    let mut known = db.prepare_cached("SELECT id, bucketsize FROM groups WHERE kind = ?1 AND guid = ?2")?;
    let known = known.query_row([group.kind.name(), &group.guid.to_string()], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((id, size)) = known.optional()? else { return Ok(Vec::new()) };
    let (id, size): (i64, u32) = (id, size);
    if !db.table_exists(None, &*schema::counters(id))? {
        return Ok(Vec::new());
    }
    let mut changes = Vec::new();
    if size != group.bucketsize {
        changes.push(format!("its buckets had {size} s and have {} s", group.bucketsize));
    }
    let mut before = db.prepare_cached("SELECT vartype FROM meters WHERE grp = ?1 AND id = ?2")?;
    for meter in &group.meters {
        let number: Option<u8> = before.query_row(params![id, meter.id], |row| row.get(0)).optional()?;
        let vartype = number.and_then(|number| Vartype::from_number(number.into()));
        if let Some(vartype) = vartype.filter(|vartype| *vartype != meter.vartype) {
            changes.push(format!("meter {} was {vartype} and is {}", text_of(&meter.name), meter.vartype));
        }
    }
    Ok(changes)
}

fn define(db: &Connection, group: &Group) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO groups(kind, guid, name, description, bucketsize, resolver) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT(kind, guid) DO UPDATE SET name = excluded.name, description = excluded.description,
                 bucketsize = excluded.bucketsize, resolver = excluded.resolver RETURNING id";
    let size = if group.kind == GroupKind::Counter { group.bucketsize } else { 0 };
    let resolver = group.resolver.map(|guid| guid.to_string());
    let values =
        params![group.kind.name(), group.guid.to_string(), Text(&group.name), Text(&group.description), size, resolver];
    let id = db.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    let mut meters =
        db.prepare_cached("INSERT OR REPLACE INTO meters(grp, id, vartype, name, units) VALUES(?1, ?2, ?3, ?4, ?5)")?;
    for meter in &group.meters {
        let (name, units) = (Text(&meter.name), Text(&meter.units));
        meters.execute(params![id, meter.id, meter.vartype.number(), name, units])?;
    }
    let mut labels =
        db.prepare_cached("INSERT OR IGNORE INTO labels(grp, key, label, description) VALUES(?1, ?2, ?3, '')")?;
    for (key, label) in &group.keyinfo {
        labels.execute(params![id, Text(key), Text(label)])?;
    }
    Ok(id)
}

/// What the file calls the keys.
#[derive(Debug)]
pub(super) struct Keys {
    ids: HashMap<Box<[u8]>, i64, foldhash::fast::RandomState>,
    /// Those that were asked for before `ids` was last full.
    older: HashMap<Box<[u8]>, i64, foldhash::fast::RandomState>,
    /// Whether a key that is not remembered may be in the file.
    complete: bool,
    /// The next number; unknown after a rollback.
    next: Option<i64>,
    /// Numbers that were given and are not in the file yet, where the text of each ends, and the texts.
    waiting: Vec<(i64, usize)>,
    texts: Vec<u8>,
}

const INTO: &str = "OR ROLLBACK INTO keys(id, key)";
static MANY: LazyLock<String> = LazyLock::new(|| bulk::insert(INTO, 2, ROWS));
static ONE: LazyLock<String> = LazyLock::new(|| bulk::insert(INTO, 2, 1));

impl Keys {
    /// For a file as it is.
    pub(super) fn new(db: &Connection) -> rusqlite::Result<Self> {
        let any: bool = db.query_row("SELECT EXISTS(SELECT 1 FROM keys)", [], |row| row.get(0))?;
        Ok(Self {
            ids: HashMap::default(),
            older: HashMap::default(),
            complete: !any,
            next: None,
            waiting: Vec::new(),
            texts: Vec::new(),
        })
    }

    /// The number of a key, given now if it has none. [`Keys::write`] has to follow within the transaction.
    pub(super) fn id(&mut self, db: &Connection, key: &[u8]) -> rusqlite::Result<i64> {
        if let Some(id) = self.ids.get(key) {
            return Ok(*id);
        }
        let remembered = self.older.get(key).copied();
        let known: Option<i64> = if remembered.is_some() || self.complete {
            remembered
        } else {
            let mut select = db.prepare_cached("SELECT id FROM keys WHERE key = ?1")?;
            select.query_row([Text(key)], |row| row.get(0)).optional()?
        };
        let id = match known {
            Some(id) => id,
            None => self.give(db, key)?,
        };
        if self.ids.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.ids);
            // What both have let go has to be looked up.
            self.complete = false;
        }
        self.ids.insert(key.into(), id);
        Ok(id)
    }

    fn give(&mut self, db: &Connection, key: &[u8]) -> rusqlite::Result<i64> {
        let id = match self.next {
            Some(id) => id,
            None => {
                db.query_row("SELECT ifnull(max(id), 0) FROM keys", [], |row| row.get::<_, i64>(0))?.saturating_add(1)
            }
        };
        self.next = Some(id.saturating_add(1));
        self.texts.extend_from_slice(key);
        self.waiting.push((id, self.texts.len()));
        if self.waiting.len() >= ROWS {
            self.write(db)?;
        }
        Ok(id)
    }

    /// Writes the keys that were given their numbers.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let (rows, sql) = if self.waiting.len() == ROWS { (ROWS, &*MANY) } else { (1, &*ONE) };
        let mut from = 0;
        for chunk in self.waiting.chunks(rows) {
            let mut statement = db.prepare_cached(sql)?;
            for (index, &(id, end)) in chunk.iter().enumerate() {
                statement.raw_bind_parameter(index * 2 + 1, id)?;
                statement.raw_bind_parameter(index * 2 + 2, Text(&self.texts[from..end]))?;
                from = end;
            }
            statement.raw_execute()?;
        }
        self.waiting.clear();
        self.texts.clear();
        Ok(())
    }

    /// What was given since the last commit may be gone.
    pub(super) fn forget(&mut self) {
        self.next = None;
        self.waiting.clear();
        self.texts.clear();
        self.ids.clear();
        self.older.clear();
        self.complete = false;
    }
}
