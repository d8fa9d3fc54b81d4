//! Flow records and the hosts that talk most: a table of flows by tuple, and bytes by host.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use foldhash::fast::FixedState;

use super::tuple::{Segment, Side, Tuple};
use super::{Counters, Form, Layers, Totals, Work};

const SENT: u8 = 0;
const RECEIVED: u8 = 1;
const ENDED: u8 = 0;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// What is recorded of a flow: what the records of millstream have.
#[derive(Clone, Copy, Default)]
struct Record {
    first: u64,
    last: u64,
    bytes: [u64; 2],
    packets: [u64; 2],
    payload: [u64; 2],
    /// Sequence numbers expected next, for retransmissions.
    next: [u32; 2],
    setup_rtt: u32,
    retransmissions: u32,
    flags: [u8; 2],
    acked_fin: [bool; 2],
}

/// Flows with the numbers of each direction, hosts with bytes sent and received, and connections by Z end. The record of a
/// connection that was closed is added to the sums and leaves the table, as in any flow meter.
#[derive(Default)]
pub struct Talkers {
    flows: HashMap<Tuple, Record, FixedState>,
    hosts: Counters,
    ended: Counters,
    created: u64,
    /// Packets and bytes of the flows that left.
    sums: [u64; 2],
}

impl Talkers {
    fn segment(record: &mut Record, side: usize, segment: &Segment, time: u64) {
        let flags = segment.flags;
        record.flags[side] |= flags;
        let begins = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let end = segment.seq.wrapping_add(segment.payload + begins);
        if record.packets[side] > 0 && segment.payload > 0 && (end.wrapping_sub(record.next[side]) as i32) <= 0 {
            record.retransmissions += 1;
        } else {
            record.next[side] = end;
        }
        if record.setup_rtt == 0 && flags & SYN == 0 && record.flags[1 - side] & SYN != 0 {
            record.setup_rtt = (time - record.first) as u32;
        }
        if record.flags[1 - side] & FIN != 0 && segment.ack == record.next[1 - side] {
            record.acked_fin[1 - side] = true;
        }
    }

    fn count(&mut self, time: u64, wirelen: u32, packet: &[u8], layers: &Layers) -> Option<()> {
        let (tuple, side, segment) = Tuple::of(packet, layers)?;
        let wire = u64::from(wirelen);
        let [source, destination] = tuple.hosts(side);
        self.hosts.add(Form::Address, source, SENT, wire);
        self.hosts.add(Form::Address, destination, RECEIVED, wire);
        let entry = self.flows.entry(tuple);
        let is_new = matches!(entry, Entry::Vacant(_));
        self.created += u64::from(is_new);
        let record = entry.or_insert_with(|| Record { first: time, ..Record::default() });
        let side = side.index();
        record.last = time;
        if let Some(segment) = &segment {
            if tuple.is_tcp() {
                Self::segment(record, side, segment, time);
            }
            record.payload[side] += u64::from(segment.payload);
        }
        record.bytes[side] += wire;
        record.packets[side] += 1;
        if segment.is_some_and(|segment| segment.flags & RST != 0) || record.acked_fin == [true; 2] {
            let record = *record;
            self.flows.remove(&tuple);
            self.leave(&tuple, &record);
        }
        Some(())
    }

    fn leave(&mut self, tuple: &Tuple, record: &Record) {
        if tuple.is_tcp() {
            self.ended.add(Form::Address, tuple.hosts(Side::A)[1], ENDED, 1);
        }
        self.sums[0] += record.packets.iter().sum::<u64>();
        self.sums[1] += record.bytes.iter().sum::<u64>();
    }
}

impl Work for Talkers {
    fn packet(&mut self, time: u64, wirelen: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        self.count(time, wirelen, bytes, &layers);
    }

    fn finish(&mut self) -> String {
        for (tuple, record) in std::mem::take(&mut self.flows) {
            self.leave(&tuple, &record);
        }
        let ended: u64 = self.ended.0.values().sum();
        format!(" flows={} connections={ended} flow_packets={} flow_bytes={}", self.created, self.sums[0], self.sums[1])
    }

    fn totals(self) -> Totals {
        let mut totals = self.hosts.totals();
        // The plugin counts the hosts of IPv4.
        totals.retain(|(key, _), _| key.contains('.'));
        totals
    }
}

/// A table of flows and nothing else: packets and bytes of each direction.
#[derive(Default)]
pub struct Table {
    flows: HashMap<Tuple, [[u64; 2]; 2], FixedState>,
}

impl Work for Table {
    fn packet(&mut self, _: u64, wirelen: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        if let Some((tuple, side, _)) = Tuple::of(bytes, &layers) {
            let sums = &mut self.flows.entry(tuple).or_default()[side.index()];
            sums[0] += 1;
            sums[1] += u64::from(wirelen);
        }
    }

    fn finish(&mut self) -> String {
        format!(" flows={}", self.flows.len())
    }

    fn totals(self) -> Totals {
        let sum = |place: usize| self.flows.values().flatten().map(|sums| sums[place]).sum();
        Totals::from([(("all".to_owned(), 0), sum(0)), (("all".to_owned(), 1), sum(1))])
    }
}
