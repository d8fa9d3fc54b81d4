//! Answers that are kept for a while, and the end of a run in every state work can be in, through the built program.

mod support;

use support::{Bench, Capture, IPV4};

#[test]
fn an_answer_serves_equal_jobs_for_as_long_as_it_says_in_the_time_of_packets() {
    // Packets lie a millisecond apart. The worker begins with the second batch of packets; at 500
    // the callback waits for it, so that the answer is handed out before 600.
    let head = "local function ask(n)
        local id = T.async:schedule { data = 'q', ttl = 1, onexecute = function() T.asked = (T.asked or 0) + 1 return T.asked end,
          onresult = function(_, d, r) print(n, r) end, onfree = function() end }
        return id
      end
      local first";
    let body = "if n == 1 then first = ask(n) end
      if n == 500 then os.execute('sleep 0.5') end
      if n == 600 then print('kept', ask(n) == first) end
      if n == 1400 then print('still kept', ask(n) == first) end
      if n == 1800 then print('over', ask(n) == first) end";
    let bench = Bench::new().counter("t.lua", IPV4, head, body).args(&["--deterministic", "never"]);
    let outcome = bench.run(&Capture::udp(2000, 100));
    outcome.exits(0);
    let mut lines = outcome.lines();
    let expected = ["1\t1", "kept\ttrue", "600\t1", "still kept\ttrue", "1400\t1", "over\tfalse", "1800\t2"];
    // Where among the packets the first answer comes is not said.
    lines.sort_by_key(|line| expected.iter().position(|known| known == line));
    assert_eq!(lines, expected, "{}", outcome.stderr);
}

#[test]
fn without_a_result_nothing_is_kept_and_errors_are_asked_again() {
    let body = "if n == 1 or n == 600 then
        T.async:schedule { data = 'e', ttl = 60, onexecute = function() T.n = (T.n or 0) + 1 error('attempt ' .. T.n, 0) end,
          onerror = function(_, d, message) print(message) end }
      end
      if n == 300 then os.execute('sleep 0.3') end";
    let bench = Bench::new().counter("t.lua", IPV4, "", body).args(&["--deterministic", "never"]);
    bench.run(&Capture::udp(900, 100)).prints(&["attempt 1", "attempt 2"]);
}

/// Work in every state there is, each piece under a letter.
const EVERYTHING: &str = "
  local function told(name, extra)
    local block = { data = name, onfree = function(_, d) print('free', d) end,
      onresult = function(_, d) print('end', d) end, onerror = function(_, d) print('end', d) end,
      ontimeout = function(_, d) print('end', d) end, oncancel = function(_, d) print('end', d) end }
    for k, v in pairs(extra) do block[k] = v end
    return block
  end
  T.async:schedule(told('backoff', { retries = 5, backoff = 60, onexecute = function() error('no') end }))
  T.async:schedule(told('block', { onexecute = function()
    T.block(function() local from = os.clock() while os.clock() - from < 0.6 do end end) os.execute('sleep 9') end }))
  T.async:schedule(told('running', { onexecute = function() os.execute('sleep 9') end }))
  for i = 1, 3 do T.async:schedule(told('queued' .. i, { onexecute = function() os.execute('sleep 9') end })) end
  T.async:defer(told('deferred', { }))
  T.async:defer(told('late', { timeout = 1000 }))
  T.async:spawn(function() local fine, why = T.async:sleep(3600) print('end', 'task') end, function() print('free', 'task') end)
  T.async:configure { pending = 6, overflow = 'spill', block_timeout = 5 }
  local thread = coroutine.create(print)
  for i = 1, 2 do
    T.async:schedule(told('disk' .. i, { onexecute = function() return 1 end }))
    T.async:schedule(told('tied' .. i, { onexecute = function() return 1 end, oncancel = function(_, d) print('end', d, type(thread)) end }))
  end";

#[test]
fn at_the_end_of_a_run_every_piece_of_work_ends_once_whatever_state_it_is_in() {
    for delivery in ["files", "never"] {
        let body = format!(
            "if n == 1 then if T.args ~= '--again' then {EVERYTHING} else T.async:configure {{ overflow = 'spill' }} end end"
        );
        let text = format!("{body}\nif n == 1 then local s = T.async:stats() print('stats', s.spilled, s.adopted) end");
        let bench = Bench::new()
            .plugin(
                "e.lua",
                &format!(
                    "local n = 0 TrisulPlugin = {{ id = {{}}, request_async_workers = 2, simplecounter = {{ \
                     protocol_guid = '{IPV4}', onpacket = function() n = n + 1 {text} end }} }}"
                ),
            )
            .args(&["--store", "s.db", "--deterministic", delivery, "--job-workers", "3"])
            .env("MILLSTREAM_WORK_ASYNC_DRAIN", "300ms");
        let first = bench.run(&Capture::udp(3, 100));
        let of = |outcome: &support::Outcome, word: &str| {
            let mut names: Vec<String> = outcome
                .lines()
                .iter()
                .filter_map(|line| line.strip_prefix(word)?.strip_prefix('\t')?.split('\t').next().map(str::to_owned))
                .collect();
            names.sort_unstable();
            names
        };
        let expected = [
            "backoff", "block", "deferred", "late", "queued1", "queued2", "queued3", "running", "task", "tied1",
            "tied2",
        ];
        assert_eq!(of(&first, "end"), expected, "{delivery}\n{}\n{}", first.stdout, first.stderr);
        assert_eq!(of(&first, "free"), expected, "{delivery}\n{}", first.stdout);
        let second = bench.args(&["--args", "--again"]).run(&Capture::udp(3, 100));
        assert_eq!(of(&second, "end"), ["disk1", "disk2"], "{delivery}\n{}\n{}", second.stdout, second.stderr);
        assert_eq!(of(&second, "free"), ["disk1", "disk2"], "{delivery}\n{}", second.stdout);
    }
}

#[test]
fn the_report_tells_waiting_and_running_times_and_what_went_wrong_by_plugin() {
    let body = "if n == 1 then
        T.async:configure { pending = 5, overflow = 'drop_new' }
        for i = 1, 2 do T.async:schedule { data = i, onexecute = function() os.execute('sleep 0.05') return 'x' end } end
        T.async:schedule { onexecute = function() error('no') end, onerror = function() end, retries = 1 }
        T.async:schedule { onexecute = function() return ('x'):rep(70000) end, onerror = function() end }
        T.async:schedule { timeout = 0, onexecute = function() end, ontimeout = function() end }
        T.async:schedule { onexecute = function() end }
      end";
    let bench = Bench::new().counter("r.lua", IPV4, "", body);
    let input = bench.path("input.pcap");
    std::fs::write(&input, Capture::udp(2, 100).to_pcap()).unwrap();
    let run = |form: &[&str]| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"));
        program.args(["run", "--job-result", "64k", "-r"]).arg(&input).arg("-p").arg(bench.path("plugins"));
        let output = program.args(form).env("MILLSTREAM_DATA", bench.path("data")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run(&[]);
    assert!(text.contains("wait 50 %") && text.contains("1 result_too_large") && text.contains("1 retries"), "{text}");
    let report: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let plugin = &report["jobs"]["plugins"][0];
    assert_eq!((plugin["name"].as_str(), plugin["submitted"].as_u64()), (Some("r.lua"), Some(6)));
    let counts = |list: &serde_json::Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|c| format!("{} {}", c["count"], c["name"].as_str().unwrap())).collect()
    };
    assert_eq!(counts(&plugin["ended"]), ["2 done", "2 failed", "1 timed_out", "1 dropped"]);
    assert_eq!(counts(&plugin["failures"]), ["1 error", "1 result_too_large", "1 timed_out", "1 queue_full"]);
    assert_eq!(plugin["retries"], 1);
    let run = &plugin["run"];
    assert!(run["max_us"].as_f64() >= Some(50_000.0) && run["p50_us"].as_f64() < run["max_us"].as_f64(), "{run}");
    assert!(plugin["wait"]["p99_us"].as_f64() >= Some(50_000.0), "the second waited for the first");
    // The job that waited longest is not the one that ran longest, and none took as long as both together.
    let [whole, waited, ran] =
        [&report["jobs"]["latency"], &plugin["wait"], run].map(|of| of["max_us"].as_f64().unwrap());
    assert!(whole >= ran && whole < waited + ran, "{whole}, {waited}, {ran}");
}
