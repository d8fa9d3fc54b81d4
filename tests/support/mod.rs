//! Runs the built program over captures made in memory and gives back everything it said.
#![allow(dead_code, reason = "every test binary uses its own part of it")]

pub mod conversation;
pub mod frames;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Protocols of the contract that tests attach to.
pub const ETHERNET: &str = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}";
pub const IPV4: &str = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}";
pub const IPV6: &str = "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}";
pub const ICMP: &str = "{7DDD65F2-A316-43B5-A103-368E700E045E}";
pub const UDP: &str = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}";
pub const TCP: &str = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}";
/// A counter group that tests define themselves.
pub const GROUP: &str = "{0B1C2D3E-0000-4000-8000-00000000ABCD}";

/// Packets with their times.
#[derive(Clone, Debug)]
pub struct Capture {
    linktype: u32,
    packets: Vec<(u32, u32, Vec<u8>, u32)>,
}

impl Default for Capture {
    fn default() -> Self {
        Self::new()
    }
}

impl Capture {
    /// An empty Ethernet capture.
    pub fn new() -> Self {
        Self::of_link(1)
    }

    /// An empty capture of another link type.
    pub fn of_link(linktype: u32) -> Self {
        Self { linktype, packets: Vec::new() }
    }

    /// Adds a packet at whole seconds.
    pub fn at(self, secs: u32, bytes: Vec<u8>) -> Self {
        self.at_micros(secs, 0, bytes)
    }

    /// Adds a packet at seconds and microseconds.
    pub fn at_micros(mut self, secs: u32, micros: u32, bytes: Vec<u8>) -> Self {
        let wire = bytes.len() as u32;
        self.packets.push((secs, micros, bytes, wire));
        self
    }

    /// Adds a packet of which only the first `caplen` bytes were captured.
    pub fn cut(mut self, secs: u32, bytes: &[u8], caplen: usize) -> Self {
        self.packets.push((secs, 0, bytes[..caplen].to_vec(), bytes.len() as u32));
        self
    }

    /// `count` small UDP packets from port 5000 to 6000, one a millisecond from second `secs` on.
    pub fn udp(count: u32, secs: u32) -> Self {
        (0..count).fold(Self::new(), |capture, i| {
            capture.at_micros(secs + i / 1000, i % 1000 * 1000, frames::udp_packet((5000, 6000), &i.to_be_bytes()))
        })
    }

    /// The bytes of every packet.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().map(|(_, _, bytes, _)| &bytes[..])
    }

    /// Number of packets.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// The capture as a pcap file.
    pub fn to_pcap(&self) -> Vec<u8> {
        let mut file = Vec::new();
        for value in [0xA1B2_C3D4, 0x0004_0002, 0, 0, 262_144, self.linktype] {
            file.extend(value.to_le_bytes());
        }
        for (secs, micros, bytes, wire) in &self.packets {
            for value in [*secs, *micros, bytes.len() as u32, *wire] {
                file.extend(value.to_le_bytes());
            }
            file.extend(bytes);
        }
        file
    }
}

/// A directory with plugins, and the arguments to run them with.
pub struct Bench {
    dir: TempDir,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    plugin_args: Option<Vec<String>>,
    has_events: bool,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty plugin directory.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("plugins")).expect("a new directory");
        Self { dir, args: Vec::new(), environment: Vec::new(), plugin_args: None, has_events: true }
    }

    /// Where everything of this run lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the run's directory; others cannot write it, whatever the umask says.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a path in the directory")).expect("a writable directory");
        fs::write(&path, content).expect("a writable file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("our own file");
        self
    }

    /// Adds a plugin file.
    pub fn plugin(self, name: &str, text: &str) -> Self {
        self.file(&format!("plugins/{name}"), text)
    }

    /// Adds a plugin that is only a `simplecounter`: `body` runs for every packet with `engine`, `layer` and the packet's
    /// number `n`; `head` stands before the plugin table.
    pub fn counter(self, name: &str, protocol: &str, head: &str, body: &str) -> Self {
        let text = format!(
            "{head}\nlocal n = 0\nTrisulPlugin = {{ id = {{ name = 'test', description = 'test' }},\n\
             simplecounter = {{ protocol_guid = '{protocol}',\n\
             onpacket = function(engine, layer) n = n + 1\n{body}\nend }} }}\n"
        );
        self.plugin(name, &text)
    }

    /// Adds a plugin that defines the group [`GROUP`] with COUNTER meters 0 and 1.
    pub fn group(self) -> Self {
        self.plugin(
            "a-group.lua",
            &format!(
                "TrisulPlugin = {{ id = {{ name = 'group' }}, countergroup = {{ control = {{ guid = '{GROUP}', \
                 name = 'Test group', bucketsize = 60 }}, meters = {{ \
                 {{ 0, T.K.vartype.COUNTER, 10, 0, 'zero', 'first', 'x' }}, \
                 {{ 1, T.K.vartype.COUNTER, 10, 0, 'one', 'second', 'x' }} }} }} }}"
            ),
        )
    }

    /// Copies a Lua file of the tests into the plugin directory.
    pub fn lua(self, path: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
        let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
        let name = source.file_name().expect("a file").to_string_lossy().into_owned();
        self.plugin(&name, &text)
    }

    /// Copies a Lua library of the tests to where plugins find it.
    pub fn helper(self, path: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
        let text = fs::read_to_string(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
        let name = source.file_name().expect("a file").to_string_lossy().into_owned();
        self.file(&format!("plugins/helpers/{name}"), text)
    }

    /// Adds arguments of the command line.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Names plugin paths, relative to the run's directory, instead of the one plugin directory.
    pub fn plugin_paths(mut self, paths: &[&str]) -> Self {
        let full = |path: &&str| self.dir.path().join(path).display().to_string();
        self.plugin_args = Some(paths.iter().map(full).collect());
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs another command of the program on the plugin directory; gives its standard output as JSON.
    pub fn json(&self, command: &str) -> Value {
        let mut program = Command::new(env!("CARGO_BIN_EXE_millstream"));
        program.arg(command).arg("-p").arg(self.path("plugins")).arg("--json").env_clear();
        let output = program.env("MILLSTREAM_DATA", self.path("data")).output().expect("the built program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{command}: {e}\n{text}\n{output:?}"))
    }

    /// Runs the plugins over a capture.
    pub fn run(&self, capture: &Capture) -> Outcome {
        let file = self.path("input.pcap");
        fs::write(&file, capture.to_pcap()).expect("a writable directory");
        self.run_with(&["-r", &file.display().to_string()])
    }

    /// Without an event stream, as people run it: only what is printed can be looked at.
    pub fn without_events(self) -> Self {
        Self { has_events: false, ..self }
    }

    /// Runs the plugins with input arguments of the caller.
    pub fn run_with(&self, input: &[&str]) -> Outcome {
        let events = self.path("events.jsonl");
        let default = vec![self.path("plugins").display().to_string()];
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.arg("run").args(input);
        for path in self.plugin_args.as_ref().unwrap_or(&default) {
            command.arg("-p").arg(path);
        }
        if self.has_events {
            command.arg("--events").arg(&events);
        }
        command.args(["-q", "--log", "debug", "--color", "never"]).args(&self.args);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("MILLSTREAM_DATA", self.path("data"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir()).stdin(Stdio::null());
        let output = command.output().expect("the built program starts");
        let lines = fs::read_to_string(&events).unwrap_or_default();
        let events = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("event {line}: {e}")))
            .collect();
        Outcome {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            raw_stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
            event_lines: lines,
            events,
        }
    }
}

/// Totals of one (group, key, meter) as scripts made the updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total {
    pub updates: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub last: f64,
}

/// What a run said.
#[derive(Debug)]
pub struct Outcome {
    pub stdout: String,
    pub raw_stdout: Vec<u8>,
    pub stderr: String,
    /// Exit status; `None` if a signal ended the process.
    pub code: Option<i32>,
    /// The event stream as written.
    pub event_lines: String,
    pub events: Vec<Value>,
}

impl Outcome {
    /// Fails unless the run ended with this exit status.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Lines printed by scripts.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// Fails unless scripts printed exactly these lines and nothing failed.
    #[track_caller]
    pub fn prints(&self, expected: &[&str]) -> &Self {
        self.exits(0);
        assert_eq!(self.lines(), expected, "stderr:\n{}", self.stderr);
        self
    }

    /// Events of one kind.
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["ev"] == kind).collect()
    }

    /// Events of one kind made by one script.
    pub fn by(&self, kind: &str, script: &str) -> Vec<&Value> {
        self.of(kind).into_iter().filter(|event| event["script"] == script).collect()
    }

    /// What one script printed.
    pub fn printed_by(&self, script: &str) -> Vec<&str> {
        self.by("print", script).into_iter().filter_map(|event| event["text"].as_str()).collect()
    }

    /// The chosen fields of every event of a kind, joined by tabs; strings without quotes.
    pub fn fields(&self, kind: &str, names: &[&str]) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let row = |event: &Value| names.iter().map(|name| text(&event[*name])).collect::<Vec<_>>().join("\t");
        self.of(kind).into_iter().map(row).collect()
    }

    /// Texts of log lines of a level that hold `part`.
    pub fn logged(&self, level: &str, part: &str) -> Vec<&str> {
        let matching =
            |event: &&Value| event["level"] == level && event["text"].as_str().is_some_and(|t| t.contains(part));
        self.of("log").into_iter().filter(matching).filter_map(|event| event["text"].as_str()).collect()
    }

    /// All faults of a script, summed over its events.
    pub fn faults(&self, script: &str) -> u64 {
        self.by("fault", script).iter().filter_map(|event| event["count"].as_u64()).sum()
    }

    /// Totals of one key and meter.
    pub fn total(&self, guid: &str, key: &str, meter: u32) -> Option<Total> {
        let found = |event: &&Value| {
            event["guid"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(guid))
                && event["key"] == key
                && event["meter"] == meter
        };
        let event = self.of("counter_total").into_iter().find(found)?;
        let number = |name: &str| event[name].as_f64().unwrap_or(f64::NAN);
        let updates = event["updates"].as_u64().unwrap_or_default();
        Some(Total { updates, sum: number("sum"), min: number("min"), max: number("max"), last: number("last") })
    }

    /// All totals: (group, key, meter) to (updates, sum), as text that compares exactly.
    pub fn totals(&self) -> BTreeMap<String, String> {
        self.of("counter_total")
            .into_iter()
            .map(|event| {
                let place = format!("{} {} {}", event["guid"], event["key"], event["meter"]);
                (place, format!("{} {}", event["updates"], event["sum"]))
            })
            .collect()
    }

    /// Value of a drop counter at the end of the run.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.of("drop")
            .iter()
            .filter(|event| event["reason"] == reason)
            .filter_map(|event| event["count"].as_u64())
            .sum()
    }

    /// Packets handled, from the last event.
    pub fn packets(&self) -> Option<u64> {
        self.of("end").first().and_then(|event| event["packets"].as_u64())
    }
}

/// Names of the cases of a Lua test file: `case("name", function() ... end)`.
pub fn cases_in(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("case(\"")?.split_once('"').map(|(name, _)| name))
        .collect()
}

/// Runs a Lua file of cases over a capture; every case must succeed exactly once.
#[track_caller]
pub fn run_cases(bench: Bench, path: &str, capture: &Capture) -> Outcome {
    let bench = bench.helper("support/cases.lua").lua(path);
    let outcome = bench.run(capture);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    let text = fs::read_to_string(source).expect("the file that was just run");
    let script = path.rsplit('/').next().expect("a file name");
    let failed: Vec<_> = outcome.lines().into_iter().filter(|line| line.starts_with("FAIL")).collect();
    assert!(failed.is_empty(), "{path}:\n{}\n{}", outcome.stdout, outcome.stderr);
    let mut ran: Vec<_> = outcome.printed_by(script).into_iter().filter_map(|line| line.strip_prefix("ok ")).collect();
    let mut wanted = cases_in(&text);
    ran.sort_unstable();
    wanted.sort_unstable();
    assert!(!wanted.is_empty(), "{path} has no cases");
    assert_eq!(ran, wanted, "{path}: cases that did not run, or ran twice\n{}", outcome.stderr);
    outcome
}
