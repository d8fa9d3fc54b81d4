//! The plain data a function is turned into, and what can go wrong on the way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::code::{Code, MalformedDump};

/// Deepest nesting of tables and captured functions that is carried.
pub(super) const MAX_DEPTH: usize = 400;
/// Most bytes a portable may take.
pub(super) const MAX_SIZE: usize = 16 << 20;

/// What a [`Warning`] calls a metatable.
pub(super) const METATABLE: &str = "metatable";

static NEXT_NAME: AtomicU64 = AtomicU64::new(1);

/// A value as data; strings and composite values are positions in the [`Portable`] that holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Nil,
    Boolean(bool),
    Number(f64),
    String { start: u32, len: u32 },
    Int64(i64),
    Uint64(u64),
    Table(u32),
    Closure(u32),
    Known(u32),
}

#[derive(Clone, Debug)]
pub(super) struct PortableClosure {
    pub code: Arc<Code>,
    /// Where this closure's variables begin in [`Portable::slots`].
    pub first_slot: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct PortableTable {
    pub first_entry: u32,
    pub entries: u32,
    /// How many entries a sequence from 1 has, for sizing.
    pub sequence: u32,
}

/// Whether captured values contain the function itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RootUse {
    Entry,
    Captured,
}

/// A function and everything it captures, as data that can go to another thread.
#[derive(Clone, Debug)]
pub struct Portable {
    /// The function itself.
    pub(super) root: Arc<Code>,
    /// Captured functions; the root is number 0 and has no entry, so this list begins with number 1.
    pub(super) closures: Vec<PortableClosure>,
    /// Whether anything captured refers to the root itself.
    pub(super) root_use: RootUse,
    /// Which variable each upvalue of the captured functions is; the root's n-th upvalue is variable n.
    pub(super) slots: Vec<u32>,
    /// The value of each variable.
    pub(super) variables: Vec<Value>,
    pub(super) tables: Vec<PortableTable>,
    pub(super) entries: Vec<(Value, Value)>,
    pub(super) names: Vec<Arc<KnownName>>,
    pub(super) bytes: Vec<u8>,
}

impl Portable {
    /// Bytecode of the function.
    #[must_use]
    pub const fn code(&self) -> &Arc<Code> {
        &self.root
    }

    /// Bytes of data that travel; the shared bytecode does not count.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
            + size_of::<Value>() * (self.variables.len() + 2 * self.entries.len())
            + size_of::<PortableTable>() * self.tables.len()
            + size_of::<PortableClosure>() * self.closures.len()
    }

    /// True if the function captures nothing: one closure of it is as good as another.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.variables.is_empty()
    }

    pub(super) fn string(&self, start: u32, len: u32) -> &[u8] {
        &self.bytes[start as usize..start as usize + len as usize]
    }
}

/// The name under which every VM has its own copy of a value: a loaded module and the keys that lead to the value.
#[derive(Debug)]
pub struct KnownName {
    id: u64,
    module: Box<[u8]>,
    path: Vec<Box<[u8]>>,
}

impl KnownName {
    /// From `module NUL key NUL key`.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut parts = text.split(|byte| *byte == 0).map(Box::from);
        let module = parts.next().unwrap_or_default();
        Self { id: NEXT_NAME.fetch_add(1, Ordering::Relaxed), module, path: parts.collect() }
    }

    /// The text it is parsed from.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut text = self.module.to_vec();
        for key in &self.path {
            text.push(0);
            text.extend_from_slice(key);
        }
        text
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn module(&self) -> &[u8] {
        &self.module
    }

    pub(super) fn path(&self) -> &[Box<[u8]>] {
        &self.path
    }
}

impl fmt::Display for KnownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.module))?;
        self.path.iter().try_for_each(|key| write!(f, ".{}", String::from_utf8_lossy(key)))
    }
}

/// A captured value that stayed behind; the function gets nil (or, for a metatable, the table without it) instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the captured variable the value was reached through.
    pub upvalue: Box<str>,
    /// The way from there, such as `.db` or `[1].handle`.
    pub path: Box<str>,
    /// What the value is.
    pub kind: &'static str,
}

impl Warning {
    /// Whether a value is missing. What a metatable does is left out of tables that are complete otherwise.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.kind != METATABLE
    }

    /// What the worker meets in its place.
    #[must_use]
    pub fn in_its_place(&self) -> &'static str {
        if self.is_loss() { "it is nil there" } else { "the table arrives without it" }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { upvalue, path, kind } = self;
        if *kind == METATABLE {
            return write!(f, "upvalue '{upvalue}'{path} has a metatable, which cannot be sent to a worker");
        }
        write!(f, "upvalue '{upvalue}'{path} is a {kind}, which cannot be sent to a worker")
    }
}

/// Why a function cannot be turned into data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// A function written in C or Rust has no bytecode.
    #[error("function is not written in Lua and cannot be sent to a worker")]
    NotLua,
    /// Tables or functions nested too deep.
    #[error("upvalue '{upvalue}' is nested deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// Name of the captured variable.
        upvalue: Box<str>,
    },
    /// Too much data.
    #[error("captured values exceed {MAX_SIZE} bytes")]
    TooLarge,
    /// The VM's bytecode is not of the layout this build knows.
    #[error(transparent)]
    Layout(#[from] MalformedDump),
    /// The VM failed, as when its memory limit was reached.
    #[error("vm: {0}")]
    Vm(String),
}
