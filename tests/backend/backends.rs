//! Several backends: each key, flow and record has one of them, and together they do what one does.

use std::collections::BTreeMap;

use crate::engines::many;
use crate::support::{Bench, GROUP, Outcome};
use crate::{block, counting, sized};

fn run(options: &[&str]) -> Outcome {
    let count = "engine:update_counter(G, layer:packet():flowid():portz(), 0, 1) \
                 engine:add_alert(A, layer:packet():flowid():id(), 'sig' .. n % 7, 1, 'm' .. n % 11)";
    let alerts = "{5A1E6C1B-6F3A-4D5E-9C55-0A3E4E6D7F01}";
    let count = count.replace("(A,", &format!("('{alerts}',"));
    let keys = format!(
        "counter_guid = '{GROUP}', onflush = function(e, ts, key, m) print(e:instanceid(), ts, key, m[1]) end, \
         onnewkey = function(e, ts, key) print(e:instanceid(), 'new', key, 1) end"
    );
    let seen = format!(
        "alert_guid = '{alerts}', onflush = function(e, a) print(e:instanceid(), a:flow():id(), a:sigid(), a:message()) end"
    );
    let flows = "onflush = function(e, f) print(e:instanceid(), f:key(), f:az_packets(), f:za_packets()) end";
    let tracker = "control = { name = 'most', count = 5, bucketsize = 60 }, \
         getmetric = function(e, f) return f:az_packets() * 1000 + tonumber(f:flow():portz_readable()) % 1000 end";
    let group = format!(
        "TrisulPlugin = {{ id = {{ name = 'a' }}, alertgroup = {{ control = {{ guid = '{alerts}', name = 'Test alerts' }} }} }}"
    );
    counting(Bench::new(), &count)
        .plugin("a.lua", &group)
        .plugin("c.lua", &block("cg_monitor", &keys))
        .plugin("d.lua", &block("sg_monitor", flows))
        .plugin("e.lua", &block("flowtracker", tracker))
        .plugin("f.lua", &block("alert_monitor", &seen))
        .args(options)
        .run(&many())
}

/// What a script printed, without the number of the backend, in order of text; and which backends said something of each
/// thing, named by the second column (the third for windows of keys).
fn shared_out(outcome: &Outcome, script: &str, thing: usize) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let mut lines = Vec::new();
    let mut by_thing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in outcome.printed_by(script) {
        let (backend, rest) = line.split_once('\t').expect("a column for the backend");
        let thing = line.split('\t').nth(thing).expect("enough columns").to_owned();
        lines.push(rest.to_owned());
        let backends = by_thing.entry(thing).or_default();
        if !backends.iter().any(|known| known == backend) {
            backends.push(backend.to_owned());
        }
    }
    lines.sort_unstable();
    (lines, by_thing)
}

fn assert_shared(one: &Outcome, several: &Outcome, script: &str, thing: usize) {
    let (whole, _) = shared_out(one, script, thing);
    let (lines, mut by_thing) = shared_out(several, script, thing);
    assert!(whole.len() > 50, "{script}: {}", whole.len());
    // Every backend sums up its own share.
    by_thing.remove("SYS:GROUP_TOTALS");
    assert!(by_thing.values().all(|backends| backends.len() == 1), "{script}: {by_thing:?}");
    let used: std::collections::BTreeSet<&String> = by_thing.values().flatten().collect();
    assert!(used.len() > 1, "{script}: {used:?}");
    let without_totals = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.contains("SYS:GROUP_TOTALS")).collect()
    };
    let (whole, lines) = (without_totals(whole), without_totals(lines));
    let differs = whole.iter().zip(&lines).find(|(a, b)| a != b);
    assert!(whole == lines, "{script}: {} and {} lines, {differs:?}", whole.len(), lines.len());
}

#[test]
fn keys_flows_and_alerts_have_one_backend_each_and_all_are_flushed() {
    let one = run(&[]);
    one.exits(0);
    for options in [&["--backends", "2"][..], &["--backends", "3", "--engines", "2"]] {
        let several = run(options);
        several.exits(0);
        assert_shared(&one, &several, "c.lua", 2);
        // Flows of two engines end with the packets of their own, and scripts number theirs.
        if options.len() == 2 {
            assert_shared(&one, &several, "d.lua", 1);
            assert_shared(&one, &several, "f.lua", 1);
        }
        assert_eq!(one.totals(), several.totals());
    }
}

#[test]
fn totals_of_the_shares_add_up_and_trackers_rank_the_flows_of_all() {
    let (one, two) = (run(&[]), run(&["--backends", "2"]));
    let totals = |outcome: &Outcome| {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for line in outcome.printed_by("c.lua") {
            let columns: Vec<&str> = line.split('\t').collect();
            if columns[2] == "SYS:GROUP_TOTALS" {
                *sums.entry(columns[1].to_owned()).or_default() += columns[3].parse::<f64>().expect("a number");
            }
        }
        sums
    };
    assert!(totals(&one).len() > 1);
    assert_eq!(totals(&one), totals(&two));
    let ranked = |outcome: &Outcome| {
        let mut rows = outcome.fields("flow_tracker", &["tracker", "bucket", "metric", "flow"]);
        rows.sort_unstable_by_key(|row| format!("{row:?}"));
        rows
    };
    assert!(ranked(&one).len() >= 10, "{:?}", ranked(&one));
    assert_eq!(ranked(&one), ranked(&two));
}

#[test]
fn a_message_of_a_backend_reaches_the_others_and_the_frontend() {
    let backend = "TrisulPlugin = { id = { name = 'b' }, onmessage = function(id, text) print(text) end, \
        engine_monitor = { onbeginflush = function(e, ts) if ts == 120 then \
        e:post_message_backend('of ' .. e:instanceid()) e:post_message_frontend('out') end end } }";
    let frontend = "TrisulPlugin = { id = { name = 'f' }, onmessage = function(id, text) print(text) end, \
        simplecounter = { protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = function() end } }";
    let outcome =
        Bench::new().plugin("b.lua", backend).plugin("f.lua", frontend).args(&["--backends", "2"]).run(&many());
    outcome.exits(0);
    let mut heard = outcome.printed_by("b.lua");
    heard.sort_unstable();
    assert_eq!(heard, ["of 0", "of 0", "of 1", "of 1"]);
}

#[test]
fn every_backend_knows_its_number_from_onload_to_onunload() {
    let text = "TrisulPlugin = { id = { name = 'n' }, \
        onload = function() print('load', T.backend_engineid) end, \
        onunload = function() print('unload', T.backend_engineid) end, \
        engine_monitor = { onmetronome = function(e, ts, count) \
        if count == 1 then print('tick ' .. e:instanceid(), T.backend_engineid) end end } }";
    let outcome = Bench::new().plugin("n.lua", text).args(&["--backends", "3"]).run(&many());
    outcome.exits(0);
    let mut lines = outcome.printed_by("n.lua");
    lines.sort_unstable();
    let all = |stage: &str| (0..3).map(|n| format!("{stage}\t{n}")).collect::<Vec<_>>();
    let ticks = ["tick 0\t0", "tick 1\t1", "tick 2\t2"].map(str::to_owned).to_vec();
    assert_eq!(lines, [all("load"), ticks, all("unload")].concat());
}

#[test]
fn packet_threads_over_files_do_not_run_ahead_of_backends_that_are_slow() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("seen");
    let seen = format!("local f = io.open('{}', 'a') f:write('x') f:close()", path.display());
    // At first waits until the packet thread goes on no more.
    let monitor = format!(
        "onmetronome = function(e, ts) \
           local function seen() local f = io.open('{}') local n = f:seek('end') f:close() return n end \
           waits = (waits or 0) + 1 \
           local last, since = seen(), os.clock() \
           while waits <= 10 and os.clock() - since < 0.1 do \
             if seen() > last then last, since = seen(), os.clock() end \
           end \
           print(e:instanceid(), seen() - (ts - 100)) \
         end",
        path.display()
    );
    let capture = sized(&(0..300).map(|n| (100 + n, 100)).collect::<Vec<_>>());
    let outcome = counting(Bench::new(), &seen)
        .plugin("c.lua", &block("engine_monitor", &monitor))
        .args(&["--backends", "2"])
        .run(&capture);
    let lines = outcome.printed_by("c.lua");
    let ahead = |line: &&str| line.split_once('\t').and_then(|(_, seconds)| seconds.parse::<i64>().ok());
    let most = lines.iter().filter_map(ahead).max().expect("somebody prints");
    assert!(lines.len() > 500 && most < 64, "{most} seconds ahead");
}
