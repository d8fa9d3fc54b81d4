//! Answers of jobs, recorded and replayed.

use super::run::{Folder, GROUP, case, on_packet};

/// Each of the first three packets asks the file `answer` what to say; bytes that are no text travel both ways.
fn asking(folder_of_answer: &str) -> String {
    let head = format!("local ANSWER = '{folder_of_answer}/answer'\nlocal n = 0");
    let body = format!(
        "n = n + 1\nif n > 3 then return end\n\
         T.async:schedule {{ data = 'q' .. n .. '\\0\\255', onexecute = function(data)\n\
           local file = assert(io.open(ANSWER), 'no network')\n\
           print('asked')\n\
           return file:read('*a') .. data\n\
         end, onresult = function(engine, data, result)\n\
           engine:update_counter('{GROUP}', result, 0, 1)\n\
         end }}"
    );
    on_packet(&head, &body)
}

fn folder() -> Folder {
    let folder = Folder::new("", &case("ping.pcap", ""));
    let path = folder.0.path().display().to_string();
    folder.write("p.lua", &asking(&path));
    folder.write("answer", "a\u{7}\n");
    folder
}

#[test]
fn recorded_answers_are_given_without_running_the_jobs() {
    let folder = folder();
    folder.test(&["--record", "--update"]).ended(0);
    let (snapshot, tape) = (folder.read("tests/p/case.snap"), folder.read("tests/p/case.jobs"));
    assert_eq!(tape.matches("\njob ").count(), 3, "{tape}");
    assert!(tape.contains("data \"q1\\x00\\xff\"\nprint \"asked\"\nresult \"a\\x07\\nq1\\x00\\xff\"\n"), "{tape}");
    // Keys end at the first NUL.
    assert!(snapshot.contains("\"a\\x07\\nq1\" Count: sum 1"), "{snapshot}");
    assert_eq!(snapshot.matches("p.lua (async) \"asked\"").count(), 3, "{snapshot}");
    std::fs::remove_file(folder.path("answer")).unwrap();
    folder.test(&[]).ended(0);
    folder.test(&["--replay"]).ended(0);
    folder.test(&["--record"]).ended(1);
}

#[test]
fn a_job_without_a_recorded_answer_is_named() {
    let folder = folder();
    folder.test(&["--record", "--update"]).ended(0);
    folder.write("p.lua", &folder.read("p.lua").replace("n > 3", "n > 4"));
    let out = folder.test(&[]).ended(1);
    assert!(out.contains("no recorded answer for p.lua: onexecute of p.lua:"), "{out}");
    assert!(out.contains("q4\\x00\\xff") && !out.contains("q3"), "{out}");
    assert!(out.contains("--record"), "{out}");
}

#[test]
fn replaying_without_a_recording_fails_only_where_jobs_are_scheduled() {
    let folder = folder();
    folder.test(&["--update"]).ended(0);
    let out = folder.test(&["--replay"]).ended(1);
    assert!(out.contains("q1\\x00\\xff"), "{out}");
    folder.write("p.lua", &on_packet("", ""));
    folder.test(&["--update", "--replay"]).ended(0);
}

#[test]
fn jobs_that_fail_are_recorded_as_such() {
    let folder = folder();
    std::fs::remove_file(folder.path("answer")).unwrap();
    folder.test(&["--record", "--update"]).ended(0);
    let tape = folder.read("tests/p/case.jobs");
    assert!(tape.contains("failed \"") && tape.contains("no network"), "{tape}");
    folder.write("answer", "now there is one");
    folder.test(&[]).ended(0);
}

#[test]
fn answers_are_found_when_the_function_has_moved() {
    let folder = folder();
    folder.test(&["--record", "--update"]).ended(0);
    std::fs::remove_file(folder.path("answer")).unwrap();
    folder.write("p.lua", &format!("-- one line more\n{}", folder.read("p.lua")));
    folder.test(&[]).ended(0);
}

#[test]
fn a_recording_that_cannot_be_read_says_where() {
    let folder = folder();
    folder.test(&["--record", "--update"]).ended(0);
    folder.write("tests/p/case.jobs", "job \"p.lua\" \"p.lua:1\"\ndata nothing\n");
    let out = folder.test(&[]).ended(1);
    assert!(out.contains("case.jobs") && out.contains("line 2"), "{out}");
}
