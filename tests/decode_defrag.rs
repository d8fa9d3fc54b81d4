//! Fragments become datagrams: against a naive twin, within limits, with every drop counted.

use std::time::Duration;

use millstream::decode::{Decoder, Fragment, Registry, fragment_info};
use millstream::flow::{Added, Datagram, Defrag, DefragLimits};
use millstream::packet::{Batch, LinkType, Packet, builtin};
use millstream::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use proptest::strategy::Strategy;

/// Part of a datagram: where, what, and whether another one follows.
#[derive(Clone, Debug)]
struct Part {
    position: usize,
    bytes: Vec<u8>,
    more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ip {
    V4,
    V6,
}

/// An IP packet with this part of datagram `id`, which is UDP.
fn packet(ip: Ip, id: u16, part: &Part) -> Vec<u8> {
    let field = (part.position as u16, u16::from(part.more));
    let mut packet = Vec::new();
    match ip {
        Ip::V4 => {
            packet.extend([0x46, 0]);
            packet.extend((24 + part.bytes.len() as u16).to_be_bytes());
            packet.extend(id.to_be_bytes());
            packet.extend(((field.0 / 8) | (field.1 << 13)).to_be_bytes());
            packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1]);
        }
        Ip::V6 => {
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((16 + part.bytes.len() as u16).to_be_bytes());
            packet.extend([0, 64]);
            packet.extend([1; 32]);
            packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
            packet.extend([17, 0]);
            packet.extend((field.0 | field.1).to_be_bytes());
            packet.extend([0, 0]);
            packet.extend(id.to_be_bytes());
        }
    }
    packet.extend(&part.bytes);
    packet
}

/// The header a datagram with this much content has.
fn joined_header(ip: Ip, id: u16, len: usize) -> Vec<u8> {
    let mut header = packet(ip, id, &Part { position: 0, bytes: vec![0; len], more: false });
    match ip {
        Ip::V4 => {
            header.truncate(24);
            let sum: u32 = header.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
            let folded = (sum & 0xFFFF) + (sum >> 16);
            header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
        }
        Ip::V6 => {
            header.truncate(48);
            header[4..6].copy_from_slice(&(8 + len as u16).to_be_bytes());
            header[40] = 17;
        }
    }
    header
}

fn describe(bytes: &[u8], caplen: usize) -> Option<Fragment> {
    let mut batch = Batch::new();
    batch.buffer.extend_from_slice(&bytes[..caplen]);
    batch.push(Packet::new(Timestamp::EPOCH, 0, caplen as u32, bytes.len() as u32, LinkType::RAW, 0));
    Decoder::new().decode(&Registry::new(), &mut batch);
    fragment_info(&batch, &batch.packets()[0])
}

fn add(defrag: &mut Defrag, ip: Ip, id: u16, part: &Part, secs: i64) -> Added {
    let bytes = packet(ip, id, part);
    let fragment = describe(&bytes, bytes.len()).expect("it is a fragment");
    defrag.add(&fragment, &bytes, Timestamp::new(secs, 0))
}

fn pattern(position: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| ((position + i) % 251) as u8).collect()
}

/// A part that another one follows.
fn part(position: usize, len: usize) -> Part {
    Part { position, bytes: pattern(position, len), more: true }
}

/// The last part.
fn last(position: usize, len: usize) -> Part {
    Part { position, bytes: pattern(position, len), more: false }
}

fn assert_balanced(defrag: &Defrag) {
    let counters = defrag.counters();
    let ended = counters.completed + counters.expired + counters.evicted;
    assert_eq!(counters.created, ended + defrag.live() as u64, "{counters:?}");
    assert_eq!(defrag.live() == 0, defrag.bytes() == 0);
}

/// The same by a byte map, one datagram at a time.
#[derive(Default)]
struct Twin {
    content: Vec<Option<u8>>,
    total: Option<usize>,
}

impl Twin {
    fn add(&mut self, part: &Part) -> Option<Vec<u8>> {
        let end = part.position + part.bytes.len();
        let refused = part.bytes.is_empty()
            || part.more && !part.bytes.len().is_multiple_of(8)
            || self.total.is_some_and(|total| end > total || !part.more && end != total)
            || self.total.is_none() && !part.more && end < self.content.len();
        if refused {
            return None;
        }
        if !part.more {
            self.total = Some(end);
        }
        self.content.resize(self.content.len().max(end), None);
        for (i, &byte) in part.bytes.iter().enumerate() {
            self.content[part.position + i].get_or_insert(byte);
        }
        if self.total != Some(self.content.len()) {
            return None;
        }
        let whole: Option<Vec<u8>> = self.content.iter().copied().collect();
        if whole.is_some() {
            *self = Self::default();
        }
        whole
    }
}

fn any_part() -> impl Strategy<Value = Part> {
    (0..12usize, vec(any::<u8>(), 0..40), any::<bool>(), any::<bool>()).prop_map(|(unit, mut bytes, more, aligned)| {
        if aligned {
            bytes.truncate(bytes.len() / 8 * 8);
        }
        // A last fragment at 0 would be no fragment.
        Part { position: unit * 8, bytes, more: more || unit == 0 }
    })
}

proptest! {
    #[test]
    fn any_parts_join_as_in_the_naive_twin(v6: bool, parts in vec((0..2u16, any_part()), 1..60)) {
        let ip = if v6 { Ip::V6 } else { Ip::V4 };
        let mut defrag = Defrag::new(DefragLimits::default());
        let mut twins = [Twin::default(), Twin::default()];
        for (id, part) in &parts {
            let found = add(&mut defrag, ip, *id, part, 0).datagram;
            let expected = twins[usize::from(*id)].add(part);
            assert_eq!(found.map(|datagram| datagram.bytes), expected.map(|content| {
                let mut bytes = joined_header(ip, *id, content.len());
                bytes.extend(content);
                bytes
            }));
            assert_balanced(&defrag);
        }
        let counters = *defrag.counters();
        assert_eq!(counters.fragments, parts.len() as u64);
        defrag.expire(Timestamp::new(31, 0));
        assert_eq!(defrag.live(), 0);
        assert_balanced(&defrag);
    }

    #[test]
    fn any_split_and_order_gives_the_datagram(
        v6: bool,
        content in vec(any::<u8>(), 24..400),
        cuts in vec(any::<proptest::sample::Index>(), 1..6),
        order in vec(any::<u32>(), 8),
        repeat: bool,
    ) {
        let ip = if v6 { Ip::V6 } else { Ip::V4 };
        let units = content.len() / 8;
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| (1 + cut.index(units - 1)) * 8).collect();
        bounds.extend([0, content.len()]);
        bounds.sort_unstable();
        bounds.dedup();
        let mut parts: Vec<Part> = bounds
            .windows(2)
            .map(|range| Part { position: range[0], bytes: content[range[0]..range[1]].to_vec(), more: range[1] < content.len() })
            .collect();
        if repeat {
            parts.insert(0, parts[0].clone());
        }
        let mut keyed: Vec<_> = parts.iter().zip(order.iter().cycle()).collect();
        keyed.sort_by_key(|&(_, key)| *key);
        let mut defrag = Defrag::new(DefragLimits::default());
        let found: Vec<Datagram> = keyed.iter().filter_map(|(part, _)| add(&mut defrag, ip, 7, part, 0).datagram).collect();
        let mut expected = joined_header(ip, 7, content.len());
        expected.extend(&content);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].bytes, expected);
    }
}

#[test]
fn a_joined_datagram_decodes_like_any_packet() {
    for (ip, protocol, start) in [(Ip::V4, builtin::IPV4, 24), (Ip::V6, builtin::IPV6, 48)] {
        let mut datagram = vec![0, 9, 0, 53, 0, 40, 0, 0];
        datagram.extend([7; 32]);
        let mut defrag = Defrag::new(DefragLimits::default());
        let first = Part { position: 0, bytes: datagram[..16].to_vec(), more: true };
        let end = Part { position: 16, bytes: datagram[16..].to_vec(), more: false };
        assert_eq!(add(&mut defrag, ip, 1, &first, 0).transport, Some((17, 9, 53)));
        let added = add(&mut defrag, ip, 1, &end, 0);
        assert_eq!(added.transport, Some((17, 9, 53)), "a later fragment belongs to the flow of the first");
        let joined = added.datagram.unwrap();
        let mut batch = Batch::new();
        batch.buffer.extend_from_slice(&joined.bytes);
        let len = joined.bytes.len() as u32;
        batch.push(Packet::new(Timestamp::EPOCH, 0, len, len, joined.linktype, 0));
        let mut decoder = Decoder::new();
        decoder.decode(&Registry::new(), &mut batch);
        let packet = batch.packets()[0];
        let layers: Vec<_> = batch.layers(&packet).iter().map(|layer| (layer.protocol, layer.offset)).collect();
        assert_eq!(layers, [(protocol, 0), (builtin::UDP, start)]);
        assert_eq!(fragment_info(&batch, &packet), None);
        assert_eq!(decoder.counters().iter().map(|(_, count)| count).sum::<u64>(), 0);
    }
}

#[test]
fn ports_are_unknown_until_the_first_fragment() {
    let mut defrag = Defrag::new(DefragLimits::default());
    let first = Part { position: 0, bytes: vec![0, 9, 0, 53, 0, 99, 0, 0], more: true };
    assert_eq!(add(&mut defrag, Ip::V4, 1, &part(8, 8), 0).transport, None);
    assert_eq!(add(&mut defrag, Ip::V4, 1, &first, 0).transport, Some((17, 9, 53)));
    assert_eq!(add(&mut defrag, Ip::V4, 1, &part(16, 8), 0).transport, Some((17, 9, 53)));
    assert_eq!(add(&mut defrag, Ip::V4, 2, &part(16, 8), 0).transport, None, "another datagram");
    let fragment = describe(&packet(Ip::V4, 1, &part(16, 8)), 32).unwrap();
    let (flow, _) = fragment.key.flow(17, 9, 53);
    assert_eq!(flow.id(), "11A:0A.00.00.02:p-0035_0A.00.00.01:p-0009");
}

#[test]
fn bytes_that_arrived_first_stay() {
    let mut defrag = Defrag::new(DefragLimits::default());
    let of = |position, len, byte| Part { position, bytes: vec![byte; len], more: true };
    assert_eq!(add(&mut defrag, Ip::V4, 1, &of(8, 16, 1), 0).datagram, None);
    assert_eq!(add(&mut defrag, Ip::V4, 1, &of(0, 16, 2), 0).datagram, None);
    assert_eq!(add(&mut defrag, Ip::V4, 1, &of(8, 8, 3), 0).datagram, None);
    let joined = add(&mut defrag, Ip::V4, 1, &Part { more: false, ..of(16, 16, 4) }, 0).datagram.unwrap();
    assert_eq!(joined.bytes[24..], [[2; 8], [1; 8], [1; 8], [4; 8]].concat());
    let counters = defrag.counters();
    assert_eq!((counters.overlap, counters.duplicate, counters.conflict), (2, 1, 3));
}

#[test]
fn unsound_fragments_are_dropped_by_name() {
    let mut defrag = Defrag::new(DefragLimits::default());
    let _ = add(&mut defrag, Ip::V4, 1, &last(65_512, 32), 0);
    let _ = add(&mut defrag, Ip::V6, 1, &last(65_512, 32), 0);
    let _ = add(&mut defrag, Ip::V4, 1, &part(8, 12), 0);
    let _ = add(&mut defrag, Ip::V4, 1, &part(8, 0), 0);
    let bytes = packet(Ip::V4, 1, &part(8, 64));
    let cut = describe(&bytes, 60).unwrap();
    let _ = defrag.add(&cut, &bytes[..60], Timestamp::EPOCH);
    assert_eq!((defrag.live(), defrag.bytes()), (0, 0));
    let _ = add(&mut defrag, Ip::V4, 1, &last(8, 8), 0);
    let _ = add(&mut defrag, Ip::V4, 1, &part(16, 8), 0);
    let _ = add(&mut defrag, Ip::V4, 1, &part(0, 8), 0);
    let counters = defrag.counters();
    assert_eq!(
        (counters.over_long, counters.misaligned, counters.empty, counters.cut, counters.bad_end),
        (2, 1, 1, 1, 1)
    );
    assert_eq!((counters.created, counters.completed), (1, 1));
    assert_balanced(&defrag);
    assert_eq!(counters.named().iter().map(|&(_, count)| count).sum::<u64>(), 8 + 1 + 1 + 6);
}

#[test]
fn the_largest_packet_is_joined() {
    let mut defrag = Defrag::new(DefragLimits::default());
    for position in (0..65_504).step_by(1_456) {
        let len = 1_456.min(65_504 - position);
        assert_eq!(add(&mut defrag, Ip::V4, 1, &part(position, len), 0).datagram, None);
    }
    let joined = add(&mut defrag, Ip::V4, 1, &last(65_504, 7), 0).datagram.unwrap();
    assert_eq!(joined.bytes.len(), 65_535);
}

#[test]
fn what_never_completes_expires_in_packet_time() {
    let mut defrag = Defrag::new(DefragLimits::default());
    let _ = add(&mut defrag, Ip::V4, 1, &part(8, 8), 100);
    let _ = add(&mut defrag, Ip::V4, 2, &part(8, 8), 110);
    let _ = add(&mut defrag, Ip::V4, 3, &part(8, 8), 50);
    defrag.expire(Timestamp::new(129, 999));
    assert_eq!(defrag.live(), 3);
    defrag.expire(Timestamp::new(130, 0));
    assert_eq!((defrag.live(), defrag.counters().expired), (2, 1));
    // A second piece does not prolong it.
    let _ = add(&mut defrag, Ip::V4, 2, &part(16, 8), 139);
    defrag.expire(Timestamp::new(140, 0));
    assert_eq!((defrag.live(), defrag.counters().expired), (0, 3), "time that ran back counts as the latest seen");
    assert_balanced(&defrag);
}

#[test]
fn a_flood_stays_within_the_limit_and_evicts_the_oldest() {
    let limits = DefragLimits { bytes: 1 << 20, timeout: Duration::from_secs(30) };
    let mut defrag = Defrag::new(limits);
    for id in 0..20_000 {
        let _ = add(&mut defrag, Ip::V4, id, &part(8, 64), 0);
        assert!(defrag.bytes() <= limits.bytes);
    }
    assert!(defrag.counters().evicted > 10_000 && defrag.live() > 1_000);
    assert_balanced(&defrag);
    // The latest survived.
    let _ = add(&mut defrag, Ip::V4, 19_999, &part(0, 8), 0);
    assert!(add(&mut defrag, Ip::V4, 19_999, &last(72, 8), 0).datagram.is_some());
    assert_balanced(&defrag);
}

#[test]
fn completed_datagrams_leave_nothing_behind_an_old_incomplete_one() {
    let mut defrag = Defrag::new(DefragLimits::default());
    let _ = add(&mut defrag, Ip::V6, 9, &part(8, 8), 0);
    let held = defrag.bytes();
    for id in 0..5_000 {
        let _ = add(&mut defrag, Ip::V4, id, &part(0, 8), 0);
        assert!(add(&mut defrag, Ip::V4, id, &last(8, 3), 0).datagram.is_some());
        assert_eq!(defrag.bytes(), held);
    }
    assert_eq!(defrag.counters().completed, 5_000);
}
