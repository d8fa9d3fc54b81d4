//! Cases, snapshots, and what is said about them.

use super::run::{Folder, GROUP, case, on_packet, project, run};

fn counting() -> Folder {
    let body = format!(
        "engine:update_counter('{GROUP}', 'pings', 0, 1)\n\
         if layer:packet():capture_length() > 70 then print('long\\tand \"odd\" \\255') end"
    );
    Folder::new(&on_packet("", &body), &case("ping.pcap", "about = 'Twenty packets.'"))
}

#[test]
fn the_plugins_of_the_project_pass_their_tests() {
    let out = run(project(), &["test", "plugins"]).ended(0);
    assert!(!out.contains("without cases"), "{out}");
    assert!(!out.contains("FAILED"), "{out}");
}

#[test]
fn a_first_run_fails_and_says_how_a_snapshot_is_written() {
    let folder = counting();
    let out = folder.test(&[]).ended(1);
    assert!(out.contains("FAILED p/case") && out.contains("--update"), "{out}");
    assert!(!folder.path("tests/p/case.snap").exists());
    let out = folder.test(&["--update"]).ended(0);
    assert!(out.contains("written p/case"), "{out}");
    let out = folder.test(&[]).ended(0);
    assert!(out.contains("passed p/case") && out.contains("1 case: 1 passed"), "{out}");
}

#[test]
fn snapshots_are_readable_and_the_same_from_wherever_they_are_made() {
    let folder = counting();
    folder.test(&["--update"]).ended(0);
    let snapshot = folder.read("tests/p/case.snap");
    assert!(snapshot.starts_with("# Twenty packets.\n20 packets, "), "{snapshot}");
    assert!(snapshot.contains(&format!("== counters of \"Things\" {GROUP}\n")), "{snapshot}");
    assert!(snapshot.contains("pings Count: sum 20 of 20, from 1 to 1, last 1\n"), "{snapshot}");
    assert!(snapshot.contains("p.lua \"long\\tand \\\"odd\\\" \\xff\"\n"), "{snapshot}");
    let path = folder.0.path().display().to_string();
    run(std::path::Path::new("/"), &["test", &path]).ended(0);
    run(std::path::Path::new("/"), &["test", &format!("{path}/p.lua")]).ended(0);
    run(std::path::Path::new("/"), &["test", &format!("{path}/tests/p/case.toml")]).ended(0);
}

#[test]
fn what_differs_is_shown_line_by_line() {
    let folder = counting();
    folder.test(&["--update"]).ended(0);
    folder.write("p.lua", &folder.read("p.lua").replace("'pings', 0, 1", "'pings', 0, 2"));
    let out = folder.test(&[]).ended(1);
    assert!(out.contains("  - pings Count: sum 20 of 20, from 1 to 1, last 1\n"), "{out}");
    assert!(out.contains("  + pings Count: sum 40 of 20, from 2 to 2, last 2\n"), "{out}");
    let out = folder.test(&["--color", "always"]).ended(1);
    assert!(out.contains("\x1b[31m- pings") && out.contains("\x1b[32m+ pings"), "{out}");
    let document: serde_json::Value = serde_json::from_str(&folder.test(&["--json"]).ended(1)).unwrap();
    assert_eq!(document["failed"], 1);
    assert_eq!(document["cases"][0]["name"], "p/case");
    assert_eq!(document["cases"][0]["verdict"], "different");
    assert!(
        document["cases"][0]["difference"]
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line == "+pings Count: sum 40 of 20, from 2 to 2, last 2")
    );
}

#[test]
fn nothing_to_run_is_an_error() {
    let folder = counting();
    let said = folder.test(&["--filter", "nowhere"]);
    assert!(said.err.contains("no cases named 'nowhere'"), "{}", said.err);
    said.ended(2);
    let empty = tempfile::tempdir().unwrap();
    run(empty.path(), &["test"]).ended(2);
    run(empty.path(), &["test", "missing"]).ended(2);
}

#[test]
fn mistakes_in_a_case_are_named() {
    for (text, said) in [
        ("capture = 'no.pcap'".to_owned(), "no.pcap does not exist"),
        (case("ping.pcap", "caputre = 'x'"), "caputre"),
        (case("ping.pcap", "compare = ['alarms']"), "alarms"),
        (case("ping.pcap", "filter = 'nonsense filter'"), "nonsense filter"),
        (case("ping.pcap", "plugins = ['q.lua']"), "q.lua"),
    ] {
        let folder = Folder::new(&on_packet("", ""), &text);
        let out = folder.test(&[]).ended(1);
        assert!(out.contains("FAILED p/case") && out.contains(said), "{text}: {out}");
    }
}

#[test]
fn only_the_parts_that_are_named_are_compared() {
    let body = format!("engine:update_counter('{GROUP}', 'x', 0, 1) print('text') T.log('logged')");
    let folder = Folder::new(&on_packet("", &body), &case("ping.pcap", "compare = ['prints', 'logs']"));
    folder.test(&["--update"]).ended(0);
    let snapshot = folder.read("tests/p/case.snap");
    assert!(snapshot.contains("== prints\n") && snapshot.contains("== logs\n"), "{snapshot}");
    assert!(!snapshot.contains("counters"), "{snapshot}");
}

#[test]
fn errors_of_a_plugin_are_part_of_the_snapshot() {
    let folder = Folder::new(&on_packet("", "local x = nil; return x.y"), &case("ping.pcap", "count = 1"));
    folder.test(&["--update"]).ended(0);
    let snapshot = folder.read("tests/p/case.snap");
    assert!(snapshot.contains("callback=simplecounter.onpacket"), "{snapshot}");
    assert!(snapshot.contains("p.lua:6: attempt to index local 'x' (a nil value)"), "{snapshot}");
}

#[test]
fn arguments_and_settings_reach_the_plugin() {
    let body = "if not told then told = true print(T.args, T.env.get_config('My>Thing')) end";
    let folder = Folder::new(&on_packet("", body), &case("ping.pcap", "args = '--odd'\nset = { 'My>Thing' = 7 }"));
    folder.test(&["--update"]).ended(0);
    assert!(folder.read("tests/p/case.snap").contains("p.lua \"--odd\\t7\""), "{}", folder.read("tests/p/case.snap"));
}
