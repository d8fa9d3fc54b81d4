//! Guarded calls into a VM and the one error they end in.

use std::time::Duration;

use super::budget::Guard;
use super::raw::Trace;

/// Most bytes of a message or traceback that are kept.
const TEXT_LIMIT: usize = 4096;

/// LuaJIT's message when an allocation fails, and no more than that: there is no memory for the place. A coroutine puts places in
/// front of it when it passes the error on.
const OUT_OF_MEMORY: &str = "not enough memory";

/// The same when a stack is full while something that is not interpreted runs.
const STACK_OVERFLOW: &str = "stack overflow";

/// Whether an error is one of those that do not say where they happened.
#[must_use]
pub fn has_no_place(message: &str) -> bool {
    [OUT_OF_MEMORY, STACK_OVERFLOW].contains(&message)
}

/// The host's own chunks are named `=millstream`, alone or with a word after a dot or slash, with or without brackets:
/// their frames are left out of tracebacks.
pub const HOST_CHUNK: &str = "millstream";

/// How long a call may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Interrupt the call after this time; `None` never.
    pub limit: Option<Duration>,
    /// Count the call as slow after this time; `None` never.
    pub slow: Option<Duration>,
}

/// What kind of failure a plugin had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The source text does not compile.
    Syntax,
    /// A Lua error.
    Error,
    /// Stopped because it exceeded its time budget.
    Interrupted,
    /// The VM's memory limit was reached.
    Memory,
}

/// A failure of plugin code, in the words of the VM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PluginError {
    /// What kind of failure.
    pub kind: FaultKind,
    /// The message with its `file:line:` prefix where the VM supplied one; at most 4 KiB.
    pub message: String,
    /// Stack of the failure without the host's own frames, a line each; empty if none was taken; at most 4 KiB.
    pub traceback: String,
}

impl PluginError {
    /// From what a driver loop caught itself: the error value as text and, if it took one, a `debug.traceback`.
    #[must_use]
    pub fn caught(message: &[u8], traceback: &[u8]) -> Self {
        // The VM's own text is all that is left of the status once Lua has caught the error.
        let kind = if message.ends_with(OUT_OF_MEMORY.as_bytes()) { FaultKind::Memory } else { FaultKind::Error };
        Self { kind, message: text(message), traceback: plugin_frames(&text(traceback)) }
    }

    /// From a call that failed.
    pub(super) fn from_call(error: &mlua::Error, trace: Trace) -> Self {
        let mut described = Self::from_lua(error);
        match trace.noted {
            Some(noted) => {
                if described.kind == FaultKind::Error && !noted.message.is_empty() {
                    described.message = noted.message;
                }
                described.traceback = plugin_frames(&noted.traceback);
                if described.kind == FaultKind::Error && described.message.ends_with(OUT_OF_MEMORY) {
                    // A driver loop passes on what its own handler did not see.
                    described.kind = FaultKind::Memory;
                }
            }
            // The message handler is not called when memory runs out, and `xpcall` does not tell the status.
            None if described.message.ends_with(OUT_OF_MEMORY) => described.kind = FaultKind::Memory,
            None => {}
        }
        described
    }

    /// From a call that the watchdog stopped, whatever it returned.
    pub(super) fn from_interruption(guard: &Guard) -> Self {
        let (message, traceback) = guard.interruption();
        Self { kind: FaultKind::Interrupted, message, traceback: plugin_frames(&traceback) }
    }

    /// From an error as mlua reports it.
    #[must_use]
    pub fn from_lua(error: &mlua::Error) -> Self {
        let (kind, described) = match error {
            mlua::Error::SyntaxError { message, .. } => (FaultKind::Syntax, message.clone()),
            mlua::Error::MemoryError(message) => (FaultKind::Memory, message.clone()),
            mlua::Error::RuntimeError(message) => (FaultKind::Error, message.clone()),
            mlua::Error::CallbackError { cause, traceback } => {
                let mut inner = Self::from_lua(cause);
                if inner.traceback.is_empty() {
                    inner.traceback = plugin_frames(&text(traceback.as_bytes()));
                }
                return inner;
            }
            other => (FaultKind::Error, other.to_string()),
        };
        let (message, traceback) = described.split_once("\nstack traceback:\n").unwrap_or((&described, ""));
        Self { kind, message: text(message.as_bytes()), traceback: plugin_frames(&text(traceback.as_bytes())) }
    }
}

/// A text of at most the limit, cut at a character boundary; bytes that are not UTF-8 are replaced.
pub(super) fn text(bytes: &[u8]) -> String {
    // Cut first, so that a huge message is never copied whole; a replaced byte becomes three, so cut again.
    let mut end = bytes.len().min(TEXT_LIMIT);
    while end < bytes.len() && end > TEXT_LIMIT - 4 && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let mut text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    text.truncate(text.floor_char_boundary(TEXT_LIMIT));
    text
}

/// A traceback without its heading, the frames of the host's own chunks, and the functions of the VM that the host called.
/// Addresses are left out: they differ from run to run and say nothing.
fn plugin_frames(traceback: &str) -> String {
    let of_plugin = |line: &&str| !line.is_empty() && *line != "stack traceback:" && !is_host_frame(line);
    let without_address = |line| match str::split_once(line, ": at 0x") {
        Some((builtin, _)) if line.starts_with("[builtin#") => builtin,
        _ => line,
    };
    let mut lines: Vec<&str> = traceback.lines().map(str::trim).filter(of_plugin).map(without_address).collect();
    // Only at the outer end: a function of the VM further in was called by the plugin.
    while lines.pop_if(|line| line.starts_with("[C]:") || line.starts_with("[builtin#")).is_some() {}
    lines.join("\n")
}

/// True for `millstream:7: ...`, `millstream.driver:7: ...`, `millstream/job:7: ...` and `[millstream.async]:7: ...`.
pub(super) fn is_host_frame(line: &str) -> bool {
    let Some(rest) = line.strip_prefix('[').unwrap_or(line).strip_prefix(HOST_CHUNK) else { return false };
    let word = rest.trim_start_matches(['.', '/']);
    let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(word.len());
    let (word, rest) = word.split_at(end);
    // A plugin may have our name.
    word != "lua" && rest.strip_prefix(']').unwrap_or(rest).starts_with(':')
}

impl From<mlua::Error> for PluginError {
    fn from(error: mlua::Error) -> Self {
        Self::from_lua(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::{TEXT_LIMIT, plugin_frames, text};

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "é".repeat(5000);
        let cut = text(&long.as_bytes()[1..]);
        assert!(cut.len() <= TEXT_LIMIT && cut.len() > TEXT_LIMIT - 4, "{}", cut.len());
        assert!(cut.starts_with("\u{FFFD}é") && cut.ends_with('é'));
        assert_eq!(text(&vec![0xFF; 9000]).len(), TEXT_LIMIT / 3 * 3);
        assert_eq!(text(b"short"), "short");
    }

    #[test]
    fn frames_of_the_host_are_left_out() {
        let traceback = "stack traceback:\n\t[C]: in function 'sort'\n\tp.lua:3: in function 'f'\n\
                         \t[C]: in function 'xpcall'\n\tmillstream:7: in function <millstream:1>\n\t[C]: in ?";
        assert_eq!(plugin_frames(traceback), "[C]: in function 'sort'\np.lua:3: in function 'f'");
        for plugin in
            ["millstream.lua:3: in function 'f'", "millstream.x.lua:3: in function 'f'", "[string \"x\"]:1: in f"]
        {
            assert_eq!(plugin_frames(&format!("\t{plugin}")), plugin);
        }
    }

    #[test]
    fn named_chunks_of_the_host_and_addresses_are_left_out() {
        let traceback = "p.lua:1: in function 'f'\n\t[builtin#20]: at 0x559b\n\tp.lua:2: in function 'g'\n\t[C]: in function 'xpcall'\n\
                         \tmillstream.driver:18: in function <millstream.driver:14>\n\t[millstream.async]:3: in f\n\
                         \tmillstream/job:3: in f\n\t[builtin#21]: at 0x559bb329a380";
        assert_eq!(plugin_frames(traceback), "p.lua:1: in function 'f'\n[builtin#20]\np.lua:2: in function 'g'");
    }
}
