//! Captures from file to findings: decoding, flows, dissectors. Another decoder says what is in them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use millstream::capture::{FileOptions, FileSource, Fill, Source};
use millstream::decode::{Decoder, Registry};
use millstream::dissect::{DissectWants, Dissectors, DocumentKind, FindingKind, ResourceKind};
use millstream::flow::{Defrag, DefragLimits, FlowWants, Flows, FlowsConfig, Fragments, Want};
use millstream::packet::Batch;

/// What was found in one capture.
#[derive(Debug, Default, PartialEq)]
struct Found {
    attributes: Vec<(String, String)>,
    dns: Vec<(String, String)>,
    files: Vec<(String, String)>,
    documents: Vec<String>,
    hosts: Vec<String>,
}

fn wants() -> DissectWants {
    DissectWants {
        attributes: Want::Yes,
        dns_resources: Want::Yes,
        dns_documents: Want::Yes,
        file_hashes: Want::Yes,
        host_names: Want::Yes,
        ..DissectWants::default()
    }
}

fn dissect(path: &Path) -> Found {
    let mut found = Found::default();
    let Ok(mut source) = FileSource::open(&[path.to_path_buf()], &FileOptions::default()) else { return found };
    let (registry, mut decoder) = (Registry::new(), Decoder::new());
    let asked = FlowWants { records: Want::Yes, streams: Want::Yes, datagrams: Want::Yes };
    let mut flows = Flows::new(FlowsConfig::default(), asked);
    let mut dissectors = Dissectors::new(wants());
    let mut batch = Batch::new();
    let (mut defrag, mut fragments) = (Defrag::new(DefragLimits::default()), Fragments::default());
    while let Ok(Fill::Packets) = source.fill(&mut batch) {
        decoder.decode(&registry, &mut batch);
        fragments.take(&batch, &mut defrag);
        flows.process(&batch, &fragments);
        dissectors.process(&batch, flows.events(), &flows);
        collect(&dissectors, &mut found);
        flows.settle();
    }
    batch.clear();
    loop {
        let more = flows.finish();
        dissectors.process(&batch, flows.events(), &flows);
        collect(&dissectors, &mut found);
        flows.settle();
        if !more.is_yes() {
            break;
        }
    }
    assert_eq!(dissectors.held(), 0, "{}: flows that have ended hold nothing", path.display());
    found
}

fn collect(dissectors: &Dissectors, found: &mut Found) {
    let findings = dissectors.findings();
    assert!(findings.list().is_sorted_by_key(|finding| finding.after));
    let text = |text| String::from_utf8_lossy(findings.bytes(text)).into_owned();
    for finding in findings.list() {
        match finding.kind {
            FindingKind::Attribute { name, value } => found.attributes.push((text(name), text(value))),
            FindingKind::Resource { kind: ResourceKind::Dns, uri, label } => found.dns.push((text(uri), text(label))),
            FindingKind::Resource { kind: ResourceKind::FileHash, uri, label } => {
                found.files.push((text(label), text(uri)));
            }
            FindingKind::Document { kind: DocumentKind::Dns, text: all } => found.documents.push(text(all)),
            FindingKind::HostName { mac, ip, name } => found.hosts.push(format!("{mac:02x?} {ip:?} {}", text(name))),
            _ => {}
        }
    }
}

fn own(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps").join(name)
}

/// The captures that are not ours, if they are at hand.
fn shared() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    let folders = ["good", "bad"].iter().filter_map(|folder| std::fs::read_dir(root.join(folder)).ok());
    let mut files: Vec<PathBuf> = folders.flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    if files.is_empty() {
        eprintln!("skipped: no captures in {}", root.display());
    }
    files
}

/// The fields that tshark finds in the packets that pass a filter; nothing where it is not installed.
fn tshark(path: &Path, filter: &str, fields: &[&str]) -> Option<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-Y", filter, "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let Ok(output) = command.output() else {
        eprintln!("skipped: tshark is not here");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

fn counted<T: Ord>(things: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    things.into_iter().for_each(|thing| *counts.entry(thing).or_default() += 1);
    counts
}

/// Kind, identification and first name of each message in the documents.
fn messages(found: &Found) -> BTreeMap<(bool, u16, String), usize> {
    counted(found.documents.iter().map(|document| {
        let id = document.split("ID: ").nth(1).unwrap().split('\t').next().unwrap().parse().unwrap();
        let name = document.split("Questions\n.").nth(1).map_or("", |rest| rest.split('\t').next().unwrap());
        (document.starts_with("RESPONSE"), id, name.to_lowercase())
    }))
}

/// What passes for a message of DNS: neither one that an ICMP error quotes nor one that cannot be read.
const MESSAGES: &str = "(dns || mdns || llmnr) && !icmp && !icmpv6 && !tcp.analysis.retransmission && !_ws.malformed";

fn messages_of_tshark(path: &Path) -> Option<BTreeMap<(bool, u16, String), usize>> {
    Some(messages_in(&tshark(path, MESSAGES, &["dns.flags.response", "dns.id", "dns.qry.name"])?))
}

/// The messages in rows that begin with these three fields.
fn messages_in(rows: &[Vec<String>]) -> BTreeMap<(bool, u16, String), usize> {
    let mut all = Vec::new();
    for row in rows {
        let (kinds, ids) = (row[0].split('|'), row[1].split('|'));
        let names: Vec<&str> = row[2].split('|').collect();
        let several = ids.clone().count() > 1;
        for (index, (kind, id)) in kinds.zip(ids).enumerate() {
            let name = names.get(if several { index } else { 0 }).copied().unwrap_or_default();
            let name = if name == "<Root>" { "" } else { name };
            let id = u16::from_str_radix(id.trim_start_matches("0x"), 16).unwrap();
            all.push((kind == "1" || kind == "True", id, name.to_lowercase()));
        }
    }
    counted(all)
}

#[test]
fn every_dns_message_is_found() {
    for name in ["dns.pcap", "demo.pcap", "vlan.pcap"] {
        let Some(expected) = messages_of_tshark(&own(name)) else { return };
        assert_eq!(messages(&dissect(&own(name))), expected, "{name}");
    }
}

#[test]
fn dns_addresses_and_names_are_those_of_tshark() {
    let found = dissect(&own("dns.pcap"));
    let filter = "dns.flags.response == 1";
    for (field, kind) in
        [("dns.a", "A"), ("dns.aaaa", "AAAA"), ("dns.cname", "CNAME"), ("dns.ptr.domain_name", "PTR"), ("dns.ns", "NS")]
    {
        let Some(rows) = tshark(&own("dns.pcap"), filter, &[field]) else { return };
        let expected =
            counted(rows.iter().flat_map(|row| row[0].split('|')).filter(|text| !text.is_empty()).map(str::to_owned));
        let lines = found.dns.iter().flat_map(|(_, label)| label.lines());
        let data = lines.filter_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            (fields[1] == kind).then(|| fields[2].to_owned())
        });
        assert_eq!(counted(data), expected, "{kind}");
    }
}

#[test]
fn dns_records_read_as_they_do_elsewhere() {
    let found = dissect(&own("dns.pcap"));
    let lines: Vec<&str> = found.dns.iter().flat_map(|(_, label)| label.lines()).collect();
    let golden = include_str!("dissect_dns.txt");
    assert_eq!(lines.join("\n"), golden.trim_end());
    assert!(found.documents.iter().all(|document| document.ends_with("\n\n")));
}

#[test]
fn ssh_fingerprints_are_those_of_tshark() {
    let mut seen = 0;
    for path in shared().into_iter().chain([own("ssh-session.pcap")]) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains("ssh") {
            continue;
        }
        let Some(rows) =
            tshark(&path, "ssh.kex.hassh || ssh.kex.hasshserver", &["ssh.kex.hassh", "ssh.kex.hasshserver"])
        else {
            return;
        };
        let found = dissect(&path);
        for (column, attribute) in [(0, "SSH:HASSH"), (1, "SSH:HASSH:SERVER")] {
            let expected = counted(rows.iter().map(|row| row[column].clone()).filter(|hash| !hash.is_empty()));
            let hashes = found.attributes.iter().filter(|(name, _)| name == attribute).map(|(_, hash)| hash.clone());
            assert_eq!(counted(hashes), expected, "{name}: {attribute}");
            seen += expected.len();
        }
    }
    assert!(seen >= 2, "{seen}");
}

#[test]
fn mailed_files_have_the_hashes_of_their_contents() {
    let files = dissect(&own("smtp.pcap")).files;
    let files: Vec<(&str, &str)> = files.iter().map(|(name, hash)| (&**name, &**hash)).collect();
    assert_eq!(
        files,
        [
            ("picture.png", "MD5:8804473a566ff876eccba727f3d0b85e"),
            ("größe.csv", "MD5:b7cc1ba93c817809317341002060ef75"),
            ("notes.txt", "MD5:081ebfd2a223026bb6e000a9c3f1e666"),
        ]
    );
}

#[test]
fn transferred_files_have_the_hashes_of_what_tshark_exports() {
    let folder = tempfile::tempdir().unwrap();
    let exported = Command::new("tshark")
        .arg("-r")
        .arg(own("ftp.pcap"))
        .args(["-q", "--export-objects", &format!("ftp-data,{}", folder.path().display())])
        .output();
    if exported.is_err() {
        eprintln!("skipped: tshark is not here");
        return;
    }
    let mut expected: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| {
            use md5::Digest;
            let hash = md5::Md5::digest(std::fs::read(entry.unwrap().path()).unwrap());
            format!("MD5:{}", hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        })
        .collect();
    expected.sort();
    let files = dissect(&own("ftp.pcap")).files;
    let names: Vec<&str> = files.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["pub/page.html", "notes.txt", "readme"]);
    let mut hashes: Vec<String> = files.into_iter().map(|(_, hash)| hash).collect();
    hashes.sort();
    assert_eq!(hashes, expected);
}

#[test]
fn hosts_are_named_as_they_ask_to_be() {
    let reception = "[02, 4d, 0a, 14, 00, 1f]";
    let press = "[02, 4d, 0a, 14, 00, 20]";
    assert_eq!(
        dissect(&own("dhcp.pcap")).hosts,
        [
            format!("{reception} None reception"),
            format!("{reception} Some([10, 20, 0, 31]) reception"),
            format!("{press} None press.example.com"),
            format!("{press} Some([10, 20, 0, 32]) press.example.com"),
        ]
    );
}

/// The shared captures with one of these words in their names.
fn shared_with(words: &[&str]) -> Vec<PathBuf> {
    let mut paths = shared();
    paths.retain(|path| words.iter().any(|word| path.file_name().unwrap().to_string_lossy().contains(word)));
    paths
}

/// Captures in which tshark and we see different messages, and why.
const DNS_DIFFERS: [(&str, &str); 6] = [
    ("dns-corrupt-additionals", "tshark calls a whole message malformed whose last record is"),
    ("dns-over-http2", "tshark has the keys"),
    ("dns-reversed-tcp", "the beginning of the stream is missing, and what follows is not taken for DNS"),
    ("dns-forward-pointer", "names that point ahead are refused"),
    ("llmnr-tcp", "tshark does not look for LLMNR in TCP"),
    ("llmnr__llmnr-tcp", "the same"),
];

#[test]
fn messages_answers_and_names_of_dns_in_other_captures_are_those_of_tshark() {
    let (mut compared, mut failures) = (0, Vec::new());
    for path in shared_with(&["dns", "llmnr"]) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if DNS_DIFFERS.iter().any(|(part, _)| name.contains(part)) {
            continue;
        }
        let kinds = ["A", "AAAA", "CNAME", "PTR"];
        let fields =
            ["dns.flags.response", "dns.id", "dns.qry.name", "dns.a", "dns.aaaa", "dns.cname", "dns.ptr.domain_name"];
        let Some(rows) = tshark(&path, MESSAGES, &fields) else { return };
        let (found, expected) = (dissect(&path), messages_in(&rows));
        compared += expected.len();
        if messages(&found) != expected {
            failures.push(format!("{name}: tshark has {expected:?}, we have {:?}", messages(&found)));
        }
        for (kind, column) in kinds.iter().zip(3..) {
            let texts = rows.iter().filter(|row| row[0].starts_with(['1', 'T'])).flat_map(|row| row[column].split('|'));
            let expected: BTreeSet<String> = texts.filter(|text| !text.is_empty()).map(str::to_lowercase).collect();
            let data = found.dns.iter().flat_map(|(_, label)| label.lines()).filter_map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                (fields.get(1) == Some(kind)).then(|| fields[2].to_lowercase())
            });
            let ours: BTreeSet<String> = data.collect();
            if ours != expected {
                failures.push(format!("{name}: {kind}: tshark {expected:?}, ours {ours:?}"));
            }
            compared += expected.len();
        }
    }
    eprintln!("{compared} messages and answers compared");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn names_that_hosts_ask_for_in_other_captures_are_those_of_tshark() {
    let mut compared = 0;
    for path in shared_with(&["dhcp", "ntlmssp-negotiateflags", "eapon1"]) {
        let fields = ["dhcp.hw.mac_addr", "dhcp.option.hostname", "dhcp.fqdn.name"];
        let Some(rows) = tshark(&path, "dhcp.option.hostname || dhcp.fqdn.name", &fields) else { return };
        let expected = counted(rows.iter().map(|row| {
            let mac = row[0].split('|').next().unwrap().replace(':', ", ");
            let name = if row[1].is_empty() { &row[2] } else { &row[1] };
            format!("[{mac}] {name}")
        }));
        let ours = counted(dissect(&path).hosts.iter().map(|host| {
            let (mac, rest) = host.split_once(']').unwrap();
            format!("{mac}] {}", rest.rsplit(' ').next().unwrap())
        }));
        assert_eq!(ours, expected, "{}", path.display());
        compared += expected.len();
    }
    eprintln!("{compared} names compared");
}

#[test]
fn files_transferred_in_other_captures_are_those_that_tshark_exports() {
    let Some(folder) = shared().first().map(|path| path.parent().unwrap().parent().unwrap().join("good")) else {
        return;
    };
    let files = |name: &str| -> Vec<(String, String)> { dissect(&folder.join(name)).files };
    let file = |name: &str, hash: &str| (name.to_owned(), format!("MD5:{hash}"));
    for name in ["s-ftp__ftp-download-active.pcap", "s-ftp__ftp-upload-passive.pcap"] {
        let out = tempfile::tempdir().unwrap();
        let objects = format!("ftp-data,{}", out.path().display());
        let made =
            Command::new("tshark").arg("-r").arg(folder.join(name)).args(["-q", "--export-objects", &objects]).output();
        if made.is_err() {
            eprintln!("skipped: tshark is not here");
            return;
        }
        let mut expected: Vec<(String, String)> = std::fs::read_dir(out.path())
            .unwrap()
            .map(|entry| {
                use md5::Digest;
                let path = entry.unwrap().path();
                let hash = md5::Md5::digest(std::fs::read(&path).unwrap());
                let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
                file(&path.file_name().unwrap().to_string_lossy(), &hash)
            })
            .collect();
        expected.sort();
        let mut ours = files(name);
        ours.iter_mut().for_each(|(name, _)| *name = name.rsplit('/').next().unwrap().to_owned());
        ours.sort();
        assert_eq!(ours, expected, "{name}");
    }
}

#[test]
fn every_tcp_flow_begins_and_ends_with_its_attribute() {
    for path in shared() {
        let found = dissect(&path);
        let count = |wanted: &str| found.attributes.iter().filter(|(name, _)| name == wanted).count();
        assert_eq!(count(""), count("^D"), "{}", path.display());
        for document in &found.documents {
            let first = document.split('\t').next().unwrap();
            assert!(
                matches!(first, "QUERY" | "RESPONSE") && document.ends_with("\n\n"),
                "{}: {document}",
                path.display()
            );
        }
    }
}
