//! Pipelines that are registered: readers, windows, workers, engines, reloads.

use crate::support::{Bench, Capture, GROUP, IPV4};
use crate::{TELL, pcap, plugin};

/// Sources of alerts and resources, for captures that have none of their own.
const SOURCE: &str = "
local n = 0
TrisulPlugin = { id = { name = 'source' },
  alertgroup = { control = { guid = '{0C3D0A52-6C1B-4B5E-9D0F-2B7C41D1E7A3}', name = 'A' } },
  simplecounter = { protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = function(engine, layer)
    n = n + 1
    if n % 100 == 0 then
      engine:add_alert('{0C3D0A52-6C1B-4B5E-9D0F-2B7C41D1E7A3}', layer:flowkey(), 'key' .. n, n % 3, 'hello')
    end
  end },
}";

/// The same as pipelines and written by hand, for readers whose records are tables.
fn both(by_hand: &str, pipeline: &str) -> (Vec<String>, Vec<String>) {
    let bench =
        Bench::new().plugin("source.lua", SOURCE).plugin("hand.lua", by_hand).plugin("pipe.lua", &plugin(pipeline));
    let outcome = bench.run_with(&["-r", &pcap("demo.pcap")]);
    outcome.exits(0);
    let of = |script: &str| outcome.printed_by(script).into_iter().map(str::to_owned).collect();
    (of("hand.lua"), of("pipe.lua"))
}

#[test]
fn every_reader_of_tables_gives_what_a_monitor_is_called_with() {
    for (reader, block, callback, hand, fields) in [
        ("newflows", "sg_monitor", "onnewflow", "o:flow():id(), o:time_window()", "r.flow, r.start, r.stop"),
        (
            "flows",
            "sg_monitor",
            "onterminate",
            "o:flow():id(), o:az_bytes(), o:za_packets(), o:setup_rtt(), o:flow():ipz_readable(), o:tags()",
            "r.flow, r.az_bytes, r.za_packets, r.setup_rtt, r.ipz, r.tags",
        ),
        (
            "alerts",
            "alert_monitor",
            "onnewalert",
            "o:flow():id(), o:sigid(), o:priority(), o:message(), o:status(), T.monitor_group_guid",
            "r.flow, r.sigid, r.priority, r.message, r.status, r.group",
        ),
        (
            "resources",
            "resource_monitor",
            "onnewresource",
            "o:flow():id(), o:uri(), o:label(), (o:timestamp())",
            "r.flow, r.uri, r.label, math.floor(r.time)",
        ),
        ("documents", "fts_monitor", "onnewfts", "o:flow():id(), o:text()", "r.flow, r.text"),
    ] {
        let group = match block {
            "alert_monitor" => "alert_name_match = ''",
            "resource_monitor" => "resource_guid = true",
            "fts_monitor" => "fts_guid = true",
            _ => "",
        };
        let (by_hand, piped) = both(
            &format!(
                "TrisulPlugin = {{ id = {{ name = 'h' }}, {block} = {{ {group}{comma} {callback} = function(engine, o) print({hand}) end }} }}",
                comma = if group.is_empty() { "" } else { "," }
            ),
            &format!("T.gears('{reader}'):foreach(function(r) print({fields}) end):register()"),
        );
        assert!(by_hand.len() > 20, "{reader}: {}", by_hand.len());
        assert_eq!(by_hand, piped, "{reader}");
    }
}

#[test]
fn counters_come_as_they_are_flushed_but_for_the_totals() {
    let text = format!(
        "T.gears('counters', {{ group = '{GROUP}' }}):foreach(function(r) print(r.key, r.time, r.metrics[1], r.metrics[2]) end):register()"
    );
    let bench = Bench::new()
        .group()
        .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'k' .. n % 2, 0, n)"))
        .plugin("pipe.lua", &plugin(&text));
    bench.run(&Capture::udp(4, 100)).prints(&["k0\t60\t6\t0", "k1\t60\t4\t0"]);
}

#[test]
fn a_pipeline_over_packets_gets_the_layer_and_the_engine_that_a_callback_gets() {
    let text = format!(
        "T.gears('packets', {{ protocol = '{IPV4}' }}):filter(function(layer) return layer:total_bytes() > 0 end)
           :foreach(function(layer, engine) engine:update_counter('{GROUP}', 'all', 0, layer:total_bytes()) end):register()"
    );
    for engines in ["1", "2"] {
        let bench = Bench::new()
            .group()
            .counter("c.lua", IPV4, "", &format!("engine:update_counter('{GROUP}', 'all', 1, layer:total_bytes())"))
            .plugin("pipe.lua", &plugin(&text))
            .args(&["--engines", engines]);
        let outcome = bench.run_with(&["-r", &pcap("demo.pcap")]);
        outcome.exits(0);
        let (piped, by_hand) = (outcome.total(GROUP, "all", 0).unwrap(), outcome.total(GROUP, "all", 1).unwrap());
        assert_eq!(piped, by_hand);
        assert_eq!(piped.updates, 2_857);
    }
}

/// One pipeline in each mode, which print what they gather.
fn modes(window: &str) -> String {
    plugin(&format!(
        "for _, mode in ipairs {{ 'sync', 'async_local' }} do
           T.gears('packets', {{ {window} }})
             :map(function(l) local b = l:rawbytes() return {{ host = b:hval_32(12), bytes = l:total_bytes(), key = l:flowkey(),
               secs = l:packet():timestamp(), low = b:hval_16(2) + b:hval_8(8) + b:hval_24(5) + l:getbyte(9), odd = l:testbit(9),
               size = l:layer_bytes() + b:size() + l:packet():capture_length(), text = b:tostring(12, 4), id = l:protocol_id() }} end)
             :filter(function(r) return r.bytes > 60 end)
             :groupby(function(r) return r.host end, function(key, sum, r)
               sum = sum or {{ n = 0, bytes = 0 }}
               sum.n, sum.bytes, sum.last = sum.n + 1, sum.bytes + r.size + r.low + (r.odd and 1 or 0), r.key .. r.secs .. r.text .. r.id
               return sum
             end)
             :sort(function(a, b) return a.value.bytes > b.value.bytes end)
             :collect()
             :register {{ name = mode, mode = mode, onresult = function(engine, results, errors)
               for _, r in ipairs(results) do print(mode, r.key, r.value.n, r.value.bytes, r.value.last) end
               print(mode, #results, #errors, type(engine))
             end }}
         end"
    ))
}

#[test]
fn workers_give_what_the_packet_thread_gives_over_every_capture() {
    for entry in std::fs::read_dir(crate::project().join("pcaps")).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|end| end == "pcap" || end == "pcapng") {
            continue;
        }
        let bench = Bench::new().plugin("modes.lua", &modes("window = 7"));
        let outcome = bench.run_with(&["-r", &path.display().to_string()]);
        outcome.exits(0);
        let of = |mode: &str| -> Vec<String> {
            let mine = outcome.lines().into_iter().filter_map(|line| line.strip_prefix(mode));
            let mut lines: Vec<String> = mine.map(str::to_owned).collect();
            // Windows end at other moments of the run, in the same order.
            lines.retain(|line| !line.is_empty());
            lines
        };
        assert_eq!(of("sync\t"), of("async_local\t"), "{}", path.display());
    }
}

#[test]
fn each_event_is_an_execution_where_there_is_no_window() {
    let text = plugin(&format!(
        "for _, mode in ipairs {{ 'sync', 'async' }} do
           T.gears('packets', {{ protocol = '{IPV4}' }}):map(function(l) return l:total_bytes() end):countby(function(r) return r % 2 end)
             :collect():register {{ name = mode, mode = mode, keep = 2,
               onresult = function(engine, results) print(mode, #results, results[1].key, results[1].value) end }}
         end {TELL}
         local tell = TrisulPlugin.onunload
         TrisulPlugin.onunload = function() tell() print(#T.gears:results('sync'), #T.gears.results('async'), T.gears:plan('none')) end"
    ));
    let outcome = Bench::new().plugin("p.lua", &text).run(&Capture::udp(3, 100));
    outcome.exits(0);
    let lines = outcome.lines();
    for mode in ["sync", "async"] {
        assert_eq!(lines.iter().filter(|line| line.starts_with(&format!("{mode}\t1\t"))).count(), 3, "{lines:?}");
        let told = format!("{mode} active 3 0 0 0 map:3>3 countby:3>3 collect:3>3");
        assert!(lines.contains(&&*told), "{lines:?}");
    }
    assert_eq!(lines.last(), Some(&"2\t2\tnil"), "{lines:?}");
}

#[test]
fn windows_are_of_packet_time_and_the_last_one_ends_with_the_input() {
    let text = plugin(&format!(
        "T.gears('packets', {{ window = 10 }}):countby(function(l) return 'all' end):foreach(function(r, engine)
           print(r.key, r.value, type(engine)) end):register() {TELL}"
    ));
    let capture = (0..25).fold(Capture::new(), |capture, i| capture.at(1_000 + i, crate::support::frames::sized(80)));
    let outcome = Bench::new().plugin("p.lua", &text).run(&capture);
    outcome.prints(&[
        "all\t10\ttable",
        "all\t10\ttable",
        "all\t5\ttable",
        "packets-1 active 25 0 0 3 countby:25>3 foreach:3>3",
    ]);
}

#[test]
fn two_runs_are_the_same_byte_for_byte() {
    let everything = modes("window = 20")
        + "\nfor _, reader in ipairs { 'flows', 'alerts', 'resources' } do
             T.gears(reader, { window = 30 }):countby(function(r) return r.ipa end):foreach(function(r) print(r.key, r.value) end)
               :register { mode = reader == 'alerts' and 'async' or 'sync' }
           end";
    // The stream of events names the files.
    let bench = Bench::new().plugin("all.lua", &everything).plugin("source.lua", SOURCE);
    let run = || {
        let outcome = bench.run_with(&["-r", &pcap("demo.pcap")]);
        outcome.exits(0);
        (outcome.event_lines, outcome.raw_stdout)
    };
    let (first, second) = (run(), run());
    assert!(first.0 == second.0 && first.1 == second.1);
    assert!(first.1.len() > 1_000);
}

#[test]
fn onregistered_is_called_where_the_pipeline_runs_behind_onload() {
    let text = plugin(
        "TrisulPlugin.onload = function() print('onload') end
         T.gears('packets'):foreach(function() end):register { onregistered = function() print('registered') end }",
    );
    Bench::new().plugin("p.lua", &text).run(&Capture::udp(1, 100)).prints(&["onload", "registered"]);
}

#[test]
fn the_samples_do_what_they_say() {
    let mut seen = 0;
    for entry in std::fs::read_dir(crate::project().join("samples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("gears-") {
            continue;
        }
        seen += 1;
        let bench = Bench::new().plugin(&name, &std::fs::read_to_string(&path).unwrap()).args(&["--store", "s.db"]);
        // The store of the first run is what the second one reads.
        bench.run_with(&["-r", &pcap("demo.pcap")]).exits(0);
        let outcome = bench.run_with(&["-r", &pcap("demo.pcap")]);
        outcome.exits(0);
        assert!(outcome.lines().len() > 2, "{name}: {}", outcome.stdout);
    }
    assert!(seen >= 3);
}
