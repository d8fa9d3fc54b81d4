//! TLS and QUIC in captures: what the dissectors say against what tshark says, and whatever the pieces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dissect_support;

use std::collections::BTreeMap;
use std::path::Path;

use dissect_support::{
    Bench, Conversation, Found, all_wants, conversations, first_text, found_by_all, output_of, own_capture,
    shared_captures, values,
};
use millstream::dissect::quic::{self, Quic};
use millstream::dissect::tls::{self, Tls};
use millstream::dissect::{DissectWants, Recognition};
use millstream::flow::{Direction, Want};
use millstream::key::FlowTuple;
use proptest::prelude::*;
use sha1::{Digest as _, Sha1};

const TCP: u8 = 6;

fn dissect(talk: &Conversation, wants: &DissectWants) -> Vec<Found> {
    let Some((direction, first)) = talk.pieces.first() else { return Vec::new() };
    let mut bench = Bench::default();
    if talk.tuple.proto == TCP {
        if tls::recognise(*direction, first) == Recognition::No {
            // It may change to TLS later.
            return found_by_all(wants, talk);
        }
        bench.stream(wants, &mut Tls::new(), talk);
    } else if quic::recognise(first) == Recognition::Yes {
        bench.datagrams(wants, &mut Quic::new(), talk);
    }
    bench.found()
}

/// What both sides said, one line for each hello, sorted.
type Hellos = Vec<String>;

fn ours(path: &Path) -> (Hellos, Hellos) {
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for talk in conversations(path) {
        let found = dissect(&talk, &all_wants());
        if !values(&found, "TLS:JA3").is_empty() {
            clients.push(format!("{} {}", first_text(&found, "TLS:JA3"), first_text(&found, "TLS:SNI")));
        }
        if !values(&found, "TLS:CIPHER").is_empty() {
            servers.push(format!("{} {}", first_text(&found, "TLS:JA3S"), first_text(&found, "TLS:CIPHER")));
        }
    }
    clients.sort();
    servers.sort();
    (clients, servers)
}

const RETRY_RANDOM: &str = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";

fn of_tshark(path: &Path) -> Option<(Hellos, Hellos)> {
    let fields = [
        "tcp.stream",
        "udp.stream",
        "tls.handshake.type",
        "tls.handshake.ja3",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ja3s",
        "tls.handshake.ciphersuite",
        "tls.handshake.random",
    ];
    let path = path.to_str().unwrap();
    let mut arguments = vec!["-r", path, "-Y", "tls.handshake.type==1 || tls.handshake.type==2", "-T", "fields"];
    arguments.extend(fields.iter().flat_map(|field| ["-e", field]));
    let text = output_of("tshark", &arguments)?;
    let (mut clients, mut servers) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let field = |index: usize| columns.get(index).copied().unwrap_or_default();
        let first = |index: usize| field(index).split(',').next().unwrap_or_default().to_owned();
        let stream = (first(0), first(1));
        if !field(3).is_empty() {
            clients.entry(stream.clone()).or_insert(format!("{} {}", first(3), first(4)));
        }
        if !field(5).is_empty() && !field(7).contains(RETRY_RANDOM) {
            let cipher = first(6).trim_start_matches("0x").to_uppercase();
            servers.entry(stream).or_insert(format!("{} {cipher}", first(5)));
        }
    }
    let sorted = |map: BTreeMap<_, String>| {
        let mut list: Vec<String> = map.into_values().collect();
        list.sort();
        list
    };
    Some((sorted(clients), sorted(servers)))
}

/// Segments of its server come out of order, and tshark does not wait for the missing one.
const TSHARK_GIVES_UP: &str = "s-tls__tls-fingerprint-alert.pcap";

/// In LDAP it is not followed that TLS begins.
const NOT_FOLLOWED: &str = "s-ldap-starttls.pcap";

/// Captures with TLS or QUIC, from the first byte of a flow on or behind STARTTLS.
fn captures() -> Vec<std::path::PathBuf> {
    let mut list = vec![own_capture("tls-hello.pcap"), own_capture("demo.pcap")];
    if let Some(folder) = shared_captures() {
        let wanted = ["tls", "ssl", "quic", "ja4", "ethernet-eve"];
        let entries = std::fs::read_dir(folder.join("good")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths.retain(|path| wanted.iter().any(|word| name(path).contains(word)));
        // The QUIC of before the standard is not read.
        paths.retain(|path| {
            !["gquic", NOT_FOLLOWED, TSHARK_GIVES_UP].iter().any(|word| path.to_str().unwrap().contains(word))
        });
        paths.sort();
        list.extend(paths);
    }
    list
}

#[test]
fn hellos_are_those_that_tshark_sees() {
    let mut failures = Vec::new();
    let mut hellos = 0;
    for path in captures() {
        let Some(expected) = of_tshark(&path) else { return };
        let found = ours(&path);
        hellos += found.0.len() + found.1.len();
        if found != expected {
            failures.push(format!("{}:\n ours   {found:?}\n tshark {expected:?}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(hellos > 5, "{hellos}");
}

#[test]
fn chains_are_those_that_tshark_sees() {
    let mut certificates = 0;
    for path in captures() {
        let arguments = [
            "-r",
            path.to_str().unwrap(),
            "-Y",
            "tls.handshake.certificate",
            "-T",
            "fields",
            "-e",
            "tls.handshake.certificate",
        ];
        let Some(text) = output_of("tshark", &arguments) else { return };
        let expected: Vec<String> = text
            .split([',', '\n'])
            .filter(|hex| !hex.is_empty())
            .map(|hex| {
                let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
                let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
                Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
            })
            .collect();
        let mut found = Vec::new();
        for one in conversations(&path).iter().flat_map(|talk| dissect(talk, &all_wants())) {
            if let Found::Resource(uri, label) = one {
                let links = uri.lines().filter_map(|line| line.strip_prefix("SHA1:"));
                found.extend(links.map(str::to_owned));
                assert_eq!(label.matches("-----END CERTIFICATE-----\n").count(), uri.matches("\n---\n").count());
            }
        }
        assert_eq!(found, expected, "{}", path.display());
        certificates += found.len();
    }
    assert!(certificates > 0);
}

#[test]
fn our_own_handshakes_give_everything_that_is_in_them() {
    let talks = conversations(&own_capture("tls-hello.pcap"));
    let found = dissect(&talks[0], &all_wants());
    assert_eq!(first_text(&found, "TLS:SNI"), "legacy.example.org");
    assert_eq!(first_text(&found, "TLS:ALPN"), "h2,http/1.1");
    assert_eq!(first_text(&found, "TLS:VERSION"), "TLS 1.2");
    assert_eq!(first_text(&found, "TLS:CIPHER"), "C02F");
    assert_eq!(first_text(&found, "TLS:O"), "Example Widgets");
    assert_eq!(first_text(&found, "TLS:CA:ROOT"), "Example Trust Services");
    assert!(values(&found, "TLS:CA:INTER").is_empty());
    let names: Vec<&str> = found
        .iter()
        .filter_map(|one| if let Found::Attribute(name, _) = one { Some(&name[..]) } else { None })
        .filter(|name| *name != "TLS:RECORD")
        .collect();
    let expected = ["SNI", "ALPN", "JA3", "JA4", "CIPHER", "VERSION", "JA3S", "O", "CA:ROOT"];
    assert_eq!(names, expected.map(|name| format!("TLS:{name}")));
    let resource = found.iter().find_map(|one| if let Found::Resource(uri, _) = one { Some(uri) } else { None });
    assert!(resource.unwrap().contains("\nNAME:/O=Example Widgets/CN=legacy.example.org\n---\n"));
    let document =
        found.iter().find_map(|one| if let Found::Document(text) = one { Some(text) } else { None }).unwrap();
    for part in [
        "        Issuer: O=Example Trust Services, CN=Example Issuing CA\n",
        "        Subject: O=Example Widgets, CN=legacy.example.org\n",
        "Signature Algorithm: sha256WithRSAEncryption\n",
        "Public Key Algorithm: rsaEncryption\n",
        "DNS:legacy.example.org\n",
        "-----BEGIN CERTIFICATE-----\n",
    ] {
        assert!(document.contains(part), "{part}{document}");
    }
    let later = dissect(&talks[1], &all_wants());
    assert_eq!(first_text(&later, "TLS:VERSION"), "TLS 1.3");
    assert_eq!(first_text(&later, "TLS:CIPHER"), "1301");
    assert_eq!(first_text(&dissect(&talks[2], &all_wants()), "TLS:SNI"), "blocked.example.net");
}

#[test]
fn records_are_announced_as_scripts_expect_them() {
    let talks = conversations(&own_capture("tls-hello.pcap"));
    for talk in &talks {
        let found = dissect(talk, &all_wants());
        let records = values(&found, "TLS:RECORD");
        assert!(!records.is_empty());
        let mut changed = false;
        for record in records {
            assert_eq!(record.len() - 5, usize::from(u16::from_be_bytes([record[3], record[4]])));
            assert_ne!(record[0], 23);
            changed |= record[0] == 20;
            if record[0] == 22 && !changed {
                let length = u32::from_be_bytes([0, record[6], record[7], record[8]]) as usize;
                assert_eq!(length, record.len() - 9);
            }
        }
    }
    let quiet = DissectWants { attributes: Want::Yes, ..DissectWants::default() };
    let found = dissect(&talks[0], &quiet);
    assert!(values(&found, "TLS:RECORD").is_empty());
    assert!(found.iter().all(|one| matches!(one, Found::Attribute(..))));
}

#[test]
fn published_captures_have_the_published_fingerprints() {
    let Some(folder) = shared_captures() else { return };
    let prints = |name: &str| -> Vec<String> {
        let talks = conversations(&folder.join("good").join(name));
        let found = talks.iter().map(|talk| first_text(&dissect(talk, &all_wants()), "TLS:JA4"));
        found.filter(|print| !print.is_empty()).collect()
    };
    assert_eq!(prints("s-ja4-quic.pcap"), ["q13d0310h3_55b375c5d22e_cd85d2d88918"; 11]);
    let mut both = prints("s-ja4-rules.pcap");
    both.sort();
    assert_eq!(both, ["q13d0310h3_55b375c5d22e_cd85d2d88918", "t13d1516h2_8daaf6152771_e5627efa2ab1"]);
}

/// A hello that only asks for another one: the server's, with the random of the retry (RFC 8446, 4.1.3).
fn retry_of(record: &[u8]) -> Vec<u8> {
    let random: Vec<u8> = RETRY_RANDOM
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let length = 5 + usize::from(u16::from_be_bytes([record[3], record[4]]));
    let mut retry = record[..length].to_vec();
    retry[11..43].copy_from_slice(&random);
    retry
}

#[test]
fn a_hello_after_a_retry_counts_and_the_retry_does_not() {
    let mut talk = conversations(&own_capture("tls-hello.pcap"))[1].clone();
    let attributes =
        |talk: &Conversation| -> Vec<Found> { dissect(talk, &DissectWants { tls_records: Want::No, ..all_wants() }) };
    let plain = attributes(&talk);
    assert_eq!(first_text(&plain, "TLS:VERSION"), "TLS 1.3");
    let answer = talk.pieces.iter().position(|(direction, _)| *direction == Direction::ToClient).unwrap();
    let asked: Vec<(Direction, Vec<u8>)> = talk.pieces[..answer].to_vec();
    let retry = retry_of(&talk.pieces[answer].1);
    let changed = vec![20, 3, 3, 0, 1, 1];
    let inserted =
        [(Direction::ToClient, retry), (Direction::ToClient, changed.clone()), (Direction::ToServer, changed)];
    talk.pieces.splice(answer..answer, inserted.into_iter().chain(asked));
    assert_eq!(attributes(&talk), plain);
    // Without the second hello nothing is known of the answer.
    talk.pieces.truncate(answer + 3);
    assert!(values(&attributes(&talk), "TLS:CIPHER").is_empty());
    assert_eq!(first_text(&attributes(&talk), "TLS:SNI"), first_text(&plain, "TLS:SNI"));
}

/// The client's first packets that RFC 9001 and RFC 9369 give as examples, each in appendix A.2.
const INITIALS: &str = include_str!("dissect_quic.txt");

#[test]
fn the_examples_of_the_standards_are_read() {
    for (document, version) in [("RFC 9001, A.2", "1"), ("RFC 9369, A.2", "2")] {
        let hex: String = INITIALS
            .lines()
            .skip_while(|line| *line != document)
            .skip(1)
            .take_while(|line| !line.starts_with("RFC"))
            .collect();
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        let packet: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        assert_eq!(packet.len(), 1_200, "{document}");
        let tuple = FlowTuple::v4(17, [10, 0, 0, 1], [10, 0, 0, 2], 50_000, 443).0;
        let talk = Conversation { tuple, pieces: vec![(Direction::ToServer, packet.clone())] };
        let found = dissect(&talk, &all_wants());
        assert_eq!(first_text(&found, "QUIC:VERSION"), version, "{document}: {found:?}");
        assert_eq!(first_text(&found, "TLS:SNI"), "example.com", "{document}");
        assert_eq!(first_text(&found, "TLS:ALPN"), "alpn", "{document}");
        // 771,4865-4866,0-65281-10-16-5-51-43-13-45-28-57,29-23-24,
        assert_eq!(first_text(&found, "TLS:JA3"), "41bc9ae914d6cb3bd0bd0a5453ab7d7f", "{document}");
        // The seal covers every byte.
        for at in [1, 18, 30, 1_199] {
            let mut damaged = packet.clone();
            damaged[at] ^= 1;
            let talk = Conversation { tuple, pieces: vec![(Direction::ToServer, damaged)] };
            assert!(values(&dissect(&talk, &all_wants()), "TLS:SNI").is_empty(), "{document}: {at}");
        }
    }
}

#[test]
fn quic_tells_its_version() {
    let Some(folder) = shared_captures() else { return };
    for (name, version) in [("s-quic-v2.pcap", "2"), ("s-ja4-quic.pcap", "1"), ("t-quic_retry.pcap", "1")] {
        let talks = conversations(&folder.join("good").join(name));
        let found: Vec<Found> = talks.iter().flat_map(|talk| dissect(talk, &all_wants())).collect();
        assert_eq!(first_text(&found, "QUIC:VERSION"), version, "{name}: {found:?}");
        assert_eq!(first_text(&found, "TLS:VERSION"), "TLS 1.3", "{name}");
    }
}

#[test]
fn damaged_captures_do_no_harm() {
    let Some(folder) = shared_captures() else { return };
    for name in ["s-bug-1450-05__tls_DER-incomplete-content.pcap"] {
        for talk in conversations(&folder.join("bad").join(name)) {
            dissect(&talk, &all_wants());
        }
    }
}

#[test]
fn a_hole_in_application_data_is_stepped_over() {
    let talk = conversations(&own_capture("tls-hello.pcap")).remove(0);
    let (mut bench, mut tls) = (Bench::default(), Tls::new());
    let wants = DissectWants { tls_records: Want::Yes, ..DissectWants::default() };
    assert!(bench.stream(&wants, &mut tls, &talk));
    let before = bench.found().len();
    // A record of data of which most is missing, then an alert.
    let pieces = vec![(Direction::ToServer, vec![23, 3, 3, 1, 0, 7])];
    bench.stream(&wants, &mut tls, &Conversation { tuple: talk.tuple, pieces });
    bench.gap(&wants, &mut tls, Direction::ToServer, 255);
    let pieces = vec![(Direction::ToServer, vec![21, 3, 3, 0, 2, 1, 0])];
    bench.stream(&wants, &mut tls, &Conversation { tuple: talk.tuple, pieces });
    let found = bench.found();
    assert_eq!(found[before..], [Found::Attribute("TLS:RECORD".into(), vec![21, 3, 3, 0, 2, 1, 0])]);
}

#[test]
fn application_data_is_never_kept() {
    use millstream::dissect::StreamDissector as _;
    let mut tls = Tls::new();
    let mut bench = Bench::default();
    let mut bytes = vec![23, 3, 3, 0x40, 0];
    bytes.extend([0; 0x3FFF]);
    let pieces = vec![(Direction::ToServer, bytes)];
    let tuple = millstream::key::FlowTuple::NO_IP;
    bench.stream(&all_wants(), &mut tls, &Conversation { tuple, pieces });
    assert_eq!(tls.held(), 0);
    assert!(bench.found().is_empty());
}

/// The same bytes in other pieces; the order of the directions stays.
fn cut(talk: &Conversation, sizes: &[usize]) -> Conversation {
    let mut sizes = sizes.iter().cycle();
    let mut pieces = Vec::new();
    for (direction, bytes) in &talk.pieces {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            pieces.push((*direction, piece.to_vec()));
            rest = behind;
        }
    }
    Conversation { tuple: talk.tuple, pieces }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_pieces_give_the_same_findings(sizes in prop::collection::vec(1usize..1_500, 1..12)) {
        for talk in conversations(&own_capture("tls-hello.pcap")) {
            let run = |talk: &Conversation, wants: &DissectWants| {
                let mut bench = Bench::default();
                bench.stream(wants, &mut Tls::new(), talk);
                bench.found()
            };
            let quiet = DissectWants { attributes: Want::Yes, ..DissectWants::default() };
            for wants in [all_wants(), quiet] {
                prop_assert_eq!(run(&cut(&talk, &sizes), &wants), run(&talk, &wants));
            }
        }
    }

    #[test]
    fn changed_bytes_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        for mut talk in conversations(&own_capture("tls-hello.pcap")) {
            for (place, value) in &changes {
                let piece = place.index(talk.pieces.len());
                let bytes = &mut talk.pieces[piece].1;
                let at = place.index(bytes.len());
                bytes[at] = *value;
            }
            Bench::default().stream(&all_wants(), &mut Tls::new(), &talk);
        }
    }
}
