//! The examples with their exact output.

use crate::support::frames::{example_syn, sized, udp_packet};
use crate::support::{Bench, Capture, IPV4, run_cases};

const EXAMPLE_1: &str = r#"
TrisulPlugin = {
  id = { name = "keys", description = "shows keys" },
  simplecounter = {
    protocol_guid = "{77e462ab-2e42-42ec-9a58-c1a6821d6b31}",        -- TCP, lower case on purpose
    onpacket = function(engine, layer)
      local p, f = layer:packet(), layer:packet():flowid()
      print(p:num_layers(), p:get_layer(1):protocol_id(), layer:layer_bytes(), p:wire_length())
      print(layer:flowkey() == f:id(), f:id())
      print(f:protocol(), f:ipa(), f:porta(), f:ipz_readable(), f:portz_readable(), f:flow_type())
      print("[" .. f:to_s() .. "]", f:netflow_router() == "")
      print(p:timestamp())
      print(layer:testbit(110), layer:testbit(109), layer:rawbytes():hval_16(0))
      print(p:find_layer("{14D7AB53-CC51-47E9-8814-9C06AAE60189}"), p:get_layer(9))
    end,
  },
}"#;

#[test]
fn example_1_layers_and_keys() {
    let outcome = Bench::new().plugin("keys.lua", EXAMPLE_1).run(&Capture::new().at_micros(100, 250, example_syn()));
    outcome.prints(&[
        "3\t{0A2C724B-5B9F-4BA6-9C97-B05080558574}\t40\t74",
        "true\t06A:C0.A8.01.02:p-0B94_D1.D8.F9.3A:p-0016",
        "06\tC0.A8.01.02\tp-0B94\t209.216.249.58\t22\tA",
        "[TCP  192.168.1.2     2964  209.216.249.58  22   ]\ttrue",
        "100\t250",
        "true\tfalse\t2964",
        "nil\tnil",
    ]);
}

const EXAMPLE_2: &str = r#"
local G = "{0B1C2D3E-0000-4000-8000-00000000ABCE}"
local K = T.K.vartype
TrisulPlugin = {
  id = { name = "buckets", description = "two buckets" },
  countergroup = {
    control = { guid = G, name = "Buckets", description = "", bucketsize = 30 },
    meters = { { 0, K.RATE_COUNTER, 0, 0, "a", "b", "c" }, { 1, K.COUNTER, 0, 0, "a", "b", "c" },
               { 2, K.MAXIMUM, 0, 0, "a", "b", "c" }, { 3, K.AVERAGE, 0, 0, "a", "b", "c" } },
  },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      local len = layer:packet():wire_length()
      engine:update_counter_bytes(G, "k", 0)
      engine:update_counter(G, "k", 1, "1")
      engine:update_counter(G, "k", 2, len)
      engine:update_counter(G, "k", 3, len)
    end,
  },
}"#;

#[test]
fn example_2_metering_through_two_buckets() {
    let capture = Capture::new().at(10, sized(300)).at(20, sized(600)).at(40, sized(900)).at(130, sized(100));
    let outcome = Bench::new().plugin("buckets.lua", EXAMPLE_2).run(&capture);
    outcome.prints(&[]);
    let rows = outcome.fields("counter", &["bucket", "key", "values"]);
    let k: Vec<_> = rows.iter().filter(|row| row.contains("\tk\t")).map(String::as_str).collect();
    assert_eq!(k, ["0\tk\t[30,2,600,450]", "30\tk\t[30,1,900,900]", "120\tk\t[3.3333333333333335,1,100,100]"]);
    let totals: Vec<_> = rows.iter().filter(|row| row.contains("\tSYS:GROUP_TOTALS\t")).map(String::as_str).collect();
    assert_eq!(
        totals,
        [
            "0\tSYS:GROUP_TOTALS\t[30,2,600,450]",
            "30\tSYS:GROUP_TOTALS\t[30,1,900,900]",
            "120\tSYS:GROUP_TOTALS\t[3.3333333333333335,1,100,100]"
        ]
    );
}

const EXAMPLE_5_S1: &str = r#"
local first = true
TrisulPlugin = {
  id = { name = "S1", description = "sends" },
  onmessage = function(id, m) print("S1", id, m) end,
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      if not first then return end
      first = false
      engine:post_message_frontend("{11111111-1111-1111-1111-111111111111}", "x\0y")
      engine:post_message_frontend("all")
    end,
  },
}"#;
const EXAMPLE_5_S2: &str = r#"
TrisulPlugin = {
  id = { name = "S2", description = "hears" },
  message_subscriptions = {},
  onmessage = function(id, m) print("S2", id, m) end,
  simplecounter = { protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}", onpacket = function() end },
}"#;

#[test]
fn example_5_messages() {
    let bench = Bench::new().plugin("s1.lua", EXAMPLE_5_S1).plugin("s2.lua", EXAMPLE_5_S2);
    let outcome = bench.run(&Capture::udp(3, 100));
    outcome.exits(0);
    let of = |who: &str| -> Vec<&str> { outcome.lines().into_iter().filter(|line| line.starts_with(who)).collect() };
    assert_eq!(of("S1"), ["S1\t{11111111-1111-1111-1111-111111111111}\tx\0y", "S1\t\tall"]);
    assert_eq!(of("S2"), ["S2\t\tall"]);
    assert_eq!(outcome.lines().len(), 3);
}

const EXAMPLE_6: &str = r#"
local function once(engine)
  local prefix = "n="                                   -- captured by value
  local job = { onexecute = function(d) if d ~= "2" then return prefix .. d end end,
                onresult  = function(e, d, r) print(d, r, e:instanceid() == engine:instanceid()) end }
  for i = 1, 3 do job.data = i; T.async:schedule(job) end
  print("pending", T.async:pending_items() <= 3)
end
local called = false
TrisulPlugin = {
  id = { name = "async", description = "" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer) if not called then called = true; once(engine) end end,
  },
}"#;

#[test]
fn example_6_async() {
    let outcome = Bench::new().plugin("async.lua", EXAMPLE_6).run(&Capture::udp(1, 100));
    outcome.prints(&["pending\ttrue", "1\tn=1\ttrue", "3\tn=3\ttrue"]);
}

#[test]
fn examples_7_and_8_patterns_and_utilities() {
    let outcome = run_cases(Bench::new(), "contract/examples_7_8.lua", &Capture::udp(1, 100));
    outcome.exits(0);
    assert_eq!(outcome.logged("ERROR", "re2").len(), 1, "one ERROR for the invalid pattern: {}", outcome.stderr);
}

const EXAMPLE_9: &str = r##"
local G = "{0B1C2D3E-0000-4000-8000-00000000ABCD}"
local n = 0
TrisulPlugin = {
  id = { name = "errors", description = "" },
  simplecounter = {
    protocol_guid = "{0A2C724B-5B9F-4BA6-9C97-B05080558574}",
    onpacket = function(engine, layer)
      n = n + 1
      local id = layer:flowkey()
      if n == 1 then
        print(select("#", engine:add_edge(G, nil, G, "x")), select("#", engine:update_counter(G, nil, 0, 1)),
              select("#", engine:tag_flow(id, nil)))
        print(pcall(engine.update_counter, engine, G, {}, 0, 1))
        engine:update_counter(G, "k", 0, 0/0)
        engine:update_counter(G, "k", 0, 1/0)
      elseif n == 2 then
        engine:update_counter(G, {}, 0, 1)
      else
        print("next", n)
      end
    end,
  },
}"##;

#[test]
fn example_9_errors_of_a_frontend_script() {
    let bench = Bench::new().group().plugin("errors.lua", EXAMPLE_9);
    let outcome = bench.run(&Capture::udp(3, 100));
    outcome.exits(1);
    let lines = outcome.lines();
    assert_eq!(lines[0], "0\t0\t0");
    assert!(
        lines[1].starts_with("false\t")
            && lines[1].ends_with("bad argument #2 to 'update_counter' (string expected, got table)"),
        "{lines:?}"
    );
    assert_eq!(lines[2..], ["next\t3"]);
    let errors = outcome.logged("ERROR", "");
    assert_eq!(errors.len(), 1, "{errors:?}");
    let first = errors[0].lines().next().expect("a message");
    assert!(first.starts_with("simplecounter.onpacket: "), "{first}");
    assert!(
        first.ends_with("errors.lua:18: bad argument #2 to 'update_counter' (string expected, got table)"),
        "{first}"
    );
    assert!(outcome.stderr.contains("ERROR [errors.lua] simplecounter.onpacket: "), "{}", outcome.stderr);
    assert!(outcome.of("edge").is_empty() && outcome.of("tag").is_empty());
    assert_eq!(outcome.total(crate::support::GROUP, "k", 0), None);
}

#[test]
fn every_engine_method_of_a_frontend_script_is_available() {
    // The wrong-side error of example 9 must never appear on the side that has everything.
    let outcome = Bench::new()
        .counter(
            "all.lua",
            IPV4,
            "",
            "for _, m in ipairs { 'update_counter_bytes', 'add_flow_counter', 'reset_flow_counter', 'update_flow', \
             'update_flow_raw', 'new_flow_record', 'set_flow_duration', 'terminate_flow', 'disable_reassembly' } do \
             local ok, e = pcall(engine[m], engine, nil, nil, nil, nil, nil) \
             if not ok and e:find('ERR_NOTAVAIL') then print(m, e) end end",
        )
        .run(&Capture::new().at(100, udp_packet((1, 2), b"x")));
    outcome.prints(&[]);
}
