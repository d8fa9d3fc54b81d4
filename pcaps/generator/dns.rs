//! DNS messages with name compression, and the capture of the common question types.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction, exchange};

pub mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const HTTPS: u16 = 65;
}

/// What a resource record says.
#[derive(Clone)]
pub enum Data {
    Host(IpAddr),
    /// A name: CNAME, NS, PTR.
    Name(u16, &'static str),
    Mail(u16, &'static str),
    Text(Vec<u8>),
    /// Primary server and mailbox of a zone.
    Zone(&'static str, &'static str),
    /// Priority, weight and port of a service.
    Service([u16; 3], &'static str),
}

pub struct Record {
    pub owner: String,
    pub ttl: u32,
    pub data: Data,
}

pub fn record(owner: &str, ttl: u32, data: Data) -> Record {
    Record { owner: owner.to_owned(), ttl, data }
}

/// A message being written; remembers where names are, so that later ones can point to them.
struct Message {
    out: Vec<u8>,
    names: HashMap<String, u16>,
}

impl Message {
    fn word(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn name(&mut self, name: &str) {
        let mut rest = name.trim_end_matches('.');
        while !rest.is_empty() {
            if let Some(&at) = self.names.get(rest) {
                self.word(0xC000 | at);
                return;
            }
            let here = super::wire::len16(&self.out);
            self.names.insert(rest.to_owned(), here);
            let (label, tail) = rest.split_once('.').unwrap_or((rest, ""));
            self.out.push(u8::try_from(label.len()).expect("labels are short"));
            self.out.extend_from_slice(label.as_bytes());
            rest = tail;
        }
        self.out.push(0);
    }

    fn record(&mut self, record: &Record) {
        let kind = match &record.data {
            Data::Host(IpAddr::V4(_)) => kind::A,
            Data::Host(IpAddr::V6(_)) => kind::AAAA,
            Data::Name(kind, _) => *kind,
            Data::Mail(..) => kind::MX,
            Data::Text(_) => kind::TXT,
            Data::Zone(..) => kind::SOA,
            Data::Service(..) => kind::SRV,
        };
        self.name(&record.owner);
        self.word(kind);
        self.word(1);
        self.out.extend_from_slice(&record.ttl.to_be_bytes());
        let length_at = self.out.len();
        self.word(0);
        match &record.data {
            Data::Host(IpAddr::V4(v4)) => self.out.extend_from_slice(&v4.octets()),
            Data::Host(IpAddr::V6(v6)) => self.out.extend_from_slice(&v6.octets()),
            Data::Name(_, name) => self.name(name),
            Data::Mail(preference, name) => {
                self.word(*preference);
                self.name(name);
            }
            Data::Text(text) => {
                for piece in text.chunks(255) {
                    self.out.push(piece.len() as u8);
                    self.out.extend_from_slice(piece);
                }
            }
            Data::Zone(server, mailbox) => {
                self.name(server);
                self.name(mailbox);
                for number in [2_026_011_501u32, 7_200, 3_600, 1_209_600, 300] {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Service(numbers, target) => {
                numbers.iter().for_each(|&n| self.word(n));
                self.name(target);
            }
        }
        let length = super::wire::len16(&self.out[length_at + 2..]);
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// Bits of the flags word.
pub const QUERY: u16 = 0x0100;
pub const ANSWER: u16 = 0x8180;
pub const NO_SUCH_NAME: u16 = 0x8183;
pub const TRUNCATED: u16 = 0x8380;
const AUTHORITATIVE: u16 = 0x8400;

/// A message with one question (none if `name` is empty), answers, authorities and an EDNS record.
pub fn message(id: u16, flags: u16, name: &str, kind: u16, answers: &[Record], authorities: &[Record]) -> Vec<u8> {
    let mut message = Message { out: Vec::new(), names: HashMap::new() };
    let questions = u16::from(!name.is_empty());
    let edns = questions;
    let counts = [answers.len(), authorities.len()].map(|n| u16::try_from(n).expect("few records"));
    [id, flags, questions, counts[0], counts[1], edns].iter().for_each(|&n| message.word(n));
    if questions == 1 {
        message.name(name);
        message.word(kind);
        message.word(1);
    }
    answers.iter().chain(authorities).for_each(|r| message.record(r));
    if edns == 1 {
        // OPT: root name, 1232 bytes of UDP payload, no extended code, no options.
        message.out.extend_from_slice(&[0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0]);
    }
    message.out
}

/// A multicast DNS announcement of a service on `host`.
pub fn announcement(host: &'static str, service: &'static str, address: Ipv4Addr) -> Vec<u8> {
    let answers = [
        record("_ipp._tcp.local", 4_500, Data::Name(kind::PTR, service)),
        record(service, 120, Data::Service([0, 0, 631], host)),
        record(host, 120, Data::Host(address.into())),
    ];
    message(0, AUTHORITATIVE, "", 0, &answers, &[])
}

/// Questions of every common type with their answers; one answer too long for UDP is fetched again over TCP.
pub fn capture() -> Trace {
    let resolver: SocketAddr = "10.20.0.2:53".parse().expect("a literal address");
    let client: IpAddr = Ipv4Addr::new(10, 20, 0, 11).into();
    let web = |last: u8| Data::Host(Ipv4Addr::new(192, 0, 2, last).into());
    let web6 = Data::Host(Ipv6Addr::new(0x2001, 0xDB8, 0x80, 0, 0, 0, 0, 0x50).into());
    let alias = Data::Name(kind::CNAME, "edge.cdn.example.net");
    let zone = || [record("example.com", 300, Data::Zone("ns1.example.com", "hostmaster.example.com"))];
    let service = Data::Service([10, 60, 5_060], "sip1.example.com");
    let text = || Data::Text(b"v=spf1 ip4:192.0.2.0/24 -all".to_vec());
    let questions: Vec<(&str, u16, u16, Vec<Record>)> = vec![
        (
            "www.example.com",
            kind::A,
            ANSWER,
            vec![
                record("www.example.com", 300, alias.clone()),
                record("edge.cdn.example.net", 60, web(80)),
                record("edge.cdn.example.net", 60, web(81)),
            ],
        ),
        (
            "www.example.com",
            kind::AAAA,
            ANSWER,
            vec![record("www.example.com", 300, alias), record("edge.cdn.example.net", 60, web6)],
        ),
        (
            "example.com",
            kind::MX,
            ANSWER,
            vec![
                record("example.com", 3_600, Data::Mail(10, "mx1.example.com")),
                record("example.com", 3_600, Data::Mail(20, "mx2.example.com")),
            ],
        ),
        (
            "example.com",
            kind::NS,
            ANSWER,
            vec![
                record("example.com", 86_400, Data::Name(kind::NS, "ns1.example.com")),
                record("example.com", 86_400, Data::Name(kind::NS, "ns2.example.com")),
            ],
        ),
        ("example.com", kind::TXT, ANSWER, vec![record("example.com", 3_600, text())]),
        ("_sip._udp.example.com", kind::SRV, ANSWER, vec![record("_sip._udp.example.com", 600, service)]),
        (
            "80.2.0.192.in-addr.arpa",
            kind::PTR,
            ANSWER,
            vec![record("80.2.0.192.in-addr.arpa", 3_600, Data::Name(kind::PTR, "edge.cdn.example.net"))],
        ),
        ("example.com", kind::SOA, ANSWER, zone().into()),
        ("www.example.com", kind::HTTPS, ANSWER, vec![]),
        ("no-such-host.example.com", kind::A, NO_SUCH_NAME, vec![]),
        ("long.example.com", kind::TXT, TRUNCATED, vec![]),
    ];
    let mut trace = Trace::default();
    let mut at = START;
    for (i, (name, kind, flags, answers)) in questions.iter().enumerate() {
        let id = 0x3A10u16.wrapping_add((i as u16).wrapping_mul(0x1F3B));
        let source = SocketAddr::new(client, 40_100 + i as u16 * 37);
        let question = message(id, QUERY, name, *kind, &[], &[]);
        let authorities = if answers.is_empty() && *flags != TRUNCATED { zone().into() } else { vec![] };
        let answer = message(id, *flags, name, *kind, answers, &authorities);
        trace.datagrams(&exchange(source, resolver, at, &question, &answer));
        at += 150 * MILLISECOND;
    }
    let long = [record("long.example.com", 60, Data::Text((0..1_400u16).map(|i| b'a' + (i % 26) as u8).collect()))];
    let framed = |message: Vec<u8>| [&super::wire::len16(&message).to_be_bytes()[..], &message].concat();
    let mut retry = Conversation::new(SocketAddr::new(client, 51_230), resolver, at).round_trip(MILLISECOND);
    retry.open();
    retry.send(Direction::ToServer, &framed(message(0x77AA, QUERY, "long.example.com", kind::TXT, &[], &[])));
    let answer = message(0x77AA, ANSWER, "long.example.com", kind::TXT, &long, &[]);
    retry.send(Direction::ToClient, &framed(answer));
    retry.close();
    trace.datagrams(&retry.datagrams);
    trace
}
