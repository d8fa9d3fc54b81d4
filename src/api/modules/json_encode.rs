//! The module `JSON`: values to text.

use std::ffi::c_void;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::json::MAX_DEPTH;

/// How the text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// No blanks at all.
    Compact,
    /// One element per line, two blanks per level.
    Pretty,
}

/// Why a value has no JSON form.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    #[error("cannot encode a value of type {0}")]
    Type(&'static str),
    #[error("cannot encode a table with a key of type {0}")]
    Key(&'static str),
    #[error("a table contains itself")]
    Cycle,
    #[error("tables nest deeper than {MAX_DEPTH} levels")]
    Depth,
    #[error("its text is longer than {0} bytes, {TABLE_COST} for each table included")]
    Size(usize),
    #[error("{0}")]
    Vm(#[from] mlua::Error),
}

/// What a table counts against a limit beside its text: going through it takes time.
const TABLE_COST: usize = 64;

/// The text of a value, of at most so many bytes.
///
/// # Errors
/// Why it has none.
pub(in crate::api) fn text_of(lua: &Lua, value: &Value, most: usize) -> Result<Vec<u8>, String> {
    let text = encode(lua, value, Layout::Compact, None, most).map_err(|error| error.to_string())?;
    if text.len() > most { Err(EncodeError::Size(most).to_string()) } else { Ok(text) }
}

/// The native function behind `JSON:encode`: `(value, pretty, options) -> text` or `(nil, reason)`.
///
/// `options` may hold `null`, a value that stands for null, and the metatables `array` and `object`.
pub(super) fn function(lua: &Lua) -> mlua::Result<Function> {
    lua.create_function(|lua, (value, pretty, options): (Value, bool, Option<Table>)| {
        let layout = if pretty { Layout::Pretty } else { Layout::Compact };
        let mut results = MultiValue::new();
        match encode(lua, &value, layout, options.as_ref(), usize::MAX) {
            Ok(text) => results.push_back(Value::String(lua.create_string(text)?)),
            Err(EncodeError::Vm(error)) => return Err(error),
            Err(error) => {
                results.push_back(Value::Nil);
                results.push_back(Value::String(lua.create_string(error.to_string())?));
            }
        }
        Ok(results)
    })
}

pub(super) fn encode(
    lua: &Lua,
    value: &Value,
    layout: Layout,
    options: Option<&Table>,
    most: usize,
) -> Result<Vec<u8>, EncodeError> {
    let option = |name: &str| options.map_or(Ok(Value::Nil), |options| options.raw_get::<Value>(name));
    let mut writer = Writer {
        null: option("null")?,
        array: option("array")?,
        object: option("object")?,
        tostring: lua.globals().raw_get("tostring")?,
        layout,
        out: Vec::new(),
        most,
        tables: 0,
        open: Vec::new(),
    };
    writer.value(value)?;
    Ok(writer.out)
}

struct Writer {
    null: Value,
    array: Value,
    object: Value,
    tostring: Value,
    layout: Layout,
    out: Vec<u8>,
    /// Bytes after which it is given up.
    most: usize,
    /// Tables written so far.
    tables: usize,
    /// The tables being written, outermost first.
    open: Vec<*const c_void>,
}

/// Keys of a table in the order they are written.
enum Shape {
    Array(usize),
    Object(Vec<(Vec<u8>, Value)>),
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), EncodeError> {
        if *value != Value::Nil && *value == self.null {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.out.extend_from_slice(number.to_string().as_bytes()),
            Value::Number(number) => self.out.extend_from_slice(number_text(*number).as_bytes()),
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table)?,
            // 64-bit integers are `cdata`; their text is the digits and a suffix.
            Value::Other(_) => match self.integer_cdata(value)? {
                Some(digits) => self.out.extend_from_slice(digits.as_bytes()),
                None => return Err(EncodeError::Type(value.type_name())),
            },
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            other => return Err(EncodeError::Type(other.type_name())),
        }
        Ok(())
    }

    fn integer_cdata(&self, value: &Value) -> Result<Option<String>, EncodeError> {
        let Value::Function(tostring) = &self.tostring else {
            return Ok(None);
        };
        let text: mlua::LuaString = tostring.call(value)?;
        let text = text.to_string_lossy();
        let digits = text.strip_suffix("ULL").or_else(|| text.strip_suffix("LL"));
        Ok(digits.filter(|digits| digits.parse::<i128>().is_ok()).map(str::to_owned))
    }

    fn table(&mut self, table: &Table) -> Result<(), EncodeError> {
        let identity = table.to_pointer();
        if self.open.contains(&identity) {
            return Err(EncodeError::Cycle);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(EncodeError::Depth);
        }
        // A few tables may stand for any number of elements.
        self.tables += 1;
        if self.out.len() + self.tables * TABLE_COST > self.most {
            return Err(EncodeError::Size(self.most));
        }
        self.open.push(identity);
        match self.shape(table)? {
            Shape::Array(length) => self.array(table, length)?,
            Shape::Object(pairs) => self.object(&pairs)?,
        }
        self.open.pop();
        Ok(())
    }

    /// A table with positive integer keys only is an array, holes included; so is an empty one, unless it is marked.
    /// Few keys spread far apart make an object, because the holes between them would be written out.
    fn shape(&self, table: &Table) -> Result<Shape, EncodeError> {
        let (mut count, mut highest, mut is_array) = (0usize, 0usize, true);
        let mut pairs = Vec::new();
        table.for_each(|key: Value, value: Value| {
            match index_of(&key) {
                Some(index) => highest = highest.max(index),
                None => is_array = false,
            }
            count += 1;
            pairs.push((key, value));
            Ok(())
        })?;
        let marked = table.metatable().map(Value::Table);
        if marked.is_some() && marked.as_ref() == Some(&self.object) {
            is_array = false;
        }
        let is_marked_array = marked.is_some() && marked.as_ref() == Some(&self.array);
        if is_array && (highest <= count.saturating_mul(2).saturating_add(16) || is_marked_array && highest <= 1 << 20)
        {
            return Ok(Shape::Array(highest));
        }
        let mut named = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let name = match &key {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Integer(number) => number.to_string().into_bytes(),
                Value::Number(number) if number.is_finite() => number_text(*number).into_bytes(),
                other => return Err(EncodeError::Key(other.type_name())),
            };
            named.push((name, value));
        }
        named.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Shape::Object(named))
    }

    fn array(&mut self, table: &Table, length: usize) -> Result<(), EncodeError> {
        self.out.push(b'[');
        for index in 1..=length {
            self.separate(index - 1);
            self.value(&table.raw_get::<Value>(index)?)?;
        }
        self.close(b']', length);
        Ok(())
    }

    fn object(&mut self, pairs: &[(Vec<u8>, Value)]) -> Result<(), EncodeError> {
        self.out.push(b'{');
        for (number, (key, value)) in pairs.iter().enumerate() {
            self.separate(number);
            self.string(key);
            self.out.extend_from_slice(if self.layout == Layout::Pretty { b": " } else { b":" });
            self.value(value)?;
        }
        self.close(b'}', pairs.len());
        Ok(())
    }

    /// What comes before an element.
    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out.push(b',');
        }
        self.indent(self.open.len());
    }

    /// What comes after the last of so many elements.
    fn close(&mut self, bracket: u8, count: usize) {
        if count > 0 {
            self.indent(self.open.len() - 1);
        }
        self.out.push(bracket);
    }

    fn indent(&mut self, levels: usize) {
        if self.layout == Layout::Pretty {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b' ', levels * 2));
        }
    }

    /// A string whose text is always valid JSON: a byte that is no UTF-8 is written as the Latin-1 character of that
    /// value.
    fn string(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.char(c);
            }
            for byte in chunk.invalid() {
                self.escape(u32::from(*byte));
            }
        }
        self.out.push(b'"');
    }

    fn char(&mut self, c: char) {
        match c {
            '"' => self.out.extend_from_slice(b"\\\""),
            '\\' => self.out.extend_from_slice(b"\\\\"),
            '\u{8}' => self.out.extend_from_slice(b"\\b"),
            '\u{c}' => self.out.extend_from_slice(b"\\f"),
            '\n' => self.out.extend_from_slice(b"\\n"),
            '\r' => self.out.extend_from_slice(b"\\r"),
            '\t' => self.out.extend_from_slice(b"\\t"),
            // The two line separators are valid in JSON but end a line in older JavaScript.
            '\0'..'\u{20}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => self.escape(u32::from(c)),
            _ => self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    fn escape(&mut self, code: u32) {
        self.out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
    }
}

/// The key as a one-based index.
fn index_of(key: &Value) -> Option<usize> {
    match key {
        Value::Integer(number) => usize::try_from(*number).ok().filter(|index| *index > 0),
        Value::Number(number) if *number >= 1.0 && *number < 1e15 && number.fract() == 0.0 => Some(*number as usize),
        _ => None,
    }
}

/// The shortest text that reads back as the same double; NaN has none and becomes null, infinity an exponent that
/// overflows.
fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "null".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "1e+9999" } else { "-1e+9999" }.to_owned();
    }
    if number != 0.0 && !(1e-5..1e17).contains(&number.abs()) { format!("{number:e}") } else { format!("{number}") }
}

#[cfg(test)]
mod tests {
    use mlua::{Lua, Value};

    use super::{EncodeError, Layout, encode, number_text};

    fn of(source: &str) -> Result<String, EncodeError> {
        let lua = Lua::new();
        let value: Value = lua.load(source).eval().unwrap();
        encode(&lua, &value, Layout::Compact, None, usize::MAX).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn shapes() {
        for (source, expected) in [
            ("{}", "[]"),
            ("{1,2,3}", "[1,2,3]"),
            ("{b=1,a={c=true}}", r#"{"a":{"c":true},"b":1}"#),
            ("{1,nil,3}", "[1,null,3]"),
            ("{[1000000]=1}", r#"{"1000000":1}"#),
            ("{[0]=1}", r#"{"0":1}"#),
            ("{[1.5]=1}", r#"{"1.5":1}"#),
            ("{1,x=2}", r#"{"1":1,"x":2}"#),
            ("'a\\0\\n\\255é\"'", r#""a\u0000\n\u00ffé\"""#),
            ("nil", "null"),
            ("0/0", "null"),
        ] {
            assert_eq!(of(source).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn numbers_read_back() {
        for number in
            [0.0, 1.0, -1.5, 0.1, 1e15, 9_007_199_254_740_993.0, 1e17, 1e300, 5e-324, f64::MAX, 1e-5, -123456789.0]
        {
            assert_eq!(number_text(number).parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
        assert_eq!(number_text(1e16), "10000000000000000");
        assert_eq!(number_text(1e300), "1e300");
    }

    #[test]
    fn what_cannot_be_written() {
        assert!(matches!(of("print"), Err(EncodeError::Type("function"))));
        assert!(matches!(of("{[true]=1}"), Err(EncodeError::Key("boolean"))));
        assert!(matches!(of("(function() local t = {} t.x = {t} return t end)()"), Err(EncodeError::Cycle)));
        let deep = "(function() local t = {} for i = 1, 1000 do t = {t} end return t end)()";
        assert!(matches!(of(deep), Err(EncodeError::Depth)));
        assert_eq!(of("(function() local t = {} return {t, t} end)()").unwrap(), "[[],[]]");
    }
}
