//! The control socket and the commands that speak to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::e2e::Place;
use crate::{LIMIT, beside, endless};

fn asked(place: &Place, arguments: &[&str]) -> Value {
    let socket = place.path("socket").display().to_string();
    let (code, out, err) = beside(place, &[arguments, &["--json", "--control", &socket]].concat(), |_| {});
    assert_eq!(code, Some(0), "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_run_tells_what_it_does_and_ends_when_told_to() {
    let (place, running) = endless(Place::new(), &[], |_| {});
    let mode = fs::metadata(place.path("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = asked(&place, &["status"]);
    assert_eq!(status["state"], "running");
    assert_eq!(status["pid"], running.id());
    assert_eq!((&status["live"], &status["plugins"], &status["engines"]), (&false.into(), &1.into(), &1.into()));
    let (first, second) = (asked(&place, &["stats"]), asked(&place, &["plugins"]));
    assert!(first["packets"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(first["engines_silent"], 0);
    let plugin = &second["plugins"][0];
    assert_eq!((plugin["name"].as_str(), plugin["state"].as_str()), (Some("count.lua"), Some("loaded")));
    assert!(plugin["calls"].as_u64().unwrap() >= first["packets"].as_u64().unwrap(), "{first} {second}");
    assert!(plugin["memory_bytes"].as_u64().unwrap() > 1_000);
    assert_eq!(asked(&place, &["reload"])["reloads"], 1);
    let socket = place.path("socket").display().to_string();
    let (code, out, _) = beside(&place, &["status", "--control", &socket], |_| {});
    assert_eq!(code, Some(0));
    assert!(out.starts_with("state") && out.contains("running"), "{out}");
    assert_eq!(asked(&place, &["stop"])["state"], "ending");
    let ended = running.wait(Duration::from_secs(10));
    ended.exits(0);
    assert!(ended.report()["run"]["packets"].as_u64().unwrap() >= first["packets"].as_u64().unwrap());
    assert!(!place.path("socket").exists());
}

#[test]
fn scripts_on_the_backend_have_figures_as_well() {
    let script = "TrisulPlugin = { id = { name = 'm' }, engine_monitor = { onmetronome = function() end } }";
    // On the packet thread, and on a thread of its own.
    for more in [&[][..], &["--backends", "2"]] {
        let (place, mut running) = endless(Place::new().plugin("m.lua", script), more, |_| {});
        running.until("the backend was called", |_| {
            let rows = asked(&place, &["plugins"])["plugins"].clone();
            let row = rows.as_array().into_iter().flatten().find(|row| row["name"] == "m.lua").unwrap();
            row["memory_bytes"].as_u64().unwrap() > 1_000 && row["calls"].as_u64().unwrap() > 0
        });
        running.signal("TERM");
        running.wait(Duration::from_secs(10)).exits(0);
    }
}

#[test]
fn the_only_run_is_found_and_none_or_several_are_explained() {
    let place = Place::new();
    let folder = place.path("runtime");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(folder.join("millstream")).unwrap();
    let ask = |place: &Place| {
        beside(place, &["status", "--json"], |command| {
            command.env("XDG_RUNTIME_DIR", &folder);
        })
    };
    let named = |name: &str| folder.join("millstream").join(name).display().to_string();
    let (code, _, err) = ask(&place);
    // Another run on this machine, as of a test over interfaces, would be found as well.
    let alone = err.contains("no run is found in");
    assert!(code == Some(2) || !alone, "{err}");
    let (first_place, first) = endless(Place::new(), &["--control", &named("a.sock")], |_| {});
    let (second_place, second) = endless(Place::new(), &["--control", &named("b.sock")], |_| {});
    let (code, _, err) = ask(&place);
    assert_eq!(code, Some(2));
    assert!(err.contains("several runs are there") && err.contains("a.sock") && err.contains("b.sock"), "{err}");
    second.signal("TERM");
    second.wait(LIMIT).exits(0);
    if alone {
        let (code, out, err) = ask(&place);
        if !err.contains("several") {
            assert_eq!(code, Some(0), "{err}");
            assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["pid"], first.id());
        }
    }
    first.signal("TERM");
    first.wait(LIMIT).exits(0);
    drop((first_place, second_place));
}

#[test]
fn what_holds_a_run_up_does_not_hold_up_its_end_at_once() {
    let sleeping = "TrisulPlugin = { id = { name = 'slow' }, onunload = function() os.execute('sleep 30') end, \
                    simplecounter = { protocol_guid = '{14D7AB53-CC51-47E9-8814-9C06AAE60189}', onpacket = function() end } }";
    let (place, running) = endless(Place::new().plugin("slow.lua", sleeping), &[], |_| {});
    assert_eq!(asked(&place, &["stop"])["state"], "ending");
    std::thread::sleep(Duration::from_millis(300));
    let socket = place.path("socket").display().to_string();
    let (code, out, err) = beside(&place, &["stop", "--at-once", "--json", "--control", &socket], |_| {});
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("ending at once"), "{out}");
    let ended = running.wait(Duration::from_secs(5));
    assert_eq!(ended.code, Some(128 + 15), "{}", ended.stderr);
}

#[test]
fn hostile_clients_change_nothing_for_others() {
    let (place, running) = endless(Place::new(), &[], |_| {});
    let path = place.path("socket");
    let silent: Vec<UnixStream> = (0..10).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let mut state: u32 = 1;
    for round in 0..40_usize {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut bytes: Vec<u8> = (0..round * 10)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .filter(|byte| *byte != b'\n')
            .collect();
        bytes.push(b'\n');
        stream.write_all(&bytes).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["ok"], false, "{line}");
    }
    // One that never ends its line.
    let mut long = UnixStream::connect(&path).unwrap();
    let _ = long.write_all(&vec![b'{'; 1 << 20]);
    let mut rest = Vec::new();
    let _ = long.read_to_end(&mut rest);
    assert_eq!(asked(&place, &["status"])["state"], "running");
    drop(silent);
    running.signal("INT");
    running.wait(LIMIT).exits(0);
}
