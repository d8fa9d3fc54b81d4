//! The prompt, driven through a pipe.

use super::run::{Folder, GROUP, capture, case, on_packet, project, run_with};

fn talk(file: &str, lines: &[&str]) -> Vec<String> {
    let path = capture(file).display().to_string();
    let out = run_with(project(), &["repl", "-r", &path], &(lines.join("\n") + "\n")).ended(0);
    out.lines().map(str::to_owned).collect()
}

/// What the prompt answers, without what packets led to.
fn answers(file: &str, lines: &[&str]) -> Vec<String> {
    let is_of_packets = |line: &String| line.starts_with("2026-01-15T") || line.starts_with("recorded: ");
    talk(file, lines).into_iter().filter(|line| !is_of_packets(line)).collect()
}

#[test]
fn packets_are_stepped_over_and_looked_at() {
    let out = talk("ping.pcap", &["next", "layers", "next 2", "goto 1", "packets", "next 100"]);
    assert!(out[0].starts_with("#1 ") && out[0].contains("Ethernet"), "{out:?}");
    assert!(out[1].starts_with("0  Ethernet  "), "{out:?}");
    assert!(out.iter().any(|line| line.starts_with("#3 ")), "{out:?}");
    assert!(out.last().unwrap().contains("the capture ends after packet 20"), "{out:?}");
}

#[test]
fn lua_sees_the_present_packet_as_plugins_do() {
    let lines = [
        "packet == nil",
        "next",
        "packet:wire_length() == packet:rawbytes():size()",
        "#layers, layer:layer_bytes() > 0, layers[1]:layer_bytes()",
        "flow:ipa_readable()",
        "x = { b = 1, 'a' }",
        "x",
        "error('oh')",
        "1 +",
        "print('printed')",
        "T.util.ntop(0x7F000001)",
    ];
    let out = talk("dns.pcap", &lines);
    assert_eq!(out[0], "true");
    assert_eq!(out[2], "true", "{out:?}");
    assert!(out[3].ends_with("  true  14"), "{out:?}");
    assert!(out[4].contains('.'), "{out:?}");
    let rest = out[5..].join("\n");
    assert!(rest.contains("b = 1"), "{rest}");
    assert!(rest.contains("repl:1: oh"), "{rest}");
    assert!(rest.contains("unexpected symbol") || rest.contains("repl:1:"), "{rest}");
    assert!(rest.contains("\nprinted"), "{rest}");
    assert!(rest.contains("127.0.0.1"), "{rest}");
}

#[test]
fn a_filter_or_a_condition_says_where_to_stop() {
    let out =
        answers("demo.pcap", &["filter tcp port 22", "next", "flow", "filter", "until packet:wire_length() > 1400"]);
    assert!(out[1].contains("TCP") && out[1].contains("p-0016"), "{out:?}");
    assert!(out.last().unwrap().starts_with('#'), "{out:?}");
    let out = answers("demo.pcap", &["next", "filter nonsense words", "until nil + 1"]);
    assert!(out[1].contains("nonsense words"), "{out:?}");
    assert!(out[2].contains("repl:1:"), "{out:?}");
}

#[test]
fn plugins_count_and_print_as_they_go() {
    let folder = Folder::new(
        &on_packet("", &format!("engine:update_counter('{GROUP}', 'k', 0, 2) print('seen')")),
        &case("ping.pcap", ""),
    );
    let path = capture("ping.pcap").display().to_string();
    let lines = "next 3\ncounters\ncounters Things\nengine:update_counter('{0B1C2D3E-0000-4000-8000-00000000ABCD}', 'k', 0, 1)\n\
                 counters things\ncounters Nothing\nflows\nhex 0\nhelp\nquit\nnever\n";
    let out = run_with(folder.0.path(), &["repl", "-r", &path, "-p", "p.lua"], lines).ended(0);
    assert_eq!(out.matches("seen\n").count(), 3, "{out}");
    assert!(out.contains("Things  1 keys"), "{out}");
    assert!(out.contains("  k  6\n") && out.contains("  k  7\n"), "{out}");
    assert!(out.contains("there is no counter group 'Nothing'"), "{out}");
    assert!(out.contains("00000000  ") && out.contains("goto N"), "{out}");
    assert!(!out.contains("never"), "{out}");
}

#[test]
fn what_packets_lead_to_is_shown_when_they_are_stepped_over() {
    let body = "local id = layer:packet():flowid():id() \
                engine:add_alert('{B5F1DECB-51D5-4395-B71B-6FA730B772D9}', id, 'sig', 1, 'an alert') \
                engine:add_resource('{5AEE3F0B-9304-44BE-BBD0-0467052CF468}', id, 'a uri', 'a label') \
                engine:tag_flow(id, 'a-tag')";
    let folder = Folder::new(&on_packet("", body), &case("ping.pcap", ""));
    let path = capture("ping.pcap").display().to_string();
    let out = run_with(folder.0.path(), &["repl", "-r", &path, "-p", "p.lua"], "next\nlayers\nnext 2\n").ended(0);
    let (first, rest) = out.split_once("#1 ").unwrap();
    let (layers, rest) = rest.split_once("#3 ").unwrap();
    for (part, count) in [(first, 1), (layers, 2), (rest, 0)] {
        assert_eq!(part.matches("  alert  priority 1  [p.lua] sig: an alert").count(), count, "{out}");
        assert_eq!(part.matches("a uri = a label").count(), count, "{out}");
    }
    assert!(first.contains("recorded: tag 1\n") && layers.contains("recorded: tag 2\n"), "{out}");
}

#[test]
fn results_of_jobs_come_back_to_the_prompt() {
    let job = "T.async:schedule { data = 'd', onexecute = function(d) return d .. '!' end, onresult = function(_, _, r) got = r end }";
    let wait = "os.execute('sleep 0.3')";
    let out = talk("ping.pcap", &["next", job, wait, wait, "got"]);
    assert_eq!(out.last().unwrap(), "\"d!\"", "{out:?}");
}
