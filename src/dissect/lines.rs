//! Streams cut into lines, the same way however they arrive.

use super::protocols::Head;

/// Longest piece; longer lines come in several.
const MAX_LINE: usize = 1_024;

/// A line with its end, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The bytes, `\r\n` or `\n` included where the line ends.
    pub bytes: &'a [u8],
    /// Whether it is where a line begins.
    pub start: Start,
}

/// Whether a piece begins a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// It does.
    Line,
    /// It goes on with one.
    Middle,
}

impl<'a> Line<'a> {
    /// The bytes without the end of the line.
    pub fn text(&self) -> &'a [u8] {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes);
        text.strip_suffix(b"\r").filter(|_| text.len() < self.bytes.len()).unwrap_or(text)
    }
}

/// What has come of a line that is not complete.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
    /// What is kept has been handed out.
    is_spent: bool,
    /// The next piece goes on with a line.
    is_middle: bool,
}

impl Lines {
    /// The next piece of the stream that goes on with `bytes`, which are used up as far as it needs them. `None` keeps
    /// what there is.
    pub fn next<'a, 's: 'a>(&'a mut self, bytes: &mut &'s [u8]) -> Option<Line<'a>> {
        self.clear_spent();
        let room = MAX_LINE - self.kept.len();
        let window = &bytes[..bytes.len().min(room)];
        let end = window.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let Some(cut) = end.or((window.len() == room).then_some(room)) else {
            self.kept.extend_from_slice(bytes);
            *bytes = &[];
            return None;
        };
        let (now, later) = bytes.split_at(cut);
        *bytes = later;
        let start = if self.is_middle { Start::Middle } else { Start::Line };
        self.is_middle = end.is_none();
        if self.kept.is_empty() {
            return Some(Line { bytes: now, start });
        }
        self.kept.extend_from_slice(now);
        self.is_spent = true;
        Some(Line { bytes: &self.kept, start })
    }

    /// What is kept, when nothing more comes; a new stream begins.
    pub fn rest(&mut self) -> Option<Line<'_>> {
        self.clear_spent();
        let start = if std::mem::take(&mut self.is_middle) { Start::Middle } else { Start::Line };
        if self.kept.is_empty() {
            return None;
        }
        self.is_spent = true;
        Some(Line { bytes: &self.kept, start })
    }

    fn clear_spent(&mut self) {
        if std::mem::take(&mut self.is_spent) {
            self.kept.clear();
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.kept.capacity()
    }
}

/// Whether bytes begin with a word, whatever its case; the word is in upper case.
pub(super) fn begins_with(bytes: &[u8], word: &[u8]) -> bool {
    bytes.len() >= word.len() && bytes[..word.len()].eq_ignore_ascii_case(word)
}

/// Whether bytes contain a word, whatever its case; the word is in upper case.
pub(super) fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// The code of a reply line `250 text` or `250-text`, and whether it is the last line of the reply.
pub(super) fn reply(line: &[u8]) -> Option<(u16, ReplyLine)> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match line.get(3) {
        None | Some(b' ') => Some((code, ReplyLine::Last)),
        Some(b'-') => Some((code, ReplyLine::More)),
        Some(_) => None,
    }
}

/// Which line of a reply it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyLine {
    /// Others follow.
    More,
    /// It ends here.
    Last,
}

/// What a greeting that begins with `220` says of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It takes mail.
    Mail,
    /// It has files.
    Files,
    /// Nothing, so far.
    Unclear,
    /// It is none.
    Other,
}

/// Reads the complete lines of a greeting; the first one that says something counts. Those that were looked at before said
/// nothing, and are not read again.
pub(super) fn greeting(Head { bytes: head, looked }: Head<'_>) -> Greeting {
    let begin = &head[..head.len().min(4)];
    if !b"220 ".starts_with(begin) && !b"220-".starts_with(begin) {
        return Greeting::Other;
    }
    let (known, new) = head.split_at(looked.min(head.len()));
    let Some(complete) = memchr::memrchr(b'\n', new).map(|at| known.len() + at) else { return Greeting::Unclear };
    // The line that was not complete.
    let from = memchr::memrchr(b'\n', known).map_or(0, |end| end + 1);
    for line in head[from..complete].split(|byte| *byte == b'\n') {
        if contains(line, b"SMTP") {
            return Greeting::Mail;
        }
        if contains(line, b"FTP") {
            return Greeting::Files;
        }
    }
    Greeting::Unclear
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(stream: &[u8], cuts: &[usize]) -> Vec<(Vec<u8>, Start)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut from = 0;
        for end in cuts.iter().map(|cut| cut % (stream.len() + 1)).chain([stream.len()]) {
            if end <= from {
                continue;
            }
            let mut bytes = &stream[from..end];
            while let Some(line) = lines.next(&mut bytes) {
                found.push((line.bytes.to_vec(), line.start));
            }
            from = end;
        }
        found.extend(lines.rest().map(|line| (line.bytes.to_vec(), line.start)));
        found
    }

    #[test]
    fn long_lines_come_in_pieces() {
        let stream = [&b"a\r\n"[..], &[b'x'; 1_500], b"\nb"].concat();
        let found = pieces(&stream, &[]);
        let lens: Vec<(usize, Start)> = found.iter().map(|(bytes, start)| (bytes.len(), *start)).collect();
        assert_eq!(lens, [(3, Start::Line), (1_024, Start::Line), (477, Start::Middle), (1, Start::Line)]);
    }

    #[test]
    fn lines_of_a_greeting_that_said_nothing_are_not_read_again() {
        let head = b"220-as SMTP as it gets\r\n220 FTP\r\n";
        let after = |looked| greeting(Head { bytes: head, looked });
        assert_eq!(
            [0, 5, 23, 24, 30].map(after),
            [Greeting::Mail, Greeting::Mail, Greeting::Mail, Greeting::Files, Greeting::Files]
        );
        assert_eq!(after(head.len()), Greeting::Unclear);
    }

    proptest! {
        #[test]
        fn a_greeting_says_the_same_in_pieces(
            words in proptest::collection::vec(prop_oneof![
                8 => Just(&b"hello "[..]), 3 => Just(&b"\r\n220-"[..]), 1 => Just(&b"eSmtp"[..]), 1 => Just(&b"ftp"[..]),
                2 => Just(&b"\r\n"[..]), 2 => Just(&b"f"[..]), 2 => Just(&b"tp"[..]),
            ], 0..40),
            pieces in proptest::collection::vec(1..30_usize, 1..60),
        ) {
            let stream = [&b"220-"[..], &words.concat()].concat();
            let (mut known, mut found) = (0, Greeting::Unclear);
            for piece in pieces.into_iter().cycle() {
                let now = stream.len().min(known + piece);
                found = greeting(Head { bytes: &stream[..now], looked: known });
                known = now;
                if found != Greeting::Unclear || known == stream.len() {
                    break;
                }
            }
            prop_assert_eq!(found, greeting(Head::new(&stream)));
        }

        #[test]
        fn lines_do_not_depend_on_the_pieces(
            stream in proptest::collection::vec(prop_oneof![8 => Just(b'x'), 1 => Just(b'\n'), 1 => Just(b'\r')], 0..3_000),
            mut cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let whole = pieces(&stream, &[]);
            prop_assert_eq!(whole.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>(), stream.clone());
            cuts.iter_mut().for_each(|cut| *cut %= stream.len() + 1);
            cuts.sort_unstable();
            prop_assert_eq!(pieces(&stream, &cuts), whole);
        }
    }
}
