//! The words of a Lua source text with their lines. Comments are left out; text that does not compile is read as far as
//! it makes sense.

/// One word of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword.
    Name(String),
    /// A string, as it is between its quotes; escapes are left as they are.
    Text(Vec<u8>),
    /// A number.
    Number,
    /// Anything else; two-character comparisons are one symbol.
    Symbol(&'static str),
}

/// Symbols that tell things apart here, longest first; all others are one word.
const SYMBOLS: [&str; 17] =
    ["...", "==", "~=", "<=", ">=", "..", ":", ".", ",", ";", "=", "(", ")", "{", "}", "[", "]"];

/// What some editors put in front of UTF-8.
const ENCODING_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The words of a source text.
#[derive(Debug)]
pub struct Tokens {
    list: Vec<(Token, u32)>,
}

impl Tokens {
    /// Any symbol that is not told apart from others.
    pub const OTHER: &'static str = "?";

    /// Reads a source text.
    #[must_use]
    pub fn of(source: &[u8]) -> Self {
        // As the compiler has it: a mark of the encoding comes first, and the first line may be for the shell.
        let at = if source.starts_with(ENCODING_MARK) { ENCODING_MARK.len() } else { 0 };
        let mut reader = Reader { bytes: source, at, line: 1 };
        if reader.peek(0) == b'#' {
            reader.skip_line();
        }
        let mut list = Vec::new();
        while let Some(token) = reader.next() {
            list.push(token);
        }
        Self { list }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True for a text without words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The line of a word.
    #[must_use]
    pub fn line(&self, at: usize) -> u32 {
        self.list.get(at).map_or(1, |(_, line)| *line)
    }

    /// The name at a place, if it is one.
    #[must_use]
    pub fn name(&self, at: usize) -> Option<&str> {
        match self.list.get(at) {
            Some((Token::Name(name), _)) => Some(name),
            _ => None,
        }
    }

    /// The string at a place, if it is one.
    #[must_use]
    pub fn text(&self, at: usize) -> Option<&[u8]> {
        match self.list.get(at) {
            Some((Token::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// Whether a place holds a symbol.
    #[must_use]
    pub fn is(&self, at: usize, symbol: &str) -> bool {
        matches!(self.list.get(at), Some((Token::Symbol(found), _)) if *found == symbol)
    }

    /// The line at which a field is set, searched along a path such as `countergroup.control.guid`, each name behind the
    /// one before; the line of the last name that was found, else of the plugin's table.
    #[must_use]
    pub fn line_of_field(&self, path: &[&str]) -> u32 {
        let plugin = (0..self.len()).find(|&at| self.name(at) == Some("TrisulPlugin")).unwrap_or(0);
        let (mut line, mut from) = (self.line(plugin), 0);
        for name in path {
            match self.find_set(from, name) {
                Some(at) => (line, from) = (self.line(at), at + 1),
                None => break,
            }
        }
        line
    }

    /// `name =`, `["name"] =` or `function x.name(`.
    fn find_set(&self, from: usize, name: &str) -> Option<usize> {
        (from..self.len()).find(|&at| {
            let plain = self.name(at) == Some(name) && (self.is(at + 1, "=") || self.is(at + 1, "("));
            let quoted = self.text(at) == Some(name.as_bytes()) && self.is(at + 1, "]") && self.is(at + 2, "=");
            plain || quoted
        })
    }

    /// Whether a place holds `.` or `:`, behind which a name is a field.
    #[must_use]
    pub fn is_access(&self, at: usize) -> bool {
        self.is(at, ".") || self.is(at, ":")
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && !self.is_at_line_end() {
            self.at += 1;
        }
    }

    fn is_at_line_end(&self) -> bool {
        matches!(self.peek(0), b'\n' | b'\r')
    }

    /// Lines end as the compiler has it: with either of two characters, or with both.
    fn next_line(&mut self) {
        let ended = self.peek(0);
        self.at += 1;
        if self.is_at_line_end() && self.peek(0) != ended {
            self.at += 1;
        }
        self.line += 1;
    }

    fn next(&mut self) -> Option<(Token, u32)> {
        self.skip_blanks_and_comments();
        let line = self.line;
        let first = *self.bytes.get(self.at)?;
        let token = match first {
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.name(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            b'"' | b'\'' => self.quoted(first),
            b'[' if self.long_bracket().is_some() => Token::Text(self.long_text()),
            _ => self.symbol(),
        };
        Some((token, line))
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            match self.peek(0) {
                b'\n' | b'\r' => self.next_line(),
                b' ' | b'\t' | 0x0B | 0x0C => self.at += 1,
                b'-' if self.peek(1) == b'-' => {
                    self.at += 2;
                    if self.peek(0) == b'[' && self.long_bracket().is_some() {
                        self.long_text();
                    } else {
                        self.skip_line();
                    }
                }
                _ => return,
            }
        }
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> String {
        let from = self.at;
        while self.at < self.bytes.len() && belongs(self.peek(0)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[from..self.at]).into_owned()
    }

    fn name(&mut self) -> Token {
        Token::Name(self.take_while(|c| c == b'_' || c.is_ascii_alphanumeric() || c >= 0x80))
    }

    fn number(&mut self) -> Token {
        self.take_while(|c| c == b'.' || c.is_ascii_alphanumeric());
        Token::Number
    }

    fn quoted(&mut self, quote: u8) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        while self.at < self.bytes.len() {
            let c = self.peek(0);
            if c == quote {
                self.at += 1;
                break;
            }
            if self.is_at_line_end() {
                // Unfinished: the compiler says so.
                break;
            }
            text.push(c);
            self.at += 1;
            if c == b'\\' && self.at < self.bytes.len() {
                let escaped = self.peek(0);
                text.push(escaped);
                if self.is_at_line_end() {
                    self.next_line();
                } else {
                    self.at += 1;
                }
                if escaped == b'z' {
                    self.skip_space();
                }
            }
        }
        Token::Text(text)
    }

    /// What `\z` in a string leaves out.
    fn skip_space(&mut self) {
        loop {
            match self.peek(0) {
                b'\n' | b'\r' => self.next_line(),
                b' ' | b'\t' | 0x0B | 0x0C => self.at += 1,
                _ => return,
            }
        }
    }

    /// How many equal signs are in the long bracket that opens here.
    fn long_bracket(&self) -> Option<usize> {
        let mut level = 0;
        while self.peek(1 + level) == b'=' {
            level += 1;
        }
        (self.peek(1 + level) == b'[').then_some(level)
    }

    fn long_text(&mut self) -> Vec<u8> {
        let level = self.long_bracket().unwrap_or(0);
        self.at += level + 2;
        let from = self.at;
        while self.at < self.bytes.len() {
            let closes = self.peek(0) == b']'
                && (1..=level).all(|ahead| self.peek(ahead) == b'=')
                && self.peek(level + 1) == b']';
            if closes {
                let text = self.bytes[from..self.at].to_vec();
                self.at += level + 2;
                return text;
            }
            if self.is_at_line_end() {
                self.next_line();
            } else {
                self.at += 1;
            }
        }
        self.bytes[from.min(self.bytes.len())..].to_vec()
    }

    fn symbol(&mut self) -> Token {
        let rest = &self.bytes[self.at..];
        match SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_bytes())) {
            Some(symbol) => {
                self.at += symbol.len();
                Token::Symbol(symbol)
            }
            None => {
                self.at += 1;
                Token::Symbol(Tokens::OTHER)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, Tokens};
    use proptest::prelude::{any, proptest};

    fn list(text: &str) -> Vec<(Token, u32)> {
        Tokens::of(text.as_bytes()).list
    }

    #[test]
    fn comments_are_left_out_and_lines_counted_through_them() {
        let name = |text: &str| Token::Name(text.to_owned());
        assert_eq!(
            list("#!x\na--b\n--[[ c\n d ]] e --[==[ ]] \n]==] f"),
            [(name("a"), 2), (name("e"), 4), (name("f"), 5)]
        );
    }

    #[test]
    fn a_mark_of_the_encoding_is_no_word() {
        let name = |text: &str, line| (Token::Name(text.to_owned()), line);
        assert_eq!(list("\u{feff}a"), [name("a", 1)]);
        assert_eq!(list("\u{feff}#!x y\nb"), [name("b", 2)]);
        assert_eq!(list("\u{feff}"), []);
        assert_eq!(list(" #a"), [(Token::Symbol(Tokens::OTHER), 1), name("a", 1)]);
    }

    #[test]
    fn strings_of_all_kinds_are_texts() {
        let text = |text: &str| Token::Text(text.as_bytes().to_vec());
        assert_eq!(
            list("'a\\'b' \"c\" [[d\n]] [=[]]]=]").into_iter().map(|(t, _)| t).collect::<Vec<_>>(),
            [text("a\\'b"), text("c"), text("d\n"), text("]]")]
        );
    }

    #[test]
    fn lines_and_strings_end_where_the_compiler_has_them_end() {
        let name = |text: &str, line| (Token::Name(text.to_owned()), line);
        assert_eq!(list("a\r\nb\n\rc\rd\n\ne"), [name("a", 1), name("b", 2), name("c", 3), name("d", 4), name("e", 6)]);
        assert_eq!(list("-- a\rb"), [name("b", 2)]);
        let text = |text: &str, line| (Token::Text(text.as_bytes().to_vec()), line);
        assert_eq!(list("'a\\z \r\n\n 'b"), [text("a\\z", 1), name("b", 3)]);
        assert_eq!(list("'a\\\r\nb'c"), [text("a\\\rb", 1), name("c", 2)]);
        assert_eq!(list("[[\r\n]]a"), [text("\r\n", 1), name("a", 2)]);
        assert_eq!(list("...a"), [(Token::Symbol("..."), 1), name("a", 1)]);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_tokens_with_growing_lines(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let tokens = Tokens::of(&bytes);
            assert!(tokens.list.is_sorted_by_key(|(_, line)| *line));
        }
    }

    #[test]
    fn fields_are_found_along_their_path() {
        let tokens = Tokens::of(
            b"local guid = 1\nTrisulPlugin = {\n  id = { name = 'x' },\n  countergroup = {\n    control = {\n      guid = 2,\n",
        );
        assert_eq!(tokens.line_of_field(&["countergroup", "control", "guid"]), 6);
        assert_eq!(tokens.line_of_field(&["countergroup", "control", "name"]), 5);
        assert_eq!(tokens.line_of_field(&["alertgroup"]), 2);
    }
}
