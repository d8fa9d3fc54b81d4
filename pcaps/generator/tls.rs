//! TLS handshakes: hellos with server name and protocol negotiation, a small certificate, and encrypted records.

use std::net::SocketAddr;

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};
use super::random::Random;
use super::wire::len16;

use Direction::{ToClient, ToServer};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

const HANDSHAKE: u8 = 22;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &len16(body).to_be_bytes(), body].concat()
}

/// A list whose length takes two bytes.
fn list16(body: &[u8]) -> Vec<u8> {
    [&len16(body).to_be_bytes()[..], body].concat()
}

/// A list whose length takes one byte.
fn list8(body: &[u8]) -> Vec<u8> {
    [&[u8::try_from(body.len()).expect("short list")][..], body].concat()
}

fn list24(body: &[u8]) -> Vec<u8> {
    [&[0][..], &list16(body)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &list24(body)].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &list16(body)].concat()
}

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_be_bytes()).collect()
}

fn protocols(names: &[&str]) -> Vec<u8> {
    list16(&names.iter().flat_map(|n| list8(n.as_bytes())).collect::<Vec<u8>>())
}

pub fn client_hello(version: Version, server_name: &str, random: &mut Random) -> Vec<u8> {
    let (suites, groups): (&[u16], &[u16]) = match version {
        Version::Tls12 => (&[0xC02B, 0xC02F, 0xC02C, 0xC030, 0xC013, 0xC014, 0x009C, 0x002F], &[29, 23, 24]),
        Version::Tls13 => (&[0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030], &[29, 23, 24]),
    };
    let name = [&[0][..], &list16(server_name.as_bytes())].concat();
    let mut extensions = [
        extension(0, &list16(&name)),
        extension(23, &[]),
        extension(0xFF01, &[0]),
        extension(10, &list16(&words(groups))),
        extension(11, &list8(&[0])),
        extension(16, &protocols(&["h2", "http/1.1"])),
        extension(5, &[1, 0, 0, 0, 0]),
        extension(13, &list16(&words(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501]))),
    ]
    .concat();
    if version == Version::Tls13 {
        let share = [&words(&[29])[..], &list16(&random.bytes(32))].concat();
        extensions.extend(extension(51, &list16(&share)));
        extensions.extend(extension(45, &list8(&[1])));
        extensions.extend(extension(43, &list8(&words(&[0x0304, 0x0303]))));
    }
    let body = [
        words(&[0x0303]),
        random.bytes(32),
        list8(&random.bytes(32)),
        list16(&words(suites)),
        list8(&[0]),
        list16(&extensions),
    ]
    .concat();
    // The record of a first hello says version 3.1, for the sake of old middleboxes.
    let mut out = record(HANDSHAKE, &message(1, &body));
    out[2] = 1;
    out
}

fn server_hello(version: Version, random: &mut Random) -> Vec<u8> {
    let (suite, extensions) = match version {
        Version::Tls12 => {
            let agreed = extension(16, &protocols(&["http/1.1"]));
            (0xC02F, [extension(0xFF01, &[0]), extension(23, &[]), extension(11, &list8(&[0])), agreed].concat())
        }
        Version::Tls13 => {
            let share = [words(&[29]), list16(&random.bytes(32))].concat();
            (0x1301, [extension(43, &words(&[0x0304])), extension(51, &share)].concat())
        }
    };
    let body =
        [words(&[0x0303]), random.bytes(32), list8(&random.bytes(32)), words(&[suite]), vec![0], list16(&extensions)]
            .concat();
    message(2, &body)
}

/// One DER element.
fn der(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = len16(body);
    let head = match length {
        0..128 => vec![tag, length as u8],
        128..256 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, body.to_vec()].concat()
}

fn distinguished_name(organisation: &str, common: &str) -> Vec<u8> {
    let part = |last: u8, text: &str| {
        let pair = [der(6, &[0x55, 4, last]), der(0x0C, text.as_bytes())].concat();
        der(0x31, &der(0x30, &pair))
    };
    der(0x30, &[part(10, organisation), part(3, common)].concat())
}

/// Who a certificate is for, who vouches for it, and from when until when.
pub struct Identity<'a> {
    pub subject: (&'a str, &'a str),
    pub issuer: (&'a str, &'a str),
    pub validity: (&'a [u8], &'a [u8]),
}

impl<'a> Identity<'a> {
    /// A certificate with nothing wrong about it.
    const fn sound(server_name: &'a str) -> Self {
        Self {
            subject: ("Example Widgets", server_name),
            issuer: ("Example Trust Services", "Example Issuing CA"),
            validity: (b"260101000000Z", b"261231235959Z"),
        }
    }
}

/// A certificate with well-formed fields; key and signature are random numbers.
fn certificate(identity: &Identity<'_>, random: &mut Random) -> Vec<u8> {
    let sha256_with_rsa = der(0x30, &[der(6, &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11]), der(5, &[])].concat());
    let mut modulus = random.bytes(256);
    modulus[0] |= 0x80;
    let number = |bytes: &[u8]| der(2, &[&[0][..], bytes].concat());
    let key = der(0x30, &[number(&modulus), der(2, &[1, 0, 1])].concat());
    let rsa = der(0x30, &[der(6, &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1]), der(5, &[])].concat());
    let public = der(0x30, &[rsa, der(3, &[&[0][..], &key].concat())].concat());
    let names = der(0x30, &der(0x82, identity.subject.1.as_bytes()));
    let alternative = der(0x30, &[der(6, &[0x55, 0x1D, 0x11]), der(4, &names)].concat());
    let validity = der(0x30, &[der(0x17, identity.validity.0), der(0x17, identity.validity.1)].concat());
    let body = [
        der(0xA0, &der(2, &[2])),
        number(&[0x31, 0x5A, 0x77]),
        sha256_with_rsa.clone(),
        distinguished_name(identity.issuer.0, identity.issuer.1),
        validity,
        distinguished_name(identity.subject.0, identity.subject.1),
        public,
        der(0xA3, &der(0x30, &alternative)),
    ]
    .concat();
    let signature = der(3, &[&[0][..], &random.bytes(256)].concat());
    der(0x30, &[der(0x30, &body), sha256_with_rsa, signature].concat())
}

/// Everything between the TCP handshake and the first byte of application data.
pub fn handshake(talk: &mut Conversation, version: Version, server_name: &str, random: &mut Random) {
    talk.send(ToServer, &client_hello(version, server_name, random));
    let change = record(CHANGE_CIPHER_SPEC, &[1]);
    match version {
        Version::Tls13 => {
            // Extensions, certificate, proof and end travel encrypted.
            let hidden = record(APPLICATION_DATA, &random.bytes(1_180));
            let answer = [record(HANDSHAKE, &server_hello(version, random)), change.clone(), hidden].concat();
            talk.send(ToClient, &answer);
            talk.send(ToServer, &[change, record(APPLICATION_DATA, &random.bytes(53))].concat());
        }
        Version::Tls12 => {
            let chain = list24(&list24(&certificate(&Identity::sound(server_name), random)));
            let mut exchange = [vec![3, 0, 29], list8(&random.bytes(32)), vec![8, 4]].concat();
            exchange.extend(list16(&random.bytes(256)));
            let answer = [
                record(HANDSHAKE, &server_hello(version, random)),
                record(HANDSHAKE, &message(11, &chain)),
                record(HANDSHAKE, &message(12, &exchange)),
                record(HANDSHAKE, &message(14, &[])),
            ]
            .concat();
            talk.send(ToClient, &answer);
            let key = record(HANDSHAKE, &message(16, &list8(&random.bytes(32))));
            talk.send(ToServer, &[key, change.clone(), record(HANDSHAKE, &random.bytes(40))].concat());
            talk.send(ToClient, &[change, record(HANDSHAKE, &random.bytes(40))].concat());
        }
    }
}

/// The handshake of TLS 1.0 or 1.2 as an old device does it: RSA key exchange, a certificate of its own.
pub fn plain_handshake(talk: &mut Conversation, minor: u8, identity: &Identity<'_>, random: &mut Random) {
    let aged = |kind: u8, body: &[u8]| [&[kind, 3, minor][..], &len16(body).to_be_bytes(), body].concat();
    let mut hello = client_hello(Version::Tls12, identity.subject.1, random);
    // Behind the headers of record and message stands the version that the client offers.
    hello[10] = minor;
    talk.send(ToServer, &hello);
    let answer = [
        words(&[0x0300 | u16::from(minor)]),
        random.bytes(32),
        list8(&[]),
        words(&[0x002F]),
        vec![0],
        list16(&extension(0xFF01, &[0])),
    ]
    .concat();
    let chain = list24(&list24(&certificate(identity, random)));
    let answer = [
        aged(HANDSHAKE, &message(2, &answer)),
        aged(HANDSHAKE, &message(11, &chain)),
        aged(HANDSHAKE, &message(14, &[])),
    ]
    .concat();
    talk.send(ToClient, &answer);
    let change = aged(CHANGE_CIPHER_SPEC, &[1]);
    let key = aged(HANDSHAKE, &message(16, &list16(&random.bytes(256))));
    talk.send(ToServer, &[key, change.clone(), aged(HANDSHAKE, &random.bytes(48))].concat());
    talk.send(ToClient, &[change, aged(HANDSHAKE, &random.bytes(48))].concat());
}

/// Encrypted application data, in records of at most 4 KiB.
pub fn application_data(length: usize, random: &mut Random) -> Vec<u8> {
    let bytes = random.bytes(length);
    bytes.chunks(4_096).flat_map(|piece| record(APPLICATION_DATA, piece)).collect()
}

/// One connection of each version, and a hello that is cut off by a reset.
pub fn capture() -> Trace {
    let mut random = Random::new(443);
    let mut trace = Trace::default();
    let server: SocketAddr = "198.51.100.43:443".parse().expect("a literal address");
    let client = |port| SocketAddr::new([10, 20, 0, 12].into(), port);
    for (port, version, name) in
        [(50_001, Version::Tls12, "legacy.example.org"), (50_002, Version::Tls13, "shop.example.com")]
    {
        let mut talk = Conversation::new(client(port), server, START + i64::from(port - 50_001) * 400 * MILLISECOND);
        talk.open();
        handshake(&mut talk, version, name, &mut random);
        talk.send(ToServer, &application_data(310, &mut random));
        talk.send(ToClient, &application_data(2_900, &mut random));
        talk.close();
        trace.datagrams(&talk.datagrams);
    }
    let mut refused = Conversation::new(client(50_003), server, START + 900 * MILLISECOND);
    refused.open();
    refused.send(ToServer, &client_hello(Version::Tls13, "blocked.example.net", &mut random));
    refused.reset(ToClient);
    trace.datagrams(&refused.datagrams);
    trace
}
