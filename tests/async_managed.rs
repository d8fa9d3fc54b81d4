//! What T.async has beyond plain jobs, as a plugin sees it, through the built program.

mod support;

use support::{Bench, Capture, IPV4, Outcome};

/// Runs a body once, at the first of some packets, which lie a millisecond apart.
fn once_of(packets: u32, head: &str, body: &str) -> Outcome {
    let bench = Bench::new().counter("j.lua", IPV4, head, &format!("if n == 1 then {body} end"));
    bench.run(&Capture::udp(packets, 100))
}

fn once(body: &str) -> Outcome {
    once_of(2, "", body)
}

#[test]
fn tables_travel_as_data_and_as_results_and_text_stays_text() {
    once(
        "local data = { name = 'x', list = { 1, 2, { deep = true } } }
         data.self = data
         T.async:schedule { data = data, onexecute = function(d)
             d.name = d.name .. '!' d.same = d.self == d return { d = d, n = #d.list }
           end, onresult = function(engine, d, r) print(d == data, d.name, r.d.name, r.d.same, r.n, r.d.list[3].deep) end }
         T.async:schedule { data = layer:rawbytes(), onfree = function() end, onexecute = function(d) return type(d) .. #d end,
           onresult = function(engine, d, r) print(type(d), r) end }
         for _, f in ipairs { function() return true end, function() return false end, function() return 7 end, function() end } do
           T.async:schedule { onexecute = f, onfree = function() end, onresult = function(_, d, r) print(d == '', type(r), r) end }
         end",
    )
    .prints(&["true\tx\tx!\ttrue\t3\ttrue", "string\tstring20", "true\tboolean\ttrue", "true\tboolean\tfalse", "true\tstring\t7"])
    .exits(0);
}

#[test]
fn data_that_cannot_travel_is_an_error_that_names_it() {
    let outcome = once(
        "for _, d in ipairs { coroutine.create(print), { a = { b = io.stdout } } } do
           print(pcall(T.async.schedule, { data = d, onexecute = function() end }))
         end
         T.async:schedule { onexecute = function() return { io.stdout } end, onerror = function(_, d, e) print(e) end }",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert!(lines[0].starts_with("false") && lines[0].contains("'data' is a coroutine"), "{lines:?}");
    assert!(lines[1].contains("'data'.a.b is a userdata"), "{lines:?}");
    assert!(lines[2].contains("'result'[1] is a userdata"), "{lines:?}");
}

#[test]
fn errors_and_time_outs_come_to_where_the_work_began_and_are_no_faults_there() {
    let outcome = once(
        "T.async:schedule { data = 'e', onexecute = function(d) error('broken ' .. d) end,
           onresult = print, onerror = function(engine, d, e) print(type(engine), d, e) end, onfree = function(_, d) print('free', d) end }
         T.async:schedule { data = 't', timeout = 0.05, onexecute = function() while true do end end,
           onresult = print, ontimeout = function(engine, d) print('time-out', d) end, onfree = function(_, d) print('free', d) end }
         T.async:schedule { data = 'z', timeout = 0, onexecute = function() return 'never' end,
           onresult = print, ontimeout = function(_, d) print('no time', d) end }",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines[0].ends_with("broken e") && lines[0].contains("\te\t"), "{lines:?}");
    assert_eq!(lines[1..], ["free\te", "time-out\tt", "free\tt", "no time\tz"]);
    assert_eq!(outcome.faults("j.lua"), 0);
}

#[test]
fn without_a_handler_an_error_is_the_fault_that_it_was() {
    let outcome =
        once("T.async:schedule { onfree = function() print('free') end, onexecute = function() error('lost') end }");
    outcome.exits(1);
    assert_eq!((outcome.lines(), outcome.faults("j.lua")), (vec!["free"], 1));
}

#[test]
fn what_fails_is_tried_again_as_often_as_it_says() {
    let outcome = once(
        "for _, retries in ipairs { 2, 1 } do
           T.async:schedule { data = 'r' .. retries, retries = retries, backoff = { first = 0.001, most = 0.01 },
             onexecute = function(d)
               tried = tried or {} tried[d] = (tried[d] or 0) + 1
               if tried[d] < 3 then error('attempt ' .. tried[d]) end
               return 'attempt ' .. tried[d]
             end,
             onresult = function(_, d, r) print(d, r) end, onerror = function(_, d, e) print(d, e:match('attempt %d')) end }
         end",
    );
    outcome.prints(&["r2\tattempt 3", "r1\tattempt 2"]).exits(0);
    let attempts: Vec<_> = outcome.of("job").iter().filter_map(|event| event["attempt"].as_u64()).collect();
    assert_eq!(attempts, [3, 2]);
}

#[test]
fn jobs_of_a_key_run_in_order_with_retries_in_between() {
    let text = format!(
        "local n, seen = 0, {{}}
         TrisulPlugin = {{ id = {{}}, request_async_workers = 4, simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function(engine)
           n = n + 1
           T.async:schedule {{ data = n, key = n % 2, retries = 1, backoff = 0.001, onexecute = function(d)
               tried = tried or {{}}
               local f = io.open('log' .. d % 2, 'a') f:write(d, ' ') f:close()
               if d % 7 == 0 and not io.open('done' .. d) then io.open('done' .. d, 'w'):close() error('again') end
               return d
             end, onerror = function(_, d, e) print(d, e) end }}
         end }} }}"
    );
    let bench = Bench::new().plugin("k.lua", &text);
    bench.run(&Capture::udp(100, 100)).prints(&[]);
    for key in [0, 1] {
        let expected: String = (1..=100)
            .filter(|n| n % 2 == key)
            .map(|n| if n % 7 == 0 { format!("{n} {n} ") } else { format!("{n} ") })
            .collect();
        assert_eq!(std::fs::read_to_string(bench.path(&format!("log{key}"))).ok(), Some(expected));
    }
}

#[test]
fn equal_jobs_in_flight_share_one_answer() {
    once_of(
        1500,
        "local function ask(tag, more)
           local block = { data = 'q', unique = true, onexecute = function(d) runs = (runs or 0) + 1 return d .. runs end,
             onresult = function(_, d, r) print(tag, r) end }
           for k, v in pairs(more or {}) do block[k] = v end
           return T.async:schedule(block)
         end",
        "local a, b = ask('a'), ask('b') print(a == b)
         ask('other', { unique = 'else' })
         end if n == 600 then print('n')",
    )
    .prints(&["true", "n", "a\tq1", "b\tq1", "other\tq2"])
    .exits(0);
}

#[test]
fn priorities_come_first_and_plain_jobs_keep_their_order() {
    let outcome = once(
        "for i, priority in ipairs { 0, -1, 5, 9, 0, 5 } do
           T.async:schedule { data = i, priority = priority, onexecute = function(d)
             order = (order or '') .. d return order end, onresult = function(_, d, r) if #r == 6 then print(r) end end }
         end",
    );
    outcome.prints(&["436152"]).exits(0);
}

#[test]
fn cancel_status_and_stats() {
    let outcome = once(
        "local id = T.async:schedule { data = 'c', onexecute = function() return 'x' end, onresult = print,
           oncancel = function(_, d) print('cancelled', d) end, onfree = function() print('free') end }
         local plain = T.async:schedule { onexecute = function() return 'y' end, onresult = print }
         print(T.async:status(id).state, T.async:status(id).function_ == nil, T.async:status('7-7'), T.async.status('what'))
         print(T.async:cancel(id), T.async:cancel(plain), T.async:cancel(id), T.async:cancel('0-99'))
         local s = T.async:stats()
         print(s.scheduled, s.queued + s.running + s.done + s.failed + s.timed_out + s.cancelled + s.dropped)",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert_eq!(lines[0], "created\ttrue\tnil\tnil");
    assert!(lines[1].starts_with("true\ttrue\t"), "{lines:?}");
    assert_eq!(lines[2..], ["2\t2", "cancelled\tc", "free"]);
    let states: Vec<_> = outcome.of("job").iter().filter_map(|event| event["state"].as_str()).collect();
    assert_eq!(states, ["cancelled", "cancelled"]);
}

#[test]
fn what_makes_room_is_dropped_and_let_go() {
    let outcome = once(
        "T.async:configure { pending = 2, overflow = 'drop_old' }
         for i = 1, 4 do
           T.async:schedule { data = i, onexecute = function(d) os.execute('sleep 0.05') return d end,
             onresult = function(_, d, r) print('result', r) end, oncancel = function(_, d) print('dropped', d) end,
             onfree = function(_, d) print('free', d) end }
         end
         T.async:configure { pending = 0 }
         local id, why = T.async:schedule { data = 5, onexecute = function() end, onfree = function(_, d) print('free', d) end }
         print(id, why:match('dropped'))",
    );
    let lines = outcome.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("free")).count(), 5, "{lines:?}");
    assert!(lines.contains(&"nil\tdropped"), "{lines:?}");
    let told = lines.iter().filter(|line| line.starts_with("result") || line.starts_with("dropped")).count();
    assert_eq!(told, 4, "{lines:?}");
}

#[test]
fn deferred_work_is_completed_once_by_whoever_comes_first() {
    let outcome = once_of(
        2000,
        "local function d(tag, more)
           local block = { data = tag, onresult = function(_, t, r) print(t, type(r) == 'table' and r.x or r) end,
             onerror = function(_, t, e) print(t, 'error', e) end, ontimeout = function(_, t) print(t, 'time-out') end,
             oncancel = function(_, t) print(t, 'cancelled') end, onfree = function(_, t) print(t, 'free') end }
           for k, v in pairs(more or {}) do block[k] = v end
           return T.async:defer(block)
         end",
        "local a, b, c, late, left = d('a'), d('b'), d('c'), d('late', { timeout = 0.5 }), d('left')
         print(a:resolve { x = 1 }, a:resolve('twice'), T.async:resolve(a.id, 'thrice'), a:abort())
         print(b:reject('no'), c:abort(), T.async:status(late.id).state)
         end if n == 900 then print('packet 900')",
    );
    outcome.exits(0);
    assert_eq!(
        outcome.lines(),
        [
            "true\tfalse\tfalse\tfalse",
            "true\ttrue\trunning",
            "a\t1",
            "a\tfree",
            "b\terror\tno",
            "b\tfree",
            "c\tfree",
            "late\ttime-out",
            "late\tfree",
            "packet 900",
            "left\tcancelled",
            "left\tfree",
        ]
    );
}

#[test]
fn a_worker_completes_what_was_deferred() {
    once(
        "local d = T.async:defer { onresult = function(_, _, r) print('resolved', r.n) end, onfree = function() print('free') end }
         T.async:schedule { data = d.id, onexecute = function(id)
           return tostring(T.async:resolve(id, { n = 5 })) .. tostring(T.async:resolve(id, 'again')) end,
           onresult = function(_, d, r) print(r) end }",
    )
    .prints(&["truefalse", "resolved\t5", "free"])
    .exits(0);
}

#[test]
fn a_task_waits_where_a_callback_must_not() {
    let outcome = once_of(
        3000,
        "",
        "local id = T.async:spawn(function(engine)
           print('begins', engine ~= nil)
           local r, err = T.async:await { data = 'a', onexecute = function(d) return d .. 'b' end }
           print(r, err)
           print(T.async:await { onexecute = function() error('oh') end } == nil)
           print(select(2, T.async:await { timeout = 0, onexecute = function() end }))
           local results, errors = T.async:all { { data = 1, onexecute = function(d) return { d } end },
             { onexecute = function() error('two') end }, { data = 3, onexecute = function(d) return d end } }
           print(results[1][1], results[2], results[3], errors[2]:match('two'))
           print(T.async:race { { onexecute = function() error('x') end }, { onexecute = function() return 'won' end } })
           print(T.async:sleep(1))
           print('ends')
         end, function() print('free') end)
         print('goes on', T.async:status(id).state)
         print(pcall(T.async.sleep, 1))",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert_eq!(lines[0], "begins\ttrue");
    assert_eq!(lines[1], "goes on\trunning");
    assert!(lines[2].contains("works inside of spawn() only"), "{lines:?}");
    assert!(lines[3..5] == ["ab\tnil", "true"], "{lines:?}");
    assert!(lines[5].contains("deadline"), "{lines:?}");
    assert_eq!(lines[6..], ["1\tnil\t3\ttwo", "won\tnil\t2", "true", "ends", "free"]);
}

#[test]
fn sleeping_follows_the_time_of_packets() {
    once_of(
        4000,
        "",
        "T.async:spawn(function()
             for i = 1, 3 do T.async:sleep(1) print('second', i) end
             print(T.async:sleep(30))
             print(T.async:sleep(100))
           end)
         end if n % 1000 == 600 then print(n)",
    )
    .prints(&["600", "second\t1", "1600", "second\t2", "2600", "second\t3", "3600", "true", "nil\tthe input has ended"])
    .exits(0);
}

#[test]
fn a_task_that_errs_or_runs_away_ends_and_is_let_go() {
    let bench = Bench::new().counter(
        "t.lua",
        IPV4,
        "",
        "if n == 1 then
           T.async:spawn(function() T.async:sleep(0) error('in the task') end, function() print('free 1') end)
           T.async:spawn(function() T.async:sleep(0) while true do end end, function() print('free 2') end)
           T.async:spawn(function() T.async:sleep(0) print('third') end, function() print('free 3') end)
         end",
    );
    let outcome = bench.args(&["--callback-budget", "200"]).run(&Capture::udp(600, 100));
    outcome.exits(1);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["free 1", "free 2", "free 3", "third"]);
    assert_eq!(outcome.faults("t.lua"), 2);
}

#[test]
fn a_callback_that_errs_takes_nothing_from_the_others() {
    let outcome = once(
        "for i = 1, 3 do
           T.async:schedule { data = i, onexecute = function(d) return d end,
             onresult = function(_, d, r) if i == 2 then error('in onresult') end print(r) end,
             onfree = function(_, d) if i == 1 then error('in onfree') end print('free', d) end }
         end",
    );
    outcome.exits(1);
    assert_eq!(outcome.lines(), ["1", "free\t2", "3", "free\t3"]);
    assert_eq!(outcome.faults("j.lua"), 2);
}

#[test]
fn two_runs_over_a_file_say_the_same() {
    let body = "if n % 50 == 1 then
          local id = T.async:schedule { data = n, retries = 1, backoff = 0.001, onexecute = function(d)
              os.execute('sleep 0.00' .. d % 3) return { d * 2 } end,
            onresult = function(_, d, r) print('r', d, r[1]) end, oncancel = function(_, d) print('c', d) end }
          if n % 100 == 1 then T.async:spawn(function() T.async:sleep(0.1) print('woken', n) print('cancel', T.async:cancel(id)) end) end
          T.async:defer { timeout = 0.2, data = n, ontimeout = function(_, d) print('late', d) end }
        end";
    let run = || {
        let bench = Bench::new().counter("d.lua", IPV4, "", body);
        bench.run(&Capture::udp(2000, 100)).stdout
    };
    let first = run();
    assert!(first.contains("woken") && first.contains("late") && first.contains("c\t1\n"), "{first}");
    assert_eq!(first, run());
}

#[test]
fn a_worker_runs_a_function_of_its_script_between_two_batches() {
    let head = "counted, kept = 0, { 5, 6 }";
    let outcome = once_of(
        600,
        head,
        "for i = 1, 3 do
           T.async:schedule { data = i, onexecute = function(d)
               local before = tostring(counted)
               local a, b, c = T.block(function(engine, x, y)
                 counted = counted + x return engine ~= nil, counted, { kept[1], y }
               end, 10, 'y')
               local ok, message = pcall(T.block, function() error('inside') end)
               local refused, why = pcall(T.block, 5)
               return table.concat({ before, tostring(a), b, c[1], c[2], tostring(ok), message:match('inside'), tostring(refused) }, ' ')
             end, onresult = function(_, d, r) print(r, counted) end }
         end
         print(pcall(T.block, print))",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert!(lines[0].starts_with("false") && lines[0].contains("ERR_NOTAVAIL"), "{lines:?}");
    assert_eq!(
        lines[1..],
        [
            "nil true 10 5 y false inside false\t30",
            "nil true 20 5 y false inside false\t30",
            "nil true 30 5 y false inside false\t30"
        ]
    );
}

#[test]
fn sections_of_several_vms_and_workers_do_not_lock_each_other_out() {
    let text = format!(
        "total = 0
         local function begin(tag)
           for i = 1, 5 do
             T.async:schedule {{ data = tag .. i, onexecute = function(d)
               return T.block(function() total = total + 1 return total end) .. T.block(function() return d end) end,
               onresult = function(_, d, r) done = (done or 0) + 1 if done == 5 then print(tag, total) end end }}
           end
         end
         local n = 0
         TrisulPlugin = {{ id = {{}}, WORKERS
           simplecounter = {{ protocol_guid = '{IPV4}', onpacket = function() n = n + 1 if n == 1 then begin('c') end end }},
           flowmonitor = {{ onflowattribute = function() if not begun then begun = true begin('f') end end }} }}"
    );
    for workers in ["", "request_async_workers = 3,"] {
        for args in [&[][..], &["--deterministic", "never"]] {
            let bench = Bench::new().plugin("b.lua", &text.replace("WORKERS", workers));
            let outcome = bench.args(args).run_with(&["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/demo.pcap")]);
            outcome.exits(0);
            let mut lines = outcome.lines();
            lines.sort_unstable();
            assert_eq!(lines, ["c\t5", "f\t5"], "{}", outcome.stderr);
        }
    }
}

#[test]
fn a_section_that_takes_too_long_is_interrupted_or_disables_its_plugin() {
    for (policy, told) in [("abort", "interrupted"), ("kill", "finished")] {
        let body = format!(
            "if n == 1 then
               T.async:configure {{ block_timeout = 0.1, block_policy = '{policy}' }}
               T.async:schedule {{ onexecute = function()
                 local ok, message = pcall(T.block, function()
                   local clock = os.clock
                   local from = clock() while clock() - from < 0.4 do end
                   return 'finished'
                 end)
                 return ok and message or message:find('exceeded its time budget') and 'interrupted' or message
               end, onresult = function(_, _, r) print(r) end }}
             end"
        );
        let bench = Bench::new().counter("l.lua", IPV4, "", &body);
        let outcome = bench.run(&Capture::udp(300, 100));
        assert_eq!(outcome.lines(), [told], "{}", outcome.stderr);
        assert_eq!(outcome.logged("ERROR", "took longer").len(), usize::from(policy == "kill"), "{}", outcome.stderr);
    }
}

#[test]
fn what_ended_is_remembered_as_long_as_it_is_wanted() {
    let outcome = once_of(
        2000,
        "",
        "T.async:configure { retain = 2 }
         local ids = {}
         for i = 1, 3 do ids[i] = T.async:schedule { data = i, onexecute = function(d) return 'r' .. d end } end
         T.async:spawn(function()
           T.async:await { onexecute = function() error('last') end }
           for i = 1, 3 do local s = T.async:status(ids[i]) print(s and s.state, s and s.result) end
         end)",
    );
    // The last two are the third and the one that the task waited for.
    outcome.prints(&["nil\tnil", "nil\tnil", "done\tr3"]).exits(0);
}

#[test]
fn dead_letters_can_be_sent_again() {
    let outcome = once_of(
        2000,
        "",
        "T.async:configure { dead_letters = 2 }
         local job = { onexecute = function(d)
             if not io.open('mended') then error('broken ' .. d) end return 'mended ' .. d end,
           onresult = function(_, d, r) print(r) end, onerror = function(_, d, e)
             print(e:match('broken %d'))
             if d == '3' then
               local list = T.async:letters()
               print(#list, list[1].data, list[1].state, list[2].data)
               io.open('mended', 'w'):close()
               print(T.async:retry(list[1].id) ~= list[1].id, T.async:retry('0-1'))
             end
           end }
         for i = 1, 3 do job.data = i T.async:schedule(job) end",
    );
    outcome.exits(0);
    assert_eq!(
        outcome.lines(),
        ["broken 1", "broken 2", "broken 3", "2\t2\tfailed\t3", "true\tnil\tno dead letter has the id 0-1", "mended 2"]
    );
}

#[test]
fn blocking_is_for_the_backend_and_loses_nothing_there() {
    let frontend = once("print(pcall(T.async.configure, { overflow = 'block' }))");
    assert!(frontend.lines()[0].contains("on the backend block expected"), "{:?}", frontend.lines());
    let text = "local n = 0
         TrisulPlugin = { id = {}, engine_monitor = { onbeginflush = function(engine)
           if begun then return end begun = true
           T.async:configure { overflow = 'block', pending = 3 }
           for i = 1, 40 do
             local id, why = T.async:schedule { data = i, onexecute = function(d) return d end,
               onresult = function(_, d, r) n = n + 1 if n == 40 then print('all', d) end end }
             if not id then print(why) end
           end
         end } }";
    let outcome = Bench::new().plugin("b.lua", text).run(&Capture::udp(1500, 100));
    outcome.prints(&["all\t40"]).exits(0);
}

#[test]
fn jobs_described_by_one_table_go_by_what_it_says_at_the_time() {
    let outcome = once_of(
        20,
        "local block = { retries = 0, onexecute = function(d) if d == 'odd' then error('odd') end return d end,
           onresult = function(_, d, r) print('result', d, r) end, onfree = function(_, d) print('free', d) end }
         local silent = function() end",
        "for i = 1, 9 do block.data = i T.async:schedule(block) end
         block.data, block.onerror = 'odd', function(_, d, e) print('error', d, e:match('odd')) end
         T.async:schedule(block)
         block.onerror, block.ontimeout, block.timeout = nil, function(_, d) print('late', d) end, 0
         T.async:schedule(block)
         block.timeout, block.data, block.onfree = nil, nil, silent
         T.async:schedule(block)
         print(pcall(T.async.schedule, (function() block.timeout = 'soon' return block end)()))",
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert!(lines[0].starts_with("false") && lines[0].contains("timeout: number not below 0 expected, got string"));
    let mut expected: Vec<String> = (1..10).flat_map(|i| [format!("result\t{i}\t{i}"), format!("free\t{i}")]).collect();
    expected.extend(["error\todd\todd", "free\todd", "late\todd", "free\todd", "result\t\t"].map(str::to_owned));
    assert_eq!(lines[1..], expected);
}

#[test]
fn what_a_managed_function_captures_is_that_of_the_moment() {
    once(
        "local factor, list = 1, { 1 }
         local function double(n) return n * 2 end
         local block = { onfree = function() end, onresult = function(_, d, r) print(d, r) end,
           onexecute = function(d) local was = factor factor = 99 list[1] = list[1] + 1 return double(d) * was .. ' ' .. list[1] end }
         local plain = { onfree = block.onfree, onresult = block.onresult,
           onexecute = function(d) local was = factor factor = 99 return double(d) * was end }
         for i = 1, 6 do
           factor, list[1] = i % 2 == 0 and i or factor, i * 10
           block.data, plain.data = i, i
           T.async:schedule(block) T.async:schedule(plain)
         end",
    )
    .prints(&[
        "1\t2 11", "1\t2", "2\t8 21", "2\t8", "3\t12 31", "3\t12", "4\t32 41", "4\t32", "5\t40 51", "5\t40", "6\t72 61",
        "6\t72",
    ])
    .exits(0);
}

#[test]
fn many_jobs_with_options_end_once_each_whatever_their_callbacks_do() {
    let outcome = once_of(
        300,
        "local freed, results, errors, dropped = {}, 0, 0, 0
         local block = { timeout = 9, onexecute = function(d) if d % 10 == 0 then error('no') end return d end,
           onresult = function(_, d, r) results = results + 1 if d == '7' then error('callback of ' .. d) end end,
           onerror = function(_, d) errors = errors + 1 end,
           onfree = function(_, d)
             d = tonumber(d) freed[d] = (freed[d] or 0) + 1
             if d == 1999 then
               local once, stats = 0, T.async:stats()
               for i = 0, 1999 do if freed[i] == 1 then once = once + 1 end end
               print(once, results, errors, stats.scheduled, stats.done, stats.failed)
             end
           end }",
        "for i = 0, 1999 do
           block.data = i
           -- Some with callbacks of their own, which share nothing.
           if i % 3 == 0 then
             local own = {}
             for k, v in pairs(block) do own[k] = v end
             own.onfree = function(_, d) block.onfree(nil, d) end
             T.async:schedule(own)
           else
             T.async:schedule(block)
           end
         end",
    );
    assert_eq!(outcome.lines(), ["2000\t1800\t200\t2000\t1800\t200"]);
}

#[test]
fn more_ways_of_treatment_than_are_kept_in_mind_lose_nothing() {
    once(
        "local block = { onexecute = function(d) return d end, onfree = function() end }
         local sum = 0
         block.onresult = function(_, d, r) sum = sum + r if r == '2100' then print(sum) end end
         for i = 1, 2100 do
           block.data, block.timeout, block.priority = i, 10 + i, i % 5 == 0 and 1 or nil
           if i == 2100 then block.priority = -1 end
           T.async:schedule(block)
         end",
    )
    .prints(&["2206050"])
    .exits(0);
}

#[test]
fn what_is_read_when_it_is_first_used_meets_nothing_that_the_script_has_replaced() {
    let outcome = once(
        "local async, print, next, G = T.async, print, next, _G
         for _, name in next, { 'string', 'table', 'math', 'coroutine', 'debug' } do
           for key in next, G[name] do G[name][key] = nil end
         end
         for _, name in next, { 'pairs', 'ipairs', 'type', 'error', 'tostring', 'select', 'unpack', 'setmetatable',
           'getmetatable', 'rawget', 'xpcall', 'pcall', 'require' } do G[name] = nil end
         async.stats = function() return 'mine' end
         print(async.stats(), async.nothing)
         async:spawn(function() async:sleep(0.01) print('slept') end)
         async:defer { onresult = function(_, _, result) print('resolved', result) end }:resolve('x')
         async:schedule { data = 1, timeout = 5, onexecute = function(d) return d + 1 end,
           onresult = function(_, _, result) print('result', result) end }
         print(async.stats())",
    );
    outcome.exits(0);
    let mut lines = outcome.lines();
    assert_eq!(lines.remove(0), "mine\tnil");
    lines.sort_unstable();
    assert_eq!(lines, ["mine", "resolved\tx", "result\t2", "slept"]);
}
