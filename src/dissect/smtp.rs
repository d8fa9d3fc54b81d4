//! SMTP: the messages that travel, for the files attached to them, and STARTTLS.

use super::dissector::{Appetite, Context, Recognition, StreamDissector};
use super::lines::{Line, Lines, ReplyLine, Start, begins_with, contains, reply};
use super::mime::Mime;
use crate::flow::Direction;

/// Whether a stream is a conversation of mail servers: by the greeting if it says so, else by the first command.
pub(super) fn recognise(direction: Direction, head: &[u8], _position: u64) -> Recognition {
    match direction {
        Direction::ToClient => {
            let greeting = [b"220 ", b"220-"].into_iter().any(|start| start.starts_with(&head[..head.len().min(4)]));
            match head.len() {
                _ if !greeting => Recognition::No,
                4.. if contains(head, b"SMTP") => Recognition::Yes,
                _ => Recognition::Undecided,
            }
        }
        Direction::ToServer => {
            let words = [&b"EHLO "[..], b"HELO ", b"LHLO "];
            let begins = &head[..head.len().min(5)];
            match words.into_iter().find(|word| begins.eq_ignore_ascii_case(&word[..begins.len()])) {
                Some(_) if begins.len() == 5 => Recognition::Yes,
                Some(_) => Recognition::Undecided,
                None => Recognition::No,
            }
        }
    }
}

/// What the client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Commands,
    /// Lines of a message up to the one with a single dot.
    Data,
    /// As many bytes of a message.
    Chunk { left: u64, last: Last },
}

/// Whether a chunk ends its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    No,
    Yes,
}

/// What the server is to agree to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    Data,
    Tls,
}

/// One conversation.
#[derive(Debug, Default)]
pub(super) struct Smtp {
    /// Commands of the client, and replies.
    lines: [Lines; 2],
    mode: Mode,
    asked: Asked,
    /// Lines of the message.
    content: Lines,
    message: Option<Box<Mime>>,
}

impl Smtp {
    fn client(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.mode {
                Mode::Commands => {
                    let mut lines = std::mem::take(&mut self.lines[Direction::ToServer.index()]);
                    if let Some(line) = lines.next(&mut bytes)
                        && line.start == Start::Line
                    {
                        self.command(cx, line.text());
                    }
                    self.lines[Direction::ToServer.index()] = lines;
                }
                Mode::Data => {
                    let mut content = std::mem::take(&mut self.content);
                    if let Some(line) = content.next(&mut bytes) {
                        self.data_line(cx, line);
                    }
                    self.content = content;
                }
                Mode::Chunk { left, last } => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (mut now, later) = bytes.split_at(len);
                    bytes = later;
                    let mut content = std::mem::take(&mut self.content);
                    while let Some(line) = content.next(&mut now) {
                        self.message_line(cx, line);
                    }
                    self.content = content;
                    let left = left - len as u64;
                    self.mode = Mode::Chunk { left, last };
                    if left == 0 {
                        self.chunk_ends(cx, last);
                    }
                }
            }
        }
    }

    fn chunk_ends(&mut self, cx: &mut Context<'_>, last: Last) {
        self.mode = Mode::Commands;
        if last == Last::Yes {
            let mut content = std::mem::take(&mut self.content);
            if let Some(line) = content.rest() {
                self.message_line(cx, line);
            }
            self.finish(cx);
        }
    }

    fn command(&mut self, cx: &mut Context<'_>, line: &[u8]) {
        if begins_with(line, b"BDAT ") {
            let mut words = line[5..].split(|byte| *byte == b' ').filter(|word| !word.is_empty());
            let len = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            let Some(left) = len else { return };
            let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case(b"LAST"));
            let last = if last { Last::Yes } else { Last::No };
            self.begin(cx);
            self.mode = Mode::Chunk { left, last };
            if left == 0 {
                self.chunk_ends(cx, last);
            }
            return;
        }
        let is = |word: &[u8]| line.trim_ascii_end().eq_ignore_ascii_case(word);
        self.asked = if is(b"DATA") {
            Asked::Data
        } else if is(b"STARTTLS") {
            Asked::Tls
        } else {
            Asked::Nothing
        };
        if is(b"RSET") || begins_with(line, b"EHLO") || begins_with(line, b"HELO") {
            self.drop_message();
        }
    }

    fn begin(&mut self, cx: &Context<'_>) {
        if self.message.is_none() && cx.wants.file_hashes.is_yes() {
            self.message = Some(Box::default());
        }
    }

    fn drop_message(&mut self) {
        self.message = None;
        self.content = Lines::default();
    }

    fn data_line(&mut self, cx: &mut Context<'_>, line: Line<'_>) {
        if line.start == Start::Line && line.bytes == b".\r\n" {
            self.mode = Mode::Commands;
            self.finish(cx);
            return;
        }
        // Lines that begin with a dot were given another one.
        let bytes = match line.start {
            Start::Line => line.bytes.strip_prefix(b".").unwrap_or(line.bytes),
            Start::Middle => line.bytes,
        };
        self.message_line(cx, Line { bytes, ..line });
    }

    fn message_line(&mut self, cx: &mut Context<'_>, line: Line<'_>) {
        if let Some(message) = &mut self.message {
            message.line(cx, line);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(mut message) = self.message.take() {
            message.finish(cx);
        }
        self.content = Lines::default();
    }

    fn answer(&mut self, cx: &Context<'_>, line: &[u8]) -> Appetite {
        let Some((code, ReplyLine::Last)) = reply(line) else { return Appetite::More };
        match (code, self.asked) {
            (220, Asked::Tls) => return Appetite::Restart { used: 0 },
            (354, Asked::Data) => {
                self.asked = Asked::Nothing;
                self.drop_message();
                self.begin(cx);
                self.mode = Mode::Data;
            }
            _ => {}
        }
        Appetite::More
    }
}

impl StreamDissector for Smtp {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, bytes: &[u8]) -> Appetite {
        if direction == Direction::ToServer {
            self.client(cx, bytes);
            return Appetite::More;
        }
        let mut rest = bytes;
        let mut lines = std::mem::take(&mut self.lines[direction.index()]);
        while let Some(line) = lines.next(&mut rest) {
            if line.start == Start::Line && self.answer(cx, line.text()) != Appetite::More {
                return Appetite::Restart { used: bytes.len() - rest.len() };
            }
        }
        self.lines[direction.index()] = lines;
        Appetite::More
    }

    fn gap(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, _missing: u64) -> Appetite {
        // Without what the client said nobody knows whether a message goes on.
        if direction == Direction::ToServer {
            cx.counts.add("smtp messages with gaps");
            return Appetite::Done;
        }
        self.lines[direction.index()] = Lines::default();
        Appetite::More
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        if self.message.is_some() {
            cx.counts.add("smtp messages cut short");
        }
    }

    fn held(&self) -> usize {
        let lines: usize = self.lines.iter().chain([&self.content]).map(Lines::held).sum();
        lines + self.message.as_ref().map_or(0, |message| size_of::<Mime>() + message.held())
    }
}
