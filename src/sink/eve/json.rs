//! Writing JSON objects field by field, straight into a buffer.

use crate::sink::events::write_text;
use crate::sink::iso_time::PAIRS;

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    No,
    Yes,
}

impl From<bool> for Truth {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    /// What stands in front of the next field.
    before: u8,
}

impl<'a> Object<'a> {
    /// Begins an object.
    #[inline]
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Ends it.
    #[inline]
    pub fn end(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }

    /// Names are known where this is called, and copied there as words: a call for each would cost more than the rest.
    #[inline(always)]
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(&[self.before, b'"']);
        self.before = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A field whose value a function writes.
    #[inline]
    pub fn raw(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        write(self.out);
    }

    /// Text of any bytes.
    #[inline(always)]
    pub fn text(&mut self, name: &str, bytes: &[u8]) {
        self.name(name);
        push_string(self.out, bytes);
    }

    /// The same, if there is any.
    #[inline(always)]
    pub fn some_text(&mut self, name: &str, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.text(name, bytes);
        }
    }

    /// A number.
    #[inline(always)]
    pub fn count(&mut self, name: &str, count: u64) {
        self.name(name);
        push_count(self.out, count);
    }

    /// A truth value.
    #[inline(always)]
    pub fn flag(&mut self, name: &str, truth: Truth) {
        self.name(name);
        self.out.extend_from_slice(match truth {
            Truth::Yes => b"true",
            Truth::No => b"false",
        });
    }

    /// An object within.
    #[inline]
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::begin(self.out);
        fill(&mut inner);
        inner.end();
    }

    /// A list of texts.
    pub fn texts<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t [u8]>) {
        self.name(name);
        self.out.push(b'[');
        for (index, text) in texts.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            push_string(self.out, text);
        }
        self.out.push(b']');
    }

    /// A list of objects.
    pub fn objects<T>(&mut self, name: &str, items: impl Iterator<Item = T>, mut fill: impl FnMut(&mut Object<'_>, T)) {
        self.name(name);
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let mut inner = Object::begin(self.out);
            fill(&mut inner, item);
            inner.end();
        }
        self.out.push(b']');
    }
}

/// Appends a whole number.
pub(super) fn push_count(out: &mut Vec<u8>, mut count: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while count >= 100 {
        at -= 2;
        [digits[at], digits[at + 1]] = PAIRS[(count % 100) as usize];
        count /= 100;
    }
    let [tens, ones] = PAIRS[count as usize];
    at -= 1;
    digits[at] = ones;
    if tens != b'0' {
        at -= 1;
        digits[at] = tens;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Whether nothing has to be escaped. Sixteen bytes at a time, without a branch in between.
fn is_plain(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| (0x20..=0x7E).contains(byte) & (*byte != b'"') & (*byte != b'\\');
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| chunk.iter().fold(true, |all, byte| all & plain(byte))) && rest.iter().all(plain)
}

/// Appends bytes as pairs of hexadecimal digits with colons between.
pub(super) fn push_pairs(out: &mut Vec<u8>, bytes: &[u8], digits: &[u8; 16]) {
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        out.extend([digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
    }
}

/// Appends a JSON string. Most texts need no escapes and are copied at once; bytes that are no UTF-8 become `\u00XX`.
pub(super) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain(bytes) {
        out.reserve(bytes.len() + 2);
        out.push(b'"');
        out.extend_from_slice(bytes);
        out.push(b'"');
    } else {
        write_text(out, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Object, Truth, push_count, push_string};
    use proptest::prelude::*;

    #[test]
    fn fields_stand_in_order_and_lists_and_objects_nest() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", b"x\"y");
        object.some_text("none", b"");
        object.count("b", 12);
        object.object("c", |inner| inner.flag("d", Truth::Yes));
        object.texts("e", [&b"1"[..], b"2"].into_iter());
        object.objects("f", 1..3, |inner, n| inner.count("n", n));
        object.end();
        let text = r#"{"a":"x\"y","b":12,"c":{"d":true},"e":["1","2"],"f":[{"n":1},{"n":2}]}"#;
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    proptest! {
        #[test]
        fn any_bytes_make_a_valid_string(bytes: Vec<u8>) {
            let mut out = Vec::new();
            push_string(&mut out, &bytes);
            let back: String = serde_json::from_slice(&out).expect("valid JSON");
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert_eq!(back, text);
            }
            prop_assert!(!out.contains(&b'\n'));
        }

        #[test]
        fn counts_are_written_as_they_are(count: u64) {
            let mut out = Vec::new();
            push_count(&mut out, count);
            prop_assert_eq!(String::from_utf8(out).unwrap(), count.to_string());
        }
    }
}
