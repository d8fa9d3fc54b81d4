//! The Lua side of `T.re2`.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::matcher::{Matcher, Options};
use super::syntax::Encoding;
use crate::api::constants::{LogFn, LogLevel};
use crate::api::modules;

/// Compiled patterns a VM keeps, so that `T.re2` with the same text in a callback costs a lookup.
const MAX_CACHED: usize = 256;
/// After so many compilations garbage is collected: the VM sees a few bytes per object, not the program behind it.
const COLLECT_EVERY: usize = 256;
/// A pattern in a log record is cut here.
const MAX_LOGGED: usize = 200;

type Key = (Vec<u8>, Options);

/// The compiled patterns of one VM, oldest evicted first.
#[derive(Default)]
struct Cache {
    compiled: HashMap<Key, Option<Rc<Matcher>>>,
    order: VecDeque<Key>,
    compilations: usize,
}

/// Installs the function `re2` into `t`, the global table `T`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, t: &Table, log: &LogFn) -> mlua::Result<()> {
    let cache = Rc::new(RefCell::new(Cache::default()));
    let log = Rc::clone(log);
    // The object itself is made in Lua; what Rust hands out for it is a function that holds the compiled pattern.
    let compile = lua.create_function(move |lua, (pattern, options): (mlua::LuaString, Option<Table>)| {
        let (options, log_errors) = read_options(options.as_ref())?;
        let matcher = compile(lua, &cache, &pattern.as_bytes(), options, log_errors.then_some(&log))?;
        lua.create_function(move |lua, (operation, text): (u8, Option<mlua::LuaString>)| {
            let Some((matcher, text)) = matcher.as_deref().zip(text) else {
                return no_match(operation);
            };
            run(lua, matcher, operation, &text.as_bytes())
        })
    })?;
    let text = include_str!("../modules/host/re2.lua");
    modules::run_host_chunk(lua, "millstream.re2", text, (t, modules::arguments(lua)?, compile)).map(|_| ())
}

/// Lua truth of an option, or its default if absent.
fn option(options: Option<&Table>, name: &str, default: Choice) -> mlua::Result<bool> {
    let Some(options) = options else {
        return Ok(default == Choice::On);
    };
    Ok(match options.get::<Value>(name)? {
        Value::Nil => default == Choice::On,
        Value::Boolean(value) => value,
        _ => true,
    })
}

/// Default of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    On,
    Off,
}

fn read_options(table: Option<&Table>) -> mlua::Result<(Options, bool)> {
    let mut options = Options::default();
    if !option(table, "utf8", Choice::On)? {
        options.syntax.encoding = Encoding::Latin1;
    }
    options.syntax.never_nl = option(table, "never_nl", Choice::Off)?;
    options.syntax.never_capture = option(table, "never_capture", Choice::Off)?;
    options.literal = option(table, "literal", Choice::Off)?;
    options.case_sensitive = option(table, "case_sensitive", Choice::On)?;
    options.longest_match = option(table, "longest_match", Choice::Off)?;
    Ok((options, option(table, "log_errors", Choice::On)?))
}

fn compile(
    lua: &Lua,
    cache: &RefCell<Cache>,
    pattern: &[u8],
    options: Options,
    log: Option<&LogFn>,
) -> mlua::Result<Option<Rc<Matcher>>> {
    let key = (pattern.to_vec(), options);
    if let Some(found) = cache.borrow().compiled.get(&key) {
        return Ok(found.clone());
    }
    let matcher = match Matcher::new(pattern, options) {
        Ok(matcher) => Some(Rc::new(matcher)),
        Err(error) => {
            if let Some(log) = log {
                let shown = String::from_utf8_lossy(&pattern[..pattern.len().min(MAX_LOGGED)]);
                log(LogLevel::Error, format!("T.re2: invalid pattern '{shown}': {error}").as_bytes());
            }
            None
        }
    };
    let collect = {
        let mut cache = cache.borrow_mut();
        if cache.order.len() >= MAX_CACHED
            && let Some(oldest) = cache.order.pop_front()
        {
            cache.compiled.remove(&oldest);
        }
        cache.order.push_back(key.clone());
        cache.compiled.insert(key, matcher.clone());
        cache.compilations += 1;
        cache.compilations.is_multiple_of(COLLECT_EVERY)
    };
    if collect {
        lua.gc_collect()?;
    }
    Ok(matcher)
}

/// The operations by the numbers that the Lua half uses.
const PARTIAL_MATCH: u8 = 0;
const FULL_MATCH: u8 = 1;
const PARTIAL_MATCH_N: u8 = 2;
const FULL_MATCH_N: u8 = 3;
const PARTIAL_MATCH_C1: u8 = 4;
const PARTIAL_MATCH_C2: u8 = 5;

/// How many groups an operation returns, if that does not depend on the pattern.
fn wanted(operation: u8) -> Option<usize> {
    match operation {
        PARTIAL_MATCH_C1 => Some(1),
        PARTIAL_MATCH_C2 => Some(2),
        _ => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type that every result of a native function has")]
fn no_match(operation: u8) -> mlua::Result<MultiValue> {
    let nils = std::iter::repeat_n(Value::Nil, wanted(operation).unwrap_or(0));
    Ok(std::iter::once(Value::Boolean(false)).chain(nils).collect())
}

fn run(lua: &Lua, matcher: &Matcher, operation: u8, text: &[u8]) -> mlua::Result<MultiValue> {
    let groups = match operation {
        PARTIAL_MATCH => {
            return Ok(MultiValue::from_vec(vec![Value::Boolean(matcher.is_match(text))]));
        }
        FULL_MATCH => {
            return Ok(MultiValue::from_vec(vec![Value::Boolean(matcher.is_full_match(text))]));
        }
        FULL_MATCH_N => matcher.find_full(text),
        PARTIAL_MATCH_N => matcher.find(text),
        _ if wanted(operation).is_some_and(|wanted| wanted > matcher.group_count()) => None,
        _ => matcher.find(text),
    };
    let Some(groups) = groups else {
        return no_match(operation);
    };
    let count = wanted(operation).unwrap_or(groups.len() - 1);
    let mut results = MultiValue::with_capacity(count + 1);
    results.push_back(Value::Boolean(true));
    for group in groups.iter().skip(1).take(count) {
        results.push_back(Value::String(lua.create_string(group.unwrap_or_default())?));
    }
    Ok(results)
}
