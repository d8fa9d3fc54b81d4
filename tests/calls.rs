//! Functions of plugins called from outside while a run goes on, and its jobs looked at and acted on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "calls/answers.rs"]
mod answers;
mod e2e;
#[path = "calls/faults.rs"]
mod faults;
#[path = "calls/jobs.rs"]
mod jobs;
#[path = "calls/promises.rs"]
mod promises;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use e2e::{Ended, Place, Running};
use serde_json::{Value, json};
use support::Capture;

/// How long anything may take that does not go on by itself.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A run that goes on until it is told to end, and answers on a control socket.
pub struct Bench {
    /// Where it was started.
    pub place: Place,
    /// The program.
    pub running: Running,
}

impl Bench {
    /// Over a capture without end, at the speed it was recorded with if one thread reads it. It is of one flow, so that of
    /// several packet threads all but one have no packets.
    pub fn start(place: Place, more: &[&str]) -> Self {
        let file = place.path("input.pcap");
        fs::write(&file, Capture::udp(1_000, 1_000).to_pcap()).unwrap();
        let (file, socket) = (file.display().to_string(), place.path("socket").display().to_string());
        let fixed = ["-r", &file, "--loop", "1000000", "--json", "--control", &socket];
        let speed = if more.contains(&"--engines") { &[][..] } else { &["--speed", "1"] };
        let mut running = place.start(&[&fixed[..], speed, more].concat());
        let path = place.path("socket");
        running.until("it answers", |_| UnixStream::connect(&path).is_ok());
        let bench = Self { place, running };
        while bench.ask(&json!({ "request": "stats" }))["engines_silent"] != 0 {}
        bench
    }

    /// With one plugin, whose functions are these.
    pub fn with(functions: &str) -> Self {
        Self::start(Place::new().plugin("p.lua", &plugin("p", functions)), &[])
    }

    /// A connection of its own.
    pub fn connect(&self) -> Client {
        let stream = UnixStream::connect(self.place.path("socket")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Client(BufReader::new(stream))
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &Value) -> Value {
        self.connect().ask(request)
    }

    /// What a function has returned.
    pub fn call(&self, function: &str, args: &Value) -> Value {
        let answer = self.ask(&json!({ "request": "call", "function": function, "args": args }));
        assert_eq!(answer["ok"], true, "{function}: {answer}");
        answer["result"].clone()
    }

    /// Why a function did not return.
    pub fn fails(&self, function: &str, args: &Value) -> String {
        let answer = self.ask(&json!({ "request": "call", "function": function, "args": args }));
        assert_eq!(answer["ok"], false, "{function}: {answer}");
        answer["error"].as_str().unwrap().to_owned()
    }

    /// A command of the program about this run: exit code, output and errors.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let socket = self.place.path("socket").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        let at = arguments.iter().position(|argument| *argument == "--").unwrap_or(arguments.len());
        let (before, behind) = arguments.split_at(at);
        command.args(before).args(["--control", &socket, "--color", "never"]).args(behind);
        let output = command.env_clear().current_dir(self.place.path("")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// What a command that succeeds has printed.
    pub fn prints(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.command(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {out}{err}");
        out
    }

    /// Packets go on.
    pub fn goes_on(&self) {
        let packets = || self.ask(&json!({ "request": "stats" }))["packets"].as_u64().unwrap();
        let before = packets();
        for _ in 0..500 {
            if packets() > before {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no packets come any more");
    }

    /// Ends it.
    pub fn stop(self) -> (Place, Ended) {
        self.running.signal("TERM");
        (self.place, self.running.wait(LIMIT))
    }
}

/// One connection to the control socket.
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Reads the next answer.
    pub fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"))
    }

    /// One request.
    pub fn ask(&mut self, request: &Value) -> Value {
        self.send(&request.to_string());
        self.answer()
    }
}

/// Waits until something is so.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if reached() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("not reached: {what}");
}

/// A plugin that has functions and nothing else.
pub fn plugin(name: &str, functions: &str) -> String {
    format!("TrisulPlugin = {{ id = {{ name = '{name}' }}, request_async_workers = 2, functions = {{ {functions} }} }}")
}
