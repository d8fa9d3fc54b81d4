//! Any bytes as a text on one line, and back.

use std::fmt::Write;

/// Why a text cannot be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misquoted {
    /// It does not begin and end with quotation marks.
    #[error("a text in quotation marks is needed")]
    Bare,
    /// There is no such escape.
    #[error("'\\{0}' is no escape; there are \\n \\r \\t \\\" \\\\ and \\xNN")]
    Escape(char),
}

/// The bytes in quotation marks; valid UTF-8 stays as it is, what cannot be seen becomes an escape.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for part in bytes.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(&mut out, byte)),
                c => out.push(c),
            }
        }
        part.invalid().iter().for_each(|byte| escape(&mut out, *byte));
    }
    out.push('"');
    out
}

fn escape(out: &mut String, byte: u8) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// The bytes as they are if they are one plain word, in quotation marks otherwise.
#[must_use]
pub fn word(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        _ => quote(bytes),
    }
}

/// The bytes of a text in quotation marks.
///
/// # Errors
/// When it is none.
pub fn unquote(text: &str) -> Result<Vec<u8>, Misquoted> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or(Misquoted::Bare)?;
    let mut out = Vec::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next() {
            Some('n') => out.push(b'\n'),
            Some('r') => out.push(b'\r'),
            Some('t') => out.push(b'\t'),
            Some(c @ ('"' | '\\')) => out.push(c as u8),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|_| Misquoted::Escape('x'))?);
            }
            Some(c) => return Err(Misquoted::Escape(c)),
            None => return Err(Misquoted::Escape(' ')),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{Misquoted, quote, unquote, word};
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = quote(&bytes);
            assert!(!text.contains('\n'));
            assert_eq!(unquote(&text), Ok(bytes));
        }
    }

    #[test]
    fn text_stays_readable() {
        assert_eq!(quote("naïve \"x\"\n".as_bytes()), "\"naïve \\\"x\\\"\\n\"");
        assert_eq!(quote(b"a\xff\0"), "\"a\\xff\\x00\"");
        assert_eq!(word(b"C0.A8.01.02"), "C0.A8.01.02");
        assert_eq!(word(b"two words"), "\"two words\"");
    }

    #[test]
    fn what_is_no_quoted_text_is_refused() {
        assert_eq!(unquote("abc"), Err(Misquoted::Bare));
        assert_eq!(unquote("\"a\\q\""), Err(Misquoted::Escape('q')));
    }
}
