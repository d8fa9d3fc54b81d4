//! Files out of HTTP with the built program: live on several engines, and where the directory of files is full, read-only
//! or gone. The tests on interfaces and mounts need root, and say so where they are not allowed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;
#[path = "e2e/namespace.rs"]
mod namespace;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::{Ended, Place, dropped, say};
use namespace::{capturing, in_namespace};
use sha2::{Digest, Sha256};
use support::Capture;
use support::conversation::Conversation;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);
const ON: &str = "Reassembly>FileExtraction>Enabled=true";
const SEGMENT: usize = 1_000;

/// Prints each file with its length and its hash, which a worker makes.
const HASHER: &str = "
TrisulPlugin = { id = { name = 'files', description = '' }, request_async_workers = 1,
  filex_monitor = { onfile_http = function(e, ts, flow, path, request, response, length)
    T.async:schedule { data = path .. ' ' .. length,
      onexecute = function(data) return T.util.sha256_file(data:match('%S+')) or 'gone' end,
      onresult = function(e, data, hash) print('file ' .. data .. ' ' .. hash) end }
  end } }";

/// A file that was told of.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    path: String,
    len: usize,
    hash: String,
}

fn told(text: &str) -> Vec<Told> {
    let parts = |line: &str| {
        let mut parts = line.strip_prefix("file ")?.split(' ').map(str::to_owned);
        Some(Told { path: parts.next()?, len: parts.next()?.parse().ok()?, hash: parts.next()? })
    };
    text.lines().filter_map(parts).collect()
}

fn body(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * (number + 3) / 7 + at / 256) as u8).collect()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks for a file.
fn get(talk: Conversation, name: &str) -> Conversation {
    talk.client(format!("GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes())
}

fn head(len: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").into_bytes()
}

/// A whole download.
fn download(talk: Conversation, name: &str, body: &[u8]) -> Conversation {
    let talk = get(talk, name).server(&head(body.len()));
    body.chunks(SEGMENT).fold(talk, |talk, piece| talk.server(piece))
}

/// Connections with two downloads each, and the hashes of these.
fn downloads(connections: usize, len: usize) -> (Vec<Capture>, BTreeSet<String>) {
    let mut hashes = BTreeSet::new();
    let captures = (0..connections).map(|number| {
        let open = Conversation::open(20_000 + number as u16, 80);
        let talk = [2 * number, 2 * number + 1].into_iter().fold(open, |talk, number| {
            let body = body(number, len + number);
            hashes.insert(hash(&body));
            download(talk, &format!("{number}.bin"), &body)
        });
        talk.close().capture()
    });
    (captures.collect(), hashes)
}

fn count(list: &serde_json::Value, name: &str) -> u64 {
    let found = list.as_array().into_iter().flatten().find(|named| named["name"] == name);
    found.and_then(|named| named["count"].as_u64()).unwrap_or_default()
}

#[test]
fn two_engines_take_the_same_files_off_an_interface_each_once() {
    in_namespace(|| {
        let (captures, hashes) = downloads(40, 20_000);
        let place = Place::new().plugin("files.lua", HASHER);
        let (_place, mut running) = capturing(place, &["-i", "here", "--engines", "2", "--json", "--set", ON]);
        let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
        for frame in captures.iter().flat_map(Capture::frames) {
            sender.sendpacket(frame).unwrap();
            std::thread::sleep(Duration::from_micros(100));
        }
        running.until("all files are hashed", |running| told(&running.said()).len() >= hashes.len());
        running.signal("INT");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        let files = told(&ended.stderr);
        let report = ended.report();
        assert_eq!(files.len(), hashes.len(), "{files:?}");
        assert_eq!(files.iter().map(|file| file.hash.clone()).collect::<BTreeSet<_>>(), hashes);
        assert_eq!(files.iter().map(|file| &file.path).collect::<BTreeSet<_>>().len(), files.len(), "names are unique");
        assert_eq!((count(&report["notes"], "files_extracted"), &report["run"]["engines"]), (80, &2.into()));
        let second = files.iter().filter(|file| file.path.rsplit('_').next().unwrap().contains('-')).count();
        say(&format!("{} files, {second} of them from the second engine", files.len()));
        let directory = Path::new(&files[0].path).parent().unwrap();
        assert!(!directory.exists(), "{directory:?} goes with the run");
    });
}

#[test]
fn engines_share_the_files_of_a_capture() {
    let (captures, hashes) = downloads(20, 5_000);
    let place = Place::new().plugin("files.lua", HASHER);
    let mut all = captures[0].to_pcap();
    captures[1..].iter().for_each(|capture| all.extend(&capture.to_pcap()[24..]));
    fs::write(place.path("downloads.pcap"), all).unwrap();
    for engines in ["1", "2", "3"] {
        let ended = place.run(&["-r", "downloads.pcap", "--engines", engines, "--json", "--set", ON], LIMIT);
        ended.exits(0);
        let files: Vec<String> = told(&ended.stderr).into_iter().map(|file| file.hash).collect();
        assert_eq!(
            (files.len(), files.into_iter().collect::<BTreeSet<_>>()),
            (40, hashes.clone()),
            "{engines} engines"
        );
    }
}

/// A directory that may hold files; names of temporary directories begin with a dot otherwise.
fn directory() -> TempDir {
    tempfile::Builder::new().prefix("files-").tempdir().unwrap()
}

/// Runs over a capture with a file system in memory as the directory of files. `prepare` is a shell command in it. `None`
/// where mounts are not allowed.
fn mounted(plugin: &str, capture: &Capture, options: &str, prepare: &str) -> Option<Ended> {
    let place = Place::new().plugin("files.lua", plugin);
    let files = directory();
    let name = files.path().display().to_string();
    fs::write(place.path("downloads.pcap"), capture.to_pcap()).unwrap();
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "-o", options, "tmpfs", &name]);
    if !probe.status().is_ok_and(|status| status.success()) {
        say("skipped: needs root to mount a file system");
        return None;
    }
    let script =
        format!("mount -t tmpfs -o {options} tmpfs {name} && {{ cd {name} && {prepare}; cd /; }} && exec \"$@\"");
    let run = place.command(&["-r", &place.path("downloads.pcap").display().to_string(), "--json", "--set", ON]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]).arg(run.get_program());
    command.args(run.get_args()).args(["--set", &format!("Reassembly>FileExtraction>RamFsDir={name}")]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("MILLSTREAM_DATA", place.path("data"));
    Some(place.start_command(&mut command).wait(LIMIT))
}

#[test]
fn a_full_disk_cuts_files_and_the_run_goes_on() {
    const LEN: usize = 90_000;
    let bodies: BTreeMap<char, Vec<u8>> = ('a'..='d').zip(1..).map(|(name, n)| (name, body(n, LEN))).collect();
    // Two files of which not even what is written before one of them ends fits together, piece by piece in turn; then two,
    // one after the other, that fit.
    let ports = [30_001, 30_002];
    let mut talks = [("a", 'a'), ("b", 'b')].into_iter().zip(ports).map(|((name, key), port)| {
        let talk = get(Conversation::open(port, 80), name).server(&head(LEN));
        bodies[&key].chunks(SEGMENT).fold(talk, |talk, piece| talk.server(piece)).close().capture()
    });
    let (first, second) = (talks.next().unwrap(), talks.next().unwrap());
    let last = ["c", "d"]
        .into_iter()
        .zip(['c', 'd'])
        .fold(Conversation::open(30_003, 80), |talk, (name, key)| download(talk, name, &bodies[&key]));
    let last = last.close().capture();
    let mut all = Capture::new();
    let turns = first.frames().zip(second.frames()).flat_map(|(a, b)| [a, b]).chain(last.frames());
    for (number, frame) in turns.enumerate() {
        all = all.at_micros(100 + number as u32 / 1_000, number as u32 % 1_000 * 1_000, frame.to_vec());
    }
    // What a job needs would stay until the job is done, so these files are looked at where they are told of.
    let plugin = "
    TrisulPlugin = { id = { name = 'files', description = '' }, filex_monitor = {
      onfile_http = function(e, ts, flow, path, request, response, length)
        print('file ' .. path .. ' ' .. length .. ' ' .. T.util.sha256_file(path))
      end } }";
    let Some(ended) = mounted(plugin, &all, "size=100k", "true") else { return };
    ended.exits(0);
    let files = told(&ended.stderr);
    let names: Vec<char> =
        files.iter().map(|file| file.path.split('_').nth(1).unwrap().chars().next().unwrap()).collect();
    assert_eq!(names, ['a', 'b', 'c', 'd'], "{files:?}");
    for (file, name) in files.iter().zip(names) {
        assert_eq!(file.hash, hash(&bodies[&name][..file.len]), "{name}: what is there is the beginning");
    }
    let lens: Vec<usize> = files.iter().map(|file| file.len).collect();
    assert!(lens[0] < LEN && lens[1] < LEN && lens[0] + lens[1] <= 100 << 10, "{lens:?}");
    assert_eq!(lens[2..], [LEN, LEN]);
    let report = ended.report();
    assert_eq!(dropped(&report, "files_cut"), 2, "{}", report["drops"]);
    assert_eq!(dropped(&report, "file_bytes_not_written"), (2 * LEN - lens[0] - lens[1]) as u64, "{}", report["drops"]);
    assert_eq!(report["plugins"][0]["errors"], 0);
}

#[test]
fn where_nothing_can_be_written_nothing_is_told_and_everything_is_counted() {
    let (captures, _) = downloads(1, 5_000);
    for (options, prepare) in [("ro,size=1m", "true"), ("size=8k", "head -c 8192 /dev/zero > full")] {
        let Some(ended) = mounted(HASHER, &captures[0], options, prepare) else { return };
        ended.exits(0);
        assert_eq!(told(&ended.stderr), [], "{options}");
        let report = ended.report();
        assert_eq!(report["run"]["packets"], captures[0].len());
        let drops = ["files_not_written", "files_cut", "file_bytes_not_written"].map(|name| dropped(&report, name));
        assert_eq!(drops, [2, 0, 10_001], "{options}: {}", report["drops"]);
    }
}

#[test]
fn a_directory_that_goes_away_takes_its_files_along_and_nothing_else() {
    let bodies: Vec<Vec<u8>> = (1..=4).map(|number| body(number, 5_000)).collect();
    let talk = bodies.iter().enumerate().fold(Conversation::open(30_001, 80), |talk, (number, body)| {
        download(talk, &format!("{number}.bin"), body).wait(1)
    });
    let place = Place::new();
    let files = directory();
    let name = files.path().join("gone").display().to_string();
    let plugin = format!(
        "local n = 0
        TrisulPlugin = {{ id = {{ name = 'files', description = '' }}, filex_monitor = {{
          onfile_http = function(e, ts, flow, path, request, response, length)
            print('file ' .. path .. ' ' .. length .. ' ' .. T.util.sha256_file(path))
            n = n + 1
            if n == 2 then os.execute('rm -r {name}') end
          end }} }}"
    );
    let place = place.plugin("files.lua", &plugin);
    fs::write(place.path("downloads.pcap"), talk.close().capture().to_pcap()).unwrap();
    let set = format!("Reassembly>FileExtraction>RamFsDir={name}");
    let ended = place.run(&["-r", "downloads.pcap", "--json", "--set", ON, "--set", &set], LIMIT);
    ended.exits(0);
    let hashes: Vec<String> = told(&ended.stderr).into_iter().map(|file| file.hash).collect();
    assert_eq!(hashes, [hash(&bodies[0]), hash(&bodies[1])]);
    let report = ended.report();
    assert_eq!(dropped(&report, "files_not_written"), 2, "{}", report["drops"]);
    assert_eq!(dropped(&report, "file_bytes_not_written"), 10_000, "{}", report["drops"]);
    assert!(!Path::new(&name).exists());
}
