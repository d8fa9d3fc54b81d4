//! Starts the built program the way people do, and waits for it no longer than it may take.
#![allow(dead_code, reason = "every test binary uses its own part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use millstream::time::Stopwatch;
use serde_json::Value;
use tempfile::TempDir;

/// The folder of real captures, if it is there.
pub fn real_captures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/pcaps");
    if !folder.join("MANIFEST.tsv").exists() {
        say(&format!("skipped: no captures in {}", folder.display()));
        return None;
    }
    Some(folder)
}

/// Tells whoever runs the tests.
pub fn say(text: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes()).unwrap();
}

/// A directory with plugins, from which the program is started.
pub struct Place {
    dir: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("plugins")).unwrap();
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a plugin; nobody else may write it, whatever the umask says.
    pub fn plugin(self, name: &str, text: &str) -> Self {
        let path = self.path("plugins").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// A plugin that runs `body` for every packet of a protocol, with `engine`, `layer` and the packet's number `n`.
    pub fn counter(self, name: &str, protocol: &str, head: &str, body: &str) -> Self {
        let text = format!(
            "{head}\nlocal n = 0\nTrisulPlugin = {{ id = {{ name = '{name}', description = 'test' }},\n\
             simplecounter = {{ protocol_guid = '{protocol}',\n\
             onpacket = function(engine, layer) n = n + 1\n{body}\nend }} }}\n"
        );
        self.plugin(name, &text)
    }

    /// `millstream run` with the plugins of this place, without a terminal.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.arg("run");
        let plugins = self.path("plugins");
        // A directory that is named and holds none would be told of.
        if fs::read_dir(&plugins).unwrap().next().is_some() {
            command.arg("-p").arg(plugins);
        }
        command.args(["--color", "never"]).args(arguments);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").env("MILLSTREAM_DATA", self.path("data"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// Starts it, with its outputs going to files that nothing can fill up.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        self.start_command(&mut command)
    }

    pub fn start_command(&self, command: &mut Command) -> Running {
        let (out, err) = (self.path("stdout"), self.path("stderr"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let watch = Stopwatch::start();
        let child = command.spawn().expect("the built program starts");
        Running { child, watch, out, err }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str], limit: Duration) -> Ended {
        self.start(arguments).wait(limit)
    }
}

/// The program while it runs.
pub struct Running {
    child: Child,
    watch: Stopwatch,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.watch.elapsed()
    }

    /// What it has said so far: what scripts print goes to standard output, with `--json` to standard error.
    pub fn said(&self) -> String {
        [&self.out, &self.err].map(|path| fs::read_to_string(path).unwrap_or_default()).concat()
    }

    /// Waits until its output, or the world, is as it should be.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        while !reached(self) {
            let ended = self.child.try_wait().unwrap();
            let text = fs::read_to_string(&self.err).unwrap_or_default();
            assert!(ended.is_none(), "{what}: it ended with {ended:?}: {text}");
            assert!(self.elapsed() < Duration::from_secs(60), "{what}: not reached\n{text}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal, `INT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(sent.success(), "the process {} is gone", self.id());
    }

    /// Waits for the end; what takes longer than the limit is ended, and has failed.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Ended {
        let since = Stopwatch::start();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if since.elapsed() > limit {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                let text = fs::read_to_string(&self.err).unwrap_or_default();
                panic!("not at its end after {:?}; standard error:\n{text}", since.elapsed());
            }
            thread::sleep(Duration::from_millis(1));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let (stdout, stderr) = (read(&self.out), read(&self.err));
        Ended { status, code: status.code(), took: since.elapsed(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that has ended cannot be ended again.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Time from the call of `wait`.
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The report of a run with `--json`. What programs that scripts start have written may come before it.
    #[track_caller]
    pub fn report(&self) -> Value {
        let start = if self.stdout.starts_with('{') { 0 } else { self.stdout.find("\n{").map_or(0, |at| at + 1) };
        serde_json::from_str(&self.stdout[start..])
            .unwrap_or_else(|e| panic!("no report: {e}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// A count of the report's list of drops, 0 if it is not there.
pub fn dropped(report: &Value, name: &str) -> u64 {
    let found = report["drops"].as_array().into_iter().flatten().find(|drop| drop["name"] == name);
    found.and_then(|drop| drop["count"].as_u64()).unwrap_or_default()
}

/// A meter's sum in the report or events.
pub fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// Totals of counters by group, key and meter.
pub fn totals(events: &[Value]) -> std::collections::BTreeMap<String, String> {
    let counted = events.iter().filter(|event| event["ev"] == "counter_total");
    counted
        .map(|event| {
            let place = format!("{} {} {}", event["guid"], event["key"], event["meter"]);
            (place, format!("{} {}", event["updates"], event["sum"]))
        })
        .collect()
}

/// Processes below this one, by their parents' ids.
pub fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut at = 0;
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|id| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            Some((id, stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    while at < found.len() {
        let parent_of_these = found[at];
        found.extend(parents.iter().filter(|(_, parent)| *parent == parent_of_these).map(|(id, _)| *id));
        at += 1;
    }
    found.remove(0);
    found
}

/// True if a process of this id exists and has not ended.
pub fn is_alive(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
