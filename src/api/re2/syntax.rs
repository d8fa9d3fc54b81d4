//! From RE2's pattern syntax to that of the `regex` crate.

use std::collections::HashSet;
use std::fmt::Write;

/// How pattern and text are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Sequences of UTF-8.
    Utf8,
    /// One character per byte.
    Latin1,
}

/// What changes the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyntaxOptions {
    /// How the pattern is read.
    pub encoding: Encoding,
    /// Nothing may match a newline.
    pub never_nl: bool,
    /// Parentheses only group.
    pub never_capture: bool,
}

/// Why a pattern is not valid, with the position of the offending character.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {position}")]
pub struct SyntaxError {
    /// Zero-based number of the character.
    pub position: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// The most that a repetition may ask for, as in RE2.
const MAX_REPEAT: u32 = 1000;
const MAX_CHAR: u32 = 0x0010_FFFF;
/// Matches nothing, in either encoding.
const NOTHING: &str = r"[a&&b]";

const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0C\r\x20";
const WORD: &str = "0-9A-Za-z_";

/// What a repetition operator would apply to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Nothing,
    Item,
    Repetition,
}

/// Translates a pattern. The result is meant for byte-oriented matching, with Unicode mode on for [`Encoding::Utf8`]
/// and off for [`Encoding::Latin1`].
///
/// # Errors
/// When RE2 would not accept the pattern, except for errors the `regex` crate finds itself.
pub fn translate(pattern: &[u8], options: SyntaxOptions) -> Result<String, SyntaxError> {
    let chars: Vec<u32> = match options.encoding {
        Encoding::Latin1 => pattern.iter().map(|byte| u32::from(*byte)).collect(),
        Encoding::Utf8 => std::str::from_utf8(pattern)
            .map_err(|error| SyntaxError { position: error.valid_up_to(), reason: "invalid UTF-8" })?
            .chars()
            .map(u32::from)
            .collect(),
    };
    let mut translator = Translator {
        chars: &chars,
        at: 0,
        out: String::with_capacity(chars.len() * 2),
        options,
        previous: Previous::Nothing,
        names: HashSet::new(),
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    chars: &'a [u32],
    at: usize,
    out: String,
    options: SyntaxOptions,
    previous: Previous,
    names: HashSet<Vec<u32>>,
}

/// A set inside a character class: positive ranges to paste, or a whole nested class.
fn perl_class(c: char) -> Option<(&'static str, bool)> {
    Some(match c {
        'd' => (DIGIT, false),
        'D' => (DIGIT, true),
        's' => (SPACE, false),
        'S' => (SPACE, true),
        'w' => (WORD, false),
        'W' => (WORD, true),
        _ => return None,
    })
}

impl Translator<'_> {
    fn error<T>(&self, reason: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { position: self.at.min(self.chars.len()), reason })
    }

    /// The character so many places after the current one.
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).and_then(|c| char::from_u32(*c))
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn run(&mut self) -> Result<(), SyntaxError> {
        while let Some(c) = self.peek(0) {
            match c {
                '(' => self.open_group()?,
                '|' => self.plain("|", Previous::Nothing),
                ')' => self.plain(")", Previous::Item),
                '^' | '$' => {
                    self.out.push(c);
                    self.at += 1;
                    self.previous = Previous::Item;
                }
                '.' => {
                    let any = if self.options.never_nl { r"[^\n]" } else { "." };
                    self.plain(any, Previous::Item);
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '*' | '+' | '?' => {
                    self.at += 1;
                    self.repeat(c.encode_utf8(&mut [0; 4]))?;
                }
                '{' => self.braces()?,
                _ => {
                    self.at += 1;
                    self.literal(u32::from(c));
                }
            }
        }
        Ok(())
    }

    fn plain(&mut self, text: &str, previous: Previous) {
        self.out.push_str(text);
        self.at += 1;
        self.previous = previous;
    }

    fn literal(&mut self, c: u32) {
        if self.options.never_nl && c == 0x0A || self.options.encoding == Encoding::Latin1 && c > 0xFF {
            self.out.push_str(NOTHING);
        } else {
            self.char_text(c);
        }
        self.previous = Previous::Item;
    }

    /// The character so that no dialect reads more into it.
    fn char_text(&mut self, c: u32) {
        match char::from_u32(c) {
            Some(plain) if plain.is_ascii_alphanumeric() => self.out.push(plain),
            _ => match self.options.encoding {
                Encoding::Utf8 => drop(write!(self.out, r"\x{{{c:X}}}")),
                Encoding::Latin1 => drop(write!(self.out, r"\x{:02X}", c.min(0xFF))),
            },
        }
    }

    fn repeat(&mut self, operator: &str) -> Result<(), SyntaxError> {
        match self.previous {
            Previous::Nothing => return self.error("missing argument to repetition operator"),
            Previous::Repetition => return self.error("bad repetition operator"),
            Previous::Item => {}
        }
        self.out.push_str(operator);
        if self.peek(0) == Some('?') {
            self.out.push('?');
            self.at += 1;
        }
        self.previous = Previous::Repetition;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; a brace that begins none of these stands for itself.
    fn braces(&mut self) -> Result<(), SyntaxError> {
        let mut ahead = 1;
        let low = self.number(&mut ahead);
        let mut high = low;
        if self.peek(ahead) == Some(',') {
            ahead += 1;
            high = if self.peek(ahead) == Some('}') { None } else { self.number(&mut ahead) };
            if high.is_none() && self.peek(ahead) != Some('}') {
                ahead = usize::MAX / 2;
            }
        }
        let (Some(low), Some('}')) = (low, self.peek(ahead)) else {
            self.at += 1;
            self.literal(u32::from('{'));
            return Ok(());
        };
        if low > MAX_REPEAT || high.is_some_and(|high| high > MAX_REPEAT || high < low) {
            return self.error("invalid repetition count");
        }
        let text: String = self.chars[self.at..=self.at + ahead].iter().filter_map(|c| char::from_u32(*c)).collect();
        self.at += ahead + 1;
        self.repeat(&text)
    }

    fn number(&self, ahead: &mut usize) -> Option<u32> {
        let mut value = None;
        while let Some(digit) = self.peek(*ahead).and_then(|c| c.to_digit(10)) {
            value = Some(value.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
            *ahead += 1;
        }
        value
    }

    fn open_group(&mut self) -> Result<(), SyntaxError> {
        if self.peek(1) != Some('?') {
            let open = if self.options.never_capture { "(?:" } else { "(" };
            self.plain(open, Previous::Nothing);
            return Ok(());
        }
        if self.starts_with("(?P<") {
            return self.named_group(4);
        }
        if self.starts_with("(?<") {
            return self.named_group(3);
        }
        self.flags()
    }

    fn named_group(&mut self, skip: usize) -> Result<(), SyntaxError> {
        let start = self.at + skip;
        let length = self.chars[start..].iter().position(|c| *c == u32::from('>'));
        let name = length.map_or(&[][..], |length| &self.chars[start..start + length]);
        let is_word = |c: &u32| char::from_u32(*c).is_some_and(|c| c == '_' || c.is_ascii_alphanumeric());
        if name.is_empty() || !name.iter().all(is_word) {
            return self.error("invalid named capture group");
        }
        if !self.names.insert(name.to_vec()) {
            return self.error("duplicate capture group name");
        }
        // Plugins see groups by number only, so the name itself is not needed.
        self.out.push_str(if self.options.never_capture { "(?:" } else { "(" });
        self.at = start + name.len() + 1;
        self.previous = Previous::Nothing;
        Ok(())
    }

    /// `(?flags)` and `(?flags:`, with the flags brought into the one form the `regex` crate accepts.
    fn flags(&mut self) -> Result<(), SyntaxError> {
        const NAMES: [char; 4] = ['i', 'm', 's', 'U'];
        let mut state = [None; 4];
        let (mut negated, mut since_minus) = (false, true);
        let mut ahead = 2;
        let end = loop {
            match self.peek(ahead) {
                Some('-') if !negated => (negated, since_minus) = (true, false),
                Some(end @ (':' | ')')) if since_minus => break end,
                Some(flag) => match NAMES.iter().position(|name| *name == flag) {
                    Some(index) => (state[index], since_minus) = (Some(!negated), true),
                    None => return self.error("invalid or unsupported group syntax"),
                },
                None => return self.error("missing closing parenthesis"),
            }
            ahead += 1;
        };
        let pick = |wanted| -> String {
            NAMES.iter().zip(state).filter(|(_, flag)| *flag == Some(wanted)).map(|(name, _)| *name).collect()
        };
        let (on, off) = (pick(true), pick(false));
        let minus = if off.is_empty() { "" } else { "-" };
        if end == ':' || !(on.is_empty() && off.is_empty()) {
            let _ = write!(self.out, "(?{on}{minus}{off}{end}");
        }
        if end == ':' {
            self.previous = Previous::Nothing;
        }
        self.at += ahead + 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), SyntaxError> {
        let Some(c) = self.peek(1) else {
            return self.error("trailing backslash");
        };
        if let Some((set, negated)) = perl_class(c) {
            self.at += 2;
            // Not folded: `(?i)\w` stays ASCII in RE2, where folding would add the Kelvin sign and the long s.
            let _ = match (negated, self.options.never_nl) {
                (false, false) => write!(self.out, "(?-i:[{set}])"),
                (false, true) => write!(self.out, r"(?-i:[{set}&&[^\n]])"),
                (true, false) => write!(self.out, "(?-i:[^{set}])"),
                (true, true) => write!(self.out, r"(?-i:[^{set}\n])"),
            };
            self.previous = Previous::Item;
            return Ok(());
        }
        let assertion = match c {
            'A' => Some(r"\A"),
            'z' => Some(r"\z"),
            'b' => Some(r"(?-u:\b)"),
            'B' => Some(r"(?-u:\B)"),
            'C' => Some(if self.options.never_nl { r"(?-u:[^\n])" } else { "(?s-u:.)" }),
            _ => None,
        };
        if let Some(text) = assertion {
            self.at += 1;
            self.plain(text, Previous::Item);
            return Ok(());
        }
        match c {
            'Q' => self.quoted(),
            'p' | 'P' => {
                let class = self.unicode_class()?;
                let cut = if self.options.never_nl { r"&&[^\n]" } else { "" };
                let _ = write!(self.out, "[{class}{cut}]");
                self.previous = Previous::Item;
            }
            _ => {
                let c = self.escaped_char()?;
                self.literal(c);
            }
        }
        Ok(())
    }

    /// `\Q...\E`: everything in between stands for itself; the end of the pattern closes it too.
    fn quoted(&mut self) {
        self.at += 2;
        while let Some(c) = self.chars.get(self.at).copied() {
            if self.starts_with(r"\E") {
                self.at += 2;
                return;
            }
            self.at += 1;
            self.literal(c);
        }
    }

    /// `\pN`, `\p{Name}`, `\p{^Name}` and the negated forms, as text for the inside of a class.
    fn unicode_class(&mut self) -> Result<String, SyntaxError> {
        let mut negated = self.peek(1) == Some('P');
        self.at += 2;
        let name: String = match self.peek(0) {
            Some('{') => {
                let Some(length) = self.chars[self.at..].iter().position(|c| *c == u32::from('}')) else {
                    return self.error("invalid character class name");
                };
                let name = self.chars[self.at + 1..self.at + length].iter().filter_map(|c| char::from_u32(*c));
                let name = name.collect();
                self.at += length + 1;
                name
            }
            Some(c) => {
                self.at += 1;
                c.to_string()
            }
            None => return self.error("invalid character class name"),
        };
        let name = match name.strip_prefix('^') {
            Some(rest) => {
                negated = !negated;
                rest.to_owned()
            }
            None => name,
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return self.error("invalid character class name");
        }
        let class = format!(r"\{}{{{name}}}", if negated { 'P' } else { 'p' });
        match self.options.encoding {
            Encoding::Utf8 => Ok(class),
            Encoding::Latin1 => self.latin1_members(&class),
        }
    }

    /// The members of a Unicode class among the first 256 characters, which is what the class means for single bytes.
    fn latin1_members(&self, class: &str) -> Result<String, SyntaxError> {
        let Ok(test) = regex::Regex::new(class) else {
            return self.error("invalid character class name");
        };
        let mut members = String::new();
        for byte in 0..=255u8 {
            if test.is_match(char::from(byte).encode_utf8(&mut [0; 4])) {
                let _ = write!(members, r"\x{byte:02X}");
            }
        }
        Ok(if members.is_empty() { NOTHING.to_owned() } else { members })
    }

    /// An escape that stands for one character; the backslash is the current character.
    fn escaped_char(&mut self) -> Result<u32, SyntaxError> {
        let Some(c) = self.peek(1) else {
            return self.error("trailing backslash");
        };
        let digit = |this: &Self, ahead: usize, radix: u32| this.peek(ahead).and_then(|c| c.to_digit(radix));
        match c {
            // A single digit would refer back to a group, which RE2 does not do.
            '1'..='7' if digit(self, 2, 8).is_none() => self.error("invalid escape sequence"),
            '0'..='7' => {
                let mut value = 0;
                let mut ahead = 1;
                while let (Some(digit), true) = (digit(self, ahead, 8), ahead <= 3) {
                    value = value * 8 + digit;
                    ahead += 1;
                }
                self.at += ahead;
                Ok(value)
            }
            'x' => self.hex_char(),
            'a' => self.simple(0x07),
            'f' => self.simple(0x0C),
            'n' => self.simple(0x0A),
            'r' => self.simple(0x0D),
            't' => self.simple(0x09),
            'v' => self.simple(0x0B),
            _ if c.is_ascii_punctuation() || c.is_ascii() && (c.is_ascii_control() || c == ' ') => {
                self.simple(u32::from(c))
            }
            _ => self.error("invalid escape sequence"),
        }
    }

    fn simple(&mut self, c: u32) -> Result<u32, SyntaxError> {
        self.at += 2;
        Ok(c)
    }

    fn hex_char(&mut self) -> Result<u32, SyntaxError> {
        let digit = |this: &Self, ahead: usize| this.peek(ahead).and_then(|c| c.to_digit(16));
        if self.peek(2) != Some('{') {
            let (Some(high), Some(low)) = (digit(self, 2), digit(self, 3)) else {
                return self.error("invalid escape sequence");
            };
            self.at += 4;
            return Ok(high * 16 + low);
        }
        let (mut value, mut ahead) = (0u32, 3);
        while let Some(digit) = digit(self, ahead) {
            value = value.saturating_mul(16).saturating_add(digit);
            ahead += 1;
        }
        let is_char = value <= MAX_CHAR && !(0xD800..=0xDFFF).contains(&value);
        if ahead == 3 || self.peek(ahead) != Some('}') || !is_char {
            return self.error("invalid escape sequence");
        }
        self.at += ahead + 1;
        Ok(value)
    }

    fn class(&mut self) -> Result<(), SyntaxError> {
        let open = self.at;
        self.at += 1;
        let negated = self.peek(0) == Some('^');
        self.at += usize::from(negated);
        let before = std::mem::take(&mut self.out);
        let mut first = true;
        loop {
            match self.peek(0) {
                None => {
                    self.at = open;
                    return self.error("missing closing bracket");
                }
                Some(']') if !first => break,
                Some('[') if self.peek(1) == Some(':') && self.ascii_class()? => {}
                Some('\\') => self.class_escape()?,
                Some(_) => self.class_range()?,
            }
            first = false;
        }
        self.at += 1;
        let items = std::mem::replace(&mut self.out, before);
        let items = if items.is_empty() { NOTHING.to_owned() } else { items };
        let not = if negated { "^" } else { "" };
        let _ = if self.options.never_nl {
            write!(self.out, r"[[{not}{items}]&&[^\n]]")
        } else {
            write!(self.out, "[{not}{items}]")
        };
        self.previous = Previous::Item;
        Ok(())
    }

    /// `[:name:]`; false if there is no closing `:]`, which makes the bracket a plain character.
    fn ascii_class(&mut self) -> Result<bool, SyntaxError> {
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
            "word", "xdigit",
        ];
        let rest: String = self.chars[self.at..].iter().map_while(|c| char::from_u32(*c)).take(64).collect();
        let Some(length) = rest[2..].find(":]") else {
            return Ok(false);
        };
        let name = &rest[2..2 + length];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return self.error("invalid character class range");
        }
        let _ = write!(self.out, "[:{name}:]");
        self.at += 2 + name.chars().count() + 2;
        Ok(true)
    }

    fn class_escape(&mut self) -> Result<(), SyntaxError> {
        let Some(c) = self.peek(1) else {
            return self.error("trailing backslash");
        };
        if let Some((set, negated)) = perl_class(c) {
            self.at += 2;
            let _ = if negated { write!(self.out, "[^{set}]") } else { write!(self.out, "{set}") };
            return Ok(());
        }
        if matches!(c, 'p' | 'P') {
            let class = self.unicode_class()?;
            self.out.push_str(&class);
            return Ok(());
        }
        self.class_range()
    }

    fn class_range(&mut self) -> Result<(), SyntaxError> {
        let low = self.class_char()?;
        let mut high = low;
        if self.peek(0) == Some('-') && self.peek(1).is_some_and(|c| c != ']') {
            self.at += 1;
            high = self.class_char()?;
        }
        if high < low {
            return self.error("invalid character class range");
        }
        let limit = if self.options.encoding == Encoding::Latin1 { 0xFF } else { MAX_CHAR };
        if low <= limit {
            self.char_text(low);
            if high > low {
                self.out.push('-');
                self.char_text(high.min(limit));
            }
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<u32, SyntaxError> {
        match self.peek(0) {
            Some('\\') => self.escaped_char(),
            Some(c) => {
                self.at += 1;
                Ok(u32::from(c))
            }
            None => self.error("missing closing bracket"),
        }
    }
}
