//! Readers that are slow or gone, files that move away, disks that fill up.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::run::{
    BIN, DEMO, Disk, begin, dropped, events, lines, lost, moved_away, noisy, of, output, report, run, signal, timed,
    wait_until,
};

#[test]
fn a_link_a_pipe_and_a_folder_are_refused_with_a_message() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("target"), "keep\n").unwrap();
    symlink(path("target"), path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    for (name, word) in [("link", "link"), ("folder", "directory"), ("pipe", "pipe")] {
        let (output, time) = timed(|| run(&["-r", DEMO, "--eve", path(name).to_str().unwrap()]));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {text}");
        assert!(text.contains(word) && text.contains("--eve"), "{name}: {text}");
        assert!(time < Duration::from_secs(20), "{name}");
    }
    assert_eq!(fs::read(path("target")).unwrap(), b"keep\n");
    // The same goes for the files of tables.
    fs::create_dir(path("tables")).unwrap();
    symlink(path("target"), path("tables/alerts.csv")).unwrap();
    let output = run(&["-r", DEMO, "--csv", path("tables").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(path("target")).unwrap(), b"keep\n");
}

#[test]
fn what_is_written_takes_the_place_of_nothing_else_in_the_run() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let capture = path("in.pcap");
    fs::copy(DEMO, &capture).unwrap();
    symlink(&capture, path("link.pcap")).unwrap();
    fs::hard_link(&capture, path("other-name.pcap")).unwrap();
    let (out, around) = (path("out"), path("./out"));
    let cases: [(&[&str], &str); 8] = [
        (&["--events", &capture], "--events"),
        (&["--eve", &capture], "--eve"),
        (&["--events", &path("link.pcap")], "--events"),
        (&["--eve", &path("other-name.pcap")], "--eve"),
        (&["--events", &out, "--eve", &around], "--eve"),
        (&["--store", &out, "--events", &around], "--events"),
        (&["--store", &out, "--eve", &out], "--eve"),
        (&["--store", &out, "--eve", &path("out-wal")], "--eve"),
    ];
    for (arguments, option) in cases {
        let output = run(&[&["-q", "-r", &capture], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(option) && said.contains("name another file"), "{arguments:?}: {said}");
        assert!(fs::read(&capture).unwrap() == fs::read(DEMO).unwrap(), "{arguments:?}");
        assert!(!Path::new(&out).exists(), "{arguments:?}");
    }
    // What holds nothing may be named as often as anybody likes.
    let output = run(&["-q", "-r", &capture, "--events", "/dev/null", "--store", &out]);
    assert!(output.status.success());
    let output = run(&["-q", "-r", &capture, "--events", &path("a"), "--eve", &path("b"), "--store", &out]);
    assert!(output.status.success());
}

#[test]
fn files_may_be_read_by_owner_and_group_alone() {
    let dir = TempDir::new().unwrap();
    let [eve, csv, stream] = ["eve.json", "csv", "events.json"].map(|name| dir.path().join(name));
    let [eve_name, csv_name, stream_name] = [&eve, &csv, &stream].map(|path| path.to_str().unwrap());
    report(&["-r", DEMO, "--eve", eve_name, "--csv", csv_name, "--events", stream_name], 0);
    for path in [eve, stream, csv.join("flows.csv"), csv.join("counters.csv")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "{}", path.display());
    }
}

#[test]
fn a_disk_that_is_full_costs_events_and_nothing_else() {
    let dir = TempDir::new().unwrap();
    let Some(disk) = Disk::mounted(&dir.path().join("disk"), "64k") else { return };
    let whole = dir.path().join("whole.json");
    let all = output(&report(&["-r", DEMO, "--eve", whole.to_str().unwrap()], 0), "eve")["written"].as_u64().unwrap();
    let eve = disk.path().join("eve.json");
    let report = report(&["-r", DEMO, "--eve", eve.to_str().unwrap()], 1);
    let written = events(&eve).len() as u64;
    let eve = output(&report, "eve");
    assert_eq!(eve["written"].as_u64(), Some(written), "what is there is whole lines");
    assert!(written > 0 && lost(eve) > 0);
    assert_eq!(written + lost(eve), all, "{eve}");
    assert_eq!(report["run"]["packets"], 3399);
    assert!(eve["failure"].as_str().unwrap().contains("space"), "{eve}");
}

#[test]
fn a_disk_that_has_room_again_is_written_again() {
    // A device that is always full stands for the disk; what is written to a plain file afterwards is another run.
    let report = report(&["-r", DEMO, "--eve", "/dev/full"], 1);
    let eve = output(&report, "eve");
    assert_eq!((eve["written"].as_u64(), dropped(eve, "eve_not_written")), (Some(0), lost(eve)));
    assert_eq!(report["run"]["packets"], 3399);
}

#[test]
fn a_closed_pipe_ends_a_run_that_has_no_other_output_quietly() {
    let mut child = begin(&["-r", DEMO, "--loop", "100000", "--eve", "-"]);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert!(serde_json::from_str::<Value>(&first).is_ok());
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn a_closed_pipe_ends_that_output_and_others_go_on() {
    let dir = TempDir::new().unwrap();
    let csv = dir.path().join("csv");
    let mut child = begin(&["-r", DEMO, "--loop", "3", "--eve", "-", "--csv", csv.to_str().unwrap()]);
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("10,197") || text.contains("10197") || text.contains("10.2"),
        "the report counts all: {text}"
    );
    assert!(fs::metadata(csv.join("flows.csv")).unwrap().len() > 1_000);
}

#[test]
fn a_reader_that_stalls_costs_events_and_no_packets() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    // Somebody listens, takes the connection, and never reads.
    let listener = UnixListener::bind(&socket).unwrap();
    let taken = thread::spawn(move || listener.accept().unwrap());
    let target = format!("unix:{}", socket.display());
    let (report, time) = timed(|| report(&["-r", DEMO, "--loop", "60", "--eve", &target], 0));
    let stream = taken.join().unwrap();
    let eve = output(&report, "eve");
    assert_eq!(report["run"]["packets"], 3399 * 60);
    assert!(dropped(eve, "eve_queue_full") > 0, "{eve}");
    assert!(time < Duration::from_secs(120), "{time:?}");
    drop(stream);
}

#[test]
fn a_reader_that_is_slow_gets_everything_from_a_file() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole.json");
    report(&["-r", DEMO, "--loop", "3", "--eve", whole.to_str().unwrap()], 0);
    let mut child = begin(&["-r", DEMO, "--loop", "3", "--eve", "-", "-q"]);
    let mut out = child.stdout.take().unwrap();
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 32 << 10]);
    loop {
        let count = out.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
        thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    assert!(bytes == fs::read(&whole).unwrap());
}

/// Reads a little every now and then, for some time or until nothing more comes.
fn trickle(out: &mut impl Read, bytes: &mut Vec<u8>, pause: Duration, time: Duration) {
    let mut piece = vec![0; 4 << 10];
    for _ in 0..time.as_millis() / pause.as_millis() {
        let count = out.read(&mut piece).unwrap();
        if count == 0 {
            return;
        }
        bytes.extend_from_slice(&piece[..count]);
        thread::sleep(pause);
    }
}

#[test]
fn a_reader_that_takes_a_little_gets_everything_from_a_file_if_nobody_asks_for_an_end() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole.json");
    report(&["-r", DEMO, "--loop", "100", "--eve", whole.to_str().unwrap()], 0);
    let mut child = begin(&["-r", DEMO, "--loop", "100", "--eve", "-", "-q"]);
    let (mut out, mut bytes) = (child.stdout.take().unwrap(), Vec::new());
    trickle(&mut out, &mut bytes, Duration::from_millis(500), Duration::from_secs(8));
    out.read_to_end(&mut bytes).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    let expected = fs::read(&whole).unwrap();
    assert!(bytes == expected, "{} of {} bytes", bytes.len(), expected.len());
}

#[test]
fn a_reader_that_takes_a_little_does_not_hold_up_an_end_that_was_asked_for() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 0);
    for (option, name) in [("--eve", "eve_no_reader"), ("--events", "events_no_reader")] {
        let mut child = begin(&["-r", DEMO, "--loop", "100000", "-p", &plugin, option, "-"]);
        let (mut out, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let said = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).unwrap();
            text
        });
        let mut bytes = Vec::new();
        trickle(&mut out, &mut bytes, Duration::from_millis(500), Duration::from_secs(3));
        signal(&child, "-TERM");
        let pause = Duration::from_millis(500);
        let (_, time) = timed(|| trickle(&mut out, &mut bytes, pause, Duration::from_secs(60)));
        let _ = child.kill();
        let (status, said) = (child.wait().unwrap(), said.join().unwrap());
        // What is in the pipe by then takes the reader eight seconds.
        assert!(time < Duration::from_secs(30), "{option}: {time:?}");
        assert_eq!(status.code(), Some(1), "{option}: {said}");
        assert!(said.contains(name), "{option}: {said}");
    }
}

#[test]
fn a_reader_that_comes_back_begins_with_a_whole_line() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("socket");
    let target = format!("unix:{}", socket.display());
    // At this speed the 84 seconds take eight.
    let child = begin(&["-r", DEMO, "--speed", "10", "--eve", &target, "--json", "--eve-stats", "1s"]);
    let listen = || {
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let (stream, _) = listener.accept().unwrap();
        (listener, BufReader::new(stream))
    };
    let mut received = 0;
    let (listener, mut first) = listen();
    for _ in 0..2 {
        let mut line = String::new();
        first.read_line(&mut line).unwrap();
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        received += 1;
    }
    drop((listener, first));
    let (_listener, mut second) = listen();
    let mut rest = Vec::new();
    second.read_to_end(&mut rest).unwrap();
    let rest = lines(&rest);
    let output_of = child.wait_with_output().unwrap();
    assert_eq!(output_of.status.code(), Some(0), "{}", String::from_utf8_lossy(&output_of.stderr));
    let report: Value = serde_json::from_slice(&output_of.stdout).unwrap();
    let eve = output(&report, "eve");
    assert!(!rest.is_empty() && received > 0);
    assert!(dropped(eve, "eve_no_reader") > 0, "what came while nobody listened is counted: {eve}");
}

#[test]
fn rotation_loses_and_splits_no_line() {
    let dir = TempDir::new().unwrap();
    let eve = dir.path().join("eve.json");
    let child = begin(&["-r", DEMO, "--loop", "100", "--eve", eve.to_str().unwrap(), "--json", "--eve-stats", "0"]);
    let mut moved = moved_away(&child, &eve, dir.path(), 20, 0);
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    moved.push(eve);
    let count = |path: &Path| if path.exists() { events(path).len() as u64 } else { 0 };
    let written: u64 = moved.iter().map(|path| count(path)).sum();
    let eve = output(&report, "eve");
    assert_eq!((Some(written), lost(eve)), (eve["written"].as_u64(), 0), "{eve}");
    assert!(moved.iter().filter(|path| count(path) > 0).count() > 2, "it was moved while it was written");
}

#[test]
fn tables_that_are_moved_away_begin_anew_and_lose_no_row() {
    let dir = TempDir::new().unwrap();
    let (folder, flows) = (dir.path().join("csv"), dir.path().join("csv/flows.csv"));
    let child = begin(&["-r", DEMO, "--loop", "100", "--csv", folder.to_str().unwrap(), "--json"]);
    // More than the names of the columns.
    let moved = moved_away(&child, &flows, dir.path(), 10, 1_000);
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let others = ["counters", "alerts", "resources", "documents"].map(|name| folder.join(format!("{name}.csv")));
    let heads = moved.len() + usize::from(flows.exists()) + others.len();
    let tables = moved.iter().chain([&flows]).chain(&others).filter(|path| path.exists());
    // Ends of lines within quotes are no ends of rows.
    let rows = |text: &str| text.split('"').step_by(2).map(|part| part.matches("\r\n").count()).sum::<usize>();
    let all: usize = tables.map(|path| rows(&fs::read_to_string(path).unwrap())).sum();
    let csv = output(&report, "csv");
    assert_eq!((Some((all - heads) as u64), lost(csv)), (csv["written"].as_u64(), 0), "{csv}");
    assert!(moved.len() > 2, "it was moved while it was written");
}

#[test]
fn a_reload_tells_which_outputs_could_not_be_opened_anew() {
    let dir = TempDir::new().unwrap();
    let names = ["eve.json", "csv", "events.json", "socket"];
    let [eve, folder, stream, socket] = names.map(|name| dir.path().join(name));
    let [eve_name, folder_name, stream_name, socket_name] =
        [&eve, &folder, &stream, &socket].map(|path| path.to_str().unwrap());
    let mut command = Command::new(BIN);
    command.args(["run", "-q", "-r", "-", "--eve", eve_name, "--csv", folder_name, "--events", stream_name]);
    command.args(["--control", socket_name]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let reload = || {
        let output = Command::new(BIN).args(["reload", "--json", "--control", socket_name]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let mut said = None;
    wait_until("the run to answer", || {
        said = reload();
        said.is_some()
    });
    assert_eq!(said.unwrap()["failed"], serde_json::json!([]));
    for file in [&eve, &stream] {
        fs::rename(file, file.with_extension("moved")).unwrap();
        fs::create_dir(file).unwrap();
    }
    fs::rename(&folder, dir.path().join("moved")).unwrap();
    let said = reload().unwrap();
    let failed: Vec<&str> = said["failed"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(failed.len(), 3, "{failed:?}");
    assert!(failed[0].starts_with("eve: ") && failed[0].contains("directory"), "{failed:?}");
    assert!(failed[1].starts_with("csv: ") && failed[1].contains("No such file"), "{failed:?}");
    assert!(failed[2].starts_with("events: ") && failed[2].contains("directory"), "{failed:?}");
    child.stdin.take().unwrap().write_all(&fs::read(DEMO).unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "what is open is written further");
}

#[test]
fn standard_output_holds_events_alone() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_000);
    let output = run(&["-r", DEMO, "-p", &plugin, "--eve", "-", "--print", "alerts"]);
    assert_eq!(output.status.code(), Some(0));
    let events = lines(&output.stdout);
    let printed = String::from_utf8_lossy(&output.stderr);
    let alerts = of(&events, "alert").len();
    assert_eq!(printed.lines().filter(|line| line.contains("  alert  priority 2  [noisy.lua]")).count(), alerts);
    for arguments in [["--json", "-q"], ["--events", "-"]] {
        let refused = run(&[&["-r", DEMO, "--eve", "-"][..], &arguments].concat());
        assert_eq!(refused.status.code(), Some(2));
    }
    let output = run(&["-r", DEMO, "--report-every", "20", "--eve", "-"]);
    assert!(!of(&lines(&output.stdout), "flow").is_empty());
    let reports = String::from_utf8_lossy(&output.stderr).matches("packet time").count();
    assert!(reports > 1, "{reports}");
    let output = run(&["-r", DEMO, "-p", &plugin, "--events", "-"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(lines(&output.stdout).iter().any(|event| event["ev"] == "alert"));
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(report.contains("packet time"), "{report}");
    assert_eq!(run(&["-r", DEMO, "--events", "-", "--json"]).status.code(), Some(2));
}
