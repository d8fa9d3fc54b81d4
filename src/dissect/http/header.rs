//! A header block taken apart where it lies: nothing is copied but values that are written in several pieces.
//!
//! Reads what clients and servers read, not only what the standard allows: bare line feeds, folded lines, blanks before
//! the colon, requests without a version. No parser with a fixed table of fields: a block may have thousands.

use std::borrow::Cow;

/// A header block, from the first line up to and including the empty line; also one that is cut off or empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock<'a> {
    first: &'a [u8],
    fields: &'a [u8],
}

/// A field of a header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Name as received.
    pub name: &'a [u8],
    /// Value without the blanks around it; folded lines are joined by one blank.
    pub value: Cow<'a, [u8]>,
}

/// The fields of a header block, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> HeaderBlock<'a> {
    /// Looks at a block. Never fails: what is missing is empty.
    #[must_use]
    pub fn new(block: &'a [u8]) -> Self {
        let (first, fields) = split_line(block);
        Self { first: trim(first), fields }
    }

    /// True if it is that of a response.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.first.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"HTTP/"))
    }

    /// True if it is that of a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        !self.first.is_empty() && !self.is_response()
    }

    /// Method of a request; empty for a response.
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        if self.is_response() { b"" } else { split_word(self.first).0 }
    }

    /// Target of a request as sent, blanks within it included; empty for a response.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        if self.is_response() { b"" } else { self.target_and_version().0 }
    }

    /// Version as sent, `HTTP/1.1`; empty if a request has none.
    #[must_use]
    pub fn version(&self) -> &'a [u8] {
        if self.is_response() { split_word(self.first).0 } else { self.target_and_version().1 }
    }

    fn target_and_version(&self) -> (&'a [u8], &'a [u8]) {
        let rest = split_word(self.first).1;
        let word = rest.iter().rposition(|byte| is_blank(*byte)).map_or(0, |blank| blank + 1);
        let (target, version) = rest.split_at(word);
        if version.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/")) {
            (trim(target), version)
        } else {
            (rest, b"")
        }
    }

    /// Status code of a response; 0 for a request or if it is no number of three digits.
    #[must_use]
    pub fn status(&self) -> u16 {
        if !self.is_response() {
            return 0;
        }
        match split_word(split_word(self.first).1).0 {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => 0,
        }
    }

    /// All fields, in order; lines that are none are left out.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.fields }
    }

    /// The values of all fields of a name, in order. Names are compared without regard to case.
    pub fn values(&self, name: &[u8]) -> impl Iterator<Item = Cow<'a, [u8]>> {
        let mut fields = self.fields();
        std::iter::from_fn(move || fields.next_named(name)).map(|field| field.value)
    }

    /// The value of a field, repeated ones joined by `, `; nothing if there is none of the name.
    #[must_use]
    pub fn value(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let mut values = self.values(name);
        let mut value = values.next()?;
        for more in values {
            let joined = value.to_mut();
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(&more);
        }
        Some(value)
    }
}

impl<'a> Fields<'a> {
    /// The next field of a name, without regard to case. Lines that do not begin with it are passed over: a field does, and
    /// a folded line begins with a blank.
    fn next_named(&mut self, name: &[u8]) -> Option<Field<'a>> {
        loop {
            let (line, rest) = split_line(self.rest);
            if line.is_empty() {
                return None;
            }
            if !line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name)) {
                self.rest = rest;
                continue;
            }
            let field = self.next()?;
            if field.name.eq_ignore_ascii_case(name) {
                return Some(field);
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        loop {
            let (line, rest) = split_line(self.rest);
            if line.is_empty() {
                self.rest = b"";
                return None;
            }
            self.rest = rest;
            // A folded line without a field before it belongs to nothing.
            let Some(colon) = memchr::memchr(b':', line).filter(|_| !is_blank(line[0])) else { continue };
            let name = trim(&line[..colon]);
            if name.is_empty() {
                continue;
            }
            let mut value = Cow::Borrowed(trim(&line[colon + 1..]));
            while self.rest.first().is_some_and(|byte| is_blank(*byte)) {
                let (line, rest) = split_line(self.rest);
                self.rest = rest;
                let more = trim(line);
                if value.is_empty() {
                    value = Cow::Borrowed(more);
                } else if !more.is_empty() {
                    let joined = value.to_mut();
                    joined.push(b' ');
                    joined.extend_from_slice(more);
                }
            }
            return Some(Field { name, value });
        }
    }
}

/// The elements of a comma-separated list, blanks removed, empty ones left out.
pub(super) fn list(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// The first line, without its end, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// The first word, and the rest without the blanks around it.
fn split_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| is_blank(*byte)).unwrap_or(bytes.len());
    let (word, rest) = bytes.split_at(end);
    (word, trim(rest))
}

pub(super) const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the blanks around it.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REQUEST: &[u8] = b"GET /a/b?x=1 HTTP/1.1\r\nHost: www.example.com\r\nAccept: text/html\r\nx-empty:\r\n\
        ACCEPT:\t*/* \r\nX-Long: one\r\n  two\r\n\tthree\r\n\r\nnot: this\r\n";

    fn text(value: Option<Cow<'_, [u8]>>) -> Option<String> {
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    #[test]
    fn a_request_line_has_method_target_and_version() {
        let block = HeaderBlock::new(REQUEST);
        assert!(block.is_request() && !block.is_response());
        assert_eq!(
            (block.method(), block.target(), block.version(), block.status()),
            (&b"GET"[..], &b"/a/b?x=1"[..], &b"HTTP/1.1"[..], 0)
        );
    }

    #[test]
    fn a_status_line_has_version_and_status() {
        let block = HeaderBlock::new(b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n");
        assert!(block.is_response() && !block.is_request());
        assert_eq!(
            (block.method(), block.target(), block.version(), block.status()),
            (&b""[..], &b""[..], &b"HTTP/1.0"[..], 404)
        );
        for (line, status) in [
            ("HTTP/1.1 200", 200),
            ("http/1.1  302 x", 302),
            ("HTTP/1.1 2XX OK", 0),
            ("HTTP/1.1", 0),
            ("HTTP/1.1 20", 0),
        ] {
            assert_eq!(HeaderBlock::new(line.as_bytes()).status(), status, "{line}");
        }
    }

    #[test]
    fn odd_request_lines_are_read_as_far_as_they_go() {
        for (line, method, target, version) in [
            ("GET /uri afterspace HTTP/1.1", "GET", "/uri afterspace", "HTTP/1.1"),
            ("GET /no-version", "GET", "/no-version", ""),
            ("GET   /blanks\t HTTP/1.1  ", "GET", "/blanks", "HTTP/1.1"),
            ("GET HTTP/1.1", "GET", "", "HTTP/1.1"),
            ("GET", "GET", "", ""),
            ("", "", "", ""),
        ] {
            let block = HeaderBlock::new(line.as_bytes());
            let parts = (block.method(), block.target(), block.version());
            assert_eq!(parts, (method.as_bytes(), target.as_bytes(), version.as_bytes()), "{line}");
        }
    }

    #[test]
    fn values_are_found_without_regard_to_case_and_joined() {
        let block = HeaderBlock::new(REQUEST);
        assert_eq!(text(block.value(b"HOST")).as_deref(), Some("www.example.com"));
        assert_eq!(text(block.value(b"accept")).as_deref(), Some("text/html, */*"));
        assert_eq!(text(block.value(b"X-Empty")).as_deref(), Some(""));
        assert_eq!(text(block.value(b"not")), None, "what follows the empty line is not of the block");
    }

    #[test]
    fn folded_lines_are_joined() {
        let block = HeaderBlock::new(REQUEST);
        assert_eq!(text(block.value(b"x-long")).as_deref(), Some("one two three"));
        let block = HeaderBlock::new(b"HTTP/1.1 200 OK\r\n stray: 1\r\nA:\r\n  late\r\n \r\nB: 2\r\n\r\n");
        assert_eq!(text(block.value(b"a")).as_deref(), Some("late"));
        assert_eq!(text(block.value(b"b")).as_deref(), Some("2"));
        assert_eq!(text(block.value(b"stray")), None);
    }

    #[test]
    fn names_are_as_received_and_lines_that_are_no_fields_are_left_out() {
        let block = HeaderBlock::new(b"GET / HTTP/1.1\nHoSt : a\nno colon\n: nameless\nB:c:d\n\n");
        let fields: Vec<_> = block.fields().map(|field| (field.name, field.value.into_owned())).collect();
        assert_eq!(fields, [(&b"HoSt"[..], b"a".to_vec()), (&b"B"[..], b"c:d".to_vec())]);
    }

    #[test]
    fn an_empty_block_is_neither_request_nor_response() {
        let block = HeaderBlock::new(b"");
        assert!(!block.is_request() && !block.is_response());
        assert_eq!((block.status(), block.fields().count()), (0, 0));
    }

    proptest! {
        #[test]
        fn well_formed_blocks_read_as_another_parser_reads_them(
            method in "[A-Z]{1,10}",
            target in "/[a-z0-9/?=&.]{0,20}",
            fields in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,10}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..12),
        ) {
            let mut block = format!("{method} {target} HTTP/1.1\r\n");
            for (name, value) in &fields {
                block += &format!("{name}: {value}\r\n");
            }
            block += "\r\n";
            let mut room = [httparse::EMPTY_HEADER; 16];
            let mut parsed = httparse::Request::new(&mut room);
            prop_assert!(parsed.parse(block.as_bytes()).expect("well-formed").is_complete());
            let ours = HeaderBlock::new(block.as_bytes());
            prop_assert_eq!(ours.method(), parsed.method.unwrap_or("").as_bytes());
            prop_assert_eq!(ours.target(), parsed.path.unwrap_or("").as_bytes());
            let theirs: Vec<_> = parsed.headers.iter().map(|h| (h.name.as_bytes(), h.value.to_vec())).collect();
            let fields: Vec<_> = ours.fields().map(|field| (field.name, field.value.into_owned())).collect();
            prop_assert_eq!(fields, theirs);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let block = HeaderBlock::new(&bytes);
            let names: Vec<_> = block.fields().map(|field| field.name).collect();
            for name in names.iter().copied().chain([&b""[..], b"a", b" a", b"A:"]) {
                let same = |field: &Field<'_>| field.name.eq_ignore_ascii_case(name);
                let expected: Vec<_> = block.fields().filter(same).map(|field| field.value).collect();
                prop_assert_eq!(block.values(name).collect::<Vec<_>>(), expected);
            }
            for name in names {
                prop_assert!(block.value(name).is_some());
            }
            let _ = (block.method(), block.target(), block.version(), block.status());
        }
    }
}
