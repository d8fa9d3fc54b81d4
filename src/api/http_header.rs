//! The host functions of the HTTPHeader object: a block is taken apart where it lies, each time a script asks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use mlua::{Lua, LuaString, Table};

use super::context::VmContext;
use super::re2::{Matcher, Options};
use crate::dissect::http::HeaderBlock;
use crate::lua::own_text;

const HTTP_HEADER: &str = include_str!("lua/http_header.lua");
/// Compiled patterns a VM keeps for `match_value`.
const MAX_PATTERNS: usize = 256;
/// A pattern in a log record is cut here.
const MAX_LOGGED: usize = 200;

/// Gives the objects of a VM the HTTPHeader.
///
/// # Errors
/// When the VM is out of memory.
pub fn install(lua: &Lua, objects: &Table, host: &Table, vm: &Rc<VmContext>) -> mlua::Result<()> {
    host.set(
        "header_line",
        lua.create_function(|lua, (block, part): (LuaString, String)| {
            let block = block.as_bytes();
            let header = HeaderBlock::new(&block);
            lua.create_string(if part == "method" { header.method() } else { header.target() })
        })?,
    )?;
    host.set(
        "header_status",
        lua.create_function(|_, block: LuaString| Ok(HeaderBlock::new(&block.as_bytes()).status()))?,
    )?;
    host.set(
        "header_value",
        lua.create_function(|lua, (block, name): (LuaString, LuaString)| {
            let block = block.as_bytes();
            HeaderBlock::new(&block).value(&name.as_bytes()).map(|value| lua.create_string(value)).transpose()
        })?,
    )?;
    host.set("header_fields", lua.create_function(|lua, block: LuaString| fields(lua, &block.as_bytes()))?)?;
    let patterns = Rc::new(RefCell::new(HashMap::new()));
    let context = Rc::clone(vm);
    host.set(
        "header_matches",
        lua.create_function(move |_, (block, name, pattern): (LuaString, LuaString, LuaString)| {
            let (block, pattern) = (block.as_bytes(), pattern.as_bytes());
            let header = HeaderBlock::new(&block);
            let Some(value) = header.value(&name.as_bytes()) else { return Ok(false) };
            Ok(matcher(&patterns, &context, &pattern).is_some_and(|matcher| matcher.is_match(&value)))
        })?,
    )?;
    own_text(lua, "=millstream.http_header", HTTP_HEADER)?.call((objects, host))
}

/// All fields under their names as received; of a name that is repeated, in whatever case, the first spelling counts.
fn fields(lua: &Lua, block: &[u8]) -> mlua::Result<Table> {
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut list: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for field in HeaderBlock::new(block).fields() {
        match places.get(&field.name.to_ascii_lowercase()) {
            Some(&place) => {
                let value = &mut list[place].1;
                value.extend_from_slice(b", ");
                value.extend_from_slice(&field.value);
            }
            None => {
                places.insert(field.name.to_ascii_lowercase(), list.len());
                list.push((field.name, field.value.into_owned()));
            }
        }
    }
    let table = lua.create_table()?;
    for (name, value) in list {
        table.raw_set(lua.create_string(name)?, lua.create_string(value)?)?;
    }
    Ok(table)
}

type Patterns = RefCell<HashMap<Vec<u8>, Option<Rc<Matcher>>>>;

/// The compiled pattern; `None` if it is not valid, which is told once.
fn matcher(patterns: &Patterns, context: &VmContext, pattern: &[u8]) -> Option<Rc<Matcher>> {
    if let Some(known) = patterns.borrow().get(pattern) {
        return known.clone();
    }
    let compiled = match Matcher::new(pattern, Options::default()) {
        Ok(matcher) => Some(Rc::new(matcher)),
        Err(error) => {
            let shown = String::from_utf8_lossy(&pattern[..pattern.len().min(MAX_LOGGED)]);
            context.warn_once(&format!("match_value(): invalid pattern '{shown}': {error}"));
            None
        }
    };
    let mut patterns = patterns.borrow_mut();
    if patterns.len() >= MAX_PATTERNS {
        patterns.clear();
    }
    patterns.insert(pattern.to_vec(), compiled.clone());
    compiled
}
