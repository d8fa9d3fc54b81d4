//! Bytecode of one prototype, turned into a constructor of closures.
//!
//! A dumped function loads as one closure with empty variables of its own. Setting those through `debug.setupvalue` for
//! every run has two faults: compiled code ignores the new value where the compiler knew the variable to be immutable,
//! and anything a former run kept shares the variables of the next. So the dump is wrapped: the prototype becomes the
//! child of `function(v1, ..., vn) return <prototype> end`, whose parameters are the child's variables. Calling the
//! wrapper gives a new closure of the same prototype.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// First bytes of every dump: escape, `L`, `J`, format version.
const MAGIC: [u8; 4] = [0x1B, b'L', b'J', 2];
/// Header flag: the dump carries no line information and no chunk name.
const STRIPPED: u32 = 0x02;
/// Header flag: multi-byte fields are big-endian.
const BIG_ENDIAN: u32 = 0x01;
/// Variable reference: a local slot of the enclosing function rather than one of its own captured variables.
const LOCAL: u16 = 0x8000;
/// Most variables a function captures (a limit of the compiler).
pub(super) const MAX_UPVALUES: usize = 60;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no code has.
pub(super) fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// Wrapped bytecode of one prototype, shared by all portables made from it.
#[derive(Debug)]
pub struct Code {
    id: u64,
    bytes: Box<[u8]>,
    location: Arc<str>,
    upvalues: usize,
}

impl Code {
    /// Unique number of this code within the process.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Where the function begins: `file:line`.
    #[must_use]
    pub const fn location(&self) -> &Arc<str> {
        &self.location
    }

    /// How many variables the function captures.
    #[must_use]
    pub const fn upvalues(&self) -> usize {
        self.upvalues
    }

    /// The bytecode of the wrapper.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Wraps the dump of a function; `template` is the dump of a wrapper for as many variables as the function has.
    pub(super) fn wrap(dump: &[u8], template: &[u8], location: Arc<str>) -> Result<Self, MalformedDump> {
        let target = Layout::of(dump)?;
        let wrapper = Layout::of(template)?;
        if target.flags & BIG_ENDIAN != wrapper.flags & BIG_ENDIAN || (target.flags | wrapper.flags) & STRIPPED != 0 {
            return Err(MalformedDump);
        }
        let main = target.main;
        let upvalues = usize::from(*dump.get(main.body + 3).ok_or(MalformedDump)?);
        // The wrapper's parameter count: it must provide exactly the variables that the function captures.
        if usize::from(*template.get(wrapper.main.body + 1).ok_or(MalformedDump)?) != upvalues {
            return Err(MalformedDump);
        }
        let mut bytes = Vec::with_capacity(dump.len() + template.len());
        bytes.extend_from_slice(&dump[..main.end]);
        let references = variable_references(dump, main, target.flags)?;
        for index in 0..upvalues {
            // Written anew, so that the mark for immutable variables is off: with it, compiled code would treat the value
            // of one run as a constant.
            let reference = LOCAL | u16::try_from(index).map_err(|_| MalformedDump)?;
            let encoded =
                if target.flags & BIG_ENDIAN == 0 { reference.to_le_bytes() } else { reference.to_be_bytes() };
            let at = references + 2 * index;
            bytes.get_mut(at..at + 2).ok_or(MalformedDump)?.copy_from_slice(&encoded);
        }
        bytes.extend_from_slice(&template[wrapper.main.start..wrapper.main.end]);
        bytes.push(0);
        let id = next_id();
        Ok(Self { id, bytes: bytes.into_boxed_slice(), location, upvalues })
    }

    /// Wrapped bytecode that was kept elsewhere for a while.
    pub(super) fn taken_up(bytes: &[u8], location: Arc<str>, upvalues: usize) -> Self {
        let id = next_id();
        Self { id, bytes: bytes.into(), location, upvalues }
    }

    /// The bytecode that [`Code`] would hold for a dump and a template, `None` if they are refused; for tests that feed it
    /// damaged bytes. Nothing is loaded: bytecode is checked for its layout only, so running it is for dumps of our own.
    #[doc(hidden)]
    #[must_use]
    pub fn rewrap(dump: &[u8], template: &[u8]) -> Option<Box<[u8]>> {
        Self::wrap(dump, template, Arc::from("")).ok().map(|code| code.bytes)
    }
}

/// A dump that this build of the VM does not produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the VM's bytecode has an unknown layout")]
pub struct MalformedDump;

#[derive(Clone, Copy, Default)]
struct Prototype {
    /// Offset of the length field.
    start: usize,
    /// Offset of the first byte after the length field.
    body: usize,
    /// Offset of the first byte after the prototype.
    end: usize,
}

struct Layout {
    flags: u32,
    /// The last prototype of the dump, which is the dumped function itself; its children come before it.
    main: Prototype,
}

impl Layout {
    fn of(dump: &[u8]) -> Result<Self, MalformedDump> {
        if dump.get(..4) != Some(&MAGIC[..]) {
            return Err(MalformedDump);
        }
        let mut at = 4;
        let flags = uleb128(dump, &mut at)?;
        if flags & STRIPPED == 0 {
            let name = uleb128(dump, &mut at)? as usize;
            at = at.checked_add(name).ok_or(MalformedDump)?;
        }
        let mut main = None;
        loop {
            let start = at;
            let length = uleb128(dump, &mut at)? as usize;
            if length == 0 {
                break;
            }
            let body = at;
            at = at.checked_add(length).filter(|end| *end < dump.len()).ok_or(MalformedDump)?;
            main = Some(Prototype { start, body, end: at });
        }
        main.map(|main| Self { flags, main }).ok_or(MalformedDump)
    }
}

/// Offset of the variable references of a prototype: they follow its header and instructions.
fn variable_references(dump: &[u8], prototype: Prototype, flags: u32) -> Result<usize, MalformedDump> {
    let mut at = prototype.body + 4;
    let _collectable_constants = uleb128(dump, &mut at)?;
    let _numeric_constants = uleb128(dump, &mut at)?;
    let instructions = uleb128(dump, &mut at)? as usize;
    if flags & STRIPPED == 0 && uleb128(dump, &mut at)? != 0 {
        let _first_line = uleb128(dump, &mut at)?;
        let _line_count = uleb128(dump, &mut at)?;
    }
    instructions.checked_mul(4).and_then(|size| at.checked_add(size)).ok_or(MalformedDump)
}

fn uleb128(bytes: &[u8], at: &mut usize) -> Result<u32, MalformedDump> {
    let mut value = 0_u32;
    for shift in (0..32).step_by(7) {
        let byte = *bytes.get(*at).ok_or(MalformedDump)?;
        *at += 1;
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(MalformedDump)
}

#[cfg(test)]
mod tests {
    use super::{Code, Layout, MalformedDump};

    #[test]
    fn bytes_that_are_no_dump_are_refused() {
        for bytes in [
            &b""[..],
            b"\x1bLJ",
            b"\x1bLJ\x02\x08",
            b"\x1bLJ\x02\x08\x02@a\x7f",
            b"return 1",
            b"\x1bLJ\x02\x08\x00\x00",
        ] {
            assert_eq!(Code::wrap(bytes, bytes, "x:1".into()).err(), Some(MalformedDump));
            assert!(Layout::of(bytes).is_err());
        }
    }
}
