//! All captures at hand decode without a panic, whatever is in them.

use std::path::{Path, PathBuf};

use millstream::decode::{Decoder, Event, Registry, flow_hash, flow_tuple, fragment_info, payload_range, tuple_hash};
use millstream::flow::{Defrag, DefragLimits};
use millstream::packet::{Batch, LinkType, Packet, builtin};
use millstream::time::Timestamp;

use crate::frames::check;

/// The packets of a classic or next-generation capture file as far as it is sound: link type, bytes, length on the wire.
fn packets(file: &[u8]) -> Vec<(LinkType, &[u8], u32)> {
    let order = |little: bool| {
        move |at: usize| -> Option<u32> {
            let word: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
            Some(if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
        }
    };
    match file.first_chunk::<4>() {
        Some([0xD4, 0xC3, 0xB2, 0xA1] | [0x4D, 0x3C, 0xB2, 0xA1]) => classic(file, &order(true)).0,
        Some([0xA1, 0xB2, 0xC3, 0xD4] | [0xA1, 0xB2, 0x3C, 0x4D]) => classic(file, &order(false)).0,
        Some([0x0A, 0x0D, 0x0D, 0x0A]) => next_generation(file, &order(file.get(8) == Some(&0x4D))),
        _ => Vec::new(),
    }
}

type Found<'a> = Vec<(LinkType, &'a [u8], u32)>;

fn classic<'a>(file: &'a [u8], word: &dyn Fn(usize) -> Option<u32>) -> (Found<'a>, usize) {
    let mut found = Vec::new();
    let linktype = LinkType(word(20).unwrap_or(0) as u16);
    let mut at = 24;
    while let (Some(caplen), Some(wirelen)) = (word(at + 8), word(at + 12)) {
        let Some(bytes) = file.get(at + 16..at + 16 + caplen as usize) else { break };
        found.push((linktype, bytes, wirelen.max(caplen)));
        at += 16 + caplen as usize;
    }
    (found, at)
}

fn next_generation<'a>(file: &'a [u8], word: &dyn Fn(usize) -> Option<u32>) -> Found<'a> {
    let (mut found, mut linktypes, mut at) = (Vec::new(), Vec::new(), 0);
    while let (Some(kind), Some(len)) = (word(at), word(at + 4)) {
        if len < 12 {
            break;
        }
        match kind {
            1 => linktypes.push(LinkType(word(at + 8).unwrap_or(0) as u16)),
            6 => {
                let interface = word(at + 8).unwrap_or(0) as usize;
                let (caplen, wirelen) = (word(at + 20).unwrap_or(0), word(at + 24).unwrap_or(0));
                let bytes = file.get(at + 28..at + 28 + caplen as usize);
                if let (Some(&linktype), Some(bytes)) = (linktypes.get(interface), bytes) {
                    found.push((linktype, bytes, wirelen.max(caplen)));
                }
            }
            _ => {}
        }
        at += len as usize;
    }
    found
}

fn captures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    let mut files: Vec<_> = ["good", "bad"]
        .iter()
        .filter_map(|dir| std::fs::read_dir(root.join(dir)).ok())
        .flatten()
        .map(|entry| entry.expect("the directory can be listed").path())
        .collect();
    files.sort();
    files
}

#[test]
fn captures_decode_without_panic() {
    let files = captures();
    if files.is_empty() {
        eprintln!("skipped: no captures beside this checkout");
        return;
    }
    let registry = Registry::new();
    let mut decoder = Decoder::new();
    let mut defrag = Defrag::new(DefragLimits::default());
    let (mut total, mut with_ip, mut with_transport) = (0u64, 0u64, 0u64);
    for path in &files {
        let file = std::fs::read(path).unwrap();
        for chunk in packets(&file).chunks(256) {
            let mut batch = Batch::new();
            for &(linktype, bytes, wirelen) in chunk {
                let offset = batch.buffer.len() as u32;
                batch.buffer.extend_from_slice(bytes);
                batch.push(Packet::new(Timestamp::EPOCH, offset, bytes.len() as u32, wirelen, linktype, 0));
            }
            decoder.decode(&registry, &mut batch);
            for packet in batch.packets() {
                check(packet, batch.layers(packet));
                let (tuple, _) = flow_tuple(&batch, packet);
                let hash = flow_hash(packet.linktype, batch.packet_bytes(packet));
                assert_eq!(hash, tuple_hash(&tuple), "{}: {}", path.display(), tuple.id());
                if let Some(payload) = payload_range(&batch, packet) {
                    assert!(payload.start + payload.len <= packet.caplen, "{}", path.display());
                    with_ip += 1;
                } else {
                    assert_eq!(tuple, millstream::key::FlowTuple::NO_IP);
                }
                if let Some(fragment) = fragment_info(&batch, packet) {
                    assert!(fragment.data_start + fragment.data_len <= packet.caplen);
                    let added = defrag.add(&fragment, batch.packet_bytes(packet), packet.ts);
                    if let Some(datagram) = added.datagram {
                        assert_whole(datagram.linktype, &datagram.bytes);
                    }
                }
                let has = |protocol| batch.find_layer(packet, protocol).is_some();
                with_transport += u64::from(has(builtin::TCP) || has(builtin::UDP) || has(builtin::ICMP));
                total += 1;
            }
        }
    }
    eprintln!("{} files, {total} packets, {with_ip} with IP, {with_transport} with TCP, UDP or ICMP", files.len());
    for (name, count) in decoder.counters().iter().filter(|&(_, count)| count > 0) {
        eprintln!("{name} {count}");
    }
    let fragments = *defrag.counters();
    eprintln!("{fragments:?}");
    let ended = fragments.completed + fragments.expired + fragments.evicted;
    assert_eq!(fragments.created, ended + defrag.live() as u64);
    assert!(fragments.completed > 10, "the captures have fragmented datagrams");
    assert!(with_transport * 10 > total * 8, "most of the captures are ordinary traffic");
}

/// A joined datagram is an IP packet of its own with the length it says, and no fragment.
fn assert_whole(linktype: LinkType, bytes: &[u8]) {
    let mut batch = crate::frames::batch(linktype, bytes);
    let mut decoder = Decoder::new();
    decoder.decode(&Registry::new(), &mut batch);
    let packet = batch.packets()[0];
    check(&packet, batch.layers(&packet));
    assert!(packet.layer_count > 0);
    assert_eq!(fragment_info(&batch, &packet), None);
    assert_eq!(decoder.counters().get(Event::Ipv4TotalLength) + decoder.counters().get(Event::Ipv6PayloadLength), 0);
}
