//! DNS events: one for each message.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::json::{Object, Truth};

/// What a DNS message says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsFacts {
    /// Identification.
    pub id: u16,
    /// Flags, operation, response code.
    pub flags: u16,
    /// Name and type of each question.
    pub questions: Vec<(Vec<u8>, Vec<u8>)>,
    /// Answers.
    pub answers: Vec<DnsRecord>,
    /// Records of the authority section.
    pub authorities: Vec<DnsRecord>,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsRecord {
    /// Owner.
    pub name: Vec<u8>,
    /// Name of the type.
    pub kind: Vec<u8>,
    /// Time to live.
    pub ttl: u32,
    /// Data in the form of zone files.
    pub data: Vec<u8>,
}

/// Types that are listed by type.
const GROUPED: [&str; 6] = ["A", "AAAA", "CNAME", "MX", "NULL", "PTR"];

/// Most questions of a flow that wait for an answer; of more the oldest is forgotten.
const MAX_WAITING: usize = 64;

/// Questions that there is room for in flows to come.
const KEPT: usize = 4;

/// The questions of a flow: each has a number, which its answer has too.
#[derive(Debug, Default)]
pub(super) struct DnsFlow {
    next: u64,
    /// Identification and number.
    waiting: VecDeque<(u16, u64)>,
}

impl DnsFlow {
    /// One that has seen nothing, in the same memory where that is little.
    pub fn emptied(mut self) -> Self {
        self.waiting.clear();
        Self { next: 0, waiting: if self.waiting.capacity() <= KEPT { self.waiting } else { VecDeque::new() } }
    }

    /// The number of a message, from 0.
    pub fn place(&mut self, facts: &DnsFacts) -> u64 {
        let is_response = facts.flags & RESPONSE != 0;
        if is_response
            && let Some(at) = self.waiting.iter().position(|(id, _)| *id == facts.id)
            && let Some((_, place)) = self.waiting.remove(at)
        {
            return place;
        }
        let place = self.next;
        self.next += 1;
        if !is_response {
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back((facts.id, place));
        }
        place
    }
}

/// The flag of answers.
const RESPONSE: u16 = 0x8000;

/// The object of an event.
pub(super) fn write(facts: &DnsFacts, place: u64, object: &mut Object<'_>) {
    let has = |bit: u16| facts.flags & bit != 0;
    let is_response = has(RESPONSE);
    object.count("version", 2);
    object.text("type", if is_response { b"answer" } else { b"query" });
    object.count("tx_id", place);
    object.count("id", u64::from(facts.id));
    object.count("opcode", u64::from(facts.flags >> 11 & 15));
    if is_response {
        object.raw("flags", |out| {
            let digit = |shift: u16| b"0123456789abcdef"[usize::from(facts.flags >> shift & 15)];
            out.extend([b'"', digit(12), digit(8), digit(4), digit(0), b'"']);
        });
        let bits = [("qr", 0x8000), ("aa", 0x0400), ("tc", 0x0200), ("rd", 0x0100), ("ra", 0x0080), ("z", 0x0040)];
        for (name, bit) in bits {
            if has(bit) {
                object.flag(name, Truth::Yes);
            }
        }
    }
    if let Some((name, kind)) = facts.questions.first() {
        object.text("rrname", name);
        object.text("rrtype", kind);
    }
    if !is_response {
        return;
    }
    object.text("rcode", code(facts.flags & 15).as_bytes());
    if !facts.answers.is_empty() {
        object.objects("answers", facts.answers.iter(), record);
        object.object("grouped", |object| grouped(&facts.answers, object));
    }
    if !facts.authorities.is_empty() {
        object.objects("authorities", facts.authorities.iter(), record);
    }
}

fn record(object: &mut Object<'_>, record: &DnsRecord) {
    object.text("rrname", &record.name);
    object.text("rrtype", &record.kind);
    object.count("ttl", u64::from(record.ttl));
    let words = || record.data.split(|&byte| byte == b' ');
    match &record.kind[..] {
        b"SRV" => object.object("srv", |object| service(&record.data, object)),
        b"SOA" if words().count() == 7 => object.object("soa", |object| {
            let names = ["mname", "rname", "serial", "refresh", "retry", "expire", "minimum"];
            for (index, (name, word)) in names.into_iter().zip(words()).enumerate() {
                if index < 2 { object.text(name, word) } else { object.count(name, number(word)) }
            }
        }),
        // The preference in front of the name is no part of the schema.
        b"MX" => object.text("rdata", words().next_back().unwrap_or_default()),
        _ => object.text("rdata", &record.data),
    }
}

/// Priority, weight, port and name.
fn service(data: &[u8], object: &mut Object<'_>) {
    let words = data.split(|&byte| byte == b' ');
    for (index, (name, word)) in ["priority", "weight", "port", "name"].into_iter().zip(words).enumerate() {
        if index < 3 { object.count(name, number(word)) } else { object.text(name, word) }
    }
}

fn number(word: &[u8]) -> u64 {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn grouped(answers: &[DnsRecord], object: &mut Object<'_>) {
    let of = |kind: &'static str| answers.iter().filter(move |record| record.kind == kind.as_bytes());
    for kind in GROUPED {
        if of(kind).next().is_some() {
            let last = |record: &DnsRecord| record.data.iter().rposition(|&byte| byte == b' ').map_or(0, |at| at + 1);
            object.texts(
                kind,
                of(kind).map(|record| if kind == "MX" { &record.data[last(record)..] } else { &record.data }),
            );
        }
    }
    if of("SRV").next().is_some() {
        object.objects("SRV", of("SRV"), |object, record| service(&record.data, object));
    }
    if of("TXT").next().is_some() {
        object.texts("TXT", of("TXT").map(|record| record.data.trim_ascii()));
    }
}

fn code(code: u16) -> Cow<'static, str> {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    NAMES.get(usize::from(code)).map_or_else(|| code.to_string().into(), |name| (*name).into())
}
