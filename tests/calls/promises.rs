//! Answers that come later: from workers, tasks and deferred executions.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Bench;

#[test]
fn what_runs_in_the_background_answers_when_it_has_ended() {
    let bench = Bench::with(
        "double = function(engine, args)
           local n = tonumber(args[1])
           return T.async:run_on_background(function() return { n = n * 2 } end)
         end,
         data = function(engine, args) return T.async:run_on_background(function(d) return d.x .. '!' end, args[1]) end,
         fail = function() return T.async:run_on_background(function() error('no luck') end) end,
         lost = function()
           local c = coroutine.create(function() end)
           return T.async:run_on_background(function() return c end)
         end",
    );
    assert_eq!(bench.call("p.double", &json!(["4"])), json!({ "n": 8 }));
    assert_eq!(bench.call("p.data", &json!([{ "x": "y" }])), "y!");
    assert!(bench.fails("p.fail", &Value::Null).ends_with("p.lua:6: no luck"));
    let started: Vec<_> = (0..8)
        .map(|n| {
            bench.ask(&json!({ "request": "call", "function": "p.double", "args": [n], "async": true }))["id"].clone()
        })
        .collect();
    for (n, id) in started.iter().enumerate() {
        let answer = bench.ask(&json!({ "request": "call_result", "id": id, "timeout": 30 }));
        assert_eq!(answer["result"]["n"], 2 * n, "{answer}");
    }
    bench.goes_on();
    bench.stop().1.exits(0);
}

#[test]
fn a_task_answers_with_what_it_returns() {
    let bench = Bench::with(
        "both = function() return T.async:spawn(function()
           local r = T.async:await { data = 'q', onexecute = function(d) return d .. d end }
           local s = T.async:await(T.async:run_on_background(function() return 'bg' end))
           return { r, s }
         end) end,
         once = function() return T.async:spawn(function() return 42 end) end,
         fail = function() return T.async:spawn(function() T.async:sleep(0) error('in a task') end) end,
         early = function() return T.async:spawn(function() error('at once') end) end,
         after = function() return 'no task' end",
    );
    assert_eq!(bench.call("p.both", &Value::Null), json!(["qq", "bg"]));
    assert_eq!(bench.call("p.once", &Value::Null), 42);
    assert!(bench.fails("p.fail", &Value::Null).contains(": in a task"));
    assert!(bench.fails("p.early", &Value::Null).contains(": at once"));
    assert_eq!(bench.call("p.after", &Value::Null), "no task");
    bench.stop().1.exits(1);
}

#[test]
fn what_is_deferred_is_completed_from_outside_once() {
    let bench = Bench::with(
        "wait = function() d = T.async:defer { onresult = function(e, data, r) seen = r end } return d end,
         id = function() return d and d.id end, seen = function() return seen end,
         timed = function() return T.async:defer { timeout = 0.2 } end,
         same = function() return d end",
    );
    let waits = |bench: &Bench| {
        let mut client = bench.connect();
        client.send(&json!({ "request": "call", "function": "p.wait" }).to_string());
        let before = bench.call("p.id", &Value::Null);
        let mut id = before.clone();
        // The call may be behind the question.
        for _ in 0..100 {
            if id != Value::Null && id != before {
                break;
            }
            thread::sleep(Duration::from_millis(5));
            id = bench.call("p.id", &Value::Null);
        }
        (client, id.as_str().unwrap().to_owned())
    };
    let (mut client, id) = waits(&bench);
    let mut second = bench.connect();
    second.send(&json!({ "request": "call", "function": "p.same" }).to_string());
    thread::sleep(Duration::from_millis(200));
    assert!(bench.prints(&["jobs", "resolve", &id, "from outside"]).contains(&id));
    assert_eq!(client.answer()["result"], "from outside");
    assert_eq!(second.answer()["result"], "from outside", "two may wait for one promise");
    assert_eq!(bench.call("p.seen", &Value::Null), "from outside");
    assert_eq!(bench.call("p.same", &Value::Null), "from outside", "and ask for it afterwards");
    for request in ["resolve", "reject", "abort"] {
        let again = bench.ask(&json!({ "request": request, "id": id }));
        assert!(again["error"].as_str().unwrap().starts_with(&format!("nothing is open under {id}")), "{again}");
    }
    let (code, _, err) = bench.command(&["jobs", "abort", &id]);
    assert_eq!(code, Some(2), "{err}");
    let (mut client, id) = waits(&bench);
    bench.prints(&["jobs", "reject", &id, "not today"]);
    assert_eq!(client.answer()["error"], "p.wait: not today");
    let (mut client, id) = waits(&bench);
    bench.prints(&["jobs", "abort", &id]);
    assert_eq!(client.answer()["error"], "p.wait: aborted");
    assert_eq!(bench.fails("p.timed", &Value::Null), "p.timed: timed out");
    bench.stop().1.exits(0);
}

#[test]
fn many_complete_one_execution_and_one_of_them_has() {
    let bench = Bench::with("wait = function() d = T.async:defer {} return d.id end");
    for _ in 0..5 {
        let id = bench.call("p.wait", &Value::Null);
        let won: usize = thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|n| {
                    let (bench, id) = (&bench, &id);
                    scope.spawn(move || {
                        bench.ask(&json!({ "request": "resolve", "id": id, "value": n.to_string() }))["ok"] == true
                    })
                })
                .collect();
            all.into_iter().filter(|_| true).map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(won, 1);
    }
    bench.stop().1.exits(0);
}

#[test]
fn a_run_that_ends_tells_whoever_waits() {
    let bench = Bench::with(
        "never = function() return T.async:defer {} end,
         slow = function() return T.async:run_on_background(function() os.execute('sleep 1') return 'in time' end) end",
    );
    let mut never = bench.connect();
    never.send(&json!({ "request": "call", "function": "p.never" }).to_string());
    let mut slow = bench.connect();
    slow.send(&json!({ "request": "call", "function": "p.slow" }).to_string());
    thread::sleep(Duration::from_millis(500));
    bench.running.signal("TERM");
    assert_eq!(slow.answer()["result"], "in time", "jobs are waited for at the end");
    assert_eq!(never.answer()["error"], "p.never: cancelled");
    bench.running.wait(crate::LIMIT).exits(0);
}

#[test]
fn an_answer_that_takes_too_long_may_be_asked_for_later() {
    let bench = Bench::with(
        "wait = function() return T.async:run_on_background(function() os.execute('sleep 1') return 'late' end) end",
    );
    let answer = bench.ask(&json!({ "request": "call", "function": "p.wait", "timeout": 0.2 }));
    let error = answer["error"].as_str().unwrap();
    let (_, id) = error.split_once("call --result ").unwrap();
    assert!(error.starts_with("p.wait: no answer within 0.2 s; it goes on"), "{error}");
    let answer = bench.ask(&json!({ "request": "call_result", "id": id, "timeout": 30 }));
    assert_eq!(answer["result"], "late", "{answer}");
    bench.stop().1.exits(0);
}
