//! The rows of a store as records of pipelines.

use std::cell::RefCell;
use std::path::Path;

use mlua::{Lua, Table, Value};

use crate::key::FlowText;
use crate::sink::store_query::{Contents, PageRange, PageRow, PageValue, Pages};
use crate::time::Timestamp;

/// Rows read at once.
const A_PAGE: usize = 256;

/// Adds `rows(file, reader, groups, from, to)`: a function that gives the next records, as a list, and nil at the end; or nil
/// and what is wrong.
pub(super) fn install(lua: &Lua, host: &Table) -> mlua::Result<()> {
    let open = |lua: &Lua,
                (file, reader, groups, from, to): (String, String, Vec<String>, Option<f64>, Option<f64>)|
     -> mlua::Result<(Value, Option<String>)> {
        let Some(contents) = Contents::from_name(&reader) else {
            return Ok((Value::Nil, Some(format!("the store holds no {reader}"))));
        };
        let (from, to) = (from.map(Timestamp::from_secs_f64), to.map(Timestamp::from_secs_f64));
        match Pages::open(Path::new(&file), contents, PageRange { groups, from, to }) {
            Ok(pages) => Ok((cursor(lua, pages)?, None)),
            Err(e) => Ok((Value::Nil, Some(e.to_string()))),
        }
    };
    host.set("rows", lua.create_function(open)?)
}

fn cursor(lua: &Lua, pages: Pages) -> mlua::Result<Value> {
    let pages = RefCell::new(pages);
    let next = lua.create_function(move |lua, ()| {
        let page = match pages.borrow_mut().next(A_PAGE) {
            Ok(page) => page,
            Err(e) => return Ok((Value::Nil, Some(e.to_string()))),
        };
        if page.is_empty() {
            return Ok((Value::Nil, None));
        }
        let list = lua.create_table_with_capacity(page.len(), 0)?;
        for row in &page {
            list.push(record(lua, row)?)?;
        }
        Ok((Value::Table(list), None))
    })?;
    Ok(Value::Function(next))
}

/// One row with the fields that the record of an event has.
fn record(lua: &Lua, row: &PageRow) -> mlua::Result<Table> {
    let record = lua.create_table()?;
    for (name, value) in &row.values {
        match value {
            PageValue::Null => {}
            PageValue::Number(number) => record.raw_set(*name, *number)?,
            PageValue::Bytes(bytes) => {
                record.raw_set(*name, lua.create_string(bytes)?)?;
                if *name == "flow" {
                    let flow = FlowText::new(bytes);
                    for (field, text) in [
                        ("ipa", flow.ipa_readable()),
                        ("porta", flow.porta_readable()),
                        ("ipz", flow.ipz_readable()),
                        ("portz", flow.portz_readable()),
                    ] {
                        record.raw_set(field, lua.create_string(text.as_bytes())?)?;
                    }
                }
            }
        }
    }
    if !row.metrics.is_empty() {
        record.raw_set("metrics", lua.create_sequence_from(row.metrics.iter().copied())?)?;
    }
    Ok(record)
}
