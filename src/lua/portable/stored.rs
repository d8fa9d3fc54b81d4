//! Portables that are put down on a disk and taken up again, by this process or a later one.
//!
//! Bytecode that is not what this build of the VM made can do anything to the process. So a portable is taken up only by
//! whoever vouches for where its bytes were kept, and only if a sample of the VM's bytecode is the same as it was then.
#![expect(unsafe_code, reason = "whoever takes up bytecode has to vouch for it")]

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use mlua::Lua;

use super::code::{Code, MAX_UPVALUES};
use super::octets::{OctetReader, Octets};
use super::value::{KnownName, Portable, PortableClosure, PortableTable, RootUse, Value};

/// Most functions that are remembered, so that all of their portables have the same code.
const MAX_CODES: usize = 1024;
/// Compiled to see what bytecode looks like.
const SAMPLE: &str =
    "local a, b = ... for i = 1, #a do b = b + i * 2.5 .. 'x' end return function(...) return a[b], b, ... end";

/// Tells builds of the VM apart whose bytecode differs.
///
/// # Errors
/// When the VM is out of memory.
pub fn bytecode_mark(lua: &Lua) -> mlua::Result<u32> {
    let dump = lua.load(SAMPLE).set_name("=sample").into_function()?.dump(false);
    let mut all = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    all.extend_from_slice(std::env::consts::ARCH.as_bytes());
    all.extend_from_slice(&dump);
    Ok(crc32fast::hash(&all))
}

impl Portable {
    /// As bytes that [`Stored::take_up`] understands.
    #[must_use]
    pub fn put_down(&self) -> Vec<u8> {
        let mut out = Octets::default();
        put_code(&mut out, &self.root);
        out.byte(u8::from(self.root_use == RootUse::Captured));
        out.word(self.closures.len() as u32);
        for closure in &self.closures {
            put_code(&mut out, &closure.code);
            out.word(closure.first_slot);
        }
        out.word(self.slots.len() as u32);
        self.slots.iter().for_each(|slot| out.word(*slot));
        out.word(self.variables.len() as u32);
        self.variables.iter().for_each(|value| put_value(&mut out, *value));
        out.word(self.tables.len() as u32);
        for table in &self.tables {
            out.word(table.first_entry);
            out.word(table.entries);
            out.word(table.sequence);
        }
        out.word(self.entries.len() as u32);
        for (key, value) in &self.entries {
            put_value(&mut out, *key);
            put_value(&mut out, *value);
        }
        out.word(self.names.len() as u32);
        for name in &self.names {
            out.text(&name.written());
        }
        out.text(&self.bytes);
        out.into_bytes()
    }
}

fn put_code(out: &mut Octets, code: &Code) {
    out.text(code.bytes());
    out.text(code.location().as_bytes());
    out.byte(code.upvalues() as u8);
}

fn put_value(out: &mut Octets, value: Value) {
    match value {
        Value::Nil => out.byte(0),
        Value::Boolean(is) => out.byte(1 + u8::from(is)),
        Value::Number(number) => {
            out.byte(3);
            out.long(number.to_bits());
        }
        Value::String { start, len } => {
            out.byte(4);
            out.word(start);
            out.word(len);
        }
        Value::Int64(number) => {
            out.byte(5);
            out.long(number as u64);
        }
        Value::Uint64(number) => {
            out.byte(6);
            out.long(number);
        }
        Value::Table(index) => {
            out.byte(7);
            out.word(index);
        }
        Value::Closure(index) => {
            out.byte(8);
            out.word(index);
        }
        Value::Known(index) => {
            out.byte(9);
            out.word(index);
        }
    }
}

/// What portables that are taken up have in common.
#[derive(Debug, Default)]
pub struct Stored {
    codes: HashMap<Box<[u8]>, Arc<Code>, RandomState>,
    names: HashMap<Box<[u8]>, Arc<KnownName>, RandomState>,
}

impl Stored {
    /// A portable from its bytes; nothing if they are of another layout. Positions in it are checked.
    ///
    /// # Safety
    /// The bytes must be what [`Portable::put_down`] gave, in a process whose [`bytecode_mark`] is that of this one: the
    /// bytecode in them will run.
    #[must_use]
    pub unsafe fn take_up(&mut self, bytes: &[u8]) -> Option<Portable> {
        let mut input = OctetReader::new(bytes);
        let root = self.code(&mut input)?;
        let root_use = if input.byte()? == 0 { RootUse::Entry } else { RootUse::Captured };
        let mut closures = Vec::with_capacity(input.count(13)?);
        for _ in 0..closures.capacity() {
            closures.push(PortableClosure { code: self.code(&mut input)?, first_slot: input.word()? });
        }
        let count = input.count(4)?;
        let slots = (0..count).map(|_| input.word()).collect::<Option<Vec<u32>>>()?;
        let count = input.count(1)?;
        let variables = (0..count).map(|_| value(&mut input)).collect::<Option<Vec<_>>>()?;
        let count = input.count(12)?;
        let table = |input: &mut OctetReader<'_>| {
            Some(PortableTable { first_entry: input.word()?, entries: input.word()?, sequence: input.word()? })
        };
        let tables = (0..count).map(|_| table(&mut input)).collect::<Option<Vec<_>>>()?;
        let count = input.count(2)?;
        let entries = (0..count).map(|_| Some((value(&mut input)?, value(&mut input)?))).collect::<Option<Vec<_>>>()?;
        let count = input.count(4)?;
        let names = (0..count).map(|_| Some(self.name(input.text()?))).collect::<Option<Vec<_>>>()?;
        let bytes = input.text()?.to_vec();
        let portable = Portable { root, closures, root_use, slots, variables, tables, entries, names, bytes };
        (input.is_empty() && is_whole(&portable)).then_some(portable)
    }

    fn code(&mut self, input: &mut OctetReader<'_>) -> Option<Arc<Code>> {
        let (bytes, location, upvalues) = (input.text()?, input.text()?, usize::from(input.byte()?));
        if upvalues > MAX_UPVALUES {
            return None;
        }
        if let Some(code) = self.codes.get(bytes).filter(|code| code.location().as_bytes() == location) {
            return Some(Arc::clone(code));
        }
        if self.codes.len() >= MAX_CODES {
            self.codes.clear();
        }
        let location = Arc::from(String::from_utf8_lossy(location));
        let code = Arc::new(Code::taken_up(bytes, location, upvalues));
        self.codes.insert(bytes.into(), Arc::clone(&code));
        Some(code)
    }

    fn name(&mut self, text: &[u8]) -> Arc<KnownName> {
        if self.names.len() >= MAX_CODES {
            self.names.clear();
        }
        let named = self.names.entry(text.into()).or_insert_with(|| Arc::new(KnownName::parse(text)));
        Arc::clone(named)
    }
}

fn value(input: &mut OctetReader<'_>) -> Option<Value> {
    Some(match input.byte()? {
        0 => Value::Nil,
        1 => Value::Boolean(false),
        2 => Value::Boolean(true),
        3 => Value::Number(f64::from_bits(input.long()?)),
        4 => Value::String { start: input.word()?, len: input.word()? },
        5 => Value::Int64(input.long()? as i64),
        6 => Value::Uint64(input.long()?),
        7 => Value::Table(input.word()?),
        8 => Value::Closure(input.word()?),
        9 => Value::Known(input.word()?),
        _ => return None,
    })
}

/// Whether every position is one of something that is there.
fn is_whole(portable: &Portable) -> bool {
    let Portable { root, closures, slots, variables, tables, entries, names, bytes, .. } = portable;
    let value = |value: &Value| match *value {
        Value::String { start, len } => start as usize + len as usize <= bytes.len(),
        Value::Table(index) => (index as usize) < tables.len(),
        Value::Closure(index) => (index as usize) <= closures.len(),
        Value::Known(index) => (index as usize) < names.len(),
        Value::Nil | Value::Boolean(_) | Value::Number(_) | Value::Int64(_) | Value::Uint64(_) => true,
    };
    root.upvalues() <= variables.len()
        && closures.iter().all(|closure| closure.first_slot as usize + closure.code.upvalues() <= slots.len())
        && slots.iter().all(|slot| (*slot as usize) < variables.len())
        && tables.iter().all(|table| table.first_entry as usize + table.entries as usize <= entries.len())
        && variables.iter().all(value)
        && entries.iter().all(|(key, of)| value(key) && value(of))
}

#[cfg(test)]
mod tests {
    use mlua::{Function, Lua};

    use super::{Stored, bytecode_mark};
    use crate::lua::{Loader, Packer, Portable};

    fn vm() -> Lua {
        // SAFETY: the whole standard library, as plugins have it; nothing of it is misused here.
        unsafe { Lua::unsafe_new() }
    }

    fn packed(lua: &Lua, text: &str) -> Portable {
        let mut packer = Packer::new(lua).unwrap();
        let function: Function = lua.load(text).set_name("@p.lua").call(()).unwrap();
        packer.pack(lua, &function).unwrap().portable
    }

    const TEXT: &str = "local t = { 1, 'two', { deep = true, [7] = 0.5 } } t.self = t
        local function other(x) return x * 2 end
        local kept = 3LL
        return function(n) return other(n) + #t + t[3][7] + (t.self == t and 100 or 0) + tonumber(kept) + math.abs(-1) end";

    #[test]
    fn a_function_that_was_put_down_does_what_it_did() {
        let (from, to) = (vm(), vm());
        let bytes = packed(&from, TEXT).put_down();
        let mut stored = Stored::default();
        // SAFETY: the bytes come from the line above.
        let one = unsafe { stored.take_up(&bytes) }.unwrap();
        // SAFETY: the same.
        let two = unsafe { stored.take_up(&bytes) }.unwrap();
        assert_eq!(one.code().id(), two.code().id(), "compiled once");
        assert_eq!((one.size(), one.put_down()), (two.size(), bytes));
        let mut loader = Loader::new(&to).unwrap();
        let function = loader.load(&to, &one, |resolve, arguments| Ok(resolve.call::<()>(arguments)?)).unwrap();
        assert_eq!(function.call::<f64>(4).unwrap(), 8.0 + 3.0 + 0.5 + 100.0 + 3.0 + 1.0);
    }

    #[test]
    fn builds_are_told_apart_by_their_bytecode_and_one_build_knows_itself() {
        assert_eq!(bytecode_mark(&vm()).unwrap(), bytecode_mark(&vm()).unwrap());
    }

    #[test]
    fn cut_and_overlong_bytes_are_refused() {
        let bytes = packed(&vm(), TEXT).put_down();
        let mut stored = Stored::default();
        for end in 0..bytes.len() {
            // SAFETY: what is taken up is not run.
            assert!(unsafe { stored.take_up(&bytes[..end]) }.is_none(), "{end}");
        }
        // SAFETY: as above.
        assert!(unsafe { stored.take_up(&[&bytes[..], b"x"].concat()) }.is_none());
    }
}
