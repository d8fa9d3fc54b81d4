//! The module `JSON`: text to values.
//!
//! Written by hand rather than on a deserializer because strings in the wild are bytes: logs carry Latin-1 and half
//! characters, which must arrive as they are, while a deserializer refuses them. Values are built directly in the VM.

use mlua::{Lua, MultiValue, Table, Value};

use super::json_encode;
use super::registry::run_host_chunk;

/// How deep arrays and objects may nest, in either direction.
pub const MAX_DEPTH: usize = 256;

/// Why text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line}, column {column} (byte {offset})")]
pub struct DecodeError {
    /// What is wrong.
    pub reason: &'static str,
    /// One-based line.
    pub line: usize,
    /// One-based column in bytes.
    pub column: usize,
    /// One-based byte of the text.
    pub offset: usize,
}

/// A failure while decoding: of the text, or of the VM that the values are built in.
enum Failure {
    Text(DecodeError),
    Vm(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Vm(error)
    }
}

/// Makes the module's value.
pub(super) fn module(lua: &Lua) -> mlua::Result<Value> {
    let decode = lua.create_function(|lua, (text, null, kinds): (mlua::LuaString, Value, Option<Table>)| {
        let mut results = MultiValue::new();
        match decode(lua, &text.as_bytes(), &null, kinds.as_ref()) {
            Ok(value) => {
                results.push_back(Value::Boolean(true));
                results.push_back(value);
            }
            Err(Failure::Vm(error)) => return Err(error),
            Err(Failure::Text(error)) => {
                results.push_back(Value::Boolean(false));
                results.push_back(Value::String(lua.create_string(error.to_string())?));
                results.push_back(Value::Number(error.offset as f64));
            }
        }
        Ok(results)
    })?;
    let encode = json_encode::function(lua)?;
    run_host_chunk(lua, "JSON", include_str!("JSON.lua"), (decode, encode))
}

/// Makes the value that a text stands for; null is nil.
///
/// # Errors
/// When it is no JSON, or the VM is out of memory.
pub(in crate::api) fn parse(lua: &Lua, text: &[u8]) -> mlua::Result<Value> {
    decode(lua, text, &Value::Nil, None).map_err(|failure| match failure {
        Failure::Text(error) => mlua::Error::runtime(error.to_string()),
        Failure::Vm(error) => error,
    })
}

fn decode(lua: &Lua, text: &[u8], null: &Value, kinds: Option<&Table>) -> Result<Value, Failure> {
    let (array, object) = match kinds {
        Some(kinds) => (kinds.raw_get("array")?, kinds.raw_get("object")?),
        None => (None, None),
    };
    // A byte order mark is no JSON, yet editors put it there.
    let at = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let mut parser = Parser { lua, text, at, null, array, object, scratch: Vec::new() };
    parser.blanks();
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() { Err(parser.failure("text after the value")) } else { Ok(value) }
}

struct Parser<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
    /// What `null` becomes.
    null: &'a Value,
    /// Metatables of arrays and objects, if the caller wants them marked.
    array: Option<Table>,
    object: Option<Table>,
    scratch: Vec<u8>,
}

impl Parser<'_> {
    fn failure(&self, reason: &'static str) -> Failure {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Failure::Text(DecodeError { reason, line, column, offset: self.at + 1 })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", self.null.clone()),
            Some(_) => Err(self.failure("expected a value")),
            None => Err(self.failure("unexpected end of text")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, Failure> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return Err(self.failure("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn descend(&mut self, depth: usize) -> Result<(), Failure> {
        if depth >= MAX_DEPTH {
            return Err(self.failure("nested too deeply"));
        }
        self.at += 1;
        self.blanks();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value, Failure> {
        self.descend(depth)?;
        let list = self.lua.create_table()?;
        if let Some(kind) = &self.array {
            list.set_metatable(Some(kind.clone()))?;
        }
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Table(list));
        }
        // Counted here, because a null leaves a hole that the table's own length would stop at.
        for index in 1i64.. {
            let value = self.value(depth + 1)?;
            list.raw_set(index, value)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                Some(_) => return Err(self.failure("expected ',' or ']'")),
                None => return Err(self.failure("unexpected end of text in an array")),
            }
            self.blanks();
        }
        self.at += 1;
        Ok(Value::Table(list))
    }

    fn object(&mut self, depth: usize) -> Result<Value, Failure> {
        self.descend(depth)?;
        let map = self.lua.create_table()?;
        if let Some(kind) = &self.object {
            map.set_metatable(Some(kind.clone()))?;
        }
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Table(map));
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(_) => return Err(self.failure("expected a string as key")),
                None => return Err(self.failure("unexpected end of text in an object")),
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(b':') {
                return Err(self.failure("expected ':'"));
            }
            self.at += 1;
            self.blanks();
            let value = self.value(depth + 1)?;
            map.raw_set(key, value)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                Some(_) => return Err(self.failure("expected ',' or '}'")),
                None => return Err(self.failure("unexpected end of text in an object")),
            }
            self.blanks();
        }
        self.at += 1;
        Ok(Value::Table(map))
    }

    /// The grammar of RFC 8259, section 6; the value is the nearest double, infinity past the largest.
    fn number(&mut self) -> Result<Value, Failure> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.failure("expected a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]).ok();
        let number = digits.and_then(|digits| digits.parse::<f64>().ok());
        number.map(Value::Number).ok_or_else(|| self.failure("expected a number"))
    }

    fn digits(&mut self) -> Result<(), Failure> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.failure("expected a digit")) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<mlua::LuaString, Failure> {
        self.at += 1;
        self.scratch.clear();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20) {
                self.at += 1;
            }
            self.scratch.extend_from_slice(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.lua.create_string(&self.scratch)?);
                }
                Some(b'\\') => self.escape()?,
                // Control characters are not allowed, yet common in logs; refusing the whole record helps nobody.
                Some(byte) => {
                    self.scratch.push(byte);
                    self.at += 1;
                }
                None => return Err(self.failure("unexpected end of text in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Failure> {
        self.at += 1;
        let byte = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0C,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode_escape(),
            Some(_) => return Err(self.failure("unknown escape in a string")),
            None => return Err(self.failure("unexpected end of text in a string")),
        };
        self.scratch.push(byte);
        self.at += 1;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), Failure> {
        let first = self.hex4()?;
        let mut code = first;
        if (0xD800..0xDC00).contains(&first) && self.text[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 1;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            } else {
                self.at = back;
            }
        }
        // Half a surrogate pair stands for no character.
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.scratch.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    /// Four hex digits after the `u` that is the current byte.
    fn hex4(&mut self) -> Result<u32, Failure> {
        self.at += 1;
        let mut value = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return Err(self.failure("expected four hex digits after \\u"));
            };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use mlua::{Lua, Value};
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::{DecodeError, Failure, MAX_DEPTH, decode};
    use crate::api::modules::json_encode::{Layout, encode};

    fn text_error(text: &[u8]) -> DecodeError {
        match decode(&Lua::new(), text, &Value::Nil, None) {
            Err(Failure::Text(error)) => error,
            _ => panic!("{} was accepted", String::from_utf8_lossy(text)),
        }
    }

    #[test]
    fn errors_tell_where() {
        let error = text_error(b"{\"a\": 1,\n  x}");
        assert_eq!(error.to_string(), "expected a string as key at line 2, column 3 (byte 12)");
        for bad in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[1,",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "-",
            "1e",
            "tru",
            "nul",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "[1 2]",
            "NaN",
            "'a'",
            "\u{feff}",
        ] {
            text_error(bad.as_bytes());
        }
        let deep = "[".repeat(1_000_000);
        assert_eq!(text_error(deep.as_bytes()).reason, "nested too deeply");
        let lua = Lua::new();
        let allowed = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(decode(&lua, allowed.as_bytes(), &Value::Nil, None).is_ok());
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(serde_json::Value::from),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(serde_json::Value::from),
            any::<i32>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::from("\"\\/\u{8}\u{c}\n\r\t\u{0}😀\u{2028}")),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..6).prop_map(serde_json::Value::from),
                prop::collection::vec(("[a-z\"é]{1,6}", inner), 1..6)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// Equal, but for the last digits of doubles, which the other parser may get wrong.
    fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
        use serde_json::Value::{Array, Number, Object};
        match (a, b) {
            (Number(a), Number(b)) => {
                let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
                (a - b).abs() <= a.abs() * 1e-14
            }
            (Array(a), Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Object(a), Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
            _ => a == b,
        }
    }

    proptest! {
        #[test]
        fn values_survive_a_round_trip(value in json()) {
            let lua = Lua::new();
            for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                let decoded = decode(&lua, text.as_bytes(), &Value::Nil, None).unwrap_or_else(|_| panic!("{text}"));
                for layout in [Layout::Compact, Layout::Pretty] {
                    let encoded = encode(&lua, &decoded, layout, None, usize::MAX).unwrap();
                    let back: serde_json::Value = serde_json::from_slice(&encoded).unwrap();
                    assert!(same(&back, &value), "{back} {value}");
                }
            }
        }

        #[test]
        fn accepts_what_another_parser_accepts(text in "[\\[\\]{}:, \"\\\\utrfalsn0-9eE.+-]{0,24}") {
            let ours = decode(&Lua::new(), text.as_bytes(), &Value::Nil, None).is_ok();
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match theirs {
                Ok(_) => assert!(ours, "{text}"),
                // The two differ by design in halves of surrogate pairs and in numbers beyond the largest double.
                Err(error) => {
                    let by_design = error.to_string().contains("out of range") || text.contains("\\u");
                    assert!(!ours || by_design, "{text}: {error}");
                }
            }
        }

        #[test]
        fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let lua = Lua::new();
            let mut quoted = vec![b'"'];
            quoted.extend(text.iter().filter(|byte| !matches!(byte, b'"' | b'\\')));
            quoted.push(b'"');
            let Ok(Value::String(back)) = decode(&lua, &quoted, &Value::Nil, None) else { panic!("{quoted:?}") };
            assert_eq!(&*back.as_bytes(), &quoted[1..quoted.len() - 1]);
            let _ = decode(&lua, &text, &Value::Nil, None);
        }
    }
}
