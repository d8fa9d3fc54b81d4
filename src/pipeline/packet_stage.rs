//! Which packets go to the packet store, and how much of each.

use crate::api::{EngineContext, StoreHint};
use crate::decode;
use crate::flow::FlowHandle;
use crate::key::FlowTuple;
use crate::packet::{Batch, Packet};
use crate::plugin::{Opinion, PolicyTable};
use crate::sink::{Offer, StoreFeed};

/// What is kept of one flow.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    generation: u32,
    policy: Opinion,
    /// Wire bytes of the packets so far, both directions.
    carried: u64,
}

/// What became of packets by policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyCounts {
    /// Packets offered whole.
    pub whole: u64,
    /// Packets of which the headers were offered.
    pub headers: u64,
    /// Packets not offered.
    pub skipped: u64,
}

/// Offers the packets of each batch to the store.
#[derive(Debug)]
pub struct PacketStage {
    feed: StoreFeed,
    /// For flows nobody has an opinion about, and for packets without a flow.
    default: Opinion,
    /// By slot of the flow table.
    known: Vec<Known>,
    counts: PolicyCounts,
}

/// How much of a packet is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Nothing,
    Headers,
    Whole,
}

impl PacketStage {
    /// A stage that stores as `default` says where scripts have no opinion; [`Opinion::None`] means everything.
    #[must_use]
    pub const fn new(feed: StoreFeed, default: Opinion) -> Self {
        let counts = PolicyCounts { whole: 0, headers: 0, skipped: 0 };
        Self { feed, default, known: Vec::new(), counts }
    }

    /// Offers the packets of the context's batch, after the scripts have seen it and before ended flows are freed.
    pub fn run(&mut self, context: &EngineContext, policies: &PolicyTable) {
        let (batch, flows) = (context.batch.borrow(), context.flows.borrow());
        let mut hints = context.store_hints.borrow_mut();
        let mut changes = policies.changes().to_vec();
        changes.sort_by_key(|change| change.packet);
        let mut changes = changes.into_iter().peekable();
        for (index, packet) in batch.packets().iter().enumerate() {
            while let Some(change) = changes.next_if(|change| change.packet <= index as u32) {
                self.of(change.flow).policy = change.policy;
            }
            let found = flows.as_ref().and_then(|flows| {
                let handle = flows.of_packet(index)?.flow;
                Some((handle, flows.flow(handle)?.tuple))
            });
            let hint = hints.iter().filter(|(at, _)| *at == index as u32).map(|(_, hint)| *hint).max();
            let extent = self.extent(found.map(|(handle, _)| handle), packet, hint);
            let bytes = batch.packet_bytes(packet);
            let bytes = match extent {
                Extent::Nothing => {
                    self.counts.skipped += 1;
                    continue;
                }
                Extent::Headers => {
                    self.counts.headers += 1;
                    &bytes[..headers(&batch, packet).min(bytes.len())]
                }
                Extent::Whole => {
                    self.counts.whole += 1;
                    bytes
                }
            };
            let (time, wirelen, linktype) = (packet.ts, packet.wirelen, packet.linktype);
            // The index is by flow even where nobody tracks them.
            let tuple = found.map_or_else(|| context.flow_tuple(index).unwrap_or_default(), |(_, tuple)| tuple);
            let flow = (tuple != FlowTuple::NO_IP).then_some(&tuple);
            self.feed.add(&Offer { time, wirelen, linktype, bytes, flow });
        }
        hints.clear();
    }

    fn of(&mut self, flow: FlowHandle) -> &mut Known {
        let slot = flow.slot as usize;
        if self.known.len() <= slot {
            self.known.resize((slot + 1).next_power_of_two(), Known::default());
        }
        let known = &mut self.known[slot];
        if known.generation != flow.generation {
            *known = Known { generation: flow.generation, ..Known::default() };
        }
        known
    }

    fn extent(&mut self, flow: Option<FlowHandle>, packet: &Packet, hint: Option<StoreHint>) -> Extent {
        let default = self.default;
        let (policy, carried) = match flow {
            Some(flow) => {
                let known = self.of(flow);
                let carried = known.carried;
                known.carried += u64::from(packet.wirelen);
                (if known.policy == Opinion::None { default } else { known.policy }, carried)
            }
            None => (default, 0),
        };
        match hint {
            Some(StoreHint::Nothing) => return Extent::Nothing,
            Some(StoreHint::Headers) => return Extent::Headers,
            Some(StoreHint::Whole) => return Extent::Whole,
            None => {}
        }
        match policy {
            Opinion::Ignore => Extent::Nothing,
            Opinion::Headers => Extent::Headers,
            _ if policy.byte_limit().is_some_and(|limit| carried >= limit) => Extent::Nothing,
            _ => Extent::Whole,
        }
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        self.feed.flush();
    }

    /// What became of packets so far.
    #[must_use]
    pub const fn counts(&self) -> PolicyCounts {
        self.counts
    }

    /// Hands over the rest.
    #[must_use]
    pub fn finish(mut self) -> PolicyCounts {
        self.feed.flush();
        self.counts
    }
}

/// Bytes up to and including the TCP or UDP header; the whole packet if there is no IP.
fn headers(batch: &Batch, packet: &Packet) -> usize {
    decode::payload_range(batch, packet).map_or(packet.caplen as usize, |payload| payload.start as usize)
}
