//! Conversations cut into IP fragments: plugins hear what they would hear of whole packets.

use std::path::Path;

use crate::support::{Bench, Capture, Outcome};

/// An Ethernet frame with IPv4 in fragments of `size` bytes of content; anything else as it is.
fn fragments(frame: &[u8], id: u16, size: usize) -> Vec<Vec<u8>> {
    if frame[12..14] != [8, 0] || frame[14] != 0x45 {
        return vec![frame.to_vec()];
    }
    let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let (header, content) = frame[..14 + length].split_at(34);
    let count = content.len().div_ceil(size);
    let fragment = |(index, part): (usize, &[u8])| {
        let more = if index + 1 < count { 0x2000 } else { 0 };
        let mut bytes = [header, part].concat();
        bytes[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        bytes[18..20].copy_from_slice(&id.to_be_bytes());
        bytes[20..22].copy_from_slice(&((index * size / 8) as u16 | more).to_be_bytes());
        bytes
    };
    content.chunks(size).enumerate().map(fragment).collect()
}

/// A capture of `pcaps/`, each packet of it as `split` says.
fn capture(name: &str, split: impl Fn(&[u8], u16) -> Vec<Vec<u8>>) -> Capture {
    let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)).expect("our own capture");
    let (mut rest, mut capture) = (&file[24..], Capture::new());
    let mut id = 0;
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (secs, micros, len) = (word(0), word(4), word(8) as usize);
        id += 1;
        for part in split(&rest[16..16 + len], id) {
            capture = capture.at_micros(secs, micros, part);
        }
        rest = &rest[16 + len..];
    }
    capture
}

/// What is found in streams and datagrams, without what depends on the number of packets.
fn found(capture: &Capture, plugin: Option<&str>) -> Vec<String> {
    let mut bench = Bench::new().args(&["--flows"]);
    if let Some(text) = plugin {
        bench = bench.plugin("t.lua", text);
    }
    let outcome: Outcome = bench.run(capture);
    outcome.exits(0);
    let mut all = outcome.fields("flow_attribute", &["flow", "name", "value"]);
    all.extend(outcome.fields("resource", &["guid", "flow", "uri", "label"]));
    all.extend(outcome.fields("fts", &["guid", "flow", "text"]));
    all.extend(outcome.lines().into_iter().map(str::to_owned));
    all
}

const LISTENER: &str = r#"
TrisulPlugin = { id = { name = "t" },
  reassembly_handler = {
    onpayload = function(engine, ts, flow, dir, pos, buf) print("payload", flow:id(), dir, pos, buf:tostring()) end,
    onattribute = function(engine, ts, flow, name, value) print("attribute", flow:id(), name, value) end,
  } }"#;

#[test]
fn what_is_in_fragments_is_found_as_if_it_had_never_been_split() {
    // Names, resources, documents and contents; a header of TCP fits into 64 bytes, and does not into 8.
    for name in ["dns.pcap", "http-files.pcap", "smtp.pcap", "tls-hello.pcap", "ftp.pcap"] {
        let whole = found(&capture(name, |frame, _| vec![frame.to_vec()]), Some(LISTENER));
        assert!(whole.len() > 3, "{name}: {whole:?}");
        for size in [8, 64, 512] {
            let in_order = capture(name, |frame, id| fragments(frame, id, size));
            assert_eq!(found(&in_order, Some(LISTENER)), whole, "{name} in fragments of {size} bytes");
        }
        let last_first = capture(name, |frame, id| fragments(frame, id, 64).into_iter().rev().collect());
        let payload = |all: Vec<String>| -> Vec<String> {
            // Flows are new with another packet, and those without ports come on top.
            all.into_iter().filter(|line| line.starts_with("payload") || line.contains("{")).collect()
        };
        assert_eq!(payload(found(&last_first, Some(LISTENER))), payload(whole), "{name} with the last fragment first");
    }
}

#[test]
fn engines_keep_fragments_together() {
    let split = capture("dns.pcap", |frame, id| fragments(frame, id, 8));
    let run = |engines: &str| {
        let mut all =
            Bench::new().args(&["--flows", "--engines", engines]).run(&split).fields("resource", &["uri", "label"]);
        all.sort_unstable();
        all
    };
    let one = run("1");
    assert!(one.len() > 3, "{one:?}");
    assert_eq!(run("2"), one);
}
