//! Header fields of a part.

use data_encoding::BASE64;

use crate::dissect::lines::{Start, begins_with, contains};

/// Longest field, continuation lines included.
const MAX_FIELD: usize = 4_096;

/// Longest name of a file that is kept.
const MAX_NAME: usize = 255;

/// Most parts that a name is put together from.
const MAX_PARTS: usize = 32;

/// Longest boundary (RFC 2046, 5.1.1: 70), with the two dashes in front.
const MAX_BOUNDARY: usize = 72;

/// How the bytes of a part are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    #[default]
    Plain,
    /// Base64.
    Base64,
    /// Quoted-printable.
    Quoted,
}

/// What the fields of a part say.
#[derive(Debug, Default)]
pub struct Fields {
    /// How its bytes are written.
    pub encoding: Encoding,
    /// Name of the file it is.
    pub name: Option<Box<[u8]>>,
    /// What its own parts are separated by, two dashes in front.
    pub boundary: Option<Box<[u8]>>,
    /// It is a message itself.
    pub is_message: bool,
    /// A field of which more lines may come.
    open: Vec<u8>,
}

impl Fields {
    /// The next line of the fields; one that goes on with a field is in the middle of it.
    pub fn line(&mut self, text: &[u8], start: Start) {
        if start == Start::Line {
            self.close();
        }
        let room = MAX_FIELD - self.open.len().min(MAX_FIELD);
        self.open.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// The fields end.
    pub fn close(&mut self) {
        let field = std::mem::take(&mut self.open);
        self.read(&field);
        self.open = field;
        self.open.clear();
    }

    fn read(&mut self, field: &[u8]) {
        if begins_with(field, b"CONTENT-TRANSFER-ENCODING:") {
            self.encoding = match field[26..].trim_ascii() {
                value if value.eq_ignore_ascii_case(b"base64") => Encoding::Base64,
                value if value.eq_ignore_ascii_case(b"quoted-printable") => Encoding::Quoted,
                _ => Encoding::Plain,
            };
        } else if begins_with(field, b"CONTENT-TYPE:") {
            let value = field[13..].trim_ascii_start();
            self.is_message = begins_with(value, b"MESSAGE/RFC822");
            if begins_with(value, b"MULTIPART/")
                && let Some(boundary) = parameter(value, b"BOUNDARY")
                && (1..=MAX_BOUNDARY - 2).contains(&boundary.len())
            {
                self.boundary = Some([b"--", &boundary[..]].concat().into());
            }
            // The disposition knows better.
            if self.name.is_none() {
                self.name = name(value, b"NAME");
            }
        } else if begins_with(field, b"CONTENT-DISPOSITION:") {
            self.name = name(&field[20..], b"FILENAME").or(self.name.take());
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        let boxed = |bytes: &Option<Box<[u8]>>| bytes.as_ref().map_or(0, |bytes| bytes.len());
        self.open.capacity() + boxed(&self.name) + boxed(&self.boundary)
    }
}

/// The name of a file: `word=`; with character set and escapes `word*=`; in parts `word*0=` or `word*0*=`, and so on
/// (RFC 2231).
fn name(value: &[u8], word: &[u8]) -> Option<Box<[u8]>> {
    let extended = [word, b"*"].concat();
    let found = match parameter(value, &extended) {
        Some(text) => unescaped(behind_charset(&text)?),
        None => match in_parts(value, &extended) {
            Some(text) => text,
            None => decoded_words(&parameter(value, word)?),
        },
    };
    let found = &found[..found.len().min(MAX_NAME)];
    (!found.is_empty()).then(|| found.into())
}

/// The value of a parameter in numbered parts, in whatever order they come; up to the first that is missing.
fn in_parts(value: &[u8], word: &[u8]) -> Option<Vec<u8>> {
    let mut parts = [None; MAX_PARTS];
    for (name, text) in parameters(value) {
        let Some((_, number)) = name.split_at_checked(word.len()).filter(|(begin, _)| begin.eq_ignore_ascii_case(word))
        else {
            continue;
        };
        let (number, has_escapes) = match number.strip_suffix(b"*") {
            Some(number) => (number, true),
            None => (number, false),
        };
        if let Some(part) = part_number(number).and_then(|number| parts.get_mut(number)) {
            part.get_or_insert((text, has_escapes));
        }
    }
    let mut whole = Vec::new();
    for (number, (text, has_escapes)) in parts.into_iter().map_while(|part| part).enumerate() {
        let text = unquoted(text);
        match (has_escapes, number) {
            (true, 0) => whole.extend(unescaped(behind_charset(&text)?)),
            (true, _) => whole.extend(unescaped(&text)),
            (false, _) => whole.extend(text),
        }
    }
    parts[0].map(|_| whole)
}

/// Without zeros in front.
fn part_number(digits: &[u8]) -> Option<usize> {
    match digits {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9'] => Some(usize::from(10 * (tens - b'0') + ones - b'0')),
        _ => None,
    }
}

/// What stands behind character set and language.
fn behind_charset(text: &[u8]) -> Option<&[u8]> {
    text.splitn(3, |byte| *byte == b'\'').nth(2)
}

/// The value of a parameter, quotes taken off.
fn parameter(value: &[u8], word: &[u8]) -> Option<Vec<u8>> {
    parameters(value).find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, text)| unquoted(text))
}

/// The names of parameters, and what follows each.
fn parameters(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        // The part in front of the first semicolon is no parameter.
        let semicolon = end_of_value(rest)?;
        let parameter = rest[semicolon + 1..].trim_ascii_start();
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        rest = parameter[equals + 1..].trim_ascii_start();
        Some((parameter[..equals].trim_ascii(), rest))
    })
}

/// Where the semicolon is that ends a value; none within quotes.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' => return !quoted,
            _ => {}
        }
        false
    })
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let Some(text) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';' || byte.is_ascii_whitespace()).unwrap_or(text.len());
        return text[..end].to_vec();
    };
    let mut plain = Vec::new();
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
        plain.push(*if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    plain
}

/// `%41` is `A`.
fn unescaped(text: &[u8]) -> Vec<u8> {
    hex_escapes(text, b'%')
}

/// Bytes after an escape sign and two hexadecimal digits; what is none stays.
fn hex_escapes(text: &[u8], sign: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match behind.get(..2).and_then(super::decode::hex_byte).filter(|_| *byte == sign) {
            Some(value) => {
                plain.push(value);
                rest = &behind[2..];
            }
            None => plain.push(*byte),
        }
    }
    plain
}

/// Words such as `=?utf-8?B?w7w=?=` as their bytes (RFC 2047); white space between two of them is nothing. Other
/// character sets than UTF-8 and ASCII stay as written.
fn decoded_words(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text;
    let mut after_word = false;
    while !rest.is_empty() {
        let blanks = rest.len() - rest.trim_ascii_start().len();
        match rest[blanks..].strip_prefix(b"=?").and_then(decoded_word) {
            Some((bytes, len)) => {
                if !after_word {
                    plain.extend_from_slice(&rest[..blanks]);
                }
                plain.extend_from_slice(&bytes);
                rest = &rest[blanks + 2 + len..];
                after_word = true;
            }
            None => {
                let len = blanks.max(1);
                plain.extend_from_slice(&rest[..len]);
                rest = &rest[len..];
                after_word = false;
            }
        }
    }
    plain
}

/// The bytes of a word and its length, the `=?` in front not counted.
fn decoded_word(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut parts = text.splitn(4, |byte| *byte == b'?');
    let (charset, how, content, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_known = contains(charset, b"UTF-8") || contains(charset, b"ASCII");
    if !is_known || rest.first() != Some(&b'=') {
        return None;
    }
    let bytes = match how {
        b"B" | b"b" => BASE64.decode(content).ok()?,
        b"Q" | b"q" => {
            let blank = |byte: &u8| if *byte == b'_' { b' ' } else { *byte };
            hex_escapes(&content.iter().map(blank).collect::<Vec<u8>>(), b'=')
        }
        _ => return None,
    };
    Some((bytes, text.len() - rest.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(field: &str) -> Option<String> {
        let mut fields = Fields::default();
        fields.line(field.as_bytes(), Start::Line);
        fields.close();
        fields.name.map(|name| String::from_utf8_lossy(&name).into_owned())
    }

    #[test]
    fn names_are_read_in_all_their_forms() {
        let named = |text: &str| Some(text.to_owned());
        assert_eq!(name_of("Content-Disposition: attachment; filename=a.txt"), named("a.txt"));
        assert_eq!(name_of(r#"content-disposition: x; size=3; FileName="a;\"b\".txt"; y=1"#), named("a;\"b\".txt"));
        assert_eq!(name_of("Content-Disposition: attachment; filename*=UTF-8''%c3%bc.txt"), named("ü.txt"));
        assert_eq!(name_of(r#"Content-Type: image/png; name="=?utf-8?B?w7w=?= =?UTF-8?Q?_1.png?=""#), named("ü 1.png"));
        assert_eq!(name_of("Content-Type: text/plain; charset=x"), None);
        assert_eq!(name_of("Content-Disposition: attachment; filename=\"\""), None);
    }

    #[test]
    fn names_in_several_parts_are_put_together() {
        let name = |parameters: &str| name_of(&format!("Content-Disposition: attachment; {parameters}"));
        let named = |text: &str| Some(text.to_owned());
        assert_eq!(name(r#"filename*0="long"; filename*1="name.txt""#), named("longname.txt"));
        assert_eq!(name(r#"filename*0*=utf-8''r%C3%A4; filename*1="ll%20.txt""#), named("räll%20.txt"));
        assert_eq!(name("FileName*1*=%3B.txt; x*0=no; filename*0=a"), named("a;.txt"));
        assert_eq!(name("filename=short; filename*0=lo; filename*1=ng"), named("long"));
        assert_eq!(name("filename*=''whole; filename*0=part"), named("whole"));
        assert_eq!(name_of("Content-Type: image/png; name*0=a; name*1=.png"), named("a.png"));
        // What a part is missing for is not there, nor are parts beyond the last number.
        assert_eq!(name("filename*0=a; filename*2=c"), named("a"));
        assert_eq!(name("filename*1=b"), None);
        assert_eq!(name("filename*00=a; filename*0x=b; filename*99999999999=c; filename**=d"), None);
        let many: Vec<_> = (0..1_000).map(|number| format!("filename*{number}=abc")).collect();
        assert_eq!(name(&many.join(";")), named(&"abc".repeat(MAX_PARTS)));
        let long = "x".repeat(MAX_NAME - 1);
        assert_eq!(name(&format!("filename*0={long}; filename*1=yz; filename*2=z")), Some(long + "y"));
    }

    #[test]
    fn boundaries_get_their_dashes() {
        let mut fields = Fields::default();
        fields.line(b"Content-Type: multipart/mixed;", Start::Line);
        fields.line(b" boundary=\"a b\"", Start::Middle);
        fields.close();
        assert_eq!(fields.boundary.as_deref(), Some(&b"--a b"[..]));
    }
}
