//! Pipelines that are run over a store.

use serde_json::Value;

use crate::support::{Bench, Capture, GROUP, IPV4};
use crate::{pcap, plugin};

/// Runs a body once, when the first packet comes, over what a run before has left in a store.
fn over_store(body: &str, args: &[&str]) -> crate::support::Outcome {
    let first = Bench::new()
        .group()
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'k' .. n % 3, 1, n)"))
        .args(&["--store", "s.db"]);
    first.run_with(&["-r", &pcap("demo.pcap")]).exits(0);
    let text = plugin(&format!(
        "local FILE = '{}'
         TrisulPlugin.engine_monitor = {{ onbeginflush = function(engine)
           if done then return end done = true
           {body}
         end }}",
        first.path("s.db").display()
    ));
    let bench = Bench::new().plugin("b.lua", &text).args(args);
    bench.run(&Capture::udp(2, 100))
}

fn query(what: &[&str], file: &std::path::Path) -> Value {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.arg("query").args(what).arg("--json").arg("--store").arg(file).env_clear();
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn everything_a_store_holds_is_read_once() {
    let outcome = over_store(
        &format!(
            "for _, reader in ipairs {{ 'flows', 'alerts', 'resources', 'documents', 'counters' }} do
               T.gears(reader, {{ store = FILE, group = reader == 'counters' and '{GROUP}' or nil }})
                 :map(function(r) return (r.flow or r.key) .. ' ' .. (r.uri or r.text or '') end)
                 :accumulate(function(n, r) return (n or 0) + 1 end):collect()
                 :run {{ onresult = function(engine, results, errors) print(reader, type(engine), results[1], #errors) end }}
             end"
        ),
        &[],
    );
    outcome.exits(0);
    let file = Bench::new().args(&["--store", "s.db"]);
    file.run_with(&["-r", &pcap("demo.pcap")]).exits(0);
    let count = |what: &str| query(&[what, "--limit", "100000"], &file.path("s.db"));
    let rows = |value: &Value| value.as_array().map_or_else(|| value["rows"].as_array().map_or(0, Vec::len), Vec::len);
    let (flows, resources) = (rows(&count("flows")), rows(&count("resources")));
    let lines = outcome.lines();
    assert_eq!(lines[0], format!("flows\ttable\t{flows}\t0"), "{lines:?}");
    assert_eq!(lines[1], "alerts\ttable\tnil\t0");
    assert_eq!(lines[2], format!("resources\ttable\t{resources}\t0"));
    assert!(lines[3].starts_with("documents\ttable\t") && lines[3].ends_with("\t0"));
    // Two windows of three keys.
    assert_eq!(lines[4], "counters\ttable\t6\t0", "{lines:?}");
}

#[test]
fn a_row_of_the_store_is_the_record_that_the_event_gave() {
    let told = "local t = {} for _, name in ipairs { 'flow', 'start', 'stop', 'bytes', 'az_bytes', 'za_bytes', 'az_packets', \
        'za_packets', 'az_payload', 'za_payload', 'state', 'setup_rtt', 'retrans', 'tags', 'ipa', 'porta', 'ipz', 'portz', 'time', \
        'group', 'uri', 'label' } do t[#t + 1] = tostring(r[name]) end return table.concat(t, '|')";
    for reader in ["flows", "resources"] {
        let bench = Bench::new()
            .plugin(
                "p.lua",
                &plugin(&format!(
                    "T.gears('{reader}'):map(function(r) {told} end):foreach(function(t) print('row ' .. t) end):register()"
                )),
            )
            .args(&["--store", "s.db"]);
        let events = bench.run_with(&["-r", &pcap("demo.pcap")]);
        events.exits(0);
        let text = plugin(&format!(
            "TrisulPlugin.engine_monitor = {{ onbeginflush = function()
               if done then return end done = true
               T.gears('{reader}', {{ store = '{}' }}):map(function(r) {told} end):collect()
                 :run {{ onresult = function(_, results) for _, t in ipairs(results) do print('row ' .. t) end end }} end }}",
            bench.path("s.db").display()
        ));
        let batch = Bench::new().plugin("b.lua", &text).run(&Capture::udp(2, 100));
        batch.exits(0);
        let sorted = |outcome: &crate::support::Outcome| {
            let mut rows: Vec<String> = outcome.stdout.split("row ").map(str::to_owned).collect();
            rows.sort_unstable();
            rows
        };
        let (events, batch) = (sorted(&events), sorted(&batch));
        assert!(events.len() > 100, "{reader}");
        if reader == "flows" {
            // Flows that went on to the end of the input are stored and do not end.
            assert!(events.iter().all(|row| batch.contains(row)), "{:?}\n{:?}", events.first(), batch.first());
        } else {
            assert_eq!(events, batch);
        }
    }
}

#[test]
fn times_and_groups_limit_what_is_read() {
    let outcome = over_store(
        &format!(
            "local function count(name, args)
               args.store = FILE
               T.gears(name, args):accumulate(function(n) return (n or 0) + 1 end):collect()
                 :run {{ onresult = function(_, results) print(name, results[1]) end }}
             end
             count('counters', {{ group = '{GROUP}', from = 1768467660 }})
             count('counters', {{ group = '{GROUP}', to = 1768467659 }})
             count('flows', {{ to = 1 }})
             count('resources', {{ group = '{{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}}' }})"
        ),
        &[],
    );
    outcome.prints(&["counters\t3", "counters\t3", "flows\tnil", "resources\t160"]);
}

#[test]
fn an_execution_ends_when_its_time_is_over_or_it_is_taken_back() {
    let outcome = over_store(
        "local function endless(options)
           options.onresult = function(engine, results, errors) print(#results, errors[1].message) end
           return T.gears('flows', { store = FILE }):foreach(function() while true do end end):run(options)
         end
         endless { timeout = 0.2 }
         print(T.async:cancel(endless {}))
         T.gears('flows', { store = '/no/such/file' }):run { onresult = function(_, _, errors) print(errors[1].message:match('^[^:]+')) end }
         T.gears('flows', { store = FILE }):map(function(r) error('bad') end):run {
           onresult = function(_, results, errors) print(errors.total > #errors, #errors, errors[1].step) end }",
        &[],
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert_eq!(lines[..3], ["true", "0\ttimed out", "0\tcancelled"], "{lines:?}");
    assert_eq!(lines[3..], ["/no/such/file", "true\t100\t1"], "{lines:?}");
}

#[test]
fn without_a_store_it_says_what_to_type() {
    let text = plugin(
        "TrisulPlugin.engine_monitor = { onbeginflush = function()
           print(pcall(function() T.gears('flows'):run() end))
           print(pcall(function() T.gears('packets'):run() end))
         end }",
    );
    let outcome = Bench::new().plugin("b.lua", &text).run(&Capture::udp(1, 100));
    outcome.exits(0);
    assert!(outcome.lines()[0].contains("type: millstream run --store FILE"), "{:?}", outcome.lines());
    assert!(outcome.lines()[1].contains("the store holds no packets"), "{:?}", outcome.lines());
}

#[test]
fn what_is_run_is_listed_with_its_steps() {
    let outcome = over_store(
        "for i = 1, 2 do
           T.gears('resources', { store = FILE }):filter(function(r) return r.uri:find('GET') end):collect()
             :run { name = 'gets', onresult = function(_, results)
               local p = T.gears:plan('gets')
               print(p.mode, p.executions, p.steps[1].taken, p.steps[1].given, #results)
             end }
         end",
        &[],
    );
    outcome.exits(0);
    let lines = outcome.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("run\t384\t384\t"), "{lines:?}");
}
