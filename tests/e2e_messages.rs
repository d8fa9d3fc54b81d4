//! What people read when something is wrong: one line that names the thing and the way out, the same in every run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use e2e::{Ended, Place};

const LIMIT: Duration = Duration::from_secs(10);
const ETHERNET: &str = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}";

fn demo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pcaps/demo.pcap").display().to_string()
}

/// Runs with the plugins of a place over the demonstration capture.
fn over_demo(place: &Place, arguments: &[&str]) -> Ended {
    place.run(&[&["-r", &demo()], arguments].concat(), LIMIT)
}

#[test]
fn what_cannot_run_is_explained_in_one_line() {
    let place = Place::new();
    fs::write(place.path("text"), "no capture").unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    for (arguments, expected) in [
        (
            &[][..],
            "no input: use -r FILE for a capture file, -i INTERFACE for live packets, or millstream demo to see it work",
        ),
        (&["-r", "nosuch.pcap"], "nosuch.pcap: no such file; check the path, or use - for standard input"),
        (&["-r", "empty"], "empty: no capture file in this directory"),
        (
            &["-r", "text"],
            "text: not a capture file: it looks like a text file; expected pcap or pcapng, plain or compressed with gzip or zstd",
        ),
        (&["-r", "text", "-p", "nosuch.lua"], "plugin path nosuch.lua does not exist; try: millstream list"),
        (
            &["-r", &demo(), "--engines", "2", "--count", "5"],
            "--count, --duration and --speed need one packet thread; leave out --engines 2",
        ),
        (&["-r", &demo(), "--events", "empty"], "--events empty: is a directory; name a plain file"),
    ] {
        let ended = place.run(arguments, LIMIT);
        ended.exits(2);
        assert_eq!((ended.stderr, ended.stdout), (format!("millstream: {expected}\n"), String::new()));
    }
}

/// Builds ten packets of 54 bytes, a second apart, with UDP and TCP by turns.
const IMPORTER: &str = r"local n = 0
  local function frame(protocol, len)
    return '\2\0\0\0\0\1\2\0\0\0\0\2\8\0\69\0' .. string.char(0, 20 + len) .. '\0\0\0\0\64' .. string.char(protocol) ..
      '\0\0\10\0\0\1\10\0\0\2' .. string.rep('\0', len)
  end
  TrisulPlugin = { id = { name = 'importer' }, inputfilter = { step = function(packet, engine)
    if n == 10 then return false end
    n = n + 1
    packet:set_packet(1000 + n, 0, 1, frame(n % 2 == 0 and 6 or 17, 20))
    return true
  end } }";

#[test]
fn limits_hold_for_the_packets_of_an_input_filter() {
    let place = Place::new().plugin("importer.lua", IMPORTER).counter(
        "cut.lua",
        ETHERNET,
        "",
        "if n == 1 then print('holds', layer:packet():capture_length()) end",
    );
    let run = |arguments: &[&str]| {
        let ended = place.run(&[&["--json"], arguments].concat(), LIMIT);
        let report = ended.exits(0).report();
        let cut = arguments.contains(&"--snaplen");
        assert!(ended.stderr.contains(if cut { "holds\t30" } else { "holds\t54" }), "{}", ended.stderr);
        [&report["run"]["packets"], &report["run"]["bytes"]].map(|count| count.as_u64().unwrap())
    };
    assert_eq!(run(&[]), [10, 540]);
    assert_eq!(run(&["--count", "3"]), [3, 162]);
    assert_eq!(run(&["--filter", "tcp"]), [5, 270]);
    assert_eq!(run(&["--filter", "tcp", "--count", "2"]), [2, 108]);
    assert_eq!(run(&["--duration", "4s"]), [4, 216]);
    assert_eq!(run(&["--snaplen", "30"]), [10, 540]);
    let ended = place.run(&["--filter", "tcp prt 80"], LIMIT);
    ended.exits(2);
    assert!(ended.stderr.contains("'tcp prt 80' for '--filter <BPF>': this does not compile: "), "{}", ended.stderr);
    for (arguments, expected) in [
        (["--speed", "2"], "--speed is for files; an input filter has its own speed"),
        (["--loop", "2"], "--loop is for files; an input filter cannot be read again"),
        (["--engines", "2"], "an input filter needs one packet thread; leave out --engines 2"),
    ] {
        let ended = place.run(&arguments, LIMIT);
        ended.exits(2);
        assert_eq!((ended.stderr, ended.stdout), (format!("millstream: {expected}\n"), String::new()));
    }
}

#[test]
fn the_duration_of_an_input_filter_without_packets_is_the_time_that_passes() {
    let silent = "TrisulPlugin = { id = { name = 'silent' }, inputfilter = { step_alert = function() end } }";
    let place = Place::new().plugin("silent.lua", silent);
    let ended = place.run(&["--duration", "300ms", "--json"], LIMIT);
    assert!(ended.exits(0).took >= Duration::from_millis(250), "{:?}", ended.took);
}

#[test]
fn arguments_that_make_no_sense_are_refused_with_an_example() {
    let place = Place::new();
    for (arguments, expected) in [
        (["--count", "many"], "a whole number above zero is needed, such as 1000"),
        (["--speed", "0"], "a number above zero is needed, such as 1 or 2.5"),
        (["--duration", "soon"], "a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed"),
        (["--report-every", "0s"], "a time above zero is needed, such as 10s"),
        (["--set", "x"], "configuration override 'x' lacks '='; write it as App>DBRoot=/some/dir"),
    ] {
        let ended = over_demo(&place, &arguments);
        ended.exits(2);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}

#[test]
fn files_that_are_not_loaded_are_told_of() {
    let place = Place::new().counter("open.lua", ETHERNET, "", "print('seen')").plugin("library.lua", "return {}");
    let open = place.path("plugins/open.lua");
    let library = place.path("plugins/library.lua").display().to_string();
    let ended = over_demo(&place, &["--count", "1", "-q"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("seen\n", ""), "a library beside plugins is no news");
    let ended = over_demo(&Place::new(), &["--count", "1", "-q", "-p", &library]);
    let expected = "library.lua: not loaded: does not mention TrisulPlugin: a library, not a plugin\n";
    assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
    ended.exits(1);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
        let ended = over_demo(&place, &["--count", "1", "-q"]);
        let expected = format!("refused when running as root; try: chmod o-w {}\n", open.display());
        assert!(ended.stderr.ends_with(&expected) && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn a_directory_without_a_plugin_is_told_of() {
    let place = Place::new();
    fs::create_dir(place.path("none")).unwrap();
    let ended = over_demo(&place, &["--count", "1", "-q", "-p", "none"]);
    ended.exits(0);
    let (told, list) = (" none: no plugin in this directory; try: ", " list -p none\n");
    assert!(ended.stderr.contains(told) && ended.stderr.ends_with(list), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn a_link_type_that_nobody_knows_is_named_once() {
    let place = Place::new();
    let mut capture = [0xA1B2_C3D4_u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4]].concat();
    capture.extend([262_144_u32, 147].iter().flat_map(|number| number.to_le_bytes()));
    for second in 1..4_u32 {
        capture.extend([second, 0, 4, 4].iter().flat_map(|number| number.to_le_bytes()));
        capture.extend(b"abcd");
    }
    fs::write(place.path("odd.pcap"), capture).unwrap();
    let ended = place.run(&["-r", "odd.pcap", "-q"], LIMIT);
    ended.exits(0);
    let expected = "link type 147: not known; its packets are counted, but nothing is found in them\n";
    assert!(ended.stderr.ends_with(expected) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

#[test]
fn a_quiet_run_says_what_was_damaged() {
    let place = Place::new();
    let demo = fs::read(demo()).unwrap();
    fs::write(place.path("cut.pcap"), &demo[..100_000]).unwrap();
    let ended = place.run(&["-r", "cut.pcap", "-q"], LIMIT);
    ended.exits(1);
    let expected = "cut.pcap: damaged at byte 99940: the file ends inside a record: 60 of 326 bytes\n";
    assert!(ended.stderr.ends_with(expected) && ended.stdout.is_empty(), "{}", ended.stderr);
}

#[test]
fn faults_read_the_same_in_every_run() {
    let body = "if n % 3 == 0 then error({}) elseif n % 3 == 1 then error(function() end) end pcall(error, 'x')
        return setmetatable({}, { __tostring = 5 }) < 1";
    let place = Place::new().counter("faulty.lua", ETHERNET, "", body);
    let run = |name: &str| {
        let written = place.path(name);
        let ended = over_demo(&place, &["-q", "--events", &written.display().to_string()]);
        ended.exits(1);
        (ended.stderr, fs::read_to_string(written).unwrap())
    };
    let (first, second) = (run("1"), run("2"));
    assert_eq!(first, second);
    for text in [&first.0, &first.1] {
        assert!(text.contains("(error object is a table value)") && text.contains("faulty.lua:"), "{text}");
        assert!(!text.contains("0x") && !text.contains("millstream.driver"), "{text}");
    }
}

#[test]
fn the_reason_of_damage_is_told_in_full() {
    let place = Place::new();
    let mut capture = fs::read(demo()).unwrap();
    capture.truncate(capture.len() - 1);
    let name = "a-capture-with-a-name-so-long-that-both-do-not-fit-on-one-line-of-the-report.pcap";
    fs::write(place.path(name), &capture).unwrap();
    let ended = place.run(&["-r", name], LIMIT);
    ended.exits(1);
    let report = place.run(&["-r", name, "--json"], LIMIT).report();
    let reason = report["damage"]["inputs"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("damaged at byte ") && ended.stdout.contains(&reason), "{reason}\n{}", ended.stdout);
    assert!(
        ended.stdout.contains(name) && ended.stdout.ends_with("exit code 1\n  1 damaged input\n"),
        "{}",
        ended.stdout
    );
}
