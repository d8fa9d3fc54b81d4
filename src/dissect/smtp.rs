//! SMTP: the messages that travel, for the files attached to them, and STARTTLS.

use super::dissector::{Appetite, Context, Recognition, StreamDissector};
use super::lines::{Greeting, Line, Lines, ReplyLine, Start, begins_with, greeting, reply};
use super::mime::Mime;
use super::protocols::Head;
use crate::flow::Direction;

/// Whether a stream is a conversation of mail servers: by the greeting if it says so, else by the first command.
pub(super) fn recognise(direction: Direction, head: Head<'_>) -> Recognition {
    match direction {
        Direction::ToClient => match greeting(head) {
            Greeting::Mail => Recognition::Yes,
            Greeting::Unclear => Recognition::Undecided,
            Greeting::Files | Greeting::Other => Recognition::No,
        },
        Direction::ToServer => {
            let words = [&b"EHLO "[..], b"HELO ", b"LHLO "];
            let begins = &head.bytes[..head.bytes.len().min(5)];
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
    /// Messages that were begun.
    messages: u64,
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
        if self.message.is_none() && cx.wants.hashes().is_yes() {
            self.message = Some(Box::new(Mime::new(self.messages)));
            self.messages += 1;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dissect::rehearsal::{Said, check_pieces, overheard};
    use crate::flow::Direction::{ToClient, ToServer};

    const MESSAGE: &str = "Subject: x\r\nContent-Type: multipart/mixed;\r\n\tboundary=b\r\n\r\nparts\r\n--b\r\n\
        Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: BASE64\r\n\r\n\
        aGVs\r\nbG8=\r\n--b\r\nContent-Disposition: attachment; filename=\"q.txt\"\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nhel=\r\n=6C=6f\r\n--b\r\n\
        Content-Disposition: attachment; filename=dot.txt\r\n\r\n..hello\r\n\r\n--b--\r\nbehind\r\n";

    /// md5sum of "hello".
    const HELLO: &str = "MD5:5d41402abc4b2a76b9719d911017c592 -> ";
    /// md5sum of ".hello\r\n".
    const DOT_HELLO: &str = "MD5:23d5d8dffbc160e84a20527210d15260 -> dot.txt";

    fn talk(lines: &[(Direction, &str)]) -> Vec<Said> {
        lines.iter().map(|(direction, text)| (*direction, text.as_bytes().to_vec())).collect()
    }

    fn mail() -> Vec<Said> {
        talk(&[
            (ToClient, "220 x ESMTP\r\n"),
            (ToServer, "EHLO me\r\n"),
            (ToClient, "250-x\r\n250 CHUNKING\r\n"),
            (ToServer, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            (ToClient, "250 a\r\n250 b\r\n354 go on\r\n"),
            (ToServer, &format!("{MESSAGE}.\r\nQUIT\r\n")),
            (ToClient, "250 taken\r\n221 bye\r\n"),
        ])
    }

    fn files(said: &[Said]) -> Vec<String> {
        overheard(said).into_iter().filter(|line| line.starts_with("MD5:")).collect()
    }

    #[test]
    fn attached_files_are_hashed_however_they_are_written() {
        let (first, second) = (format!("{HELLO}a.bin"), format!("{HELLO}q.txt"));
        assert_eq!(files(&mail()), [first, second, DOT_HELLO.to_owned()]);
    }

    #[test]
    fn chunks_make_one_message_whatever_is_in_them() {
        let message = "Content-Type: x/y; name=a\r\n\r\nhello";
        let (first, last) = message.split_at(20);
        let said = talk(&[
            (ToClient, "220 x ESMTP\r\n"),
            (
                ToServer,
                &format!("BDAT {}\r\n{first}BDAT {} last\r\n{last}MAIL FROM:<a@b>\r\n", first.len(), last.len()),
            ),
            (ToServer, &format!("BDAT 0\r\nBDAT {} LAST\r\n{message}", message.len())),
        ]);
        assert_eq!(files(&said), [format!("{HELLO}a"), format!("{HELLO}a")]);
    }

    #[test]
    fn a_message_that_was_refused_or_reset_or_cut_is_no_message() {
        let message = "Content-Type: x/y; name=a\r\n\r\nhello\r\n.\r\n";
        let start = [(ToClient, "220 x ESMTP\r\n"), (ToServer, "DATA\r\n")];
        let refused = [&start[..], &[(ToClient, "554 no\r\n"), (ToServer, message)]].concat();
        assert_eq!(files(&talk(&refused)), Vec::<String>::new());
        let cut = [&start[..], &[(ToClient, "354 go\r\n"), (ToServer, &message[..30])]].concat();
        assert_eq!(files(&talk(&cut)), Vec::<String>::new());
        let reset = [
            (ToClient, "220 x ESMTP\r\n"),
            (ToServer, "BDAT 31\r\nContent-Type: x/y; name=a\r\n\r\nheRSET\r\n"),
            (ToServer, "BDAT 3 LAST\r\nllo"),
        ];
        assert_eq!(files(&talk(&reset)), Vec::<String>::new());
    }

    #[test]
    fn a_greeting_that_says_nothing_waits_for_the_first_command() {
        let found = overheard(&talk(&[(ToClient, "220 welcome\r\n"), (ToServer, "EHLO me\r\n")]));
        assert_eq!(found, ["=", "Smtp", "^D="]);
        let found = overheard(&talk(&[(ToClient, "220 welcome\r\n"), (ToServer, "USER me\r\n")]));
        assert_eq!(found, ["=", "Ftp", "^D="]);
    }

    #[test]
    fn a_greeting_of_many_lines_is_read_to_its_end() {
        let lines = "220-This machine and all that is on it are somebody's property.\r\n".repeat(80);
        let (first, rest) = lines.split_at(1_460);
        for last in ["220 x ESMTP\r\n", "220 welcome\r\n"] {
            let talk = talk(&[(ToClient, first), (ToClient, rest), (ToClient, last), (ToServer, "EHLO me\r\n")]);
            assert_eq!(overheard(&talk), ["=", "Smtp", "^D="]);
        }
        let endless = talk(&[(ToClient, &lines.repeat(4)), (ToServer, "EHLO me\r\n")]);
        assert_eq!(overheard(&endless), ["=", "^D="]);
    }

    #[test]
    fn after_starttls_the_flow_speaks_something_else() {
        let said = talk(&[
            (ToClient, "220 x ESMTP\r\n"),
            (ToServer, "EHLO me\r\nSTARTTLS\r\n"),
            (ToClient, "250 fine\r\n220 go on\r\n"),
            (ToServer, "SSH-2.0-as good as any\r\n"),
        ]);
        assert_eq!(overheard(&said), ["=", "Smtp", "Ssh", "SSH:BANNER:CLIENT=SSH-2.0-as good as any", "^D="]);
    }

    #[test]
    fn parts_may_nest_and_lose_their_ends() {
        let message = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\
            Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\nContent-Type: x/y; name=a\r\n\r\nhello\r\n--o\r\n\
            Content-Type: message/rfc822\r\n\r\nContent-Type: x/y; name=b\r\n\r\nhello\r\n--o--\r\n.\r\n";
        let said = talk(&[
            (ToClient, "220 x ESMTP\r\n"),
            (ToServer, "DATA\r\n"),
            (ToClient, "354 go\r\n"),
            (ToServer, message),
        ]);
        assert_eq!(files(&said), [format!("{HELLO}a"), format!("{HELLO}b")]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
            check_pieces(&mail(), &cuts)?;
        }

        #[test]
        fn damaged_mail_is_read_the_same_in_pieces(
            cuts in proptest::collection::vec(any::<usize>(), 0..4),
            damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        ) {
            let mut said = mail();
            for (at, byte) in damage {
                let text = &mut said[5].1;
                let len = text.len();
                text[at % len] = byte;
            }
            check_pieces(&said, &cuts)?;
        }
    }
}
