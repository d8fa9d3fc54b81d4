//! The life of a run with the built program: where settings come from, signals, the control socket, the service manager, and
//! becoming another user.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;
#[path = "e2e/namespace.rs"]
mod namespace;
#[path = "life/privileges.rs"]
mod privileges;
#[path = "life/service.rs"]
mod service;
#[path = "life/settings.rs"]
mod settings;
#[path = "life/socket.rs"]
mod socket;
mod support;

use std::fs;
use std::process::Command;
use std::time::Duration;

use e2e::{Ended, Place, Running};
use support::{Capture, IPV4};

/// How long anything may take that does not go on by itself.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A capture file of some packets in the place.
pub fn capture(place: &Place, packets: u32) -> String {
    let path = place.path("input.pcap");
    fs::write(&path, Capture::udp(packets, 1_000).to_pcap()).unwrap();
    path.display().to_string()
}

/// A run that goes on until it is told to end, with a control socket at `socket` in the place.
pub fn endless(place: Place, more: &[&str], change: impl FnOnce(&mut Command)) -> (Place, Running) {
    let place = place.counter("count.lua", IPV4, "", "if n == 1 then print('begun') end");
    let file = capture(&place, 100);
    let socket = place.path("socket").display().to_string();
    let fixed = ["-r", &file, "--loop", "1000000", "--speed", "1", "--json"];
    let own = ["--control", &socket];
    let socket = if more.contains(&"--control") { &[][..] } else { &own[..] };
    let mut command = place.command(&[&fixed[..], socket, more].concat());
    change(&mut command);
    let mut running = place.start_command(&mut command);
    running.until("the first packet", |running| running.said().contains("begun"));
    (place, running)
}

/// Any command of the program, in the place.
pub fn millstream(place: &Place, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).args(["--color", "never"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").env("MILLSTREAM_DATA", place.path("data"));
    command.current_dir(place.path("")).stdin(std::process::Stdio::null());
    change(&mut command);
    place.start_command(&mut command).wait(LIMIT)
}

/// The same, with outputs of its own, while something else runs in the place.
pub fn beside(place: &Place, arguments: &[&str], change: impl FnOnce(&mut Command)) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).args(["--color", "never"]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").current_dir(place.path(""));
    change(&mut command);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
