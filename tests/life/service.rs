//! Signals and the service manager.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::e2e::{Place, say};
use crate::{LIMIT, capture, endless};

#[test]
fn hangup_asks_for_a_reload_and_user_signal_one_writes_figures_to_the_log() {
    let (place, mut running) = endless(Place::new(), &[], |_| {});
    running.signal("USR1");
    running.until("the figures", |running| running.said().contains("stats:\n"));
    let said = running.said();
    for name in ["packets", "bytes", "faults", "jobs:", "engines:"] {
        assert!(said.contains(&format!("\n  {name}")), "{name}: {said}");
    }
    running.signal("HUP");
    running.until("the reload", |running| running.said().contains("reload: changed plugins are loaded again"));
    running.signal("TERM");
    let ended = running.wait(Duration::from_secs(10));
    ended.exits(0);
    assert!(ended.report()["run"]["packets"].as_u64().unwrap() > 0);
    drop(place);
}

#[test]
fn requests_by_signal_wait_until_plugins_are_loaded() {
    let slow = "io.open('loads', 'w'):close() os.execute('sleep 0.5') TrisulPlugin = { id = { name = 'slow' }, \
        simplecounter = { onpacket = function() end } }";
    let place = Place::new().plugin("slow.lua", slow);
    let file = capture(&place, 100);
    let mut running = place.start(&["-r", &file, "--loop", "1000000", "--speed", "1", "--json"]);
    running.until("plugins load", |_| place.path("loads").exists());
    running.signal("HUP");
    running.signal("USR1");
    running.until("the figures", |running| running.said().contains("stats:\n"));
    running.until("the reload", |running| running.said().contains("reload: changed plugins are loaded again"));
    running.signal("TERM");
    running.wait(LIMIT).exits(0);
    // What ends a run ends its beginning.
    fs::remove_file(place.path("loads")).unwrap();
    let mut running = place.start(&["-r", &file]);
    running.until("plugins load", |_| place.path("loads").exists());
    running.signal("TERM");
    assert_eq!(running.wait(LIMIT).code, Some(143));
}

#[test]
fn a_service_manager_hears_of_every_step() {
    let place = Place::new();
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let hear = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let count = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{word}: {e}"));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if text.lines().any(|line| line == word) {
                return text;
            }
        }
    };
    let (place, running) = endless(place, &[], |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    });
    let ready = hear("READY=1");
    assert!(ready.contains(&format!("MAINPID={}", running.id())) && ready.contains("STATUS=reading "), "{ready}");
    hear("WATCHDOG=1");
    running.signal("HUP");
    hear("RELOADING=1");
    hear("READY=1");
    hear("WATCHDOG=1");
    running.signal("TERM");
    hear("STOPPING=1");
    running.wait(LIMIT).exits(0);
    drop(place);
}

#[test]
fn the_unit_is_one_that_the_service_manager_takes() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/millstream.service");
    let text = fs::read_to_string(unit).unwrap();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', '['])) {
        assert!(line.contains('='), "{line}");
    }
    for needed in ["Type=notify", "NoNewPrivileges=true", "CapabilityBoundingSet=CAP_NET_RAW", "ProtectSystem=strict"] {
        assert!(text.lines().any(|line| line == needed), "{needed}");
    }
    // The program does not lie where the unit has it.
    let folder = Place::new();
    let program = env!("CARGO_BIN_EXE_millstream");
    fs::write(folder.path("millstream.service"), text.replace("/usr/local/bin/millstream", program)).unwrap();
    let verify = Command::new("systemd-analyze").arg("verify").arg(folder.path("millstream.service")).output();
    match verify {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let about: Vec<&str> = said.lines().filter(|line| line.contains("millstream.service")).collect();
            // A container has no man pages and no user of that name; everything else counts.
            let about: Vec<&&str> = about.iter().filter(|line| !line.contains("man millstream")).collect();
            assert!(about.is_empty(), "{said}");
        }
        Err(_) => say("systemd-analyze is not there: the unit was only looked at"),
    }
}
