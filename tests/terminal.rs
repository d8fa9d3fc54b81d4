//! What is seen on a terminal: the progress line, those who write in its place, and the debugger's prompt.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(unsafe_code, reason = "a pair of terminals has no safe wrapper")]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command};
use std::ptr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use millstream::time::Stopwatch;
use support::frames::udp_packet;
use support::{Capture, IPV4};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const WIPE: &str = "\r\x1b[2K";

/// A run on a terminal of its own, and what has appeared there.
struct Session {
    keyboard: File,
    seen: Arc<Mutex<Vec<u8>>>,
    child: Child,
    reader: thread::JoinHandle<()>,
    _dir: TempDir,
}

/// Both ends of a terminal: that of whoever sits there, and that of programs.
fn terminal() -> (File, OwnedFd) {
    let (mut here, mut there) = (-1, -1);
    // SAFETY: both numbers are written to; name and settings may be left out.
    let made = unsafe { libc::openpty(&raw mut here, &raw mut there, ptr::null_mut(), ptr::null(), ptr::null()) };
    assert_eq!(made, 0, "no terminal can be made");
    // SAFETY: it was made just now and is nobody else's.
    let here = unsafe { File::from_raw_fd(here) };
    // SAFETY: as above.
    let there = unsafe { OwnedFd::from_raw_fd(there) };
    (here, there)
}

impl Session {
    /// `millstream run` with a script that runs `body` for every packet, on packets a second apart.
    fn start(body: &str, packets: u32, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let (plugin, capture) = (dir.path().join("p.lua"), dir.path().join("input.pcap"));
        let script = format!(
            "local n = 0 TrisulPlugin = {{ id = {{ name = 'p' }}, simplecounter = {{ protocol_guid = '{IPV4}', \
             onpacket = function(engine, layer) n = n + 1 {body} end }} }}"
        );
        fs::write(&plugin, script).unwrap();
        let packet = || udp_packet((5000, 6000), b"x");
        let packets = (1..=packets).fold(Capture::new(), |capture, secs| capture.at(secs, packet()));
        fs::write(&capture, packets.to_pcap()).unwrap();
        let (keyboard, there) = terminal();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.arg("run").arg("-r").arg(&capture).arg("-p").arg(&plugin).args(arguments).current_dir(dir.path());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("MILLSTREAM_DATA", dir.path());
        command.envs(variables.iter().copied());
        command.stdin(there.try_clone().unwrap()).stdout(there.try_clone().unwrap()).stderr(there);
        let child = command.spawn().unwrap();
        // The ends of the program must not be kept open here.
        drop(command);
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (mut screen, kept) = (keyboard.try_clone().unwrap(), Arc::clone(&seen));
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            // When nobody has the other end any more, reading fails.
            while let Ok(count) = screen.read(&mut bytes)
                && count > 0
            {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { keyboard, seen, child, reader, _dir: dir }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    #[track_caller]
    fn until(&self, text: &str) {
        let since = Stopwatch::start();
        while !self.text().contains(text) {
            assert!(since.elapsed() < LIMIT, "{text:?} does not appear: {:?}", self.text());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Exit code and everything that has appeared.
    fn wait(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.join().unwrap();
        (code, String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned())
    }
}

#[test]
fn a_debugger_waits_as_long_as_somebody_thinks_and_has_the_terminal_for_itself() {
    let body = "if n == 1 then require('debugger')() print('went on') end";
    let mut session = Session::start(body, 3, &[], &[]);
    session.until("debug> ");
    // Longer than the budget, and than runs go without a progress line.
    thread::sleep(Duration::from_millis(2_500));
    assert!(session.text().ends_with("debug> "), "{:?}", session.text());
    session.types("n\n");
    session.until("debug> n");
    session.types("c\n");
    let (code, text) = session.wait();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("went on\r\n") && !text.contains("time budget"), "{text}");
    assert!(text.contains("stopped at ") && text.contains("p.lua:1"), "{text}");
}

/// A run of some seconds that prints on every packet.
fn printing(variables: &[(&str, &str)]) -> String {
    let (code, text) = Session::start("print('printed ' .. n)", 40, &["--speed", "16"], variables).wait();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("printed ").count(), 40, "{text}");
    text
}

#[test]
fn what_is_printed_takes_the_place_of_the_progress_line() {
    let text = printing(&[("TERM", "xterm")]);
    assert!(text.contains(" packets  "), "no progress is drawn: {text:?}");
    for (at, _) in text.match_indices("printed ") {
        let before = &text[..at];
        assert!(before.is_empty() || before.ends_with('\n') || before.ends_with(WIPE), "glued: {text:?}");
    }
}

#[test]
fn a_terminal_that_knows_no_escape_sequences_gets_none() {
    let text = printing(&[("TERM", "dumb")]);
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn without_colours_the_progress_line_is_drawn_all_the_same() {
    let text = printing(&[("TERM", "xterm"), ("NO_COLOR", "1")]);
    assert!(text.contains(WIPE) && text.contains(" packets  "), "{text:?}");
    assert!(!text.replace(WIPE, "").contains('\x1b'), "{text:?}");
}
