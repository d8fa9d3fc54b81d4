//! Becoming another user. Needs root and iproute2, and says so where they are absent.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::thread;
use std::time::Duration;

use crate::e2e::{Place, dropped, say};
use crate::namespace::{capturing, in_namespace, ip};
use crate::{LIMIT, capture};

const UDP: &str = "{14D7AB53-CC51-47E9-8814-9C06AAE60189}";
const NOBODY: &str = "65534";

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn datagram(number: u32) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 1, 9]);
    frame.extend([4, 0, 0x10, 9, 0, 26, 0, 0]);
    frame.extend([0; 14]);
    frame.extend(number.to_be_bytes());
    frame
}

/// A field of the status of every thread of a process.
fn fields(id: u32, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find(|line| line.starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

#[test]
fn after_the_switch_nothing_is_left_but_capturing_and_no_packet_is_missed() {
    in_namespace(|| {
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::write(secret.path(), "secret").unwrap();
        fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let head = format!("local f = io.open('{}') print('secret ' .. tostring(f ~= nil))", secret.path().display());
        let place = Place::new().counter("count.lua", UDP, &head, "if n == 3000 then print('all') end");
        let written = place.path("events").display().to_string();
        let stored = place.path("stored").display().to_string();
        let database = place.path("s.db").display().to_string();
        let socket = place.path("socket").display().to_string();
        let (place, mut running) = capturing(
            place,
            &[
                "-i",
                "here",
                "--user",
                "nobody",
                "--json",
                "--events",
                &written,
                "--packets",
                &stored,
                "--store",
                &database,
                "--control",
                &socket,
            ],
        );
        let id = running.id();
        for name in ["Uid", "Gid"] {
            let all = fields(id, name);
            assert!(all.len() > 3 && all.iter().all(|ids| ids.split(' ').all(|id| id == NOBODY)), "{name}: {all:?}");
        }
        assert!(fields(id, "Groups").iter().all(String::is_empty), "{:?}", fields(id, "Groups"));
        let capture = 1_u64 << 13;
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let sets: Vec<u64> = fields(id, name).iter().map(|set| u64::from_str_radix(set, 16).unwrap()).collect();
            assert!(sets.iter().all(|set| set & !capture == 0), "{name}: {sets:x?}");
            assert!(name != "CapAmb" || sets.iter().all(|set| *set == 0));
        }
        assert!(
            !running.said().contains("secret true") && running.said().contains("secret false"),
            "{}",
            running.said()
        );

        let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
        for number in 0..2_000_u32 {
            sender.sendpacket(datagram(number)).unwrap();
            if number % 100 == 99 {
                thread::sleep(Duration::from_millis(2));
            }
        }
        // Every one is seen, none twice: the figures of the plugin say so while the run goes on.
        let calls = || {
            let answer = crate::beside(&place, &["plugins", "--json", "--control", &socket], |_| {}).1;
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
            let rows = answer["plugins"].as_array().cloned().unwrap_or_default();
            rows.iter().find(|row| row["name"] == "count.lua").and_then(|row| row["calls"].as_u64()).unwrap_or_default()
        };
        running.until("all packets are counted", |_| calls() >= 2_000);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(calls(), 2_000);
        // An interface that goes down and comes back has to be opened again, with the right that was kept.
        assert!(ip("link set here down"));
        thread::sleep(Duration::from_millis(300));
        assert!(ip("link set here up"));
        let mut later = 2_000;
        running.until("packets come again", |running| {
            thread::sleep(Duration::from_millis(20));
            if later < 200_000 && sender.sendpacket(datagram(later)).is_ok() {
                later += 1;
            }
            running.said().contains("all") || {
                let figures = crate::beside(&place, &["stats", "--json", "--control", &socket], |_| {}).1;
                let figures: serde_json::Value = serde_json::from_str(&figures).unwrap_or_default();
                figures["packets"].as_u64().is_some_and(|packets| packets > 2_100)
            }
        });
        running.signal("TERM");
        let ended = running.wait(LIMIT);
        ended.exits(0);
        let report = ended.report();
        assert_eq!(dropped(&report, "kernel_dropped"), 0, "{report}");
        let seen = report["run"]["packets"].as_u64().unwrap();
        assert!(seen > 2_100, "{report}");
        assert!(fs::metadata(place.path("s.db")).unwrap().len() > 0);
        assert!(fs::read_to_string(&written).unwrap().lines().count() > 1);
        for path in [&written, &database, &stored] {
            assert_eq!(fs::metadata(path).unwrap().uid().to_string(), NOBODY, "{path}");
        }
    });
}

#[test]
fn a_run_over_files_keeps_no_right_at_all() {
    if !is_root() {
        say("skipped: needs root to become another user");
        return;
    }
    let body = "if n == 1 then for line in io.lines('/proc/self/status') do \
                if line:find('^Cap') or line:find('^NoNew') or line:find('^Uid') then print(line) end end end";
    let place = Place::new().counter("say.lua", crate::support::IPV4, "", body);
    let file = capture(&place, 10);
    let ended = place.run(&["-r", &file, "--user", "nobody", "--json"], LIMIT);
    ended.exits(0);
    let values = |name: &str| {
        let line = ended.stderr.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{}", ended.stderr));
        line.split_once(name).unwrap().1.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(values("Uid:"), [NOBODY; 4]);
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"] {
        assert!(values(name)[0].chars().all(|digit| digit == '0'), "{name} {:?}", values(name));
    }
    assert_eq!(values("NoNewPrivs:"), ["1"]);
}

#[test]
fn captures_that_only_root_may_read_are_open_before_the_switch() {
    if !is_root() {
        say("skipped: needs root to become another user");
        return;
    }
    let place = Place::new();
    let packets = fs::read(capture(&place, 10)).unwrap();
    fs::create_dir(place.path("many")).unwrap();
    for name in ["first.pcap", "many/a", "many/b"] {
        fs::write(place.path(name), &packets).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    for more in [&[][..], &["--loop", "2"], &["--engines", "2"]] {
        let arguments = [&["-r", "first.pcap", "many", "--user", "nobody", "--json"], more].concat();
        let ended = place.run(&arguments, LIMIT);
        ended.exits(0);
        let rounds = if more.contains(&"--loop") { 2 } else { 1 };
        assert_eq!(ended.report()["run"]["packets"], 30 * rounds, "{more:?}");
    }
}

#[test]
fn users_that_cannot_be_become_are_explained() {
    let place = Place::new();
    let refused = |user: &str, part: &str| {
        let ended = place.run(&["-r", "x", "--user", user], LIMIT);
        ended.exits(2);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    };
    refused(
        "no-such-user",
        "--user no-such-user: there is no such user; add one with: sudo useradd --system no-such-user",
    );
    refused("root", "--user root: this is root; name a user without rights, such as nobody");
    if !is_root() {
        refused("nobody", "--user nobody: only root can become another user");
    }
}
