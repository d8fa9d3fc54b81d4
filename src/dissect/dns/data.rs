//! The data of records as text, in the form of zone files.

use std::io::Write;
use std::net::Ipv6Addr;

use data_encoding::{BASE32HEX_NOPAD, BASE64, Encoding, HEXUPPER};

use super::kind::{self, push_kind};
use super::message::Record;
use super::name::{self, NameStyle, push_escaped};
use crate::key::Host;

/// Appends the data of a record. What cannot be read appears as length and bytes (RFC 3597, 5).
pub fn push(text: &mut Vec<u8>, message: &[u8], record: &Record, style: NameStyle) {
    let mark = text.len();
    let mut fields = Fields { message, at: record.data, end: record.end, style };
    let complete = fields.push(text, record);
    if complete.is_none() || fields.at != fields.end {
        text.truncate(mark);
        let bytes = &message[record.data..record.end];
        put(text, format_args!("\\# {}", bytes.len()));
        if !bytes.is_empty() {
            text.push(b' ');
            encode(text, &HEXUPPER, bytes);
        }
    }
}

/// The data, read from front to back.
struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
    style: NameStyle,
}

impl<'a> Fields<'a> {
    fn push(&mut self, text: &mut Vec<u8>, record: &Record) -> Option<()> {
        match record.kind {
            1 => self.ipv4(text),
            28 => self.ipv6(text),
            // NS, CNAME, MB, MG, MR, PTR, DNAME.
            2 | 5 | 7 | 8 | 9 | 12 | 39 => self.name(text),
            6 => {
                self.name(text)?;
                self.blank_name(text)?;
                (0..5).try_for_each(|_| self.blank_number(text, 4))
            }
            // HINFO.
            13 => {
                self.quoted(text)?;
                self.blank_quoted(text)
            }
            // MINFO, RP.
            14 | 17 => {
                self.name(text)?;
                self.blank_name(text)
            }
            // MX, AFSDB, KX, LP.
            15 | 18 | 36 | 107 => {
                self.number(text, 2)?;
                self.blank_name(text)
            }
            // TXT, SPF.
            16 | 99 => {
                self.quoted(text)?;
                while self.at < self.end {
                    self.blank_quoted(text)?;
                }
                Some(())
            }
            33 => {
                self.numbers(text, &[2, 2, 2])?;
                self.blank_name(text)
            }
            35 => {
                self.numbers(text, &[2, 2])?;
                (0..3).try_for_each(|_| self.blank_quoted(text))?;
                self.blank_name(text)
            }
            kind::OPT => self.opt(text, record),
            // DS, DLV, CDS.
            43 | 59 | 32_769 => {
                self.numbers(text, &[2, 1, 1])?;
                self.rest(text, &HEXUPPER)
            }
            44 => {
                self.numbers(text, &[1, 1])?;
                self.rest(text, &HEXUPPER)
            }
            // RRSIG, SIG.
            24 | 46 => {
                push_kind(text, self.value(2)? as u16);
                text.push(b' ');
                self.numbers(text, &[1, 1, 4, 4, 4, 2])?;
                self.blank_name(text)?;
                self.rest(text, &BASE64)
            }
            47 => {
                self.name(text)?;
                self.kinds(text)
            }
            // DNSKEY, KEY, CDNSKEY.
            25 | 48 | 60 => {
                self.numbers(text, &[2, 1, 1])?;
                self.rest(text, &BASE64)
            }
            50 => {
                self.numbers(text, &[1, 1, 2])?;
                self.salt(text)?;
                let len = self.value(1)? as usize;
                text.push(b' ');
                encode(text, &BASE32HEX_NOPAD, self.take(len)?);
                self.kinds(text)
            }
            51 => {
                self.numbers(text, &[1, 1, 2])?;
                self.salt(text)
            }
            // TLSA, SMIMEA.
            52 | 53 => {
                self.numbers(text, &[1, 1, 1])?;
                self.rest(text, &HEXUPPER)
            }
            61 => {
                encode(text, &BASE64, self.take(self.end - self.at)?);
                Some(())
            }
            64 | 65 => self.service(text),
            256 => {
                self.numbers(text, &[2, 2])?;
                text.push(b' ');
                push_quoted(text, self.take(self.end - self.at)?);
                Some(())
            }
            257 => self.authorization(text),
            _ => None,
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.end)?;
        let bytes = self.message.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn value(&mut self, len: usize) -> Option<u32> {
        Some(self.take(len)?.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn number(&mut self, text: &mut Vec<u8>, len: usize) -> Option<()> {
        let value = self.value(len)?;
        put(text, format_args!("{value}"));
        Some(())
    }

    fn blank_number(&mut self, text: &mut Vec<u8>, len: usize) -> Option<()> {
        text.push(b' ');
        self.number(text, len)
    }

    /// Numbers of as many bytes, with blanks between.
    fn numbers(&mut self, text: &mut Vec<u8>, lens: &[usize]) -> Option<()> {
        for (index, len) in lens.iter().enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            self.number(text, *len)?;
        }
        Some(())
    }

    fn name(&mut self, text: &mut Vec<u8>) -> Option<()> {
        // The end of the data does not stop a name.
        self.at = name::push(text, self.message, self.at, self.style).filter(|at| *at <= self.end)?;
        Some(())
    }

    fn blank_name(&mut self, text: &mut Vec<u8>) -> Option<()> {
        text.push(b' ');
        self.name(text)
    }

    fn quoted(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let len = self.value(1)? as usize;
        push_quoted(text, self.take(len)?);
        Some(())
    }

    fn blank_quoted(&mut self, text: &mut Vec<u8>) -> Option<()> {
        text.push(b' ');
        self.quoted(text)
    }

    /// A blank and everything left.
    fn rest(&mut self, text: &mut Vec<u8>, encoding: &Encoding) -> Option<()> {
        text.push(b' ');
        encode(text, encoding, self.take(self.end - self.at)?);
        Some(())
    }

    fn ipv4(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let address: [u8; 4] = self.take(4)?.try_into().ok()?;
        text.extend_from_slice(Host::V4(address).readable().as_bytes());
        Some(())
    }

    fn ipv6(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let address: [u8; 16] = self.take(16)?.try_into().ok()?;
        put(text, format_args!("{}", Ipv6Addr::from(address)));
        Some(())
    }

    fn salt(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let len = self.value(1)? as usize;
        text.push(b' ');
        match self.take(len)? {
            [] => text.push(b'-'),
            salt => encode(text, &HEXUPPER, salt),
        }
        Some(())
    }

    /// The bitmap of types in NSEC and NSEC3.
    fn kinds(&mut self, text: &mut Vec<u8>) -> Option<()> {
        while self.at < self.end {
            let window = self.value(1)? as u16;
            let len = self.value(1)? as usize;
            for (index, byte) in self.take(len.min(32))?.iter().enumerate() {
                for bit in (0..8).filter(|bit| byte & 0x80 >> bit != 0) {
                    text.push(b' ');
                    push_kind(text, window << 8 | (index as u16 * 8 + bit));
                }
            }
        }
        Some(())
    }

    fn opt(&mut self, text: &mut Vec<u8>, record: &Record) -> Option<()> {
        let secure = if record.ttl & 0x8000 == 0 { "" } else { " do" };
        let version = record.ttl >> 16 & 0xFF;
        put(text, format_args!("EDNS: version: {version}, flags:{secure}; udp: {}", record.class));
        while self.at < self.end {
            let (code, len) = (self.value(2)?, self.value(2)? as usize);
            put(text, format_args!("; OPT={code}: "));
            encode(text, &HEXUPPER, self.take(len)?);
        }
        Some(())
    }

    fn authorization(&mut self, text: &mut Vec<u8>) -> Option<()> {
        self.number(text, 1)?;
        let len = self.value(1)? as usize;
        let tag = self.take(len)?;
        if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        text.push(b' ');
        text.extend_from_slice(tag);
        text.push(b' ');
        push_quoted(text, self.take(self.end - self.at)?);
        Some(())
    }

    /// SVCB and HTTPS (RFC 9460).
    fn service(&mut self, text: &mut Vec<u8>) -> Option<()> {
        self.number(text, 2)?;
        self.blank_name(text)?;
        while self.at < self.end {
            let (key, len) = (self.value(2)? as u16, self.value(2)? as usize);
            let mut value = Fields { message: self.message, at: self.at, end: self.at + len, style: self.style };
            self.take(len)?;
            text.push(b' ');
            value.parameter(text, key)?;
        }
        Some(())
    }

    fn parameter(&mut self, text: &mut Vec<u8>, key: u16) -> Option<()> {
        match key {
            0 => {
                text.extend_from_slice(b"mandatory=");
                self.list(text, |value, text| {
                    push_parameter(text, value.value(2)? as u16);
                    Some(())
                })
            }
            1 => {
                text.extend_from_slice(b"alpn=\"");
                self.list(text, |value, text| {
                    let len = value.value(1)? as usize;
                    value.take(len)?.iter().for_each(|byte| push_text_byte(text, *byte));
                    Some(())
                })?;
                text.push(b'"');
                Some(())
            }
            2 if self.at == self.end => {
                push_parameter(text, key);
                Some(())
            }
            3 => {
                text.extend_from_slice(b"port=");
                self.number(text, 2)
            }
            4 => {
                text.extend_from_slice(b"ipv4hint=");
                self.list(text, Self::ipv4)
            }
            5 => {
                text.extend_from_slice(b"ech=");
                encode(text, &BASE64, self.take(self.end - self.at)?);
                Some(())
            }
            6 => {
                text.extend_from_slice(b"ipv6hint=");
                self.list(text, Self::ipv6)
            }
            _ => {
                push_parameter(text, key);
                text.push(b'=');
                push_quoted(text, self.take(self.end - self.at)?);
                Some(())
            }
        }
    }

    /// Values up to the end, with commas between.
    fn list(&mut self, text: &mut Vec<u8>, mut each: impl FnMut(&mut Self, &mut Vec<u8>) -> Option<()>) -> Option<()> {
        each(self, text)?;
        while self.at < self.end {
            text.push(b',');
            each(self, text)?;
        }
        Some(())
    }
}

fn push_parameter(text: &mut Vec<u8>, key: u16) {
    const NAMES: [&str; 8] = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath"];
    match NAMES.get(usize::from(key)) {
        Some(name) => text.extend_from_slice(name.as_bytes()),
        None => put(text, format_args!("key{key}")),
    }
}

fn push_quoted(text: &mut Vec<u8>, bytes: &[u8]) {
    text.push(b'"');
    bytes.iter().for_each(|byte| push_text_byte(text, *byte));
    text.push(b'"');
}

fn push_text_byte(text: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
        b' '..=0x7E => text.push(byte),
        _ => push_escaped(text, byte),
    }
}

fn encode(text: &mut Vec<u8>, encoding: &Encoding, bytes: &[u8]) {
    let mark = text.len();
    text.resize(mark + encoding.encode_len(bytes.len()), 0);
    encoding.encode_mut(bytes, &mut text[mark..]);
}

fn put(text: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: u16, data: &[u8]) -> String {
        shown_of(kind, data, data.len())
    }

    /// Of a message that goes on behind the data.
    fn shown_of(kind: u16, message: &[u8], end: usize) -> String {
        let record = Record { name: 0, kind, class: 1, ttl: 0, data: 0, end };
        let mut text = Vec::new();
        push(&mut text, message, &record, NameStyle::Plain);
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn data_reads_as_in_zone_files() {
        assert_eq!(shown(1, &[192, 0, 2, 7]), "192.0.2.7");
        assert_eq!(shown(28, &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "2001:db8::1");
        assert_eq!(shown(15, b"\0\x0A\x02mx\0"), "10 mx");
        assert_eq!(shown(16, b"\x03a\"b\x02c\n"), r#""a\"b" "c\010""#);
        assert_eq!(shown(33, b"\0\x01\0\x02\x14\x66\x03sip\0"), "1 2 5222 sip");
        assert_eq!(shown(6, b"\x01m\0\x01r\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05"), "m r 1 2 3 4 5");
        assert_eq!(shown(257, b"\0\x05issueca.example"), r#"0 issue "ca.example""#);
        assert_eq!(shown(43, b"\x12\x34\x08\x02\xAB\xCD"), "4660 8 2 ABCD");
        assert_eq!(shown(47, b"\x01n\0\0\x01\x40"), "n A");
        assert_eq!(shown(48, b"\x01\x01\x03\x08key"), "257 3 8 a2V5");
        assert_eq!(
            shown(65, b"\0\x01\0\0\x01\0\x06\x02h3\x02h2\0\x03\0\x02\x01\xBB\0\x04\0\x04\xC0\0\x02\x07"),
            r#"1 . alpn="h3,h2" port=443 ipv4hint=192.0.2.7"#
        );
    }

    #[test]
    fn unknown_types_and_damaged_data_appear_as_bytes() {
        assert_eq!(shown(65_280, &[1, 0xAB]), "\\# 2 01AB");
        assert_eq!(shown(1, &[192, 0, 2]), "\\# 3 C00002");
        assert_eq!(shown(1, &[192, 0, 2, 1, 9]), "\\# 5 C000020109");
        assert_eq!(shown(16, &[]), "\\# 0");
    }

    #[test]
    fn names_that_go_on_behind_the_data_are_damage() {
        let signature = [&[0, 1, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 7][..], b"\x03key\0more"].concat();
        for (kind, len) in [(46, 20), (46, 22), (15, 3), (64, 4)] {
            let bytes = HEXUPPER.encode(&signature[..len]);
            assert_eq!(shown_of(kind, &signature, len), format!("\\# {len} {bytes}"), "{kind}");
        }
    }
}
