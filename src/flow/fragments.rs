//! The fragments of a batch: whose they are, and the datagrams they complete.

use std::collections::HashMap;

use super::defrag::{Datagram, Defrag};
use crate::decode::{self, Decoder, Registry};
use crate::key::{End, FlowTuple};
use crate::packet::{Batch, Packet};

/// Room for datagrams that is kept from batch to batch.
const KEPT_BYTES: usize = 1 << 20;

/// What is known of the fragments of one batch. Empty for most batches.
#[derive(Debug, Default)]
pub struct Fragments {
    parts: HashMap<usize, Part>,
    joined: Batch,
    decoder: Decoder,
    registry: Registry,
}

/// A fragment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Flow of the datagram and the end that sent it, once its first fragment was seen.
    pub(super) flow: Option<(FlowTuple, End)>,
    /// Index of the datagram it completes.
    pub(super) whole: Option<u32>,
}

impl Fragments {
    /// Replaces what is known by the fragments of a batch and the datagrams that `defrag` makes of them. At most one a
    /// packet, so that they fit into a batch too.
    pub fn take(&mut self, batch: &Batch, defrag: &mut Defrag) {
        self.clear();
        for (index, packet) in batch.packets().iter().enumerate() {
            let Some(fragment) = decode::fragment_info(batch, packet) else { continue };
            let added = defrag.add(&fragment, batch.packet_bytes(packet), packet.ts);
            let flow = added.transport.map(|(proto, sport, dport)| fragment.key.flow(proto, sport, dport));
            let whole = added.datagram.map(|datagram| self.push(&datagram, packet));
            self.parts.insert(index, Part { flow, whole });
        }
        self.decoder.decode(&self.registry, &mut self.joined);
        for part in self.parts.values_mut() {
            let Some(whole) = part.whole else { continue };
            let packet = &self.joined.packets()[whole as usize];
            if decode::fragment_info(&self.joined, packet).is_some() {
                // Fragments of a fragment, which no host sends.
                part.whole = None;
            } else {
                part.flow = Some(decode::flow_tuple(&self.joined, packet));
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.joined.clear();
        self.joined.buffer.clear();
        self.joined.buffer.shrink_to(KEPT_BYTES);
    }

    /// True without fragments.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The flow of a packet of the batch that is a fragment, if its first one was seen.
    #[inline]
    #[must_use]
    pub fn flow_of(&self, index: usize) -> Option<&FlowTuple> {
        self.parts.get(&index)?.flow.as_ref().map(|(tuple, _)| tuple)
    }

    pub(super) fn part(&self, index: usize) -> Option<Part> {
        self.parts.get(&index).copied()
    }

    /// The datagram that a fragment completes, as a packet of a batch of its own.
    pub(super) fn whole(&self, index: u32) -> (&Batch, &Packet) {
        (&self.joined, &self.joined.packets()[index as usize])
    }

    fn push(&mut self, datagram: &Datagram, last: &Packet) -> u32 {
        let (index, offset) = (self.joined.len() as u32, self.joined.buffer.len() as u32);
        let len = datagram.bytes.len() as u32;
        self.joined.buffer.extend_from_slice(&datagram.bytes);
        self.joined.push(Packet::new(last.ts, offset, len, len, datagram.linktype, last.origin));
        index
    }
}
