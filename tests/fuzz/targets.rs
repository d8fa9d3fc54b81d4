//! What is fed to the fuzzer, one function per target: each takes any bytes and panics if something does not hold.
//! `tests/e2e_corpus.rs` calls the same functions with the inputs of `tests/corpus/`.

#[path = "dissectors.rs"]
pub mod dissectors;
#[path = "http.rs"]
pub mod http;
#[path = "tls.rs"]
pub mod tls;

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use millstream::api::modules::{ModuleSource, module};
use millstream::capture::{FileOptions, FileSource, Fill, SharedReader, Source, SourceStats, open_split};
use millstream::decode::{
    Decoder, MAX_LAYERS, Registry, deal_by_flow, flow_hash, flow_tuple, fragment_info, payload_range,
};
use millstream::dissect::{DissectWants, Dissectors, FindingKind, Findings};
use millstream::flow::{
    Assembler, Defrag, DefragLimits, Direction, EndReason, Flow, FlowEvent, FlowEvents, FlowHandle, FlowLookup,
    Happening, Piece, Want, state,
};
use millstream::guid::Guid;
use millstream::key::{FlowText, FlowTuple, Host, canonical, mac_key, parse_mac, parse_port, port_key};
use millstream::lua::Code;
use millstream::packet::{Batch, LinkType, Packet, ProtocolId, builtin};
use millstream::time::Timestamp;
use mlua::{Function, Lua, Table, Value};
use tempfile::NamedTempFile;

/// A target and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const ALL: [Target; 17] = [
    ("reader", reader),
    ("decode", decode),
    ("closure_bytes", closure_bytes),
    ("key", key),
    ("defrag", defrag),
    ("assembler", assembler),
    ("json", json),
    ("dissect", dissect),
    ("http", http::segments),
    ("tls", tls::tls),
    ("x509_text", tls::x509_text),
    ("quic", tls::quic),
    ("dns", dissectors::dns),
    ("ssh", dissectors::ssh),
    ("smtp", dissectors::smtp),
    ("ftp", dissectors::ftp),
    ("dhcp", dissectors::dhcp),
];

/// Bytes as a capture file: read to its end by one engine and by two, with the same packets.
pub fn reader(bytes: &[u8]) {
    thread_local! {
        static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary directory"));
    }
    FILE.with_borrow_mut(|file| {
        let inner = file.as_file_mut();
        inner.set_len(0).expect("our own file");
        inner.seek(SeekFrom::Start(0)).expect("our own file");
        inner.write_all(bytes).expect("room in the temporary directory");
        let paths = [file.path().to_path_buf()];
        let options = FileOptions::default();
        let Ok(mut source) = FileSource::open(&paths, &options) else { return };
        let (packets, octets) = drain(&mut source);
        let stats = source.stats();
        assert_eq!((stats.packets, stats.bytes), (packets, octets));
        assert!(stats.damage.len() <= 1, "one file is damaged once");
        let Ok(again) = FileSource::open(&paths, &options) else { panic!("the file could be opened before") };
        let shared = SharedReader::split(again, 2, deal_by_flow).into_iter();
        let shared = shared.map(|source| Box::new(source) as Box<dyn Source + Send>).collect();
        let Ok(split) = open_split(&paths, &options, 2, deal_by_flow) else {
            panic!("the file could be opened before")
        };
        for sources in [shared, split] {
            check_two(sources, packets, &stats);
        }
    });
}

/// Two engines share what one reads. What they have ahead of each other is bounded, so both are read in turn.
fn check_two(mut sources: Vec<Box<dyn Source + Send>>, packets: u64, whole: &SourceStats) {
    let mut seen = 0;
    let mut ended = [false; 2];
    let mut batches = [Batch::new(), Batch::new()];
    while ended != [true, true] {
        let both = sources.iter_mut().zip(&mut batches).zip(&mut ended);
        for ((source, batch), ended) in both.filter(|(_, ended)| !**ended) {
            match source.fill(batch) {
                Ok(Fill::Packets) => seen += check_batch(batch).0,
                Ok(Fill::Idle) => {}
                Ok(Fill::End) | Err(_) => *ended = true,
            }
        }
    }
    assert_eq!(seen, packets);
    assert_eq!(sources.iter().map(|source| source.stats().packets).sum::<u64>(), packets);
    assert_eq!(sources.iter().map(|source| source.stats().damage.len()).sum::<usize>(), whole.damage.len());
}

fn drain(source: &mut FileSource) -> (u64, u64) {
    let mut batch = Batch::new();
    let (mut packets, mut octets) = (0, 0);
    loop {
        match source.fill(&mut batch) {
            Ok(Fill::Packets) => {
                let (count, size) = check_batch(&batch);
                packets += count;
                octets += size;
            }
            Ok(Fill::Idle) => panic!("a file is never idle"),
            Ok(Fill::End) | Err(_) => break,
        }
    }
    assert!(!matches!(source.fill(&mut batch), Ok(Fill::Packets)), "the end is the end");
    (packets, octets)
}

/// Packets of a batch and their bytes on the wire.
fn check_batch(batch: &Batch) -> (u64, u64) {
    assert!(!batch.is_empty());
    let mut octets = 0;
    for packet in batch.packets() {
        assert_eq!(batch.packet_bytes(packet).len(), packet.caplen as usize);
        assert!(packet.wirelen >= packet.caplen && packet.ts.subsec_nanos() < 1_000_000_000);
        octets += u64::from(packet.wirelen);
    }
    (batch.len() as u64, octets)
}

/// Link types that decoding knows, and two that it does not.
const LINK_TYPES: [u16; 19] = [1, 0, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 204, 228, 229, 276, 147, 65_535];

/// A byte of link type, one of missing bytes and of what follows a script's protocol, then a packet: decoded with and
/// without attachments, with every question asked.
pub fn decode(bytes: &[u8]) {
    let [link, more, bytes @ ..] = bytes else { return };
    let linktype = LinkType(LINK_TYPES[usize::from(*link) % LINK_TYPES.len()]);
    thread_local! {
        static REGISTRIES: [Registry; 2] = [Registry::new(), attached()];
    }
    REGISTRIES.with(|registries| {
        for registry in registries {
            decode_with(registry, linktype, bytes, *more);
        }
    });
}

fn attached() -> Registry {
    let mut registry = Registry::new();
    let hosts = [(builtin::UDP, 53), (builtin::TCP, 22), (builtin::IPV4, 47), (builtin::IPV6, 60)];
    for (number, (host, key)) in hosts.into_iter().enumerate() {
        let host = registry.guid(host);
        registry.add(Guid::from_u128(number as u128 + 1), "P", Some(host), &[key]).expect("the GUID is new");
    }
    registry
}

/// What a script's protocol may say comes next.
const NEXT: [ProtocolId; 8] = [
    builtin::ETHERNET,
    builtin::IPV4,
    builtin::IPV6,
    builtin::UDP,
    builtin::TCP,
    builtin::ICMP,
    builtin::OPAQUE,
    builtin::IPV4,
];

fn decode_with(registry: &Registry, linktype: LinkType, bytes: &[u8], more: u8) {
    let mut batch = one_packet(linktype, bytes, u32::from(more % 4));
    let mut decoder = Decoder::new();
    decoder.decode(registry, &mut batch);
    check_layers(&batch);
    let hash = flow_hash(linktype, bytes);
    let (tuple, _) = flow_tuple(&batch, &batch.packets()[0]);
    assert!(tuple != FlowTuple::NO_IP || hash == 0 || has_ip(&batch), "what is no IP belongs to one engine");
    assert_eq!(FlowTuple::from_id(tuple.id().as_bytes()), Some(tuple));
    let next = NEXT[usize::from(more >> 2) % NEXT.len()];
    let mut place = decoder.pending().first().copied();
    // A place within a place ends at the limit of layers.
    for _ in 0..=MAX_LAYERS {
        let Some(at) = place else { break };
        assert!(at.offset + at.available <= batch.packets()[0].caplen);
        let eaten = u32::from(more >> 5).min(at.available);
        place = decoder.resume(registry, &mut batch, at.after(eaten, next));
        check_layers(&batch);
    }
}

fn has_ip(batch: &Batch) -> bool {
    let packet = &batch.packets()[0];
    [builtin::IPV4, builtin::IPV6].iter().any(|protocol| batch.find_layer(packet, *protocol).is_some())
}

fn one_packet(linktype: LinkType, bytes: &[u8], missing: u32) -> Batch {
    let mut batch = Batch::new();
    batch.buffer.extend_from_slice(bytes);
    let caplen = bytes.len() as u32;
    batch.push(Packet::new(Timestamp::EPOCH, 0, caplen, caplen + missing, linktype, 0));
    batch
}

fn check_layers(batch: &Batch) {
    let packet = &batch.packets()[0];
    let layers = batch.layers(packet);
    assert!(layers.len() <= MAX_LAYERS);
    assert!(layers.iter().all(|layer| layer.offset + layer.len <= packet.caplen), "{layers:?} of {}", packet.caplen);
    assert!(layers.is_sorted_by_key(|layer| layer.offset), "{layers:?}");
    for (protocol, &index) in packet.outermost.iter().enumerate() {
        let first = layers.iter().position(|layer| usize::from(layer.protocol.0) == protocol);
        assert_eq!(first.map_or(0xFF, |index| index as u8), index);
    }
    if let Some(payload) = payload_range(batch, packet) {
        assert!(payload.start + payload.len <= packet.caplen && payload.len <= payload.wire_len);
    }
    if let Some(fragment) = fragment_info(batch, packet) {
        assert!(fragment.header_start < fragment.header_end && fragment.header_end <= fragment.data_start);
        assert!(fragment.data_start + fragment.data_len <= packet.caplen);
    }
}

/// Length of a dump in two bytes, the dump, and the rest as its template. Nothing is loaded.
pub fn closure_bytes(bytes: &[u8]) {
    let [low, high, bytes @ ..] = bytes else { return };
    let cut = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
    let (dump, template) = bytes.split_at(cut);
    if let Some(wrapped) = Code::rewrap(dump, template) {
        assert!(wrapped.len() <= dump.len() + template.len() + 1);
        assert!(wrapped.starts_with(&dump[..4]) && wrapped.ends_with(&[0]));
        // What was accepted has the layout of a dump; taken as one, it may be refused but never break anything.
        let _ = Code::rewrap(&wrapped, template);
        let _ = Code::rewrap(dump, &wrapped);
    }
}

/// Any text as a key of each form: what is understood prints as it was.
pub fn key(text: &[u8]) {
    if let Some(binary) = canonical(text) {
        assert_eq!(binary.text().as_bytes(), text);
    }
    let upper = text.to_ascii_uppercase();
    if let Some(host) = Host::from_key(text) {
        assert_eq!(host.key().as_bytes(), upper);
        assert_eq!(Host::from_readable(host.readable().as_str()), Some(host));
    }
    if let Some(host) = std::str::from_utf8(text).ok().and_then(Host::from_readable) {
        assert_eq!(Host::from_key(host.key().as_bytes()), Some(host));
    }
    if let Some(port) = parse_port(text) {
        assert_eq!(parse_port(port_key(port).as_bytes()), Some(port));
        assert_eq!(port_key(port).as_bytes()[2..], upper[2..]);
    }
    if let Some(mac) = parse_mac(text) {
        assert_eq!(mac_key(mac).as_bytes(), upper);
    }
    let tuple = FlowTuple::from_id(text);
    let parts = FlowText::new(text);
    assert_eq!(parts.id(), text);
    if let Some(tuple) = tuple {
        assert_eq!(tuple.id().as_bytes(), text);
        assert!(!parts.is_malformed() && parts.protocol_number() == Some(tuple.proto));
    }
    let fields = [
        parts.flow_type(),
        parts.protocol(),
        parts.ipa(),
        parts.ipz(),
        parts.porta(),
        parts.portz(),
        parts.netflow_router(),
        parts.netflow_ifindex_in(),
        parts.netflow_ifindex_out(),
    ];
    assert!(!parts.is_malformed() || fields.iter().all(|field| field.is_empty()), "{fields:?}");
    assert!(fields.iter().map(|field| field.len()).sum::<usize>() <= text.len());
    let readable = [
        parts.ipa_readable(),
        parts.ipz_readable(),
        parts.porta_readable(),
        parts.portz_readable(),
        parts.netflow_router_readable(),
        parts.netflow_ifindex_in_readable(),
        parts.netflow_ifindex_out_readable(),
    ];
    assert!(readable.iter().all(|text| text.as_str().is_ascii()));
    assert!(parts.to_s().as_str().is_ascii());
}

/// Limits that a few hundred bytes of input reach.
const DEFRAG_LIMITS: DefragLimits = DefragLimits { bytes: 8 << 10, timeout: Duration::from_secs(5) };

/// A list of fragments, each of one byte of length and kind and what [`piece`] reads from there.
pub fn defrag(bytes: &[u8]) {
    thread_local! {
        static REGISTRY: Registry = Registry::new();
    }
    REGISTRY.with(|registry| defrag_with(registry, bytes));
}

fn defrag_with(registry: &Registry, mut bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let mut defrag = Defrag::new(DEFRAG_LIMITS);
    let mut now = Timestamp::new(1_000, 0);
    while let [kind, position, seconds, rest @ ..] = bytes {
        let len = usize::from(kind >> 2).min(rest.len());
        let (content, rest) = rest.split_at(len);
        bytes = rest;
        now = Timestamp::new(now.secs() + i64::from(seconds % 4) - i64::from(seconds >> 7), 0);
        let packet = piece(*kind, *position, *seconds, content);
        let mut batch = one_packet(LinkType::RAW, &packet, u32::from(*seconds == 0xFF));
        decoder.decode(registry, &mut batch);
        check_layers(&batch);
        let Some(fragment) = fragment_info(&batch, &batch.packets()[0]) else { continue };
        if let Some(datagram) = defrag.add(&fragment, &packet, now).datagram {
            assert!(datagram.bytes.len() <= 65_575, "{}", datagram.bytes.len());
            let mut joined = one_packet(datagram.linktype, &datagram.bytes, 0);
            decoder.decode(registry, &mut joined);
            check_layers(&joined);
            assert_eq!(fragment_info(&joined, &joined.packets()[0]), None, "a datagram is whole");
        }
        let counters = defrag.counters();
        assert_eq!(counters.created, counters.completed + counters.expired + counters.evicted + defrag.live() as u64);
        assert!(defrag.bytes() <= DEFRAG_LIMITS.bytes, "{}", defrag.bytes());
    }
    defrag.expire(Timestamp::new(now.secs() + 1_000, 0));
    assert_eq!((defrag.live(), defrag.bytes()), (0, 0));
}

/// A fragment: IPv4 or IPv6 by the first bit of `kind`, one more to follow by the second; content as it is, so that its
/// first bytes may be a transport header. A position of 255 makes the content the whole packet.
fn piece(kind: u8, position: u8, id: u8, content: &[u8]) -> Vec<u8> {
    if position == 0xFF {
        return content.to_vec();
    }
    let (id, more) = (id >> 2 & 3, u16::from(kind >> 1 & 1));
    // The last positions lie at the end of the largest packet.
    let position = if position > 0xF0 { 8_191 - u16::from(position - 0xF1) } else { u16::from(position % 16) };
    let mut packet = Vec::with_capacity(64 + content.len());
    if kind & 1 == 0 {
        packet.extend([0x45, 0]);
        packet.extend((20 + content.len() as u16).to_be_bytes());
        packet.extend([0, id]);
        packet.extend((position | more << 13).to_be_bytes());
        packet.extend([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    } else {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend((8 + content.len() as u16).to_be_bytes());
        packet.extend([44, 64]);
        packet.extend([1; 32]);
        packet.extend([17, 0]);
        packet.extend((position << 3 | more).to_be_bytes());
        packet.extend([0, 0, 0, id]);
    }
    packet.extend(content);
    packet
}

/// Segments for one stream, each of three bytes (place, length, bytes that were not captured), with content that tells the
/// places apart. Every byte comes out once and in order, and is the first that came for its place.
pub fn assembler(bytes: &[u8]) {
    // More than any input can reach.
    const END: usize = 1 << 17;
    let mut stream = Assembler::new(0);
    // What came first for each place: nothing yet, a byte, or that it was not captured.
    let mut first: Vec<Option<Option<u8>>> = vec![None; END];
    let mut next = 0;
    for (serial, segment) in bytes.chunks_exact(3).take(400).enumerate() {
        let (place, len, cut) = (i64::from(segment[0]), usize::from(segment[1] % 64), u32::from(segment[2] % 8));
        let position = stream.next() as i64 + place - 32;
        let content = [serial as u8; 64];
        let whole = len + cut as usize;
        for at in 0..whole {
            if let Ok(cell) = usize::try_from(position + at as i64)
                && cell >= next
            {
                first[cell].get_or_insert((at < len).then_some(serial as u8));
            }
        }
        let mut check = |piece: Piece| {
            let (position, cells) = match piece {
                Piece::Fresh { position, at, len } => {
                    (position, content[at..at + len].iter().copied().map(Some).collect())
                }
                Piece::Held { position, bytes } => (position, bytes.iter().copied().map(Some).collect::<Vec<_>>()),
                Piece::Gap { position, missing } => (position, vec![None; missing as usize]),
            };
            assert!(!cells.is_empty(), "nothing comes out for nothing");
            assert_eq!(position, next as u64, "in order, without holes");
            for cell in cells {
                assert_eq!(first[next].unwrap_or(None), cell, "first data wins");
                next += 1;
            }
        };
        let fit = stream.offer(position, &content[..len], whole as u32, &mut check);
        assert!(fit.repeated + fit.taken <= whole as u64);
        if segment[2] >> 3 == 31 || stream.segments() > 40 {
            stream.skip(&mut check);
        }
        assert_eq!(stream.next(), next as u64);
    }
    while stream.segments() > 0 {
        let before = stream.segments();
        stream.skip(&mut |_| {});
        assert!(stream.segments() < before);
    }
    assert_eq!((stream.bytes(), stream.cost()), (0, 0));
}

/// Text for the module JSON: what is decoded can be encoded, and then decodes to the same text again. Bytes that are no UTF-8
/// are written as the characters of their numbers and do not come back as bytes.
pub fn json(text: &[u8]) {
    thread_local! {
        static JSON: (Lua, Function, Function) = json_module().expect("a VM with the module");
    }
    JSON.with(|(lua, decode, encode)| {
        let input = lua.create_string(text).expect("room for the input");
        let Ok((true, value)) = decode.call::<(bool, Value)>(input) else { return };
        let written = match encode.call::<(bool, mlua::LuaString)>(&value) {
            Ok((true, written)) => written,
            other => panic!("what was decoded cannot be encoded: {other:?}"),
        };
        let bytes = written.as_bytes().to_vec();
        let (fine, again) = decode.call::<(bool, Value)>(written).expect("our own text");
        assert!(fine, "our own text is refused: {}: {again:?}", String::from_utf8_lossy(&bytes));
        let (fine, rewritten) = encode.call::<(bool, mlua::LuaString)>(again).expect("our own value");
        assert!(fine);
        if std::str::from_utf8(text).is_ok() {
            assert_eq!(bytes, *rewritten.as_bytes(), "text changes from time to time");
        }
    });
}

fn json_module() -> mlua::Result<(Lua, Function, Function)> {
    let lua = Lua::new();
    lua.set_memory_limit(64 << 20)?;
    let Some(ModuleSource::Native(make)) = module("JSON").map(|module| module.source) else {
        return Err(mlua::Error::runtime("JSON is a native module"));
    };
    let Value::Table(json) = make(&lua)? else { return Err(mlua::Error::runtime("JSON is a table")) };
    let protected = |method: &str| -> mlua::Result<Function> {
        let text = "local JSON, method = ... return function(value) return pcall(JSON[method], JSON, value) end";
        lua.load(text).call::<Function>((json.clone() as Table, method))
    };
    let (decode, encode) = (protected("decode")?, protected("encode")?);
    Ok((lua, decode, encode))
}

/// A conversation of one flow: a first byte says whether it is TCP; then each thing said has a byte of direction and of what
/// goes missing in front of it, and two of length. Found in order, forgotten at the end, and the same in single bytes.
pub fn dissect(bytes: &[u8]) {
    let [first, rest @ ..] = bytes else { return };
    if first & 1 == 0 {
        check_conversation(rest);
    } else {
        dissect_pieces(17, rest, usize::MAX);
    }
}

/// A conversation over TCP.
fn check_conversation(bytes: &[u8]) {
    let whole = dissect_pieces(6, bytes, usize::MAX);
    assert_eq!(whole, dissect_pieces(6, bytes, 1), "the pieces of a stream do not matter");
}

struct OneFlow(FlowHandle, Flow);

impl FlowLookup for OneFlow {
    fn flow(&self, handle: FlowHandle) -> Option<&Flow> {
        (handle == self.0).then_some(&self.1)
    }
}

fn dissect_pieces(proto: u8, mut bytes: &[u8], largest: usize) -> Vec<String> {
    let handle = FlowHandle { slot: 0, generation: 0 };
    let (tuple, _) = FlowTuple::v4(proto, [10, 0, 0, 1], [10, 0, 0, 2], 50_000, 7);
    let time = Timestamp::new(1_000, 0);
    let seen = state::INIT | state::SEEN_SYN | state::SEEN_FIN | state::Z_END_SERVER;
    let flow = Flow { state: seen, ..Flow::new(tuple, time) };
    let lookup = OneFlow(handle, flow);
    let mut events = FlowEvents::default();
    let event = |what| FlowEvent { packet: 0, flow: handle, time, what };
    events.push(event(Happening::New));
    let mut positions = [0; 2];
    while let [kind, high, low, rest @ ..] = bytes {
        let direction = if kind & 1 == 0 { Direction::ToServer } else { Direction::ToClient };
        let (said, later) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])).min(rest.len()));
        bytes = later;
        let position = &mut positions[direction.index()];
        let missing = u64::from(kind >> 5);
        if proto == 6 && missing > 0 {
            events.push(event(Happening::Gap { direction, position: *position, missing }));
            *position += missing;
        }
        for piece in said.chunks(if proto == 6 { largest } else { usize::MAX }) {
            let bytes = events.hold(piece);
            events.push(event(match proto {
                6 => Happening::Payload { direction, position: *position, bytes },
                _ => Happening::Datagram { direction, bytes },
            }));
            *position += piece.len() as u64;
        }
    }
    events.push(event(Happening::End { reason: EndReason::Fin }));
    let mut dissectors = Dissectors::new(DissectWants { http_bodies: Want::No, ..DissectWants::ALL });
    dissectors.process(&Batch::new(), &events, &lookup);
    assert_eq!(dissectors.held(), 0, "flows that have ended hold nothing");
    let findings = dissectors.findings();
    assert!(findings.list().is_sorted_by_key(|finding| finding.after));
    findings.list().iter().map(|finding| dissected(findings, finding.kind)).collect()
}

/// A finding with the bytes of its texts in place of where they lie.
fn dissected(findings: &Findings, kind: FindingKind) -> String {
    let text = |text| findings.bytes(text).escape_ascii().to_string();
    match kind {
        FindingKind::Recognised { protocol } => format!("{protocol:?}"),
        FindingKind::Attribute { name, value } => format!("{} {}", text(name), text(value)),
        FindingKind::Resource { kind, uri, label } => format!("{kind:?} {} {}", text(uri), text(label)),
        FindingKind::Document { kind, text: all } => format!("{kind:?} {}", text(all)),
        FindingKind::HostName { mac, ip, name } => format!("{mac:?} {ip:?} {}", text(name)),
        FindingKind::HttpHeader { transaction, direction, block }
        | FindingKind::HttpMessage { transaction, direction, block } => {
            format!("{transaction:?} {direction:?} {}", text(block))
        }
        FindingKind::HttpEnd { transaction, direction, length, extent } => {
            format!("{transaction:?} {direction:?} {length} {extent:?}")
        }
        FindingKind::DnsMessage { message } => text(message),
        FindingKind::Certificate { der } => text(der),
        FindingKind::FingerprintText { direction, text: list } => format!("{direction:?} {}", text(list)),
        FindingKind::File { direction, name, length, md5, place } => {
            format!("{direction:?} {} {length} {md5:?} {place}", text(name))
        }
        // How a body is cut may depend on the pieces.
        FindingKind::HttpBody { .. } => String::new(),
    }
}
