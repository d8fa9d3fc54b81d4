//! What dissectors find in flows, in the order in which it was found.

use super::attribute_kinds::AttributeKinds;
use crate::flow::{Direction, FlowHandle, Want};
use crate::guid::Guid;
use crate::metrics::Extent;

/// A range of the bytes that [`Findings`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    at: u32,
    len: u32,
}

impl Text {
    /// Number of bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// True without bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Groups of resources that dissectors feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// DNS Resources.
    Dns,
    /// HTTP URIs.
    HttpUri,
    /// SSL Certs.
    Certificate,
    /// File Hashes.
    FileHash,
}

impl ResourceKind {
    /// GUID of the resource group.
    #[must_use]
    pub const fn guid(self) -> &'static str {
        match self {
            Self::Dns => "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}",
            Self::HttpUri => "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}",
            Self::Certificate => "{5AEE3F0B-9304-44BE-BBD0-0467052CF468}",
            Self::FileHash => "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}",
        }
    }
}

impl ResourceKind {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Dns, Self::HttpUri, Self::Certificate, Self::FileHash];

    /// The resource group.
    #[must_use]
    pub const fn group(self) -> Guid {
        const GROUPS: [Guid; 4] = [
            Guid::literal(ResourceKind::Dns.guid()),
            Guid::literal(ResourceKind::HttpUri.guid()),
            Guid::literal(ResourceKind::Certificate.guid()),
            Guid::literal(ResourceKind::FileHash.guid()),
        ];
        GROUPS[self as usize]
    }
}

/// Groups of full-text documents that dissectors feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// SSL Certs.
    Certificate,
    /// HTTP Headers.
    HttpHeader,
    /// DNS Records.
    Dns,
}

impl DocumentKind {
    /// GUID of the full-text group.
    #[must_use]
    pub const fn guid(self) -> &'static str {
        match self {
            Self::Certificate => "{9FEB8ADE-ADBB-49AD-BC68-C6A02F389C71}",
            Self::HttpHeader => "{28217924-E7A5-4523-993C-44B52758D5A8}",
            Self::Dns => "{09B305DF-078C-4B9E-8E2F-EA64B7326880}",
        }
    }
}

impl DocumentKind {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Certificate, Self::HttpHeader, Self::Dns];

    /// The full-text group.
    #[must_use]
    pub const fn group(self) -> Guid {
        const GROUPS: [Guid; 3] = [
            Guid::literal(DocumentKind::Certificate.guid()),
            Guid::literal(DocumentKind::HttpHeader.guid()),
            Guid::literal(DocumentKind::Dns.guid()),
        ];
        GROUPS[self as usize]
    }
}

/// Protocols that are told apart by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.
    Http,
    /// TLS over TCP.
    Tls,
    /// QUIC.
    Quic,
    /// DNS over UDP or TCP.
    Dns,
    /// SSH.
    Ssh,
    /// SMTP.
    Smtp,
    /// The control connection of FTP.
    Ftp,
    /// The data connection of FTP.
    FtpData,
    /// DHCP for IPv4.
    Dhcp,
}

/// Number of an HTTP request and its response; unique within an engine's run, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Transaction(pub u64);

/// One thing found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FindingKind {
    /// The flow speaks a protocol; before everything else that is found in it.
    Recognised {
        /// Which one.
        protocol: Protocol,
    },
    /// A flow attribute.
    Attribute {
        /// Name.
        name: Text,
        /// Value, any bytes.
        value: Text,
    },
    /// A resource.
    Resource {
        /// Group.
        kind: ResourceKind,
        /// Summary.
        uri: Text,
        /// Contents; may be empty.
        label: Text,
    },
    /// A full-text document.
    Document {
        /// Group.
        kind: DocumentKind,
        /// Text.
        text: Text,
    },
    /// A complete HTTP header; of 1xx responses only 101 is reported.
    HttpHeader {
        /// The transaction.
        transaction: Transaction,
        /// To the server: request.
        direction: Direction,
        /// The block from the first line up to and including the empty line, as on the wire.
        block: Text,
    },
    /// Bytes of an HTTP body, transfer and content encoding removed. Contiguous; an empty one ends it, exactly once, and
    /// bodies without a byte are ended only if the message could have had one.
    HttpBody {
        /// The transaction.
        transaction: Transaction,
        /// To the server: of the request.
        direction: Direction,
        /// Offset in the decoded body.
        position: u64,
        /// The bytes.
        bytes: Text,
    },
    /// A complete HTTP header as in [`FindingKind::HttpHeader`], for whoever shows protocol events.
    HttpMessage {
        /// The transaction.
        transaction: Transaction,
        /// To the server: request.
        direction: Direction,
        /// The block.
        block: Text,
    },
    /// An HTTP message is over, with or without a body.
    HttpEnd {
        /// The transaction.
        transaction: Transaction,
        /// To the server: of the request.
        direction: Direction,
        /// Bytes of its body, without transfer encoding, content encoding left as it is.
        length: u64,
        /// What is missing of it.
        extent: Extent,
    },
    /// A DNS message as on the wire.
    DnsMessage {
        /// The message, as far as it was captured.
        message: Text,
    },
    /// The text that JA3, JA3S or a HASSH is the hash of; the hash follows as an attribute.
    FingerprintText {
        /// To the server: of the client.
        direction: Direction,
        /// The text.
        text: Text,
    },
    /// The certificate that a server shows for itself, as DER.
    Certificate {
        /// The bytes.
        der: Text,
    },
    /// A file went by that was hashed.
    File {
        /// Which way.
        direction: Direction,
        /// Its name as the protocol gives it; may be empty.
        name: Text,
        /// Bytes.
        length: u64,
        /// Its hash.
        md5: [u8; 16],
        /// Number of what it was a part of, a message in mail, within its flow, from 0.
        place: u64,
    },
    /// A name that a host gave itself (DHCP).
    HostName {
        /// Hardware address.
        mac: [u8; 6],
        /// The address it asked for or has, if known.
        ip: Option<[u8; 4]>,
        /// The name.
        name: Text,
    },
}

/// A finding and where it belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// Index of the flow event (see [`crate::flow::FlowEvents::list`]) that led to it: it happened right after that one.
    pub after: u32,
    /// The flow.
    pub flow: FlowHandle,
    /// What.
    pub kind: FindingKind,
}

/// The findings of one batch and their bytes. Room is used again from batch to batch.
#[derive(Debug, Default)]
pub struct Findings {
    list: Vec<Finding>,
    bytes: Vec<u8>,
}

impl Findings {
    /// All findings, in order of `after`.
    #[must_use]
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// The bytes of a text.
    #[inline]
    #[must_use]
    pub fn bytes(&self, text: Text) -> &[u8] {
        &self.bytes[text.at as usize..][..text.len()]
    }

    /// Takes bytes in.
    pub fn text(&mut self, bytes: &[u8]) -> Text {
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Text { at, len: bytes.len() as u32 }
    }

    /// Bytes held so far: the start of a text that is written piece by piece with [`Findings::writer`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Where a text is written to in place.
    pub fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The text written since a mark.
    #[must_use]
    pub fn since(&self, mark: usize) -> Text {
        Text { at: mark as u32, len: (self.bytes.len() - mark) as u32 }
    }

    /// Adds a finding.
    pub fn push(&mut self, after: u32, flow: FlowHandle, kind: FindingKind) {
        self.list.push(Finding { after, flow, kind });
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, after: u32, flow: FlowHandle, name: &str, value: &[u8]) {
        let (name, value) = (self.text(name.as_bytes()), self.text(value));
        self.push(after, flow, FindingKind::Attribute { name, value });
    }

    /// Forgets everything but the room.
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes.clear();
    }
}

/// Kinds of attributes that nobody wants; by default there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwanted(Option<AttributeKinds>);

impl Unwanted {
    /// Everything is wanted.
    pub const NOTHING: Self = Self(None);

    /// Only these are wanted.
    #[must_use]
    pub const fn but(wanted: AttributeKinds) -> Self {
        Self(Some(wanted))
    }

    fn wanted(self) -> AttributeKinds {
        self.0.unwrap_or(AttributeKinds::ALL)
    }

    fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(another)) => Self::but(one | another),
            _ => Self::NOTHING,
        }
    }
}

/// What is asked of the dissectors. What nobody asks for is not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DissectWants {
    /// Flow attributes of any protocol.
    pub attributes: Want,
    /// Attributes that nobody wants nevertheless.
    pub unwanted: Unwanted,
    /// `TLS:RECORD` attributes.
    pub tls_records: Want,
    /// Resources: DNS.
    pub dns_resources: Want,
    /// Resources: HTTP URIs.
    pub http_resources: Want,
    /// Resources: certificates.
    pub certificate_resources: Want,
    /// Resources: hashes of files that millstream takes out of streams itself.
    pub file_hashes: Want,
    /// Documents: DNS.
    pub dns_documents: Want,
    /// Documents: HTTP headers.
    pub http_documents: Want,
    /// Documents: certificates.
    pub certificate_documents: Want,
    /// [`FindingKind::HttpHeader`].
    pub http_headers: Want,
    /// [`FindingKind::HttpBody`].
    pub http_bodies: Want,
    /// [`FindingKind::HostName`].
    pub host_names: Want,
    /// [`FindingKind::Recognised`].
    pub protocols: Want,
    /// What protocol events are made from: [`FindingKind::HttpMessage`], [`FindingKind::HttpEnd`],
    /// [`FindingKind::DnsMessage`], [`FindingKind::FingerprintText`], [`FindingKind::Certificate`], [`FindingKind::File`],
    /// and the attributes of TLS and SSH.
    pub events: Want,
}

impl DissectWants {
    /// What either asks for.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            attributes: self.attributes | other.attributes,
            unwanted: match (self.attributes, other.attributes) {
                (Want::Yes, Want::Yes) => self.unwanted.and(other.unwanted),
                (Want::Yes, Want::No) => self.unwanted,
                (Want::No, _) => other.unwanted,
            },
            tls_records: self.tls_records | other.tls_records,
            dns_resources: self.dns_resources | other.dns_resources,
            http_resources: self.http_resources | other.http_resources,
            certificate_resources: self.certificate_resources | other.certificate_resources,
            file_hashes: self.file_hashes | other.file_hashes,
            dns_documents: self.dns_documents | other.dns_documents,
            http_documents: self.http_documents | other.http_documents,
            certificate_documents: self.certificate_documents | other.certificate_documents,
            http_headers: self.http_headers | other.http_headers,
            http_bodies: self.http_bodies | other.http_bodies,
            events: self.events | other.events,
            host_names: self.host_names | other.host_names,
            protocols: self.protocols | other.protocols,
        }
    }

    /// Everything.
    pub const ALL: Self = Self {
        attributes: Want::Yes,
        unwanted: Unwanted::NOTHING,
        tls_records: Want::Yes,
        dns_resources: Want::Yes,
        http_resources: Want::Yes,
        certificate_resources: Want::Yes,
        file_hashes: Want::Yes,
        dns_documents: Want::Yes,
        http_documents: Want::Yes,
        certificate_documents: Want::Yes,
        http_headers: Want::Yes,
        http_bodies: Want::Yes,
        host_names: Want::Yes,
        protocols: Want::Yes,
        events: Want::Yes,
    };

    /// Whether attributes of some kind are wanted.
    #[inline]
    #[must_use]
    pub fn attributes_of(&self, kinds: AttributeKinds) -> Want {
        self.attributes.min(Want::from(self.unwanted.wanted().has(kinds)))
    }

    /// Whether what HTTP says is wanted, and not only where it leads.
    #[must_use]
    pub fn http(&self) -> Want {
        let of_its_own = self.http_resources | self.http_documents | self.http_headers | self.http_bodies | self.events;
        self.attributes_of(AttributeKinds::HTTP) | of_its_own
    }

    /// Whether files that go by are hashed.
    #[must_use]
    pub fn hashes(&self) -> Want {
        self.file_hashes | self.events
    }
}
