//! Keys of a bucket as callbacks get them many at a time, and the flush of a bucket in this way.
//!
//! A callback costs a fraction of what it does when it is called from outside key by key. What scripts can notice stays as
//! it is: each hears of the keys in their order, and what they record for a key is put in the order of the keys and
//! scripts. It is not for scripts that vote and are told as well (they may remember one for the other), nor where messages
//! are heard or events shown between two keys.

use std::ptr;

use mlua::{LightUserData, Value};

use super::crew::{Crew, Member};
use super::monitor::{Hook, Monitor};
use super::outlet::BackendOutlet;
use crate::api::ROW_PROGRESS;
use crate::lua::PluginError;
use crate::metrics::{FlushedKey, Snapshot, Stored, Verdict};
use crate::plugin::{ErrorRow, ROW_LIMIT};

/// Rows handed over at once: the budget of a callback is that of so many.
pub const ROWS: usize = 256;

const DRIVER: &str = include_str!("../api/lua/rows_driver.lua");

/// Some keys and their values.
#[derive(Debug)]
pub struct Rows {
    time: i64,
    width: usize,
    texts: Vec<u8>,
    /// Where each key begins, and where the last one ends.
    ends: Vec<u32>,
    values: Vec<f64>,
    /// Progress of the callback for each.
    numbers: Vec<i32>,
    /// Votes against each.
    noes: Vec<u32>,
    /// What votes put in the place of the values; NaN leaves them.
    changes: Vec<f64>,
}

/// The same as the driver sees it; `ms_rows` in `objects.lua`.
#[repr(C)]
struct View {
    texts: *const u8,
    ends: *const u32,
    values: *const f64,
    numbers: *const i32,
    time: f64,
    width: i32,
    noes: *mut u32,
    changes: *mut f64,
}

impl Rows {
    fn new(time: i64) -> Self {
        Self {
            time,
            width: 0,
            texts: Vec::new(),
            ends: vec![0],
            values: Vec::new(),
            numbers: Vec::new(),
            noes: Vec::new(),
            changes: Vec::new(),
        }
    }

    fn clear(&mut self) {
        self.texts.clear();
        self.ends.truncate(1);
        self.values.clear();
        self.numbers.clear();
        self.noes.clear();
        self.changes.clear();
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    fn push(&mut self, number: i32, key: &[u8], values: &[f64]) {
        self.width = values.len();
        self.texts.extend_from_slice(key);
        self.ends.push(self.texts.len() as u32);
        self.values.extend_from_slice(values);
        self.numbers.push(number);
        self.noes.push(0);
        self.changes.resize(self.values.len(), f64::NAN);
    }

    fn key(&self, row: usize) -> &[u8] {
        &self.texts[self.ends[row] as usize..self.ends[row + 1] as usize]
    }

    fn values(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..][..self.width]
    }

    /// The row of a callback's progress.
    fn row_of(&self, progress: i32) -> Option<usize> {
        self.numbers.binary_search(&progress).ok()
    }

    fn view(&mut self) -> View {
        View {
            texts: self.texts.as_ptr(),
            ends: self.ends.as_ptr(),
            values: self.values.as_ptr(),
            numbers: self.numbers.as_ptr(),
            time: self.time as f64,
            width: self.width as i32,
            noes: self.noes.as_mut_ptr(),
            changes: self.changes.as_mut_ptr(),
        }
    }
}

/// Lua text of the function that makes the table of a key's values.
fn row_of(width: usize) -> String {
    let fields: Vec<String> = (0..width).map(|at| format!("v[b + {at}]")).collect();
    format!("return function(v, b) return {{ {} }} end", fields.join(", "))
}

/// Whether what a callback returns is a vote.
const fn votes_in(hook: Hook) -> bool {
    matches!(hook, Hook::FlushFilter)
}

impl Monitor {
    /// Calls a callback for all rows.
    fn run_rows(&mut self, hook: Hook, rows: &mut Rows) {
        let name = if votes_in(hook) { "cg_monitor.onflushfilter" } else { "cg_monitor.onflush" };
        if let Err(error) = self.prepare_rows(hook, name, rows.width) {
            return self.instance.fault(name, &error);
        }
        let Some((driver, _)) = self.row_driver(hook) else { return };
        let (driver, last) = (driver.clone(), rows.len());
        let mut view = rows.view();
        let address = LightUserData(ptr::from_mut(&mut view).cast());
        let mut next = 0;
        while next < last {
            if !self.instance.health.may_run(self.instance.context().time()) {
                self.instance.health.skipped += (last - next) as u64;
                return;
            }
            let start = next;
            let (result, progress) = self.instance.enter::<usize>(&driver, (address, next, last - 1, ROW_LIMIT));
            match result {
                Ok(reached) => next = reached,
                Err(e) => {
                    // The loop was unwound: go on behind the key it was at.
                    next = rows.row_of(progress).filter(|row| *row >= start).map_or(last, |row| row + 1);
                    if let Some(errors) = self.errors(hook) {
                        errors.unwound(next - 1);
                    }
                    self.instance.forget_caught(progress);
                    self.instance.at(progress, |instance| instance.fault(name, &e));
                }
            }
            self.instance.stats.calls += (next - start) as u64;
            self.instance.take_caught(name);
            if self.errors(hook).is_some_and(ErrorRow::is_full) {
                let at = rows.numbers[next - 1];
                self.instance.at(at, |instance| instance.suspend(name));
            }
        }
    }

    /// Makes the loop of a callback, once.
    fn prepare_rows(&mut self, hook: Hook, name: &str, width: usize) -> Result<(), PluginError> {
        if self.row_driver(hook).is_some_and(|(_, made_for)| *made_for == width) {
            return Ok(());
        }
        let Some(function) = self.function(hook) else { return Ok(()) };
        let errors = self.errors(hook).map(ErrorRow::address);
        let function = self.instance.watched(name, function)?;
        let maker = self.instance.vm().load(row_of(width).as_bytes(), "=millstream.row")?;
        let maker: Value = maker.call(())?;
        let parts = self.instance.parts().clone();
        let on_error = self.instance.on_error();
        let arguments = (&parts.objects, &parts.engine, function, on_error, errors, maker, votes_in(hook));
        let driver = self.instance.driver(DRIVER, "=millstream.rows", arguments)?;
        self.set_row_driver(hook, driver, width);
        Ok(())
    }
}

impl<O: BackendOutlet> Crew<O> {
    /// Whether the keys of a bucket can be handed to these monitors many at a time.
    pub fn takes_rows(&self, members: &[Member]) -> bool {
        let has_both = |member: &Member| {
            let monitor = &self.monitors[*member];
            monitor.has(Hook::Flush) && monitor.has(Hook::FlushFilter)
        };
        !self.outlet.shows_each() && !members.iter().any(has_both) && !self.wants.messages
    }

    /// Flushes a bucket many keys at a time; adds the votes to `verdicts` if there are any.
    pub fn flush_rows(&mut self, members: &[Member], snapshot: &Snapshot, verdicts: &mut Vec<Verdict>) {
        let mut rows = Rows::new(snapshot.start());
        snapshot.for_each(|key, values| {
            let number = ROW_PROGRESS + rows.len() as i32;
            rows.push(number, key, values);
            if rows.len() == ROWS {
                self.flush_chunk(members, snapshot, &mut rows, verdicts);
                rows.clear();
            }
        });
        self.flush_chunk(members, snapshot, &mut rows, verdicts);
    }

    fn flush_chunk(&mut self, members: &[Member], snapshot: &Snapshot, rows: &mut Rows, verdicts: &mut Vec<Verdict>) {
        let Some(group) = self.context.groups.counter_group(snapshot.group()) else { return };
        let (guid, size) = (group.guid, snapshot.size());
        let of = |crew: &Self, hook| -> Vec<Member> {
            members.iter().copied().filter(|&member| crew.monitors[member].has(hook)).collect()
        };
        let (filters, flushes) = (of(self, Hook::FlushFilter), of(self, Hook::Flush));
        self.context.row_stage.set(0);
        for &member in &filters {
            self.monitors[member].run_rows(Hook::FlushFilter, rows);
        }
        let mut kept = Rows::new(rows.time);
        let mut values = Vec::new();
        for row in 0..rows.len() {
            let yes = (rows.noes[row] as usize) < members.len() || members.is_empty();
            values.clear();
            values.extend_from_slice(rows.values(row));
            if yes {
                let changes = &rows.changes[row * rows.width..][..rows.width];
                let changed = values.iter_mut().zip(changes).filter(|(_, change)| !change.is_nan());
                changed.for_each(|(value, change)| *value = *change);
            }
            if !filters.is_empty() {
                verdicts.push(match yes {
                    false => Verdict::Drop,
                    true if values == rows.values(row) => Verdict::Keep,
                    true => Verdict::Change(values.as_slice().into()),
                });
            }
            let (group, key) = (snapshot.group(), rows.key(row));
            let flushed = FlushedKey { group, guid, bucket: snapshot.start(), size, key, values: &values };
            self.outlet.counter(&flushed, if yes { Stored::Yes } else { Stored::No });
            if yes && !flushes.is_empty() {
                kept.push(rows.numbers[row], key, &values);
            }
        }
        self.context.row_stage.set(1);
        for &member in &flushes {
            self.monitors[member].run_rows(Hook::Flush, &mut kept);
        }
        self.context.row_stage.set(0);
        self.after();
    }
}
