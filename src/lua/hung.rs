//! Where a call is that does not come back from a C function: written by the signal handler on the thread of the VM, read by
//! the watchdog. Nothing here waits or allocates while it is written.

use std::ffi::c_int;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use super::call::is_host_frame;

/// Bytes of a stack; what finds no room is left out.
const MOST_BYTES: usize = 2_048;
/// Functions of it.
const MOST_FRAMES: c_int = 24;
/// Bytes of a name.
const MOST_NAME: usize = 60;
/// Between the fields of a function, and behind each function.
const FIELD: char = '\x1f';
const END: char = '\n';

/// A function on the stack, as the VM tells of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameText<'a> {
    pub source: &'a [u8],
    pub name: &'a [u8],
    pub line: c_int,
    pub begins: c_int,
}

/// A function on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its text as messages name it; `[C]` for one that is not written in Lua.
    pub source: String,
    /// What it was called as; empty if that is not known.
    pub name: String,
    /// The line it is at.
    pub line: Option<u32>,
    /// The line it begins in.
    pub begins: Option<u32>,
}

/// As in the stacks of errors.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match self.begins {
            _ if !self.name.is_empty() => write!(f, ": in function '{}'", self.name),
            Some(begins) => write!(f, ": in function <{}:{begins}>", self.source),
            None => write!(f, ": in a function"),
        }
    }
}

/// The stack of one call.
pub(super) struct HungStack {
    /// The call; 0 as long as there is none.
    call: AtomicU64,
    length: AtomicUsize,
    bytes: [AtomicU8; MOST_BYTES],
}

impl Default for HungStack {
    fn default() -> Self {
        Self { call: AtomicU64::new(0), length: AtomicUsize::new(0), bytes: [const { AtomicU8::new(0) }; MOST_BYTES] }
    }
}

impl HungStack {
    /// Whether it is that of a call.
    pub fn is_of(&self, call: u64) -> bool {
        self.call.load(Ordering::Acquire) == call
    }

    /// Notes the stack of a call: `frame` gives its functions, innermost first.
    pub fn note<'a>(&self, call: u64, mut frame: impl FnMut(c_int) -> Option<FrameText<'a>>) {
        self.call.store(0, Ordering::Release);
        let mut pen = Pen { stack: self, at: 0 };
        for level in 0..MOST_FRAMES {
            let Some(frame) = frame(level) else { break };
            let begin = pen.at;
            if pen.frame(&frame).is_err() {
                pen.at = begin;
                break;
            }
        }
        self.length.store(pen.at, Ordering::Relaxed);
        self.call.store(call, Ordering::Release);
    }

    /// The functions of that call, innermost first, as in the stacks of errors without those of the host; none if they were
    /// not noted.
    pub fn frames(&self, call: u64) -> Vec<Frame> {
        if call == 0 || !self.is_of(call) {
            return Vec::new();
        }
        let length = self.length.load(Ordering::Relaxed).min(MOST_BYTES);
        let bytes: Vec<u8> = self.bytes[..length].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        let text = String::from_utf8_lossy(&bytes);
        let frames = text.split_terminator(END).filter_map(read);
        let mut frames: Vec<Frame> = frames.filter(|frame| !is_host_frame(&frame.to_string())).collect();
        // What is around the callback was called by the host.
        while frames.pop_if(|frame| frame.source.starts_with('[')).is_some() {}
        frames
    }
}

fn read(frame: &str) -> Option<Frame> {
    let mut fields = frame.split(FIELD);
    let mut next = || fields.next();
    let (source, name) = (next()?.to_owned(), next()?.to_owned());
    let number = |text: Option<&str>| text?.parse().ok().filter(|number| *number > 0);
    Some(Frame { source, name, line: number(next()), begins: number(next()) })
}

struct Pen<'a> {
    stack: &'a HungStack,
    at: usize,
}

impl Pen<'_> {
    fn frame(&mut self, frame: &FrameText<'_>) -> fmt::Result {
        self.text(frame.source)?;
        self.write_char(FIELD)?;
        self.text(frame.name)?;
        let FrameText { line, begins, .. } = frame;
        write!(self, "{FIELD}{line}{FIELD}{begins}{END}")
    }

    fn text(&mut self, bytes: &[u8]) -> fmt::Result {
        let mut bytes = bytes.iter().take(MOST_NAME);
        bytes.try_for_each(|&byte| self.byte(if byte < b' ' { b'?' } else { byte }))
    }

    fn byte(&mut self, byte: u8) -> fmt::Result {
        self.stack.bytes.get(self.at).ok_or(fmt::Error)?.store(byte, Ordering::Relaxed);
        self.at += 1;
        Ok(())
    }
}

impl Write for Pen<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.byte(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameText, HungStack, MOST_FRAMES};

    fn frame<'a>(source: &'a str, name: &'a str, line: i32, begins: i32) -> FrameText<'a> {
        FrameText { source: source.as_bytes(), name: name.as_bytes(), line, begins }
    }

    #[test]
    fn the_functions_of_a_call_are_told_as_in_stacks_of_errors() {
        let stack = HungStack::default();
        let noted = [
            frame("[C]", "find", -1, -1),
            frame("a.lua", "", 9, 4),
            frame("[C]", "pcall", -1, -1),
            frame("a\x1f.lua", "on\npacket", 12, 11),
            frame("millstream.driver", "", 3, 1),
            frame("[C]", "xpcall", -1, -1),
            frame("millstream", "", 3, 1),
        ];
        stack.note(7, |level| noted.get(level as usize).copied());
        let told: Vec<String> = stack.frames(7).iter().map(Frame::to_string).collect();
        let expected = [
            "[C]: in function 'find'",
            "a.lua:9: in function <a.lua:4>",
            "[C]: in function 'pcall'",
            "a?.lua:12: in function 'on?packet'",
        ];
        assert_eq!(told, expected);
        assert!(stack.is_of(7) && !stack.is_of(8));
        assert!(stack.frames(8).is_empty() && HungStack::default().frames(0).is_empty());
    }

    #[test]
    fn what_finds_no_room_is_left_out_function_by_function() {
        let stack = HungStack::default();
        let long = "x".repeat(300);
        stack.note(1, |_| Some(frame(&long, &long, i32::MAX, i32::MAX)));
        let frames = stack.frames(1);
        assert!((5..MOST_FRAMES as usize).contains(&frames.len()), "{}", frames.len());
        assert!(frames.iter().all(|frame| frame.begins == Some(i32::MAX as u32)));
        stack.note(2, |level| (level < 2).then(|| frame("a", "b", 1, 1)));
        assert_eq!(stack.frames(2).len(), 2);
    }
}
