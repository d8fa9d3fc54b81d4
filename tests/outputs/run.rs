//! Runs of the program, and what it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap");
/// Packets of the demo that belong to flows: all but those that are not IP.
pub const IN_FLOWS: u64 = 3_349;
pub const BIN: &str = env!("CARGO_BIN_EXE_millstream");

/// A capture of the project.
pub fn capture(name: &str) -> String {
    format!("{}/pcaps/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// An alert on every packet above a size, with text that no output may trip over, and a resource and a document.
pub const NOISY: &str = r#"
local GROUP = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E11}"
local FTS = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E13}"
local RES = "{5B2D7A60-8D0C-4F7E-9D6B-6B6C2F0A1E14}"
TrisulPlugin = {
  id = { name = "noisy", description = "d" },
  alertgroup = { control = { guid = GROUP, name = "Noise \"x\" \xff", description = "d" } },
  resourcegroup = { control = { guid = RES, name = "Things", description = "d" } },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local id = layer:packet():flowid():id()
      local bytes = layer:total_bytes()
      if bytes > LIMIT then
        engine:add_alert(GROUP, id, "big\n\xfe", 2, "a big \"packet\"\r\n\27[2J \xff, \xe2\x80\xae of " .. bytes)
        engine:add_resource(RES, id, "uri \xff\n,\"" .. bytes, "label\r\n=1+1")
      end
    end,
  },
}
"#;

/// Writes the noisy plugin into a folder.
pub fn noisy(dir: &Path, limit: u32) -> String {
    let path = dir.join("noisy.lua");
    std::fs::write(&path, NOISY.replace("LIMIT", &limit.to_string())).unwrap();
    path.display().to_string()
}

/// `millstream run` to its end.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(BIN).arg("run").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The same with a JSON report, which is returned; the run must be a good one or say what is expected.
pub fn report(arguments: &[&str], status: i32) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// What the report says of an output.
pub fn output<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["outputs"].as_array().unwrap_or_else(|| panic!("no outputs in {report}"));
    all.iter().find(|output| output["name"] == name).unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

/// A count in the list of what an output lost.
pub fn dropped(output: &Value, name: &str) -> u64 {
    let all = output["dropped"].as_array().unwrap();
    all.iter().find(|drop| drop["name"] == name).map_or(0, |drop| drop["count"].as_u64().unwrap())
}

/// All that an output lost.
pub fn lost(output: &Value) -> u64 {
    output["dropped"].as_array().unwrap().iter().map(|drop| drop["count"].as_u64().unwrap()).sum()
}

/// The events of a file; every line must be one.
pub fn events(path: &Path) -> Vec<Value> {
    lines(&std::fs::read(path).unwrap())
}

/// The events in bytes.
pub fn lines(bytes: &[u8]) -> Vec<Value> {
    assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "the last line is not whole");
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap_or_else(|e| panic!("{e}: {}", line.escape_ascii()))).collect()
}

/// Events of one type.
pub fn of<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event_type"] == kind).collect()
}

/// Waits until something is so.
#[allow(clippy::disallowed_methods, reason = "a test waits for another process")]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Time from one moment to the next.
#[allow(clippy::disallowed_methods, reason = "a test measures another process")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let result = work();
    (result, begin.elapsed())
}

/// `millstream run` in the background.
pub fn begin(arguments: &[&str]) -> Child {
    let mut command = Command::new(BIN);
    command.arg("run").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Sends a signal of this name to a run.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Whether a process has come to its end: its state is that of one that waits to be fetched.
pub fn is_over(child: &Child) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Moves a file of a run away, again and again, once it is longer than some bytes, and tells the run of it.
pub fn moved_away(child: &Child, file: &Path, to: &Path, times: u32, longer_than: u64) -> Vec<PathBuf> {
    let mut moved = Vec::new();
    for number in 0..times {
        let is_there = || fs::metadata(file).is_ok_and(|about| about.len() > longer_than);
        wait_until("the file", || is_over(child) || is_there());
        if is_over(child) {
            break;
        }
        let name = to.join(format!("moved.{number}"));
        fs::rename(file, &name).unwrap();
        moved.push(name);
        signal(child, "-HUP");
    }
    moved
}

/// A small disk that is there as long as this is.
pub struct Disk(PathBuf);

impl Disk {
    /// Makes one that has room for so much; nothing where that may not be done, and says so.
    pub fn mounted(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(path).output();
        if !mount.is_ok_and(|mount| mount.status.success()) {
            eprintln!("skipped: mounting a small disk needs root");
            return None;
        }
        Some(Self(path.to_owned()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Takes all room there is; it is free again when the file is gone.
    pub fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let full = std::io::copy(&mut std::io::repeat(0), &mut fs::File::create(&ballast).unwrap());
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
