//! How an event becomes a line.

use crate::time::Timestamp;

/// A field of an event.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// Text that may hold any byte.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// A number; integers are written without a fraction.
    Number(f64),
    /// A count.
    Count(u64),
    /// A truth value.
    Flag(bool),
    /// A list of numbers.
    Numbers(&'a [f64]),
    /// JSON made elsewhere.
    Raw(&'a str),
}

/// What every event carries.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Kind.
    pub ev: &'a str,
    /// Packet time.
    pub time: Timestamp,
    /// File name of the script, or `native:NAME`.
    pub script: &'a str,
    /// `frontend`, `backend` or `async`.
    pub side: &'a str,
}

/// Appends one line.
pub fn write_event(out: &mut Vec<u8>, head: &Head<'_>, fields: &[(&str, Field<'_>)]) {
    let mut binary = false;
    out.extend_from_slice(b"{\"ev\":");
    binary |= write_text(out, head.ev.as_bytes());
    out.extend_from_slice(b",\"t\":");
    write_time(out, head.time);
    out.extend_from_slice(b",\"script\":");
    binary |= write_text(out, head.script.as_bytes());
    out.extend_from_slice(b",\"side\":");
    binary |= write_text(out, head.side.as_bytes());
    for (name, field) in fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match field {
            Field::Bytes(bytes) => binary |= write_text(out, bytes),
            Field::Text(text) => binary |= write_text(out, text.as_bytes()),
            Field::Number(number) => write_number(out, *number),
            Field::Count(count) => out.extend_from_slice(count.to_string().as_bytes()),
            Field::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Field::Numbers(numbers) => {
                out.push(b'[');
                for (i, number) in numbers.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_number(out, *number);
                }
                out.push(b']');
            }
            Field::Raw(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
    if binary {
        out.extend_from_slice(b",\"bin\":true");
    }
    out.extend_from_slice(b"}\n");
}

/// Seconds with as many digits as the time has, at most nine.
fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    let (secs, nanos) = (time.secs(), time.subsec_nanos());
    if nanos == 0 {
        out.extend_from_slice(secs.to_string().as_bytes());
    } else if secs >= 0 {
        let text = format!("{secs}.{nanos:09}");
        out.extend_from_slice(text.trim_end_matches('0').as_bytes());
    } else {
        write_number(out, time.as_secs_f64());
    }
}

/// The shortest form that reads back as the same number; JSON has no infinities, they become null.
fn write_number(out: &mut Vec<u8>, number: f64) {
    if !number.is_finite() {
        out.extend_from_slice(b"null");
    } else if number == number.trunc() && number.abs() < 1e15 {
        out.extend_from_slice(format!("{number:.0}").as_bytes());
    } else {
        out.extend_from_slice(format!("{number}").as_bytes());
    }
}

/// A JSON string; bytes that are not valid UTF-8 become `\u00XX`. Returns whether there were any.
pub(in crate::sink) fn write_text(out: &mut Vec<u8>, mut bytes: &[u8]) -> bool {
    let mut binary = false;
    out.push(b'"');
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                write_valid(out, text);
                break;
            }
            Err(e) => {
                let (valid, rest) = bytes.split_at(e.valid_up_to());
                if let Ok(text) = std::str::from_utf8(valid) {
                    write_valid(out, text);
                }
                let bad = e.error_len().unwrap_or(rest.len());
                for byte in &rest[..bad] {
                    out.extend_from_slice(format!("\\u00{byte:02x}").as_bytes());
                }
                binary = true;
                bytes = &rest[bad..];
            }
        }
    }
    out.push(b'"');
    binary
}

fn write_valid(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// A JSON string of bytes, for [`Field::Raw`].
#[must_use]
pub fn json_text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_text(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Field, Head, write_event};
    use crate::time::Timestamp;

    fn line(fields: &[(&str, Field<'_>)]) -> String {
        let mut out = Vec::new();
        let head = Head { ev: "print", time: Timestamp::new(100, 250_000_000), script: "a.lua", side: "frontend" };
        write_event(&mut out, &head, fields);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn head_and_fields_stand_in_order() {
        let text =
            line(&[("text", Field::Text("x\"y\n")), ("n", Field::Number(3.0)), ("v", Field::Numbers(&[0.5, 2.0]))]);
        assert_eq!(
            text,
            "{\"ev\":\"print\",\"t\":100.25,\"script\":\"a.lua\",\"side\":\"frontend\",\"text\":\"x\\\"y\\n\",\"n\":3,\"v\":[0.5,2]}\n"
        );
    }

    #[test]
    fn invalid_utf8_is_escaped_and_marked() {
        let text = line(&[("text", Field::Bytes(b"a\xffb\xc3"))]);
        assert!(text.contains("\"text\":\"a\\u00ffb\\u00c3\",\"bin\":true}"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    #[test]
    fn numbers_read_back_as_the_same() {
        for number in [0.0, -1.5, 1e20, 0.1, 3.333_333_333_333_333_5, 9_007_199_254_740_993.0] {
            let text = line(&[("n", Field::Number(number))]);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["n"].as_f64(), Some(number), "{text}");
        }
        assert!(line(&[("n", Field::Number(f64::NAN))]).contains("\"n\":null"));
    }
}
