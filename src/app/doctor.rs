//! `millstream doctor`: what this machine can do, and what to type where it cannot.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Outcome;
use super::cli::{DoctorArgs, PluginArgs};
use super::screen::{Paint, Screen, columns};
use super::settings;
use crate::capture::{self, InterfaceState, LinkState};
use crate::lua;
use crate::pipeline::date_time;
use crate::shell::typed;
use crate::time::{self, Stopwatch, Timestamp};

/// Number of the right to open packet sockets among the capabilities of a process.
const CAP_NET_RAW: u32 = 13;
/// Free bytes below which a plugin that writes files soon cannot.
const LOW_SPACE: u64 = 1 << 30;
/// Free bytes with which nothing can be written.
const NO_SPACE: u64 = 16 << 20;
/// A monotonic clock that is read more slowly than this makes timed callbacks expensive.
const SLOW_CLOCK: Duration = Duration::from_nanos(500);
/// A monotonic clock with larger steps than this cannot time a callback.
const COARSE_CLOCK: Duration = Duration::from_micros(10);
/// 2025-01-01 and 2100-01-01: the wall clock of a machine in use is between the two.
const SANE_YEARS: (i64, i64) = (1_735_689_600, 4_102_444_800);
/// Least stack of a thread that runs Lua.
const LUA_STACK: u64 = 64 << 20;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    state: State,
    text: String,
    /// What to do about it; empty if nothing.
    advice: String,
}

impl Finding {
    fn new(name: &'static str, state: State, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state, text: text.into(), advice: advice.into() }
    }

    fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self::new(name, State::Ok, text, "")
    }
}

/// Examines the machine and reports, a line for each thing looked at.
///
/// # Errors
/// When the output cannot be written.
pub fn examine(args: &DoctorArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let mut findings = vec![luajit()];
    findings.extend(threads());
    findings.push(Finding::ok("libpcap", capture::library_version()));
    findings.push(capture_right());
    findings.extend(interfaces());
    findings.push(wall_clock(time::wall()));
    findings.push(monotonic_clock());
    findings.extend(plugin_places());
    if args.json {
        let entry =
            |f: &Finding| json!({ "name": f.name, "state": f.state.name(), "text": f.text, "advice": f.advice });
        screen.json(&json!({ "findings": findings.iter().map(entry).collect::<Vec<_>>() }))?;
    } else {
        report(&findings, screen)?;
    }
    let failed = findings.iter().any(|finding| finding.state == State::Fail);
    Ok(if failed { Outcome::Flawed } else { Outcome::Good })
}

fn report(findings: &[Finding], screen: &mut Screen<'_>) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        findings.iter().map(|f| vec![f.state.name().to_owned(), f.name.to_owned(), f.text.clone()]).collect();
    for (finding, line) in findings.iter().zip(columns(&rows)) {
        let paint = match finding.state {
            State::Ok => Paint::Good,
            State::Warn => Paint::Doubtful,
            State::Fail => Paint::Bad,
        };
        let name = finding.state.name();
        let rest = line.strip_prefix(name).unwrap_or(&line);
        writeln!(screen, "{}{rest}", screen.paint(paint, name))?;
        if !finding.advice.is_empty() {
            writeln!(screen, "      -> {}", finding.advice)?;
        }
    }
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
    let verdict = match worst {
        State::Ok => "ready",
        State::Warn => "ready, with what is said above",
        State::Fail => "not ready: see FAIL above",
    };
    writeln!(screen, "\n{}", screen.paint(Paint::Strong, verdict))
}

/// LuaJIT, its compiler, and the proof that plugin code can be stopped.
fn luajit() -> Finding {
    const NAME: &str = "LuaJIT";
    let rebuild = "this build cannot keep plugins within their time; build it again: cargo build --release";
    let watch = Stopwatch::start();
    match lua::self_test() {
        Ok(test) if test.passed() => {
            Finding::ok(NAME, format!("{test} (self-test took {} ms)", watch.elapsed().as_millis()))
        }
        Ok(test) => Finding::new(NAME, State::Fail, test.to_string(), rebuild),
        Err(e) => Finding::new(NAME, State::Fail, e.to_string(), "is there enough memory? try: ulimit -v unlimited"),
    }
}

/// Processors, and whether threads get the stack that Lua needs.
fn threads() -> Vec<Finding> {
    let processors = match std::thread::available_parallelism() {
        Ok(number) if number.get() > 1 => {
            Finding::ok("processors", format!("{number}; up to {number} packet threads make sense: --engines {number}"))
        }
        Ok(_) => {
            Finding::new("processors", State::Warn, "1", "packets and background jobs share it; a second one helps")
        }
        Err(e) => Finding::new("processors", State::Warn, format!("cannot be counted: {e}"), ""),
    };
    vec![processors, lua_stack()]
}

fn lua_stack() -> Finding {
    const NAME: &str = "thread stack";
    let advice = "raise the limit of address space before starting: ulimit -v unlimited";
    let measured = lua::spawn_lua_thread("doctor", own_stack).map(std::thread::JoinHandle::join);
    match measured {
        Err(e) => Finding::new(NAME, State::Fail, format!("a thread for Lua cannot be started: {e}"), advice),
        Ok(Ok(Some(bytes))) if bytes >= LUA_STACK => {
            Finding::ok(NAME, format!("{} MiB for each thread that runs Lua", bytes >> 20))
        }
        Ok(Ok(Some(bytes))) => {
            Finding::new(NAME, State::Warn, format!("{} MiB, 64 were asked for", bytes >> 20), advice)
        }
        Ok(_) => Finding::ok(NAME, "threads for Lua can be started; their stack cannot be measured here"),
    }
}

/// Bytes of the mapping that the calling thread's stack is in.
fn own_stack() -> Option<u64> {
    let local = 0u8;
    let address = std::ptr::from_ref(&local).addr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let mut ranges = maps.lines().filter_map(|line| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
    });
    ranges.find(|(from, to)| (*from..*to).contains(&address)).map(|(from, to)| to - from)
}

/// Whether interfaces may be opened, and how to get there.
fn capture_right() -> Finding {
    const NAME: &str = "capture right";
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = has_capability(&status, "CapEff:");
    if capture::may_capture() {
        let how = if held == Some(true) { "CAP_NET_RAW is held" } else { "packet sockets can be opened" };
        return Finding::ok(NAME, how);
    }
    let advice = if has_capability(&status, "CapBnd:") == Some(false) {
        "this container or service was started without it; start it with: --cap-add=NET_RAW --cap-add=NET_ADMIN"
            .to_owned()
    } else {
        let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("millstream"));
        format!("sudo setcap cap_net_raw,cap_net_admin=eip {}", typed(&executable))
    };
    Finding::new(NAME, State::Warn, "CAP_NET_RAW is missing: capture files work, interfaces do not", advice)
}

/// Whether a line of capabilities in a process's status has the right to open packet sockets.
fn has_capability(status: &str, label: &str) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix(label))?;
    let mask = u64::from_str_radix(line.trim(), 16).ok()?;
    Some(mask & (1 << CAP_NET_RAW) != 0)
}

fn interfaces() -> Vec<Finding> {
    const NAME: &str = "interface";
    match capture::interfaces() {
        Err(e) => vec![Finding::new(NAME, State::Warn, format!("cannot be listed: {e}"), "capture files still work")],
        Ok(found) => {
            let is_wire = |i: &InterfaceState| i.link == LinkState::Up && !["lo", "any"].contains(&i.name.as_str());
            let lonely = !found.iter().any(is_wire);
            let mut findings: Vec<Finding> = found.into_iter().map(interface).collect();
            if lonely {
                let advice = "capture files still work; for live packets, see what is down: ip link";
                findings.push(Finding::new(NAME, State::Warn, "none that leads out of this machine is up", advice));
            }
            findings
        }
    }
}

fn interface(interface: InterfaceState) -> Finding {
    let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
    let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") };
    let name = interface.name;
    match interface.link {
        LinkState::Up => Finding::ok("interface", format!("{name}: up, {addresses}")),
        // Many are down for good reason, so this is no warning.
        LinkState::Down => Finding::ok("interface", format!("{name}: down; to use it: sudo ip link set {name} up")),
    }
}

fn wall_clock(now: Timestamp) -> Finding {
    let text = format!("{} UTC", date_time(now));
    if (SANE_YEARS.0..SANE_YEARS.1).contains(&now.secs()) {
        return Finding::ok("wall clock", text);
    }
    let advice = "packets of interfaces carry this time; set the clock: sudo timedatectl set-ntp true";
    Finding::new("wall clock", State::Warn, format!("{text} is not likely"), advice)
}

fn monotonic_clock() -> Finding {
    const READINGS: u32 = 20_000;
    let watch = Stopwatch::start();
    let (mut last, mut step) = (watch, Duration::MAX);
    for _ in 0..READINGS {
        let next = Stopwatch::start();
        let since = next.deadline(Duration::ZERO) - last.deadline(Duration::ZERO);
        if !since.is_zero() {
            step = step.min(since);
        }
        last = next;
    }
    let cost = watch.elapsed() / READINGS;
    let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    let source = source.map_or_else(|_| String::new(), |source| format!(" ({})", source.trim()));
    let text = format!("steps of {} ns, {} ns to read{source}", step.as_nanos(), cost.as_nanos());
    if step > COARSE_CLOCK {
        return Finding::new("monotonic clock", State::Warn, text, "times of callbacks in the report are rough");
    }
    if cost > SLOW_CLOCK {
        return Finding::new(
            "monotonic clock",
            State::Warn,
            text,
            "timing callbacks costs; a tsc clock source is faster",
        );
    }
    Finding::ok("monotonic clock", text)
}

/// Where plugins are searched and where their data would go.
fn plugin_places() -> Vec<Finding> {
    let host = match settings::host_settings(&PluginArgs::default(), None) {
        Ok(host) => host,
        Err(e) => return vec![Finding::new("settings", State::Fail, format!("{e:#}"), "")],
    };
    let mut findings = vec![data_directory(Path::new(&host.run.environment.config.get("App>DataDirectory")))];
    let named: Vec<String> = ["TRISUL_LUA_PATHS", "MILLSTREAM_LUA_PATHS"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .flat_map(|list| list.split(':').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for path in &host.search {
        let shown = path.display().to_string();
        findings.push(match (path.is_dir(), named.contains(&shown)) {
            (true, _) => Finding::ok("plugin search", shown),
            (false, false) => Finding::ok("plugin search", format!("{shown} (not there, which is fine)")),
            (false, true) => Finding::new(
                "plugin search",
                State::Warn,
                format!("{shown} does not exist"),
                "it is named by MILLSTREAM_LUA_PATHS or TRISUL_LUA_PATHS; correct it",
            ),
        });
    }
    findings
}

fn data_directory(path: &Path) -> Finding {
    const NAME: &str = "data directory";
    let shown = path.display();
    let Some(existing) = path.ancestors().find(|ancestor| ancestor.is_dir()) else {
        let advice = "plugins that write files need one: MILLSTREAM_DATA=/some/directory";
        return Finding::new(NAME, State::Warn, format!("{shown} cannot be made"), advice);
    };
    let advice = "choose another place for plugins' data: MILLSTREAM_DATA=/some/directory";
    let later = if existing == path { "" } else { ", made when needed" };
    match space(existing) {
        Err(e) => Finding::new(NAME, State::Warn, format!("{shown}: {e}"), advice),
        Ok(Space { writable: Access::Denied, .. }) => {
            Finding::new(NAME, State::Warn, format!("{shown}: no right to write"), advice)
        }
        Ok(Space { free, .. }) => {
            let state = match free {
                free if free < NO_SPACE => State::Fail,
                free if free < LOW_SPACE => State::Warn,
                _ => State::Ok,
            };
            let advice = if state == State::Ok { "" } else { advice };
            let free = if free >= 10 << 30 { format!("{} GiB", free >> 30) } else { format!("{} MiB", free >> 20) };
            Finding::new(NAME, state, format!("{shown}: {free} free{later}"), advice)
        }
    }
}

/// Whether files can be made in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Granted,
    Denied,
}

/// What a directory has to offer.
struct Space {
    free: u64,
    writable: Access,
}

#[expect(unsafe_code, reason = "the standard library tells neither free space nor access")]
fn space(directory: &Path) -> io::Result<Space> {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
    // SAFETY: all fields of the structure are integers or arrays of them; zeros are valid.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the name ends with a zero byte, and the structure is live and of the type that this call writes.
    if unsafe { libc::statvfs(name.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the name ends with a zero byte; the call writes nothing.
    let denied = unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) } != 0;
    let writable = if denied { Access::Denied } else { Access::Granted };
    Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), writable })
}

#[cfg(test)]
mod tests {
    use super::{Access, LUA_STACK, State, data_directory, has_capability, own_stack, space, wall_clock};
    use crate::lua::spawn_lua_thread;
    use crate::time::Timestamp;
    use std::path::Path;

    #[test]
    fn capabilities_are_read_bit_by_bit() {
        let status = "CapPrm:\t0000000000000000\nCapEff:\t0000000000002000\nCapBnd:\tzz\n";
        assert_eq!(has_capability(status, "CapPrm:"), Some(false));
        assert_eq!(has_capability(status, "CapEff:"), Some(true));
        assert_eq!(has_capability(status, "CapBnd:"), None);
        assert_eq!(has_capability(status, "CapAmb:"), None);
    }

    #[test]
    fn a_thread_for_lua_measures_the_stack_it_was_given() {
        let measured = spawn_lua_thread("test", own_stack).unwrap().join().unwrap();
        assert!(measured.is_some_and(|bytes| bytes >= LUA_STACK), "{measured:?}");
    }

    #[test]
    fn clocks_of_another_age_are_doubted() {
        assert_eq!(wall_clock(Timestamp::EPOCH).state, State::Warn);
        assert_eq!(wall_clock(Timestamp::new(1_800_000_000, 0)).state, State::Ok);
    }

    #[test]
    fn space_is_that_of_the_nearest_directory_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let here = space(folder.path()).unwrap();
        assert_eq!(here.writable, Access::Granted);
        let finding = data_directory(&folder.path().join("not/yet"));
        assert!(finding.text.contains("free, made when needed") || finding.state != State::Ok, "{finding:?}");
        assert!(space(Path::new("/no/such/directory")).is_err());
    }
}
