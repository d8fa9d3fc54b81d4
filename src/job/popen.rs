//! What `io.popen` returns on a worker: like a file of the standard library, but no call on it outlasts the job.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{ChildStdin, ChildStdout};
use std::rc::Rc;

use mlua::{
    AnyUserData, Function, IntoLua as _, Lua, LuaString, MetaMethod, MultiValue, UserData, UserDataMethods, Value,
    Variadic,
};

use super::host::Control;
use super::process::{Pipe, wait_for};

/// Most bytes one call reads: what the VM itself may hold.
const MAX_READ: usize = 64 << 20;
/// Written at once: a pipe that can be written takes this much without blocking.
const PIECE: usize = 4096;
/// Longest text that is tried as a number.
const MAX_NUMBER: usize = 200;

/// One end of a pipe to a command.
pub(super) struct PipeHandle {
    control: Rc<Control>,
    pid: u32,
    end: End,
}

enum End {
    Read { from: ChildStdout, buffer: Vec<u8>, at: usize },
    Write { to: ChildStdin, buffer: Vec<u8> },
    Closed,
}

impl PipeHandle {
    /// Starts a command; nil, message and number if the system refuses.
    pub(super) fn open(
        lua: &Lua,
        control: &Rc<Control>,
        command: &LuaString,
        mode: Option<&LuaString>,
    ) -> mlua::Result<MultiValue> {
        control.left()?;
        let pipe = match mode.map(|mode| mode.as_bytes().first().copied()) {
            None | Some(Some(b'r')) => Pipe::Read,
            Some(Some(b'w')) => Pipe::Write,
            Some(_) => return Err(mlua::Error::runtime("bad argument #2 to 'popen' (invalid mode)")),
        };
        let started = match control.slot.children.start(&command.as_bytes(), pipe) {
            Ok(started) => started,
            Err(error) => return failure(lua, &error),
        };
        let end = match (started.stdout, started.stdin) {
            (Some(from), _) => End::Read { from, buffer: Vec::new(), at: 0 },
            (None, Some(to)) => End::Write { to, buffer: Vec::new() },
            (None, None) => End::Closed,
        };
        let handle = Self { control: Rc::clone(control), pid: started.pid, end };
        Ok(MultiValue::from_iter([Value::UserData(lua.create_userdata(handle)?)]))
    }

    /// What `io.type` says of it.
    pub(super) const fn kind(&self) -> &'static str {
        if matches!(self.end, End::Closed) { "closed file" } else { "file" }
    }

    /// Reads more into the buffer; false at the end.
    fn fill(&mut self) -> mlua::Result<bool> {
        let End::Read { from, buffer, at } = &mut self.end else { return Err(closed()) };
        if *at > 0 {
            buffer.drain(..*at);
            *at = 0;
        }
        if buffer.len() > MAX_READ {
            return Err(mlua::Error::runtime("not enough memory"));
        }
        loop {
            let left = self.control.left()?;
            if wait_for(from.as_fd(), Pipe::Read, left)? {
                let old = buffer.len();
                // Grows with what has come, so that long outputs need few calls.
                buffer.resize(old + old.clamp(PIECE, 1 << 20), 0);
                let read = from.read(&mut buffer[old..]);
                buffer.truncate(old + read.as_ref().map_or(0, |count| *count));
                match read {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => return Ok(other? > 0),
                }
            }
        }
    }

    fn unread(&self) -> mlua::Result<&[u8]> {
        match &self.end {
            End::Read { buffer, at, .. } => Ok(&buffer[*at..]),
            End::Write { .. } => Err(mlua::Error::runtime("Bad file descriptor")),
            End::Closed => Err(closed()),
        }
    }

    fn consume(&mut self, count: usize) {
        if let End::Read { at, buffer, .. } = &mut self.end {
            *at = (*at + count).min(buffer.len());
        }
    }

    fn read_line(&mut self, lua: &Lua, newline: Newline) -> mlua::Result<Option<LuaString>> {
        let mut searched = 0;
        loop {
            let unread = self.unread()?;
            if let Some(position) = unread[searched..].iter().position(|byte| *byte == b'\n') {
                let length = searched + position;
                let line = lua.create_string(&unread[..length + usize::from(newline == Newline::Keep)])?;
                self.consume(length + 1);
                return Ok(Some(line));
            }
            searched = unread.len();
            if !self.fill()? {
                return if searched == 0 { Ok(None) } else { self.take(lua, searched).map(Some) };
            }
        }
    }

    fn read_all(&mut self, lua: &Lua) -> mlua::Result<LuaString> {
        self.unread()?;
        while self.fill()? {}
        let length = self.unread()?.len();
        self.take(lua, length)
    }

    fn read_count(&mut self, lua: &Lua, count: usize) -> mlua::Result<Option<LuaString>> {
        while self.unread()?.len() < count.max(1) && self.fill()? {}
        let length = self.unread()?.len();
        if length == 0 {
            return Ok(None);
        }
        self.take(lua, length.min(count)).map(Some)
    }

    fn read_number(&mut self) -> mlua::Result<Option<f64>> {
        loop {
            let blanks = self.unread()?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.consume(blanks);
            if !self.unread()?.is_empty() || !self.fill()? {
                break;
            }
        }
        let in_number = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        while self.unread()?.iter().all(in_number) && self.unread()?.len() < MAX_NUMBER && self.fill()? {}
        let text: Vec<u8> = self.unread()?.iter().copied().take_while(in_number).take(MAX_NUMBER).collect();
        // The longest beginning that is a number, as scanf takes it.
        let number = (1..=text.len()).rev().find_map(|length| Some((length, parse_number(&text[..length])?)));
        Ok(number.map(|(length, number)| {
            self.consume(length);
            number
        }))
    }

    fn take(&mut self, lua: &Lua, count: usize) -> mlua::Result<LuaString> {
        let taken = lua.create_string(&self.unread()?[..count])?;
        self.consume(count);
        Ok(taken)
    }

    fn read(&mut self, lua: &Lua, formats: &[Value]) -> mlua::Result<MultiValue> {
        if formats.is_empty() {
            return self.read_line(lua, Newline::Cut)?.into_lua(lua).map(|line| MultiValue::from_iter([line]));
        }
        let mut results = MultiValue::new();
        for (index, format) in formats.iter().enumerate() {
            let value = self.read_format(lua, format, index + 1)?;
            let end = value.is_nil();
            results.push_back(value);
            if end {
                break;
            }
        }
        Ok(results)
    }

    fn read_format(&mut self, lua: &Lua, format: &Value, index: usize) -> mlua::Result<Value> {
        let invalid = |what| mlua::Error::runtime(format!("bad argument #{index} to 'read' (invalid {what})"));
        match format {
            Value::String(name) => {
                let name = name.as_bytes();
                match name.strip_prefix(b"*").unwrap_or(&name).first() {
                    Some(b'n') => self.read_number()?.into_lua(lua),
                    Some(b'l') => self.read_line(lua, Newline::Cut)?.into_lua(lua),
                    Some(b'L') => self.read_line(lua, Newline::Keep)?.into_lua(lua),
                    Some(b'a') => self.read_all(lua)?.into_lua(lua),
                    _ => Err(invalid("format")),
                }
            }
            // A negative count is none; one beyond any memory ends at the limit of reading.
            Value::Integer(count) => self.read_count(lua, usize::try_from(*count).unwrap_or(0))?.into_lua(lua),
            Value::Number(count) => self.read_count(lua, *count as usize)?.into_lua(lua),
            _ => Err(invalid("option")),
        }
    }

    fn write(&mut self, text: &[u8]) -> mlua::Result<()> {
        let End::Write { buffer, .. } = &mut self.end else {
            return Err(if matches!(self.end, End::Closed) {
                closed()
            } else {
                mlua::Error::runtime("Bad file descriptor")
            });
        };
        buffer.extend_from_slice(text);
        if buffer.len() >= 64 * 1024 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> mlua::Result<()> {
        let End::Write { to, buffer } = &mut self.end else { return Ok(()) };
        let mut written = 0;
        while written < buffer.len() {
            let left = self.control.left()?;
            if wait_for(to.as_fd(), Pipe::Write, left)? {
                let end = buffer.len().min(written + PIECE);
                match to.write(&buffer[written..end]) {
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        // Nobody reads any more: what is left will never be written.
                        buffer.clear();
                        return Err(error.into());
                    }
                }
            }
        }
        buffer.clear();
        Ok(())
    }

    /// Closes the pipe and waits for the command, as the standard library does.
    fn close(&mut self) -> mlua::Result<bool> {
        if matches!(self.end, End::Closed) {
            return Err(closed());
        }
        let flushed = self.flush();
        self.end = End::Closed;
        self.control.wait(self.pid)?;
        flushed.map(|()| true)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Newline {
    Keep,
    Cut,
}

impl UserData for PipeHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("read", |lua, this, formats: Variadic<Value>| this.read(lua, &formats));
        methods.add_function("lines", |lua, this: AnyUserData| -> mlua::Result<Function> {
            lua.create_function(move |lua, ()| this.borrow_mut::<Self>()?.read_line(lua, Newline::Cut))
        });
        methods.add_function("write", |lua, (this, texts): (AnyUserData, Variadic<Value>)| {
            for (index, value) in texts.iter().enumerate() {
                let Some(text) = lua.coerce_string(value.clone())? else {
                    let (number, kind) = (index + 1, value.type_name());
                    let message = format!("bad argument #{number} to 'write' (string expected, got {kind})");
                    return Err(mlua::Error::runtime(message));
                };
                this.borrow_mut::<Self>()?.write(&text.as_bytes())?;
            }
            Ok(true)
        });
        methods.add_method_mut("flush", |_, this, ()| this.flush().map(|()| true));
        methods.add_method_mut("close", |_, this, ()| this.close());
        methods.add_method("setvbuf", |_, _, _: MultiValue| Ok(true));
        methods.add_method("seek", |lua, _, _: MultiValue| failure(lua, &io::Error::from_raw_os_error(libc::ESPIPE)));
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(match this.end {
                End::Closed => "file (closed)".to_owned(),
                _ => format!("file ({:p})", &raw const *this),
            })
        });
    }
}

/// What functions of the standard library return when the system refuses.
fn failure(lua: &Lua, error: &io::Error) -> mlua::Result<MultiValue> {
    let code = error.raw_os_error().unwrap_or(0);
    let text = error.to_string();
    let message = text.split_once(" (os error").map_or(&*text, |(message, _)| message);
    Ok(MultiValue::from_iter([Value::Nil, message.into_lua(lua)?, code.into_lua(lua)?]))
}

fn closed() -> mlua::Error {
    mlua::Error::runtime("attempt to use a closed file")
}

fn parse_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(|number| sign * number as f64);
    }
    // "inf" and "nan" are words here, not numbers.
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.').then(|| digits.parse().ok().map(|n: f64| sign * n))?
}
