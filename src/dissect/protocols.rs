//! The protocols that can be recognised, in the order in which they are asked. A new one is a line here.

use super::dissector::{DatagramDissector, Recognition, StreamDissector};
use super::finding::{DissectWants, Protocol};
use super::quic::{self, Quic};
use super::tls::{self, Tls};
use crate::flow::{Direction, Want};

/// What is done with flows whose beginning was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Midstream {
    /// They are not recognised.
    Refused,
    /// They are, if the first bytes seen fit.
    Accepted,
}

/// A protocol over streams.
#[derive(Debug)]
pub(super) struct StreamProtocol {
    pub protocol: Protocol,
    /// Whether somebody wants what its dissector finds.
    pub wanted: fn(&DissectWants) -> Want,
    /// The first bytes of a direction (all that came so far, at most [`super::recogniser::HEAD`]) and their position.
    pub recognise: fn(Direction, &[u8], u64) -> Recognition,
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
pub(super) const STREAMS: &[StreamProtocol] = &[StreamProtocol {
    protocol: Protocol::Tls,
    wanted: |wants| wants.attributes | wants.tls_records | wants.certificate_resources | wants.certificate_documents,
    recognise: |direction, head, _| tls::recognise(direction, head),
    start: |_| Box::new(Tls::new()),
    midstream: Midstream::Accepted,
}];

/// Protocols over datagrams.
pub(super) const DATAGRAMS: &[DatagramProtocol] = &[DatagramProtocol {
    protocol: Protocol::Quic,
    wanted: |wants| wants.attributes,
    recognise: |_, datagram| quic::recognise(datagram),
    start: |_| Box::new(Quic::new()),
}];
