//! Jobs that go to the disk because there is no room for them, through the built program.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Bench, Capture, IPV4, Outcome};

/// A run of a body at the first of some packets, with a store.
fn bench(head: &str, body: &str) -> Bench {
    let body = format!("if n == 1 then {body} end");
    Bench::new().counter("s.lua", IPV4, head, &body).args(&["--store", "s.db"])
}

fn once(head: &str, body: &str) -> Outcome {
    bench(head, body).run(&Capture::udp(2, 100))
}

/// Names what is not zero of `stats`, and says whether the sum holds.
const STATS: &str = "local function stats()
    local s = T.async:stats()
    local sum = s.queued + s.running + s.done + s.failed + s.timed_out + s.cancelled + s.dropped + s.orphaned + s.kept
    return (sum == s.scheduled and 'exact' or 'WRONG ' .. sum) .. ' of ' .. s.scheduled, s
  end ";

#[test]
fn what_there_is_no_room_for_comes_back_in_order_and_callbacks_stay_in_their_vm() {
    let head = format!(
        "{STATS} local results, freed = {{}}, 0
         local function report() local text, s = stats()
           local sorted = true for i = 2, #results do sorted = sorted and results[i - 1] < results[i] end
           print(#results, freed, sorted, s.spilled, s.spills, text) end"
    );
    once(
        &head,
        "T.async:configure { pending = 10, overflow = 'spill' }
         local sub = { factor = 2 }
         for i = 1, 500 do
           local id, why = T.async:schedule { data = i, onexecute = function(d) return { d * sub.factor } end,
             onresult = function(_, d, r) assert(r[1] == d * 2) results[#results + 1] = tonumber(d) end,
             onfree = function() freed = freed + 1 if freed == 500 then report() end end }
           if not id then print(why) end
           if i == 300 then print(T.async:status(id).state) end
         end
         local text, s = stats()
         print(s.spilled, s.queued + s.done + s.running, text, T.async:pending_items())",
    )
    .prints(&["queued", "490\t500\texact of 500\t500", "500\t500\ttrue\t0\t490\texact of 500"]);
}

#[test]
fn without_a_store_it_says_what_to_type() {
    let body = "if n == 1 then print(pcall(T.async.configure, T.async, { overflow = 'spill' })) end";
    let outcome = Bench::new().counter("s.lua", IPV4, "", body).run(&Capture::udp(2, 100));
    assert!(outcome.exits(0).stdout.contains("run with --store FILE"), "{}", outcome.stdout);
}

#[test]
fn a_job_on_the_disk_can_be_taken_back_and_the_bytes_there_have_a_limit() {
    once(
        STATS,
        "local cancelled, ids, refused = 0, {}, nil
         T.async:spawn(function() T.async:sleep(0.1) local text, s = stats() print(cancelled == s.cancelled + s.dropped, text, s.spilled) end)
         T.async:configure { pending = 2, overflow = 'spill', spill_bytes = 100000 }
         for i = 1, 400 do
           local id, why = T.async:schedule { data = ('x'):rep(1000), onexecute = function(d) return #d end,
             oncancel = function() cancelled = cancelled + 1 end, onfree = function() end }
           ids[#ids + 1] = id
           refused = refused or why
         end
         print(T.async:cancel(ids[20]), T.async:cancel(ids[20]), T.async:cancel(ids[#ids]), T.async:status(ids[20]).state)
         local text, s = stats()
         print(refused:match(': .*'), text, s.spill_full == s.dropped and s.dropped > 300, s.cancelled)",
    )
    .prints(&[
        "true\tfalse\ttrue\tqueued",
        ": 100000 bytes of jobs are on the disk\texact of 401\ttrue\t2",
        "true\texact of 401\t0",
    ]);
}

#[test]
fn jobs_of_one_key_keep_their_order_on_the_disk_and_equal_ones_are_joined_there() {
    once(
        "",
        "local order = {}
         T.async:spawn(function() T.async:sleep(1)
           local fine = true for i = 2, #order do fine = fine and order[i - 1] < order[i] end
           print(#order, fine) end)
         T.async:configure { pending = 4, overflow = 'spill' }
         local function one() return 1 end
         for i = 1, 60 do
           T.async:schedule { data = i, key = 'k' .. i % 2, retries = 1, onexecute = function(d)
               if d % 7 == 0 and not (T.failed or {})[d] then T.failed = T.failed or {} T.failed[d] = true error('once') end
               return d end,
             onresult = function(_, d) order[#order + 1] = tonumber(d) end }
         end
         local a = T.async:schedule { data = 'same', unique = true, onexecute = one, onresult = function() print('a') end }
         local b = T.async:schedule { data = 'same', unique = true, onexecute = one, onresult = function() print('b') end }
         print(a == b)",
    )
    .prints(&["true", "a", "b", "60\ttrue"]);
}

/// Ten jobs that take a while, of which two have room.
const SLOW: &str = "T.async:configure { pending = 2, overflow = 'spill' }
     local prefix, counts = 'job ', { n = 0 }
     local last = T.args == '--again' and 0 or 10
     for i = 1, last do
       T.async:schedule { data = { i }, timeout = 9, onexecute = function(d) os.execute('sleep 0.3') return prefix .. d[1] end,
         onresult = function(engine, d, r) counts.n = counts.n + 1 print(r, d[1], type(engine.instanceid), counts.n) end,
         oncancel = function(_, d) print('cancel', d[1]) end,
         onfree = function(_, d) print('free', d[1]) end }
     end
     local s = T.async:stats() print(s.adopted, s.spilled)";

fn freed(outcome: &Outcome) -> Vec<String> {
    outcome.lines().iter().filter_map(|line| line.strip_prefix("free\t")).map(str::to_owned).collect()
}

#[test]
fn the_next_run_takes_up_what_the_last_one_had_no_time_for() {
    let bench = bench("", SLOW).env("MILLSTREAM_WORK_ASYNC_DRAIN", "100ms");
    let first = bench.run(&Capture::udp(2, 100));
    let before = freed(&first);
    assert!(first.stdout.contains("0\t8\n") && before.len() < 9, "{}", first.stdout);
    let bench = bench.env("MILLSTREAM_WORK_ASYNC_DRAIN", "60s").args(&["--args", "--again"]);
    let second = bench.run(&Capture::udp(2, 100));
    second.exits(0);
    assert!(second.stdout.contains("job 10\t10\tfunction\t1\n"), "{}", second.stdout);
    let mut all: Vec<u32> = before.iter().chain(&freed(&second)).map(|text| text.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=10).collect::<Vec<_>>(), "each was let go once\n{}\n{}", first.stdout, second.stdout);
    let third = bench.run(&Capture::udp(2, 100));
    third.prints(&["0\t0"]);
}

#[test]
fn what_a_killed_run_had_on_the_disk_is_taken_up() {
    let bench = bench("", SLOW);
    let file = bench.path("input.pcap");
    std::fs::write(&file, Capture::udp(2, 100).to_pcap()).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["run", "-q", "--store", "s.db", "-r"])
        .arg(&file)
        .arg("-p")
        .arg(bench.path("plugins"))
        .current_dir(bench.dir())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let is_written = || std::fs::metadata(bench.path("s.db.jobs-wal")).is_ok_and(|meta| meta.len() > 16_000);
    for _ in 0..6000 {
        if is_written() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Written is not committed: a little longer.
    std::thread::sleep(Duration::from_millis(150));
    child.kill().unwrap();
    child.wait().unwrap();
    let next = bench.args(&["--args", "--again"]).run(&Capture::udp(2, 100));
    next.exits(0);
    let told = freed(&next);
    let adopted = next.lines()[0].split('\t').next().unwrap().parse::<usize>().unwrap();
    assert!(adopted > 0 && told.len() == adopted, "{}", next.stdout);
}

#[test]
fn a_job_whose_callbacks_cannot_travel_ends_with_its_run() {
    let body = "T.async:configure { pending = 1, overflow = 'spill' }
         local cannot = coroutine.create(print)
         for i = 1, 4 do
           T.async:schedule { data = i, onexecute = function() os.execute('sleep 0.4') end,
             oncancel = function(_, d) print('cancel', d, type(cannot)) end, onfree = function(_, d) print('free', d) end }
         end";
    let bench = bench("", body).args(&["--async-drain", "50ms"]);
    let first = bench.run(&Capture::udp(2, 100));
    let expected: Vec<String> = (1..=4).flat_map(|n| [format!("cancel\t{n}\tthread"), format!("free\t{n}")]).collect();
    assert_eq!(first.lines(), expected);
}

#[test]
fn two_runs_over_a_file_say_the_same_with_jobs_on_the_disk() {
    let body = "if n == 1 then T.async:configure { pending = 20, overflow = 'spill' } end
        local id = T.async:schedule { data = n, onexecute = function(d) if d % 50 == 0 then os.execute('sleep 0.01') end return { d } end,
            onresult = function(_, d, r) print(d, r[1]) if d % 3 == 0 then T.async:schedule { data = -d,
              onexecute = function(d) return d end, onresult = function(_, d, r) print('again', r) end } end end }
        if n % 100 == 0 then print(T.async:status(id).state, T.async:cancel(id)) end";
    let run = || {
        let bench = Bench::new().counter("d.lua", IPV4, "", body).args(&["--store", "s.db"]);
        bench.run(&Capture::udp(600, 100)).exits(0).stdout.clone()
    };
    let first = run();
    assert!(first.contains("again\t-3") && first.contains("queued\ttrue"), "{first}");
    assert_eq!(first, run());
}

#[test]
fn a_full_disk_costs_jobs_that_are_counted_and_no_other() {
    let plugin = format!(
        "{STATS} local n, freed = 0, 0
         TrisulPlugin = {{ id = {{ name = 's' }},
           onunload = function()
             local text, s = stats()
             print(text, s.dropped > 0 and s.done > 10 and s.spills > 0, s.spilled, freed)
           end,
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function()
             n = n + 1
             if n > 1 then return end
             T.async:configure {{ pending = 10, overflow = 'spill' }}
             for i = 1, 4000 do
               local id = T.async:schedule {{ data = ('x'):rep(2000), onexecute = function(d) return #d end,
                 onresult = function() end, onfree = function() freed = freed + 1 end }}
               if not id then freed = freed + 1 end
             end
           end }} }}"
    );
    let bench = Bench::new().plugin("s.lua", &plugin).args(&["--store", "small/s.db", "--callback-budget", "60000"]);
    let small = bench.path("small");
    std::fs::create_dir(&small).expect("a new directory");
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(&small).stderr(Stdio::null());
    if !mount.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.run(&Capture::udp(2, 100))));
    let free = Command::new("umount").arg(&small).status();
    assert!(free.is_ok_and(|status| status.success()), "the file system is in use");
    let outcome = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_eq!(outcome.lines(), ["exact of 4000\ttrue\t0\t4000"], "{}", outcome.stderr);
}
