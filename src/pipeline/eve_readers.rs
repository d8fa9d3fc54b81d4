//! What takes protocols apart for the output of events, on its thread.

use crate::dissect::x509::Certificate;
use crate::dissect::{DnsOutline, DnsSection};
use crate::sink::eve::{CertificateFacts, DnsFacts, DnsRecord, Readers};

/// The readers of all protocols.
pub const EVE_READERS: Readers = Readers { dns, certificate };

fn dns(message: &[u8]) -> Option<DnsFacts> {
    let outline = DnsOutline::of(message)?;
    let mut facts = DnsFacts { id: outline.id, flags: outline.flags, ..DnsFacts::default() };
    for record in outline.records {
        let (name, kind) = (record.name, record.kind);
        match record.section {
            DnsSection::Question => facts.questions.push((name, kind)),
            DnsSection::Answer => facts.answers.push(DnsRecord { name, kind, ttl: record.ttl, data: record.data }),
            DnsSection::Authority => {
                facts.authorities.push(DnsRecord { name, kind, ttl: record.ttl, data: record.data })
            }
        }
    }
    Some(facts)
}

fn certificate(der: &[u8]) -> Option<CertificateFacts> {
    let certificate = Certificate::parse(der)?;
    Some(CertificateFacts {
        subject: certificate.subject().listed(),
        issuer: certificate.issuer().listed(),
        serial: certificate.serial().to_vec(),
        validity: certificate.validity(),
    })
}
