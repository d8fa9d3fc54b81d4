//! How long the body of a message is (RFC 9112, 6.3), and the codings it went through.

use super::coding::{Coding, Codings};
use super::header::{HeaderBlock, list};

/// Where the body of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes, at least one.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// Where the stream ends.
    UntilClose,
    /// No message follows: the connection changes its protocol.
    Switch,
    /// Nobody can tell.
    Unclear,
}

/// What is odd about the framing of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    /// Both a length and a transfer coding; the coding wins.
    TwoFramings,
    /// A length that is no number, or several that differ.
    BadLength,
    /// A transfer coding other than chunked at the end of the list.
    NotChunked,
}

impl Oddity {
    /// Its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoFramings => "http length beside transfer coding",
            Self::BadLength => "http bad length",
            Self::NotChunked => "http transfer coding not chunked",
        }
    }
}

/// What a request was, as far as its response depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Any other, or unknown.
    Plain,
    /// HEAD: the response has no body.
    Head,
    /// CONNECT: a positive response is followed by another protocol.
    Connect,
    /// Asks for another protocol, which the server may ignore.
    Upgrade,
}

impl Asked {
    /// That of a request.
    pub fn of(block: &HeaderBlock<'_>) -> Self {
        match block.method() {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ if block.values(b"Upgrade").next().is_some() => Self::Upgrade,
            _ => Self::Plain,
        }
    }

    /// True if the client does not go on in HTTP before it has the response.
    pub const fn waits(self) -> bool {
        matches!(self, Self::Connect | Self::Upgrade)
    }
}

/// Framing of the body of a request.
pub(super) fn of_request(block: &HeaderBlock<'_>) -> (Framing, Option<Oddity>) {
    if block.method() == b"CONNECT" {
        return (Framing::None, None);
    }
    match declared(block) {
        Declared::Nothing => (Framing::None, None),
        Declared::Sound(framing, oddity) => (framing, oddity),
        // No server could read it either.
        Declared::Broken(oddity) => (Framing::Unclear, Some(oddity)),
    }
}

/// Framing of the body of a response to a request.
pub(super) fn of_response(block: &HeaderBlock<'_>, asked: Asked) -> (Framing, Option<Oddity>) {
    let status = block.status();
    match (status, asked) {
        (101, _) | (200..=299, Asked::Connect) => return (Framing::Switch, None),
        (100..=199 | 204 | 304, _) | (_, Asked::Head) => return (Framing::None, None),
        _ => {}
    }
    match declared(block) {
        Declared::Nothing => (Framing::UntilClose, None),
        Declared::Sound(framing, oddity) => (framing, oddity),
        Declared::Broken(oddity) => (Framing::UntilClose, Some(oddity)),
    }
}

enum Declared {
    Nothing,
    Sound(Framing, Option<Oddity>),
    Broken(Oddity),
}

fn declared(block: &HeaderBlock<'_>) -> Declared {
    let length = length(block);
    let coding = block.value(b"Transfer-Encoding");
    let last = coding.as_ref().and_then(|value| list(value).rfind(|coding| !is_identity(coding)));
    match (last, length) {
        (Some(last), length) if last.eq_ignore_ascii_case(b"chunked") => {
            let both = !matches!(length, Ok(None));
            Declared::Sound(Framing::Chunked, both.then_some(Oddity::TwoFramings))
        }
        (Some(_), _) => Declared::Broken(Oddity::NotChunked),
        (None, Ok(None)) => Declared::Nothing,
        (None, Ok(Some(0))) => Declared::Sound(Framing::None, None),
        (None, Ok(Some(length))) => Declared::Sound(Framing::Length(length), None),
        (None, Err(oddity)) => Declared::Broken(oddity),
    }
}

/// The length that a block declares. Several equal ones are one; several that differ are none.
fn length(block: &HeaderBlock<'_>) -> Result<Option<u64>, Oddity> {
    let mut found = None;
    for value in block.values(b"Content-Length") {
        let mut any = false;
        for element in list(&value) {
            any = true;
            let length = decimal(element).ok_or(Oddity::BadLength)?;
            if found.is_some_and(|known| known != length) {
                return Err(Oddity::BadLength);
            }
            found = Some(length);
        }
        if !any {
            return Err(Oddity::BadLength);
        }
    }
    Ok(found)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, digit| {
        digit.is_ascii_digit().then(|| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?
    })
}

fn is_identity(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"identity")
}

/// The codings of a body, in the order in which they were applied, chunked left out.
pub(super) fn codings(block: &HeaderBlock<'_>) -> Codings {
    let mut codings = Codings::default();
    // A part of an encoded body that does not begin with its first byte cannot be decoded.
    let decodable = block.status() != 206 || block.value(b"Content-Range").is_some_and(|range| begins_at_zero(&range));
    if let Some(value) = block.value(b"Content-Encoding").filter(|_| decodable) {
        add(&mut codings, &value);
    }
    if let Some(value) = block.value(b"Transfer-Encoding") {
        add(&mut codings, &value);
    }
    codings
}

fn add(codings: &mut Codings, value: &[u8]) {
    for name in list(value) {
        if !is_identity(name) && !name.eq_ignore_ascii_case(b"chunked") {
            codings.applied(Coding::of(name));
        }
    }
}

fn begins_at_zero(range: &[u8]) -> bool {
    let digits = range.iter().position(u8::is_ascii_digit).unwrap_or(range.len());
    range[digits..].starts_with(b"0-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> (Framing, Option<Oddity>) {
        of_request(&HeaderBlock::new(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes()))
    }

    fn response(status: &str, fields: &str, asked: Asked) -> (Framing, Option<Oddity>) {
        of_response(&HeaderBlock::new(format!("HTTP/1.1 {status}\r\n{fields}\r\n").as_bytes()), asked)
    }

    #[test]
    fn a_request_has_a_body_only_if_it_says_so() {
        assert_eq!(request("Host: a\r\n"), (Framing::None, None));
        assert_eq!(request("Content-Length: 12\r\n"), (Framing::Length(12), None));
        assert_eq!(request("Content-Length: 0\r\n"), (Framing::None, None));
        assert_eq!(request("transfer-encoding: CHUNKED\r\n"), (Framing::Chunked, None));
    }

    #[test]
    fn equal_lengths_are_one_and_others_none() {
        assert_eq!(request("Content-Length: 5, 5\r\nContent-Length: 5\r\n"), (Framing::Length(5), None));
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5,6\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5a\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
        ] {
            assert_eq!(request(fields), (Framing::Unclear, Some(Oddity::BadLength)), "{fields}");
            assert_eq!(
                response("200 OK", fields, Asked::Plain),
                (Framing::UntilClose, Some(Oddity::BadLength)),
                "{fields}"
            );
        }
        assert_eq!(request("Content-Length: 18446744073709551615\r\n").0, Framing::Length(u64::MAX));
    }

    #[test]
    fn a_transfer_coding_wins_over_a_length() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\nContent-Length: x\r\n",
        ] {
            assert_eq!(request(fields), (Framing::Chunked, Some(Oddity::TwoFramings)), "{fields}");
        }
    }

    #[test]
    fn a_list_that_does_not_end_in_chunked_is_read_to_the_end_or_not_at_all() {
        for fields in [
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked foo\r\nContent-Length: 5\r\n",
        ] {
            assert_eq!(request(fields), (Framing::Unclear, Some(Oddity::NotChunked)), "{fields}");
            assert_eq!(
                response("200 OK", fields, Asked::Plain),
                (Framing::UntilClose, Some(Oddity::NotChunked)),
                "{fields}"
            );
        }
        assert_eq!(request("Transfer-Encoding: chunked, identity\r\n").0, Framing::Chunked);
        assert_eq!(request("Transfer-Encoding: identity\r\nContent-Length: 5\r\n").0, Framing::Length(5));
    }

    #[test]
    fn responses_depend_on_their_status_and_request() {
        let length = "Content-Length: 9\r\n";
        assert_eq!(response("200 OK", length, Asked::Plain).0, Framing::Length(9));
        assert_eq!(response("200 OK", length, Asked::Head).0, Framing::None);
        for status in ["100 Continue", "103 Early Hints", "204 No Content", "304 Not Modified"] {
            assert_eq!(response(status, length, Asked::Plain).0, Framing::None, "{status}");
        }
        assert_eq!(response("200 OK", "", Asked::Plain).0, Framing::UntilClose);
        assert_eq!(response("200 OK", length, Asked::Connect).0, Framing::Switch);
        assert_eq!(response("407 No", length, Asked::Connect).0, Framing::Length(9));
        assert_eq!(response("101 Switching Protocols", "", Asked::Upgrade).0, Framing::Switch);
        assert_eq!(response("2XX OK", "Content-Length:4\r\n", Asked::Plain).0, Framing::Length(4));
    }

    #[test]
    fn a_part_is_decoded_only_from_its_first_byte() {
        let of = |range: &str| {
            let block = format!("HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\n{range}\r\n");
            codings(&HeaderBlock::new(block.as_bytes())).removable().count()
        };
        assert_eq!(of("Content-Range: bytes 100-199/300\r\n"), 0);
        assert_eq!(of(""), 0);
        assert_eq!(of("Content-Range: bytes 0-99/300\r\n"), 1);
    }
}
