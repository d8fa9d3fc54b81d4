//! The protocols that can be recognised, in the order in which they are asked. A new one is a line here.

use super::attribute_kinds::AttributeKinds;
use super::dhcp::{self, Dhcp};
use super::dissector::{DatagramDissector, Recognition, StreamDissector};
use super::dns::{self, DnsDatagrams, DnsStream};
use super::finding::{DissectWants, Protocol};
use super::ftp::{self, Ftp};
use super::http::{self, Http};
use super::quic::{self, Quic};
use super::smtp::{self, Smtp};
use super::ssh::{self, Ssh};
use super::tls::{self, Tls};
use crate::flow::{Direction, Want};

/// What is done with flows whose beginning was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Midstream {
    /// They are not recognised.
    Refused,
    /// They are, if the first bytes seen fit.
    Accepted,
    /// They are by what the server says; the first words of a client may be those of other protocols.
    Greeted,
    /// They are, if the first bytes seen fit; both ends may begin with the same bytes, so that these do not tell who asks.
    Alike,
}

/// The first bytes of a direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// At most [`super::recogniser::HEAD`].
    pub bytes: &'a [u8],
    /// So many of them were looked at before, and told nothing.
    pub looked: usize,
}

impl<'a> Head<'a> {
    /// Bytes of which none was looked at.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, looked: 0 }
    }
}

/// A protocol over streams.
#[derive(Debug)]
pub(super) struct StreamProtocol {
    pub protocol: Protocol,
    /// Whether somebody wants what its dissector finds.
    pub wanted: fn(&DissectWants) -> Want,
    /// The first bytes of a direction, all that came so far.
    pub recognise: fn(Direction, Head<'_>) -> Recognition,
    pub start: fn(&DissectWants) -> Box<dyn StreamDissector>,
    pub midstream: Midstream,
}

/// A protocol over datagrams.
#[derive(Debug)]
pub(super) struct DatagramProtocol {
    pub protocol: Protocol,
    /// Whether somebody wants what its dissector finds.
    pub wanted: fn(&DissectWants) -> Want,
    /// One datagram, as far as it was captured.
    pub recognise: fn(Direction, &[u8]) -> Recognition,
    pub start: fn(&DissectWants) -> Box<dyn DatagramDissector>,
}

/// Protocols over streams; at most 32.
pub(super) const STREAMS: &[StreamProtocol] = &[
    StreamProtocol {
        protocol: Protocol::Tls,
        wanted: behind_tls,
        recognise: |direction, head| tls::recognise(direction, head.bytes),
        start: |_| Box::new(Tls::new()),
        midstream: Midstream::Accepted,
    },
    StreamProtocol {
        protocol: Protocol::Ssh,
        wanted: |wants| wants.attributes_of(AttributeKinds::SSH) | wants.events,
        recognise: ssh::recognise,
        start: |_| Box::<Ssh>::default(),
        midstream: Midstream::Alike,
    },
    StreamProtocol {
        protocol: Protocol::Http,
        wanted: |wants| wants.http() | behind_tls(wants),
        recognise: |direction, head| http::recognise(direction, head.bytes),
        start: |_| Box::<Http>::default(),
        midstream: Midstream::Accepted,
    },
    StreamProtocol {
        protocol: Protocol::Smtp,
        wanted: |wants| wants.hashes() | behind_tls(wants),
        recognise: smtp::recognise,
        start: |_| Box::<Smtp>::default(),
        midstream: Midstream::Accepted,
    },
    StreamProtocol {
        protocol: Protocol::Ftp,
        wanted: |wants| wants.hashes() | wants.protocols | behind_tls(wants),
        recognise: ftp::recognise,
        start: |_| Box::<Ftp>::default(),
        midstream: Midstream::Greeted,
    },
    StreamProtocol {
        protocol: Protocol::Dns,
        wanted: |wants| wants.dns_resources | wants.dns_documents | wants.events,
        recognise: dns::recognise_stream,
        start: |_| Box::<DnsStream>::default(),
        midstream: Midstream::Refused,
    },
];

/// Protocols over datagrams; at most 32.
pub(super) const DATAGRAMS: &[DatagramProtocol] = &[
    DatagramProtocol {
        protocol: Protocol::Quic,
        wanted: |wants| wants.attributes_of(AttributeKinds::TLS) | wants.protocols | wants.events,
        recognise: |_, datagram| quic::recognise(datagram),
        start: |_| Box::new(Quic::new()),
    },
    DatagramProtocol {
        protocol: Protocol::Dns,
        wanted: |wants| wants.dns_resources | wants.dns_documents | wants.events,
        recognise: dns::recognise_datagram,
        start: |_| Box::<DnsDatagrams>::default(),
    },
    DatagramProtocol {
        protocol: Protocol::Dhcp,
        wanted: |wants| wants.host_names,
        recognise: dhcp::recognise,
        start: |_| Box::new(Dhcp),
    },
];

/// Whether somebody wants what may follow when a flow changes to TLS.
fn behind_tls(wants: &DissectWants) -> Want {
    let certificates = wants.certificate_resources | wants.certificate_documents;
    wants.attributes_of(AttributeKinds::TLS) | wants.tls_records | certificates | wants.protocols | wants.events
}
