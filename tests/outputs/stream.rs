//! The event stream in a file: moved away, on a disk that fills up, under names that are none of a plain file.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::run::{BIN, DEMO, Disk, begin, events, lines, moved_away, noisy, report, run, signal, wait_until};

/// The first line.
const HEAD: &[u8] = b"{\"ev\":\"version\",\"events\":1}\n";

/// A count among the drops of a report.
fn dropped(report: &Value, name: &str) -> u64 {
    let all = report["drops"].as_array().unwrap();
    all.iter().find(|drop| drop["name"] == name).map_or(0, |drop| drop["count"].as_u64().unwrap())
}

#[test]
fn rotation_loses_and_splits_no_event() {
    let dir = TempDir::new().unwrap();
    let [whole, stream] = ["whole.json", "events.json"].map(|name| dir.path().join(name));
    let plugin = noisy(dir.path(), 100);
    let common = ["-r", DEMO, "-p", &plugin, "--loop", "60", "--events"];
    report(&[&common[..], &[whole.to_str().unwrap()]].concat(), 0);
    let child = begin(&[&common[..], &[stream.to_str().unwrap(), "-q"]].concat());
    let mut moved = moved_away(&child, &stream, dir.path(), 10, 1_000);
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(moved.len() > 2, "it was moved while it was written");
    moved.push(stream);
    let mut all = HEAD.to_vec();
    for path in moved.iter().filter(|path| path.exists()) {
        let bytes = fs::read(path).unwrap();
        assert!(bytes.ends_with(b"\n"), "{}: a line goes on in another file", path.display());
        all.extend_from_slice(bytes.strip_prefix(HEAD).expect("each file begins with the version"));
    }
    assert!(all == fs::read(&whole).unwrap(), "together they are what one file would be");
}

#[test]
fn a_file_that_is_still_there_is_added_to() {
    let dir = TempDir::new().unwrap();
    let stream = dir.path().join("events.json");
    let mut child = begin(&["-r", DEMO, "--speed", "20", "-q", "--events", stream.to_str().unwrap()]);
    wait_until("the beginning", || stream.exists());
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(500));
        signal(&child, "-HUP");
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let events = events(&stream);
    assert_eq!(events.iter().filter(|event| event["ev"] == "version").count(), 1);
    assert_eq!((&events[0]["ev"], &events[events.len() - 1]["ev"]), (&"version".into(), &"end".into()));
}

#[test]
fn a_disk_that_is_full_costs_events_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64k") else { return };
    let plugin = noisy(dir.path(), 100);
    let [whole, small] = [dir.path(), disk.path()].map(|place| place.join("events.json"));
    report(&["-r", DEMO, "-p", &plugin, "--events", whole.to_str().unwrap()], 0);
    let report = report(&["-r", DEMO, "-p", &plugin, "--events", small.to_str().unwrap()], 1);
    let (all, written) = (events(&whole).len() as u64, events(&small).len() as u64);
    let lost = dropped(&report, "events_not_written");
    assert!(written > 1 && lost > 0, "{written} written, {lost} lost");
    assert_eq!(written + lost, all);
    assert_eq!(report["run"]["packets"], 3399);
    let reasons = report["verdict"]["reasons"].to_string();
    assert!(reasons.contains("the event stream") && reasons.contains("No space left"), "{reasons}");
}

/// Where the packets of a capture begin.
const CAPTURE_HEAD: usize = 24;

/// Runs on the capture again and again; `between` is told how often it was read and says whether that is enough.
pub fn fed(arguments: &[&str], errors: &Path, mut between: impl FnMut(usize) -> bool) -> i32 {
    let mut command = Command::new(BIN);
    command.args(["run", "-r", "-"]).args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(File::create(errors).unwrap());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let capture = fs::read(DEMO).unwrap();
    input.write_all(&capture[..CAPTURE_HEAD]).unwrap();
    for times in 1.. {
        input.write_all(&capture[CAPTURE_HEAD..]).unwrap();
        thread::sleep(Duration::from_millis(100));
        if between(times) {
            break;
        }
    }
    drop(input);
    child.wait().unwrap().code().unwrap()
}

#[test]
fn a_disk_that_has_room_again_is_written_again() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64m") else { return };
    let plugin = noisy(dir.path(), 100);
    let [whole, errors] = ["whole.json", "errors"].map(|name| dir.path().join(name));
    let small = disk.path().join("events.json");
    let has_said = |text: &str| fs::read_to_string(&errors).unwrap().contains(text);
    let mut ballast = None;
    let (mut freed, mut read) = (0, 0);
    let arguments = ["-p", &plugin, "-q", "--events", small.to_str().unwrap()];
    let code = fed(&arguments, &errors, |times| {
        if ballast.is_none() {
            wait_until("the beginning", || fs::metadata(&small).is_ok_and(|about| about.len() > 1_000));
            ballast = Some(disk.fill());
        }
        if freed == 0 && has_said("No space left") {
            fs::remove_file(ballast.as_ref().unwrap()).unwrap();
            freed = times;
        }
        read = times;
        assert!(times < 200, "{}", fs::read_to_string(&errors).unwrap());
        freed > 0 && has_said("events are written again")
    });
    assert_eq!(code, 1);
    let events = events(&small);
    assert_eq!(events.last().unwrap()["ev"], "end");
    assert!(events.iter().any(|event| event["ev"] == "alert"));
    assert_eq!(fed(&["-p", &plugin, "-q", "--events", whole.to_str().unwrap()], &errors, |times| times == read), 0);
    assert!(lines(&fs::read(&whole).unwrap()).len() > events.len(), "some were lost");
}

#[test]
fn standard_output_that_is_a_file_has_whole_lines() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64k") else { return };
    let plugin = noisy(dir.path(), 100);
    let small = disk.path().join("events.json");
    for (option, name) in [("--events", "events_not_written"), ("--eve", "eve_not_written")] {
        let mut command = Command::new(BIN);
        command.args(["run", "-r", DEMO, "-p", &plugin, option, "-"]).stdin(Stdio::null());
        let output = command.stdout(File::create(&small).unwrap()).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(name), "{said}");
        assert!(events(&small).len() > 1);
    }
}

#[test]
fn links_are_followed_and_folders_refused() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    symlink(path("target"), path("link")).unwrap();
    report(&["-r", DEMO, "--events", path("link").to_str().unwrap()], 0);
    assert_eq!(events(&path("target")).last().unwrap()["ev"], "end");
    fs::create_dir(path("folder")).unwrap();
    let output = run(&["-r", DEMO, "--events", path("folder").to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--events") && said.contains("directory"), "{said}");
    // A name that leads to a pipe.
    let mut child = begin(&["-r", DEMO, "-q", "--events", "/dev/stdout"]);
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(lines(&bytes).last().unwrap()["ev"], "end");
}
