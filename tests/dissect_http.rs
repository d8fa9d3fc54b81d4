//! HTTP in captures, from packets to headers and bodies, compared with what tshark makes of the same files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capture_support;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use capture_support::real_captures;
use millstream::capture::{FileOptions, FileSource, Fill, Source};
use millstream::decode::{Decoder, Registry};
use millstream::dissect::http::HeaderBlock;
use millstream::dissect::{DissectWants, Dissectors, FindingKind, Findings, ResourceKind, Transaction};
use millstream::flow::{Direction, FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::packet::Batch;

/// What is found in a capture.
#[derive(Debug, Default)]
struct Found {
    /// Method, host and target of every request.
    requests: Vec<String>,
    /// Status of every response.
    responses: Vec<String>,
    /// Bodies that have a byte.
    bodies: Vec<Vec<u8>>,
    /// Resources.
    resources: Vec<(String, String)>,
    /// Names and values of attributes.
    attributes: Vec<(String, String)>,
    documents: usize,
    open: HashMap<(Transaction, Direction), Vec<u8>>,
}

impl Found {
    fn take(&mut self, findings: &Findings) {
        let text = |text| String::from_utf8_lossy(findings.bytes(text)).into_owned();
        for finding in findings.list() {
            match finding.kind {
                FindingKind::HttpHeader { direction, block, .. } => self.header(direction, findings.bytes(block)),
                FindingKind::HttpBody { transaction, direction, position, bytes } => {
                    let body = self.open.entry((transaction, direction)).or_default();
                    assert_eq!(body.len() as u64, position, "bodies have neither holes nor repeats");
                    body.extend_from_slice(findings.bytes(bytes));
                    if bytes.is_empty() {
                        let body = self.open.remove(&(transaction, direction)).unwrap();
                        self.bodies.extend(Some(body).filter(|body| !body.is_empty()));
                    }
                }
                FindingKind::Attribute { name, value } => self.attributes.push((text(name), text(value))),
                FindingKind::Resource { kind: ResourceKind::HttpUri, uri, label } => {
                    self.resources.push((text(uri), text(label)));
                }
                FindingKind::Document { .. } => self.documents += 1,
                _ => {}
            }
        }
    }

    fn header(&mut self, direction: Direction, block: &[u8]) {
        let header = HeaderBlock::new(block);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if direction == Direction::ToServer {
            let host = header.value(b"Host").unwrap_or_default();
            self.requests.push([text(header.method()), text(&host), text(header.target())].join(" "));
        } else {
            self.responses.push(header.status().to_string());
        }
    }

    fn sorted(mut self) -> Self {
        self.requests.sort();
        self.responses.sort();
        self.bodies.sort();
        self
    }
}

/// What is found in a capture, and the oddities met.
fn dissect(path: &Path) -> (Found, Vec<(&'static str, u64)>) {
    let wants = DissectWants {
        attributes: Want::Yes,
        http_resources: Want::Yes,
        http_documents: Want::Yes,
        http_headers: Want::Yes,
        http_bodies: Want::Yes,
        ..DissectWants::default()
    };
    let mut flows =
        Flows::new(FlowsConfig::default(), FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::No });
    let mut dissectors = Dissectors::new(wants);
    let (registry, mut decoder, mut batch) = (Registry::new(), Decoder::new(), Batch::new());
    let mut found = Found::default();
    let Ok(mut source) = FileSource::open(&[path.to_path_buf()], &FileOptions::default()) else {
        return (found, Vec::new());
    };
    while let Ok(Fill::Packets) = source.fill(&mut batch) {
        decoder.decode(&registry, &mut batch);
        flows.process(&batch, &Fragments::default());
        dissectors.process(&batch, flows.events(), &flows);
        found.take(dissectors.findings());
        flows.settle();
    }
    batch = Batch::new();
    loop {
        let more = flows.finish();
        dissectors.process(&batch, flows.events(), &flows);
        found.take(dissectors.findings());
        flows.settle();
        if more == Want::No {
            break;
        }
    }
    assert!(found.open.is_empty(), "{}: every body has an end", path.display());
    (found.sorted(), dissectors.counts().named().to_vec())
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

fn has_tshark() -> bool {
    let there = Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        std::io::stderr().write_all(b"skipped: no tshark\n").unwrap();
    }
    there
}

/// Requests, responses and bodies as tshark sees them.
fn oracle(path: &Path) -> Found {
    let fields = ["http.request.method", "http.host", "http.request.uri", "http.response.code"];
    let output = Command::new("tshark")
        .args(["-r", path.to_str().unwrap(), "-Y", "http", "-T", "fields"])
        .args(["-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=\u{1f}"])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .unwrap();
    let mut found = Found::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let columns: Vec<Vec<&str>> = line.split('|').map(|column| column.split('\u{1f}').collect()).collect();
        for (index, method) in columns[0].iter().enumerate().filter(|(_, method)| !method.is_empty()) {
            let host = columns[1].get(index).unwrap_or(&"");
            found.requests.push(format!("{method} {host} {}", columns[2].get(index).unwrap_or(&"")));
        }
        // Interim responses are no headers of their own here; a change of protocol is final.
        let codes = columns[3].iter().filter(|code| !code.is_empty() && (!code.starts_with('1') || **code == "101"));
        found.responses.extend(codes.map(ToString::to_string));
    }
    let directory = tempfile::tempdir().unwrap();
    let export = format!("http,{}", directory.path().display());
    Command::new("tshark").args(["-r", path.to_str().unwrap(), "-q", "--export-objects", &export]).output().unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let body = std::fs::read(entry.unwrap().path()).unwrap();
        found.bodies.extend(Some(body).filter(|body| !body.is_empty()));
    }
    found.sorted()
}

/// How two sorted lists of things differ, in a few words.
fn difference<T: Ord + std::fmt::Debug>(what: &str, ours: &[T], theirs: &[T]) -> Vec<String> {
    let only = |these: &[T], those: &[T]| -> Vec<String> {
        let extra = these.iter().filter(|one| {
            let count = |list: &[T]| list.iter().filter(|other| other == one).count();
            count(these) > count(those)
        });
        extra.map(|one| format!("{one:?}").chars().take(120).collect()).collect()
    };
    let mut said = Vec::new();
    for (whose, list) in [("ours only", only(ours, theirs)), ("theirs only", only(theirs, ours))] {
        if !list.is_empty() {
            said.push(format!("{what}, {whose} ({} to {}): {}", ours.len(), theirs.len(), list.join(" | ")));
        }
    }
    said
}

fn differences(path: &Path) -> Vec<String> {
    let ((ours, counts), theirs) = (dissect(path), oracle(path));
    let mut said = difference("requests", &ours.requests, &theirs.requests);
    said.extend(difference("responses", &ours.responses, &theirs.responses));
    said.extend(difference("bodies", &ours.bodies, &theirs.bodies));
    if !said.is_empty() {
        said.push(format!("counts {counts:?}"));
    }
    said
}

#[test]
fn the_capture_of_files_has_all_its_pages_and_files() {
    let (found, counts) = dissect(&own("http-files.pcap"));
    assert_eq!((found.requests.len(), found.responses.len(), found.bodies.len()), (12, 12, 10));
    assert_eq!(found.documents, 24);
    assert!(counts.is_empty(), "{counts:?}");
    assert_eq!(found.resources.len(), 12);
    let (uri, label) = &found.resources[0];
    assert_eq!(uri, "GET files.example.com / HTTP/1.1");
    assert!(label.starts_with("status:200 usec:"), "{label}");
    assert!(label.ends_with(" ua:Mozilla/5.0 (X11; Linux x86_64) browser/1.0"), "{label}");
    let names: Vec<_> = found.attributes.iter().map(|(name, _)| &name[..]).filter(|name| !name.is_empty()).collect();
    assert_eq!(names[..6], ["HTTP-Header", "Host", "User-Agent", "URI", "HTTP-Header", "Content-Type"]);
    // The stylesheet came compressed, the log compressed and in chunks.
    assert!(found.bodies.iter().any(|body| body.starts_with(b".column-0 {")));
    assert!(found.bodies.iter().any(|body| *body == b"GNU is not the only one.\n".repeat(600)));
    assert!(found.bodies.iter().any(|body| body.starts_with(b"\x89PNG")));
}

#[test]
fn the_capture_of_files_reads_as_tshark_reads_it() {
    if has_tshark() {
        assert_eq!(differences(&own("http-files.pcap")), Vec::<String>::new());
    }
}

/// Captures in which tshark sees other messages or bodies, and why.
const DIFFERENT: [(&str, &str); 5] = [
    ("s-http-data-after-09.pcap", "the client does not speak HTTP, and then neither does the flow"),
    ("s-http-uri-spaces.pcap", "a target has blanks here"),
    ("s-http1-noint-status.pcap", "a status that is no number is 0 here"),
    ("t-arcnet-rfc1051-arp-icmp-http.pcap", "a link type that is not decoded"),
    ("t-arcnet-rfc1201-arp-icmp-http.pcap", "a link type that is not decoded"),
];

#[test]
fn real_captures_read_as_tshark_reads_them() {
    let Some(directory) = real_captures().filter(|_| has_tshark()) else { return };
    let mut failures = Vec::new();
    let mut compared = 0;
    for file in http_captures(&directory.join("good")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if DIFFERENT.iter().any(|(known, _)| *known == name) {
            continue;
        }
        compared += 1;
        failures.extend(differences(&file).iter().map(|line| format!("{name}: {line}")));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared > 15, "{compared}");
}

/// Captures with HTTP/1 in them, by name.
fn http_captures(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy();
        name.contains("http") && !name.contains("http2")
    });
    files.sort();
    files
}

#[test]
fn odd_captures_are_read_to_their_end() {
    let Some(directory) = real_captures() else { return };
    let mut requests = 0;
    for file in http_captures(&directory.join("bad")) {
        requests += dissect(&file).0.requests.len();
    }
    assert!(requests > 50, "{requests}");
    // Requests only, in one connection.
    let (found, counts) = dissect(&directory.join("bad/g-manytx.pcap"));
    assert_eq!((found.requests.len(), found.resources.len()), (2_000, 2_000), "{counts:?}");
    assert!(found.resources.iter().all(|(_, label)| label.is_empty()));
}
