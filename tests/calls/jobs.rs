//! `millstream jobs`.

use serde_json::{Value, json};

use crate::e2e::Place;
use crate::{Bench, until};

/// Functions that schedule work of all kinds.
const WORK: &str = "
    sleep = function() return (T.async:schedule { data = 'x', timeout = 50, onexecute = function() os.execute('sleep 30') end }) end,
    fail = function(engine, args)
      T.async:configure { dead_letters = 10, retain = 10 }
      return (T.async:schedule { data = args[1], retries = 0, onexecute = function(d)
        local f = io.open(d)
        if not f then error('no such file ' .. d) end
        f:close()
        return 'found'
      end, onerror = function() end, onresult = function(e, d, r) last = r end })
    end,
    last = function() return last end,
    late = function() T.async:configure { dead_letters = 10 }
      return (T.async:schedule { timeout = 0.1, onexecute = function() while true do end end, ontimeout = function() end }) end";

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    serde_json::from_str(&bench.prints(&[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn jobs_are_listed_shown_and_taken_back() {
    let bench = Bench::with(WORK);
    let empty = json(&bench, &["jobs", "list"]);
    assert_eq!((&empty["pending"], &empty["jobs"]), (&0.into(), &json!([])));
    let ids: Vec<String> = (0..3).map(|_| bench.call("p.sleep", &Value::Null).as_str().unwrap().to_owned()).collect();
    until("two run", || json(&bench, &["jobs", "list", "--state", "running"])["shown"] == 2);
    let all = json(&bench, &["jobs", "list"]);
    assert_eq!(all["pending"], 3);
    let listed: Vec<&str> = all["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
    assert_eq!(json(&bench, &["jobs", "list", "--plugin", "p", "--limit", "1"])["shown"], 1);
    let job = json(&bench, &["jobs", "show", &ids[0]]);
    assert_eq!((&job["state"], &job["plugin"]), (&"running".into(), &"p.lua".into()));
    let top = json(&bench, &["jobs", "top", "--by", "waited"]);
    assert_eq!((&top["jobs"][0]["id"], &top["plugins"][0]["queued"]), (&ids[2].as_str().into(), &1.into()));
    assert!(bench.prints(&["jobs", "list"]).contains("running"));
    let (code, out, _) = bench.command(&["jobs", "cancel", &ids[0], &ids[2], "0-99999"]);
    assert_eq!(code, Some(1), "one is unknown: {out}");
    assert_eq!(json(&bench, &["jobs", "cancel", &ids[1]])["cancelled"], json!([ids[1]]));
    until("none is left", || json(&bench, &["jobs", "list"])["pending"] == 0);
    let (code, _, err) = bench.command(&["jobs", "show", &ids[0]]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no job") && err.contains("is remembered"), "{err}");
    for wrong in [&["jobs", "show", "x"][..], &["jobs", "list", "--plugin", "zz"], &["jobs", "retry", "0-1"]] {
        assert_eq!(bench.command(wrong).0, Some(2), "{wrong:?}");
    }
    bench.stop().1.exits(0);
}

#[test]
fn dead_letters_are_listed_and_scheduled_again() {
    let bench = Bench::with(WORK);
    assert_eq!(json(&bench, &["jobs", "dead"])["count"], 0);
    let wanted = bench.place.path("wanted").display().to_string();
    let id = bench.call("p.fail", &json!([wanted]));
    let late = bench.call("p.late", &Value::Null);
    until("both have failed", || json(&bench, &["jobs", "dead"])["count"] == 2);
    let dead = json(&bench, &["jobs", "dead", "--plugin", "p"]);
    let row = &dead["jobs"][0];
    assert_eq!((&row["id"], &row["state"], &row["data"]), (&id, &"failed".into(), &wanted.as_str().into()));
    assert!(row["error"].as_str().unwrap().contains("no such file"), "{row}");
    assert_eq!((&dead["jobs"][1]["id"], &dead["jobs"][1]["state"]), (&late, &"timed_out".into()));
    let shown = json(&bench, &["jobs", "show", id.as_str().unwrap()]);
    assert_eq!(shown["state"], "failed");
    std::fs::write(&wanted, "").unwrap();
    let again = json(&bench, &["jobs", "retry", id.as_str().unwrap()]);
    assert_ne!(again["id"], id);
    until("it is found", || bench.call("p.last", &Value::Null) == "found");
    assert_eq!(json(&bench, &["jobs", "dead"])["count"], 1);
    let (code, _, err) = bench.command(&["jobs", "retry", id.as_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no dead letter has the id"), "{err}");
    bench.stop().1.exits(0);
}

#[test]
fn jobs_of_all_threads_are_seen() {
    let backend = "TrisulPlugin = { id = { name = 'b' }, engine_monitor = { onbeginflush = function() end },
        functions = { fail = function()
          T.async:configure { dead_letters = 10 }
          return (T.async:schedule { retries = 0, data = 'd', onexecute = function() error('always') end, onerror = function() end })
        end } }";
    let place = Place::new().plugin("p.lua", &crate::plugin("p", WORK)).plugin("b.lua", backend);
    let bench = Bench::start(place, &["--engines", "2"]);
    let on = |function: &str, engine: u16| {
        let answer =
            bench.ask(&json!({ "request": "call", "function": function, "args": ["/none"], "engine": engine }));
        answer["result"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let dead = [on("p.fail", 0), on("p.fail", 1), on("b.fail", 2)];
    until("all have failed", || json(&bench, &["jobs", "dead"])["count"] == 3);
    // From here on they have both workers.
    let ids = [on("p.sleep", 0), on("p.sleep", 1)];
    let all = json(&bench, &["jobs", "list"]);
    for id in &ids {
        assert!(all["jobs"].as_array().unwrap().iter().any(|job| job["id"] == id.as_str()), "{all}");
    }
    let found = json(&bench, &["jobs", "dead"]);
    let found: Vec<&str> = found["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(found, dead);
    let again = json(&bench, &["jobs", "retry", &dead[2]]);
    assert!(again["id"].as_str().unwrap().starts_with("2-"), "{again}");
    bench.prints(&["jobs", "cancel", &ids[0], &ids[1]]);
    bench.stop().1.exits(0);
}
