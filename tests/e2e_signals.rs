//! Ends of a run that nobody planned: signals, closed pipes, full disks, and jobs that misbehave.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod e2e;
mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;

use e2e::{Ended, Place, Running, descendants, dropped, events, is_alive};
use millstream::time::Stopwatch;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;
use support::{Capture, IPV4};

const LIMIT: Duration = Duration::from_secs(60);

/// Writes a capture beside the plugins and gives its path.
fn capture(place: &Place, packets: u32) -> String {
    let path = place.path("input.pcap");
    fs::write(&path, Capture::udp(packets, 1_000).to_pcap()).unwrap();
    path.display().to_string()
}

/// Jobs of a report by state; `submitted` is all of them.
fn jobs(report: &Value) -> (u64, Vec<(String, u64)>) {
    let jobs = &report["jobs"];
    let ended = jobs["ended"].as_array().unwrap_or_else(|| panic!("no jobs: {report}"));
    let states =
        ended.iter().map(|state| (state["name"].as_str().unwrap().to_owned(), state["count"].as_u64().unwrap()));
    (jobs["submitted"].as_u64().unwrap(), states.collect())
}

/// Fails unless every job ended in one state; gives the count of one state.
#[track_caller]
fn ended_once(report: &Value, state: &str) -> u64 {
    let (submitted, states) = jobs(report);
    assert_eq!(states.iter().map(|(_, count)| count).sum::<u64>(), submitted, "{states:?}");
    states.iter().find(|(name, _)| name == state).map_or(0, |(_, count)| *count)
}

fn children_end(children: &[u32]) {
    let watch = Stopwatch::start();
    while children.iter().any(|id| is_alive(*id)) {
        assert!(watch.elapsed() < Duration::from_secs(2), "child processes are left behind: {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run over an endless input with 100,000 jobs waiting, each of which starts a child that sleeps.
fn pending(arguments: &[&str]) -> (Place, Running, Vec<u32>) {
    let body = "if n == 1 then for i = 1, 100000 do T.async:schedule { data = i, \
        onexecute = function(d) os.execute('sleep 30') return d end, onresult = function() end } end print('scheduled') end";
    let place = Place::new().counter("slow.lua", IPV4, "", body);
    let file = capture(&place, 1_000);
    let written = place.path("events").display().to_string();
    let fixed = ["-r", &file, "--callback-budget", "60000", "--loop", "1000000", "--json", "--events", &written];
    let mut running = place.start(&[&fixed[..], arguments].concat());
    running.until("jobs are scheduled", |running| running.said().contains("scheduled"));
    let mut children = Vec::new();
    running.until("a job has started a child", |running| {
        children = descendants(running.id());
        !children.is_empty()
    });
    (place, running, children)
}

#[test]
fn the_first_signal_ends_input_and_accounts_for_every_job() {
    // With delivery at fixed points, so many jobs hold the packets up; the signal ends that wait as well.
    for (signal, delivery) in [("INT", "never"), ("TERM", "files")] {
        let (place, running, children) = pending(&["--async-drain", "1s", "--deterministic", delivery]);
        running.signal(signal);
        let ended = running.wait(LIMIT);
        ended.exits(0);
        assert!(ended.took >= Duration::from_millis(900) && ended.took < Duration::from_secs(20), "{:?}", ended.took);
        let report = ended.report();
        assert!(ended_once(&report, "cancelled") > 99_000, "{report}");
        assert_eq!(jobs(&report).0, 100_000);
        assert_eq!(dropped(&report, "jobs_cancelled"), ended_once(&report, "cancelled"));
        children_end(&children);
        let told = events(&place.path("events")).iter().filter(|event| event["ev"] == "job").count();
        assert_eq!(told, 100_000, "each job is told of once");
    }
}

#[test]
fn the_second_signal_ends_the_run_at_once() {
    let (_place, running, children) = pending(&[]);
    running.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("INT");
    let ended = running.wait(LIMIT);
    assert!(ended.took < Duration::from_millis(500), "{:?}", ended.took);
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    children_end(&children);
}

#[test]
fn the_second_signal_ends_a_run_whose_report_nobody_reads() {
    let place = Place::new();
    let report = ["--builtin", "all", "--flows", "--top", "5000", "--json"];
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut command = place.command(&[&["-r", "pcaps/demo.pcap"][..], &report].concat());
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let reader = child.stdout.take().unwrap();
        let send = || {
            assert!(
                Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success()
            )
        };
        // The report alone goes to standard output, so the run is over once there is something to read.
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).unwrap();
        send();
        std::thread::sleep(Duration::from_millis(300));
        send();
        let watch = Stopwatch::start();
        let mut status = None;
        while status.is_none() && watch.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
            status = child.try_wait().unwrap();
        }
        // Without a reader there is nothing to wait for.
        drop(reader);
        let _ = child.wait();
        assert_eq!(status.and_then(|status| status.code()), Some(code));
    }
}

#[test]
fn the_first_signal_ends_a_run_of_which_nobody_reads_what_it_writes() {
    let place = Place::new().counter("loud.lua", IPV4, "", "print(('x'):rep(1000))");
    let file = capture(&place, 1_000);
    let endless = ["-r", &file, "--loop", "1000000"];
    for (more, signal) in [(&[][..], "INT"), (&["--events", "-"], "TERM"), (&["--json"], "TERM")] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = place.command(&[&endless, more].concat());
        let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        // The command keeps copies of the other end.
        drop(command);
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let watch = Stopwatch::start();
        let mut status = None;
        while status.is_none() && watch.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(5));
            status = child.try_wait().unwrap();
        }
        let took = watch.elapsed();
        let _ = child.kill();
        let _ = child.wait();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{more:?}: lines were lost");
        assert!(took < Duration::from_secs(5), "{more:?} took {took:?}");
        drop(reader);
    }
}

#[test]
fn a_signal_wakes_an_input_filter_that_waits_in_a_system_call() {
    let text = "local ffi = require 'ffi'
      ffi.cdef [[ int socketpair(int domain, int type, int protocol, int *ends); long recv(int end, void *to, size_t size, int flags); ]]
      local ends, n = ffi.new('int[2]'), 0
      TrisulPlugin = { id = { name = 'importer' },
        onload = function() assert(ffi.C.socketpair(1, 2, 0, ends) == 0) end,
        onunload = function() print('unloaded') end,
        inputfilter = { step = function(packet, engine)
          n = n + 1
          if n == 1 then
            packet:set_timestamp(1000)
            engine:update_counter('{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}', '0A.00.00.01', 0, 500)
            print('waits next')
            return true
          end
          local got = ffi.C.recv(ends[0], ffi.new('char[64]'), 64, 0)
          print('woken', tonumber(got))
          return nil
        end } }";
    for signal in ["INT", "TERM"] {
        let place = Place::new().plugin("importer.lua", text);
        let written = place.path("events").display().to_string();
        let mut running = place.start(&["--json", "--events", &written]);
        running.until("the script waits", |running| running.said().contains("waits next"));
        // Longer than it may take to return: what counts is the time since the signal.
        std::thread::sleep(Duration::from_millis(2_500));
        running.signal(signal);
        let ended = running.wait(LIMIT);
        ended.exits(0);
        assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
        let told = events(&place.path("events"));
        let texts: Vec<&str> = told.iter().filter_map(|event| event["text"].as_str()).collect();
        assert!(texts.ends_with(&["woken\t-1", "unloaded"]), "{texts:?}");
        assert!(told.iter().any(|event| event["ev"] == "counter" && event["key"] == "0A.00.00.01"), "{told:?}");
    }
}

#[test]
fn a_signal_ends_a_run_whose_input_filter_does_not_return() {
    let text = "local n = 0
      TrisulPlugin = { id = { name = 'stuck' }, inputfilter = { step = function()
        n = n + 1
        if n == 1 then print('loops next') return true end
        while true do end
      end } }";
    let place = Place::new().plugin("stuck.lua", text);
    let written = place.path("events").display().to_string();
    let mut running = place.start(&["--json", "--events", &written]);
    running.until("the script loops", |running| running.said().contains("loops next"));
    running.signal("INT");
    let ended = running.wait(LIMIT);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("the input filter does not return from its script"), "{}", ended.stderr);
}

#[test]
fn a_signal_while_jobs_are_waited_for_ends_the_wait() {
    let body = "if n == 1 then for i = 1, 1000 do T.async:schedule { data = i, \
        onexecute = function(d) os.execute('sleep 30') return d end, onresult = function() end } end end \
        if n == 10 then print('input ends') end";
    let place = Place::new().counter("slow.lua", IPV4, "", body);
    let file = capture(&place, 10);
    let mut running = place.start(&["-r", &file, "--deterministic", "never", "--json"]);
    let mut children = Vec::new();
    running.until("jobs are waited for", |running| {
        children = descendants(running.id());
        running.said().contains("input ends") && !children.is_empty()
    });
    std::thread::sleep(Duration::from_millis(100));
    running.signal("INT");
    let ended = running.wait(LIMIT);
    ended.exits(0);
    assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);
    assert!(ended_once(&ended.report(), "cancelled") >= 999);
    children_end(&children);
}

/// Runs with one output going into a pipe whose reader leaves after one line.
fn with_reader_that_leaves(place: &Place, arguments: &[&str]) -> Ended {
    let (err, mut command) = (place.path("stderr"), place.command(arguments));
    command.stdout(Stdio::piped()).stderr(File::create(&err).unwrap());
    let mut child = command.spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut stdout = String::new();
    reader.read_line(&mut stdout).unwrap();
    drop::<BufReader<ChildStdout>>(reader);
    let watch = Stopwatch::start();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if watch.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let stderr = fs::read_to_string(err).unwrap();
    Ended { status, code: status.code(), took: watch.elapsed(), stdout, stderr }
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::new().counter("talk.lua", IPV4, "", "print(n, string.rep('x', 200))");
    let file = capture(&place, 20_000);
    let ended = with_reader_that_leaves(&place, &["-r", &file]);
    assert!(ended.stdout.starts_with("1\txxx"), "{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let ended = with_reader_that_leaves(&place, &["-r", &file, "--events", "-", "-q"]);
    // Standard output is that of the events alone.
    let printed = ended.stderr.lines().filter(|line| line.contains("\txxx")).count();
    assert_eq!((ended.code, printed, ended.stderr.lines().count()), (Some(0), 20_000, 20_000));

    // A pipe under a name of its own, closed by its reader, while standard output goes on.
    let pipe = place.path("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let running = place.start(&["-r", &file, "--events", &pipe]);
    let mut first = String::new();
    BufReader::new(File::open(&pipe).unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "{\"ev\":\"version\",\"events\":1}\n");
    let ended = running.wait(LIMIT);
    ended.exits(0);
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.stdout.lines().filter(|line| line.contains("\txxx")).count(), 20_000);
}

#[test]
fn a_full_disk_is_told_of() {
    let place = Place::new().counter("talk.lua", IPV4, "", "print(n)");
    let file = capture(&place, 5_000);
    let ended = place.run(&["-r", &file, "--events", "/dev/full", "--json"], LIMIT);
    let expected = "/dev/full";
    // What scripts print is numbers.
    let told: Vec<&str> = ended.stderr.lines().filter(|line| line.parse::<u32>().is_err()).collect();
    assert!(told.len() == 1 && told[0].contains(expected) && told[0].contains("No space left on device"), "{told:?}");
    assert_eq!(ended.stderr.lines().count(), 5_001);
    // The run itself went on: what scripts printed and the report are complete.
    ended.exits(1);
    assert_eq!(ended.report()["run"]["packets"], 5_000);
    assert!(dropped(&ended.report(), "events_not_written") > 5_000, "{}", ended.report()["drops"]);
    let ended = place.run(&["-r", &file, "--events", "/nonexistent/events", "-q"], LIMIT);
    ended.exits(2);
    assert_eq!(
        ended.stderr,
        "millstream: --events /nonexistent/events: cannot be written: No such file or directory (os error 2)\n"
    );
}

#[test]
fn what_cannot_be_printed_is_told_of() {
    let place = Place::new().counter("talk.lua", IPV4, "", "print(n)");
    let file = capture(&place, 500);
    let mut command = place.command(&["-r", &file, "-q"]);
    let output = command.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("standard output: No space left on device"), "{said}");
    let mut command = place.command(&["-r", &file, "--json"]);
    let output = command.stderr(File::create("/dev/full").unwrap()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), dropped(&report, "console_lines")), (Some(1), 500));
    let reason = "what is printed could not be written in full: No space left on device (os error 28)";
    assert_eq!(report["verdict"]["reasons"], serde_json::json!([reason]));
}

#[test]
fn stores_that_a_full_disk_cut_short_are_no_good_end() {
    let place = Place::new().plugin(
        "hello.lua",
        "TrisulPlugin = { id = { name = 'hello', description = '' }, onload = function() print('ready') end,
         engine_monitor = { onmetronome = function() end } }",
    );
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&disk).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let [store, packets] = ["store.db", "packets"].map(|name| disk.join(name).display().to_string());
        let mut command = place.command(&["-r", "-", "--json", "--store", &store, "--packets", &packets]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Both are open by the time that plugins are loaded.
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        assert_eq!(first, "ready\n");
        let full = std::io::copy(&mut std::io::repeat(0), &mut File::create(disk.join("ballast")).unwrap());
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        child.stdin.take().unwrap().write_all(&Capture::udp(2_000, 1_000).to_pcap()).unwrap();
        let output = child.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(dropped(&report, "packet_store_disk_full"), 2_000, "{}", report["drops"]);
        assert!(dropped(&report, "store_disk_full") > 0, "{}", report["drops"]);
        let reasons =
            ["store", "packet store"].map(|what| format!("the {what} could not be written in full: the disk was full"));
        assert_eq!(report["verdict"]["reasons"], serde_json::json!(reasons));
        assert_eq!(output.status.code(), Some(1));
    });
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    outcome.unwrap();
}

#[test]
fn jobs_that_misbehave_end_in_their_states() {
    let head = "local D = function(name, f) T.async:schedule { data = name, onexecute = f, onresult = function(e, d, r) print(d, r) end } end";
    let body = "if n == 1 then
        local handle, userdata = io.tmpfile(), layer:packet():flowid()
        D('errs', function() error('on purpose') end)
        D('errs with a table', function() error({}) end)
        D('loops', function() while true do end end)
        D('sleeps', function() os.execute('sleep 30') return 'awake' end)
        D('forks', function() os.execute('sleep 31 & echo started') return 'forked' end)
        D('reads', function() local p = io.popen('sleep 32') return p:read('*a') end)
        D('gives a table', function() return {} end)
        D('gives nothing', function() end)
        D('gives a number', function() return 42 end)
        D('captures', function() return tostring(userdata) .. ' ' .. type(handle) end)
        D('bomb', function() local t = {} while true do t[#t + 1] = string.rep('x', 1e6 + #t) end end)
        D('fine', function(d) return d:upper() end)
      end";
    let place = Place::new().counter("jobs.lua", IPV4, head, body);
    let file = capture(&place, 5);
    let written = place.path("events").display().to_string();
    let mut running = place.start(&["-r", &file, "--job-budget", "1", "--json", "--events", &written]);
    let mut children = Vec::new();
    running.until("a child runs", |running| {
        children = descendants(running.id());
        !children.is_empty()
    });
    let own = running.id();
    let ended = running.wait(LIMIT);
    ended.exits(1);
    let report = ended.report();
    assert_eq!(ended_once(&report, "timed_out"), 3, "{}", report["jobs"]);
    assert_eq!(ended_once(&report, "failed"), 3, "{}", report["jobs"]);
    assert_eq!(ended_once(&report, "done"), 6, "{}", report["jobs"]);
    let printed: Vec<&str> = ended.stderr.lines().filter(|line| line.contains('\t')).collect();
    assert_eq!(printed, ["forks\tforked", "gives a number\t42", "captures\tnil nil", "fine\tFINE"]);
    children_end(&children);
    assert_eq!(descendants(own), Vec::<u32>::new());
    assert!(!sleepers().iter().any(|seconds| ["31", "32"].contains(&seconds.as_str())), "a child of a job outlives it");
    let warned: Vec<_> = events(&place.path("events"))
        .into_iter()
        .filter(|event| event["ev"] == "log" && event["level"] == "WARN")
        .map(|event| event["text"].to_string())
        .collect();
    assert!(["handle", "userdata"].iter().all(|name| warned.iter().any(|text| text.contains(name))), "{warned:?}");
}

/// Arguments of all `sleep` processes that run.
fn sleepers() -> Vec<String> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let mut text = String::new();
        File::open(entry.ok()?.path().join("cmdline")).ok()?.read_to_string(&mut text).ok()?;
        Some(text.strip_prefix("sleep\0")?.trim_end_matches('\0').to_owned())
    };
    fs::read_dir("/proc").unwrap().filter_map(read).collect()
}

#[test]
fn a_hundred_thousand_jobs_at_once_are_all_done() {
    let body = "if n == 1 then for i = 1, 100000 do T.async:schedule { data = i, \
        onexecute = function(d) return d + 1 end, onresult = function(e, d, r) sum = (sum or 0) + r - d end } end end
        if n == 2 then local more = T.async:schedule { onexecute = function() return 1 end } end";
    let text = format!(
        "local n = 0 TrisulPlugin = {{ id = {{ name = 'many', description = '' }}, request_async_workers = 2,
         onunload = function() print('sum', sum) end,
         simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine, layer) n = n + 1 {body} end }} }}"
    );
    let place = Place::new().plugin("many.lua", &text);
    let file = capture(&place, 2);
    let watch = Stopwatch::start();
    let ended = place.run(&["-r", &file, "--callback-budget", "60000", "--json"], LIMIT);
    ended.exits(0);
    let report = ended.report();
    let (submitted, _) = jobs(&report);
    assert_eq!(ended_once(&report, "done") + ended_once(&report, "dropped"), submitted, "{}", report["jobs"]);
    assert!(ended_once(&report, "done") >= 100_000 && submitted == 100_001);
    assert!(ended.stderr.contains("sum\t100000\n"), "{}", ended.stderr);
    e2e::say(&format!("100,000 jobs: {:?}", watch.elapsed()));
}

#[test]
fn file_operations_leave_the_right_files() {
    let body = "if n == 1 then
        T.async:copy('a', 'copied') T.async.cp('a', 'replaced') T.async:cat('a', 'joined') T.async:cat('b', 'joined')
        T.async:rm('gone') T.async:rm('never there')
        T.async:copybuffer('0123456789', 'buffer') T.async:copybuffer('AB', 'buffer', 4) T.async:copybuffer('Z', 'buffer', 12)
        T.async:copybuffer('end', 'buffer') T.async:copybuffer(layer:packet():rawbytes(), 'packet')
        T.async:cat('joined', 'again') T.async:rm('joined')
        T.async:cat('no such file', 'not made')
      end";
    let place = Place::new().counter("files.lua", IPV4, "", body);
    for (name, text) in [("a", "first\n"), ("b", "second\n"), ("replaced", "what was there before"), ("gone", "x")] {
        fs::write(place.path(name), text).unwrap();
    }
    let file = capture(&place, 3);
    let ended = place.run(&["-r", &file, "--json"], LIMIT);
    let report = ended.report();
    assert_eq!(jobs(&report).0, 14);
    ended_once(&report, "done");
    let read = |name: &str| fs::read(place.path(name)).ok();
    assert_eq!(read("copied").as_deref(), Some(&b"first\n"[..]));
    assert_eq!(read("replaced").as_deref(), Some(&b"first\n"[..]));
    assert_eq!(read("again").as_deref(), Some(&b"first\nsecond\n"[..]));
    assert_eq!(read("buffer").as_deref(), Some(&b"0123AB6789\0\0Zend"[..]));
    assert_eq!(read("packet"), Some(support::frames::udp_packet((5000, 6000), &[0; 4])));
    assert!(["gone", "joined", "not made"].iter().all(|name| read(name).is_none()));
    assert!(ended.stderr.contains("no such file"), "{}", ended.stderr);
}

#[test]
fn a_limit_of_waiting_cuts_jobs_at_the_end_of_input() {
    let body = "if n == 1 then for i = 1, 50 do T.async:schedule { onexecute = function() os.execute('sleep 33') end } end end";
    let place = Place::new().counter("slow.lua", IPV4, "", body);
    let file = capture(&place, 5);
    let ended = place.run(&["-r", &file, "--async-drain", "1s", "--json"], LIMIT);
    ended.exits(0);
    assert!(ended.took >= Duration::from_millis(900) && ended.took < Duration::from_secs(20), "{:?}", ended.took);
    assert_eq!(ended_once(&ended.report(), "cancelled"), 50);
    assert!(!sleepers().contains(&"33".to_owned()));
}

#[test]
fn a_callback_that_never_returns_leaves_no_children_of_jobs_behind() {
    let body = "if n == 1 then T.async:schedule { data = '', onexecute = function() os.execute('sleep 60') end, \
        onresult = function() end } print('scheduled') end if n > 1 then io.open('pipe') end";
    let place = Place::new().counter("stuck.lua", IPV4, "", body);
    let made = Command::new("mkfifo").arg(place.path("pipe")).status().unwrap();
    assert!(made.success());
    let file = capture(&place, 1_000);
    let mut running = place.start(&["-r", &file, "--speed", "0.001", "--deterministic", "never"]);
    let mut children = Vec::new();
    running.until("a job has started a child", |running| {
        children = descendants(running.id());
        !children.is_empty()
    });
    let ended = running.wait(LIMIT);
    ended.exits(70);
    assert!(ended.stderr.contains("does not return from a C function"), "{}", ended.stderr);
    children_end(&children);
}

#[test]
fn a_backend_callback_that_never_returns_ends_the_run() {
    let text = "local function search()\n(('a'):rep(40)):find(('a*'):rep(40) .. 'b') end
        TrisulPlugin = { id = { name = 'Never back' }, engine_monitor = {
        onendflush = function()\nsearch() end } }";
    let place = Place::new().plugin("stuck.lua", text);
    let file = capture(&place, 10);
    let run = |place: &Place| {
        let [csv, events] = ["csv", "events"].map(|name| place.path(name).display().to_string());
        let outputs = ["--builtin", "default", "--csv", &csv, "--events", &events];
        place.run(&[&["-r", &file, "--flush-budget", "1"][..], &outputs].concat(), LIMIT)
    };
    let ended = run(&place);
    ended.exits(70);
    let name = "stuck.lua (Never back): engine_monitor: onendflush";
    let told = ended.stderr.find(&format!(
        "{name} was interrupted after 1 s and has not returned from a C function so far\n[C]: in function 'find'\n"
    ));
    let given_up = ended
        .stderr
        .find(&format!("{name} does not return from a C function; packets cannot go on\n[C]: in function 'find'\n"));
    assert!(told.is_some() && told < given_up, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("stuck.lua:2: in function 'search'\n").count(), 2, "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("stuck.lua:5: in function <").count(), 2, "{}", ended.stderr);
    // What was flushed before it is there as if it had come back.
    let whole = Place::new().plugin("back.lua", &text.replace("search() end }", "end }"));
    run(&whole).exits(0);
    for table in ["counters.csv", "flows.csv"] {
        let rows = |place: &Place| fs::read_to_string(place.path("csv").join(table)).unwrap();
        assert!(rows(&whole).lines().count() > 1, "{table}");
        assert_eq!(rows(&place), rows(&whole), "{table}");
    }
    let flushed = |place: &Place| {
        let text = fs::read_to_string(place.path("events")).unwrap();
        let is_flushed =
            |line: &&str| ["counter", "topper", "stored"].iter().any(|ev| line.contains(&format!("\"ev\":\"{ev}\"")));
        text.lines().filter(is_flushed).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!flushed(&whole).is_empty());
    assert_eq!(flushed(&place), flushed(&whole));
}

/// A plugin that says something for every tenth packet, and does not come back from one of them.
fn stuck_at(packet: u32) -> Place {
    let body = format!(
        "if n % 10 ~= 0 then return end print('packet ' .. n)
        engine:add_alert('{{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}}', '', 'SIG', 1, 'alert ' .. n)
        if n == {packet} then (('a'):rep(40)):find(('a*'):rep(40) .. 'b') end"
    );
    Place::new().counter("stuck.lua", IPV4, "", &body)
}

#[test]
fn what_was_made_before_a_callback_that_never_returns_is_in_the_files() {
    // Less than is handed over at once since the second began; what the batch at work has led to is in no line yet.
    let place = stuck_at(3_000);
    let file = capture(&place, 4_000);
    let (events, eve) = (place.path("events"), place.path("eve"));
    let arguments = ["--events", &events.display().to_string(), "--eve", &eve.display().to_string()].map(str::to_owned);
    let arguments: Vec<&str> = ["-r", &file].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    place.run(&arguments, LIMIT).exits(70);
    for (file, mark) in [(&events, r#""text":"packet "#), (&eve, r#""signature":"alert "#)] {
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(text.ends_with('\n') && !lines.is_empty(), "{text}");
        let last = text.rfind(mark).and_then(|at| text[at + mark.len()..].split('"').next()).unwrap_or_default();
        let last: u32 = last.parse().unwrap_or_else(|_| panic!("{mark} is nowhere"));
        // Packets come in batches of 256.
        assert!((3_000 - 257..3_000).contains(&last), "{last}");
    }
}

#[test]
fn a_signal_during_a_command_of_a_script_is_heeded() {
    let body = "if n == 1 then os.execute('sleep 2') print('goes on') end";
    let place = Place::new().counter("shell.lua", IPV4, "", body);
    let file = capture(&place, 1_000);
    let mut running = place.start(&["-r", &file, "--speed", "0.001", "--callback-budget", "20000"]);
    running.until("the command runs", |running| runs_sleep(running.id()));
    running.signal("INT");
    let ended = running.wait(LIMIT);
    ended.exits(0);
    assert!(ended.stdout.contains("goes on"), "{}", ended.stdout);
    assert!(ended.took < Duration::from_secs(8), "{:?}", ended.took);
}

/// Whether a process has a child that sleeps, and not only one that is about to become such.
fn runs_sleep(id: u32) -> bool {
    let name = |id: &u32| std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    descendants(id).iter().any(|id| name(id).trim() == "sleep")
}

/// A pattern that takes longer than anybody waits, inside a function of the C library.
const HANG: &str = "local _ = ('a'):rep(40):find(('a*'):rep(40) .. 'b')";

#[test]
fn a_file_that_hangs_while_it_is_looked_at_is_named_and_a_signal_ends_it() {
    let place = Place::new().plugin("hangs.lua", &format!("{HANG} TrisulPlugin = {{ id = {{}} }}"));
    let file = capture(&place, 10);
    let mut running = place.start(&["-r", &file]);
    running.until("it is named", |running| running.said().contains("hangs.lua after 2 s"));
    assert!(running.elapsed() < Duration::from_secs(5), "{:?}", running.elapsed());
    assert!(running.said().contains("still loading"), "{}", running.said());
    running.signal("INT");
    let ended = running.wait(LIMIT);
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    assert_ne!(ended.code, Some(0));
}

#[test]
fn a_command_that_a_file_waits_for_ends_with_the_run() {
    let text = "os.execute('sleep 61') TrisulPlugin = { id = {} }";
    let place = Place::new().plugin("waits.lua", text);
    let file = capture(&place, 10);
    let mut running = place.start(&["-r", &file]);
    let mut children = Vec::new();
    running.until("the command runs and the file is named", |running| {
        children = descendants(running.id());
        running.said().contains("still loading") && !children.is_empty()
    });
    running.signal("TERM");
    let ended = running.wait(LIMIT);
    assert!(ended.took < Duration::from_secs(1), "{:?}", ended.took);
    children_end(&children);
}

#[test]
fn a_signal_ends_a_run_whose_plugin_hangs_in_onload() {
    for (name, block) in [
        ("simplecounter", "protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = print"),
        ("engine_monitor", "onendflush = print"),
    ] {
        let place = Place::new();
        let mark = place.path("mark");
        let begins = format!("assert(io.open('{}', 'w')):close()", mark.display());
        let text =
            format!("TrisulPlugin = {{ id = {{}}, onload = function() {begins} {HANG} end, {name} = {{ {block} }} }}");
        let place = place.plugin("hangs.lua", &text);
        let file = capture(&place, 10);
        let socket = place.path("socket").display().to_string();
        let mut running = place.start(&["-r", &file, "--control", &socket]);
        // Whoever answers listens for signals.
        let mut status = Command::new(env!("CARGO_BIN_EXE_millstream"));
        status.args(["status", "--control", &socket]);
        running.until("it hangs and answers", |_| mark.exists() && status.output().unwrap().status.success());
        running.signal("INT");
        // It would hang for longer than that.
        let ended = running.wait(LIMIT);
        ended.exits(130);
        assert!(ended.stderr.contains("is still being loaded; the run ends without it"), "{}", ended.stderr);
    }
}

#[test]
fn commands_that_scripts_wait_for_end_with_those_who_step_or_test() {
    for arguments in [&["repl", "-r", "input.pcap", "-p", "plugins/waits.lua"][..], &["test", "plugins"]] {
        let place = Place::new().plugin("waits.lua", "os.execute('sleep 61') TrisulPlugin = { id = {} }");
        let file = capture(&place, 10);
        let cases = place.path("plugins/tests/waits");
        fs::create_dir_all(&cases).unwrap();
        fs::write(cases.join("case.toml"), format!("capture = '{file}'\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.args(arguments).current_dir(place.path("")).stdin(Stdio::piped());
        let mut running = place.start_command(&mut command);
        let mut children = Vec::new();
        running.until("the command runs", |running| {
            children = descendants(running.id());
            !children.is_empty()
        });
        running.signal("TERM");
        running.wait(LIMIT).exits(143);
        children_end(&children);
    }
}

/// A plugin whose first packet starts a job that starts a child.
fn sleeping_job(seconds: u32) -> Place {
    let body = format!(
        "if n == 1 then T.async:schedule {{ data = '', onexecute = function() os.execute('sleep {seconds}') end, \
         onresult = function() end }} end"
    );
    Place::new().counter("waits.lua", IPV4, "", &body)
}

/// The same with the program at work, and the child.
fn with_child(place: &Place, arguments: &[&str], input: Stdio) -> (Running, Vec<u32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).current_dir(place.path("")).stdin(input);
    let mut running = place.start_command(&mut command);
    let mut children = Vec::new();
    running.until("the child runs", |running| {
        children = descendants(running.id());
        children.len() > 1
    });
    (running, children)
}

#[test]
fn children_of_jobs_end_with_the_prompt() {
    for ends_by_itself in [false, true] {
        let place = sleeping_job(64);
        capture(&place, 10);
        let pipe = place.path("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Open for both, it waits for nobody.
        let mut input = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        input.write_all(b"next\nnext\nnext\n").unwrap();
        let arguments = ["repl", "-r", "input.pcap", "-p", "plugins/waits.lua"];
        let (running, children) = with_child(&place, &arguments, Stdio::from(input.try_clone().unwrap()));
        if ends_by_itself {
            input.write_all(b"quit\n").unwrap();
        } else {
            running.signal("TERM");
        }
        running.wait(LIMIT).exits(if ends_by_itself { 0 } else { 143 });
        children_end(&children);
    }
}

#[test]
fn children_of_jobs_end_with_the_cases_of_tests() {
    let place = sleeping_job(65);
    let file = capture(&place, 10);
    let cases = place.path("plugins/tests/waits");
    fs::create_dir_all(&cases).unwrap();
    fs::write(cases.join("case.toml"), format!("capture = '{file}'\n")).unwrap();
    let (running, children) = with_child(&place, &["test", "plugins"], Stdio::null());
    running.signal("TERM");
    running.wait(LIMIT).exits(143);
    children_end(&children);
}

#[test]
fn the_prompt_shows_what_packets_lead_to_while_it_goes_on() {
    // Nobody writes to what it waits for.
    let body = "print('packet ' .. n) if n == 300 then io.open('hold') end";
    let place = Place::new().counter("says.lua", IPV4, "", body);
    capture(&place, 400);
    let (hold, pipe) = (place.path("hold"), place.path("pipe"));
    assert!(Command::new("mkfifo").args([&hold, &pipe]).status().unwrap().success());
    let mut input = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    input.write_all(b"next 400\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(["repl", "-r", "input.pcap", "-p", "plugins/says.lua"]).current_dir(place.path(""));
    let mut running = place.start_command(command.stdin(input));
    running.until("what came before is shown", |running| running.said().contains("packet 250\n"));
    running.signal("TERM");
    running.wait(LIMIT).exits(143);
}
