//! Fingerprints of hellos: JA3 and JA3S (MD5 of lists of numbers), and JA4 of clients (TLS client fingerprint, version 1 of
//! its specification).

use data_encoding::HEXLOWER;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::hello::{ClientHello, ServerHello};

/// What carries the hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Records over TCP.
    Tcp,
    /// QUIC.
    Quic,
}

/// The text that JA3 of a client is the hash of.
#[must_use]
pub fn ja3_text(hello: &ClientHello<'_>) -> String {
    let mut text = format!("{},", hello.legacy_version());
    push_numbers(&mut text, hello.ciphers());
    text.push(',');
    push_numbers(&mut text, hello.extension_types());
    text.push(',');
    push_numbers(&mut text, hello.groups());
    text.push(',');
    push_numbers(&mut text, hello.point_formats().iter().map(|format| u16::from(*format)));
    text
}

/// The text that JA3S of a server is the hash of.
#[must_use]
pub fn ja3s_text(hello: &ServerHello<'_>) -> String {
    let mut text = format!("{},{},", hello.legacy_version(), hello.cipher());
    push_numbers(&mut text, hello.extension_types());
    text
}

/// JA3 or JA3S, 32 hex digits, of its text.
#[must_use]
pub fn ja3_hash(text: &str) -> String {
    HEXLOWER.encode(&Md5::digest(text))
}

/// JA4 of a client: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[must_use]
pub fn ja4(hello: &ClientHello<'_>, transport: Transport) -> String {
    let transport = match transport {
        Transport::Tcp => 't',
        Transport::Quic => 'q',
    };
    let version = match hello.highest_version() {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    };
    let name = if hello.has_server_name() { 'd' } else { 'i' };
    let count = |numbers: usize| numbers.min(99);
    let (ciphers, extensions) = (count(hello.ciphers().count()), count(hello.extension_types().count()));
    let protocol = protocol_mark(hello.protocols().next().unwrap_or_default());
    let mut sorted: Vec<u16> = hello.ciphers().collect();
    sorted.sort_unstable();
    let cipher_hash = short_hash(&hex_list(&sorted));
    // The name and the protocols differ from server to server, so their extensions only count.
    let mut sorted: Vec<u16> = hello.extension_types().filter(|kind| !matches!(kind, 0 | 16)).collect();
    sorted.sort_unstable();
    let mut list = hex_list(&sorted);
    let algorithms: Vec<u16> = hello.signature_algorithms().collect();
    if !algorithms.is_empty() {
        list.push('_');
        list.push_str(&hex_list(&algorithms));
    }
    let extension_hash = if extensions == 0 { short_hash("") } else { short_hash(&list) };
    format!("{transport}{version}{name}{ciphers:02}{extensions:02}{protocol}_{cipher_hash}_{extension_hash}")
}

/// First and last character of a protocol; of its hex digits if either is no letter or digit; `00` without one.
fn protocol_mark(name: &[u8]) -> String {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return "00".into() };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [char::from(*first), char::from(*last)].iter().collect()
    } else {
        format!("{:x}{:x}", first >> 4, last & 15)
    }
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    HEXLOWER.encode(&Sha256::digest(text)[..6])
}

/// Four hexadecimal digits for each number, with commas between.
fn hex_list(numbers: &[u16]) -> String {
    let mut text = String::with_capacity(5 * numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        HEXLOWER.encode_append(&number.to_be_bytes(), &mut text);
    }
    text
}

/// Decimal numbers with hyphens between.
fn push_numbers(text: &mut String, numbers: impl Iterator<Item = u16>) {
    for (index, number) in numbers.enumerate() {
        if index > 0 {
            text.push('-');
        }
        push_decimal(text, number);
    }
}

/// As formatting does it, without its cost: hellos have dozens of numbers.
fn push_decimal(text: &mut String, number: u16) {
    let digit = |place: u16| char::from(b'0' + (number / place % 10) as u8);
    let first = [10_000, 1_000, 100, 10].iter().position(|&place| number >= place).unwrap_or(4);
    text.extend([10_000, 1_000, 100, 10, 1][first..].iter().map(|&place| digit(place)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list16(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u16).to_be_bytes()[..], body].concat()
    }

    fn words(values: &[u16]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    fn hello(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let extensions: Vec<u8> =
            extensions.iter().flat_map(|(kind, body)| [words(&[*kind]), list16(body)].concat()).collect();
        [words(&[version]), vec![0; 33], list16(&words(ciphers)), vec![1, 0], list16(&extensions)].concat()
    }

    /// The browser of the published example.
    fn browser() -> Vec<u8> {
        let algorithms = words(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        let ciphers = [
            0x2A2A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C,
            0x009D, 0x002F, 0x0035,
        ];
        let mut extensions = vec![
            (0xDADA, vec![]),
            (0, [&[0, 9, 0][..], &list16(b"a.test")].concat()),
            (16, list16(b"\x02h2\x08http/1.1")),
            (13, list16(&algorithms)),
            (43, vec![6, 0x1A, 0x1A, 3, 4, 3, 3]),
            (10, list16(&words(&[0x6A6A, 29, 23]))),
            (11, vec![1, 0]),
        ];
        let others = [0x05, 0x12, 0x15, 0x17, 0x1B, 0x23, 0x2D, 0x33, 0x4469, 0xFF01];
        extensions.extend(others.map(|kind| (kind, vec![])));
        hello(0x0303, &ciphers, &extensions)
    }

    #[test]
    fn the_published_browser_has_the_published_fingerprint() {
        let bytes = browser();
        let hello = ClientHello::parse(&bytes).unwrap();
        assert_eq!(ja4(&hello, Transport::Tcp), "t13d1516h2_8daaf6152771_e5627efa2ab1");
        assert!(ja4(&hello, Transport::Quic).starts_with("q13d1516h2_"));
        assert_eq!(hello.server_name(), Some(&b"a.test"[..]));
    }

    #[test]
    fn the_published_example_string_has_its_hash() {
        let ciphers = [47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4];
        let extensions = [(0, vec![]), (10, list16(&words(&[23, 24, 25]))), (11, vec![1, 0])];
        let bytes = hello(769, &ciphers, &extensions);
        // 769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0
        assert_eq!(ja3_hash(&ja3_text(&ClientHello::parse(&bytes).unwrap())), "ada70206e40642a3e4461f35503241d5");
        let bytes = hello(769, &[4, 5, 10, 9, 100, 98, 3, 6, 19, 18, 99], &[]);
        assert_eq!(ja3_hash(&ja3_text(&ClientHello::parse(&bytes).unwrap())), "de350869b8c85de67a350c8d186f11e6");
    }

    #[test]
    fn numbers_are_written_as_formatting_writes_them() {
        for number in 0..=u16::MAX {
            let mut text = String::new();
            push_decimal(&mut text, number);
            assert_eq!(text, number.to_string());
        }
        assert_eq!(hex_list(&[0, 0x1301, 0xFFFF]), "0000,1301,ffff");
        assert_eq!(hex_list(&[]), "");
    }

    #[test]
    fn a_hello_without_anything_has_zeros() {
        let bytes = hello(0x0301, &[], &[]);
        assert_eq!(ja4(&ClientHello::parse(&bytes).unwrap(), Transport::Tcp), "t10i000000_000000000000_000000000000");
        assert_eq!(protocol_mark(b"h"), "hh");
        assert_eq!(protocol_mark(&[0xAB, 0xCD]), "ad");
    }
}
