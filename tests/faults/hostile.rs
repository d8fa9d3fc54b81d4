//! Scripts that use the API in every wrong way.

use crate::support::conversation::Conversation;
use crate::support::{Bench, Capture, GROUP, IPV4};
use crate::{named, undisturbed, witness};

#[test]
fn a_hundred_thousand_random_calls_never_end_the_process() {
    let capture = Capture::udp(220, 100);
    for seed in ["1", "20261122"] {
        let bench = witness(Bench::new()).lua("faults/fuzz.lua").args(&["--args", seed, "--async-drain", "5s"]);
        let outcome = bench.run(&capture);
        assert!(matches!(outcome.code, Some(0 | 1)), "seed {seed}: {:?}\n{}", outcome.code, tail(&outcome.stderr));
        assert!(
            outcome.lines().contains(&"calls\t100000"),
            "seed {seed}: {}\n{}",
            tail(&outcome.stdout),
            tail(&outcome.stderr)
        );
        assert!(outcome.faults("fuzz.lua") <= 1_000, "pcall caught what was raised");
        assert_eq!(outcome.packets(), Some(220));
        assert!(outcome.total(crate::support::GROUP, "seen", 0).is_some_and(|total| total.updates == 220));
    }
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(3000);
    &text[(from..text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())..]
}

#[test]
fn objects_kept_in_tables_never_show_an_earlier_packet() {
    // Every buffer of 3,000 packets is kept; at every hundredth packet all of them are tried. The structs behind the
    // objects are used in turn, so a kept one may stand for the very packet being handled: it shows that packet then, and
    // never another one's bytes or memory that is gone.
    let capture = Capture::udp(3000, 100);
    let outcome = witness(Bench::new().counter(
        "keeper.lua",
        IPV4,
        "local kept, read = {}, 0",
        "local p = layer:packet()
         if n % 100 == 0 then
           for i = 1, #kept do
             local ok, e = pcall(kept[i].tostring, kept[i])
             if ok then
               read = read + 1
               if e ~= layer:rawbytes():tostring() and e ~= p:rawbytes():tostring() then print('read', n, i) end
             elseif not e:find('ERR_STALE: Buffer used outside its callback', 1, true) then
               print(e)
             end
           end
         end
         kept[#kept + 1] = layer:rawbytes()
         kept[#kept + 1] = p:rawbytes()
         if n == 3000 then print(#kept, read < 200) end",
    ))
    .run(&capture);
    outcome.prints(&["6000\ttrue"]);
    undisturbed(&outcome, &capture);
}

#[test]
fn an_uncaught_stale_use_is_a_fault_with_its_line() {
    let capture = Capture::udp(2, 100);
    let outcome = witness(Bench::new().counter(
        "stale.lua",
        IPV4,
        "local kept",
        "if kept then kept:layer_bytes() end kept = layer",
    ))
    .run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    crate::named(
        &outcome,
        "stale.lua",
        "simplecounter.onpacket",
        "stale.lua:6: ERR_STALE: Layer used outside its callback",
    );
    assert_eq!(outcome.faults("stale.lua"), 1);
}

#[test]
fn objects_cannot_be_opened_through_their_metatables() {
    let capture = Capture::udp(1, 100);
    let outcome = witness(Bench::new().counter(
        "meta.lua",
        IPV4,
        "",
        "local p = layer:packet()
         local function try(f) print((pcall(f))) end
         try(function() getmetatable(engine).__index = nil end)
         try(function() setmetatable(engine, {}) end)
         try(function() getmetatable(p:flowid()).__index = nil end)
         try(function() layer.buf = nil end)
         engine:update_counter('{0B1C2D3E-0000-4000-8000-00000000ABCD}', 'k', 0, 1)",
    ))
    .run(&capture);
    outcome.prints(&["false", "false", "false", "false"]);
    undisturbed(&outcome, &capture);
}

#[test]
fn a_stale_packet_or_header_is_a_fault_with_the_line_of_the_script() {
    // One line for each method: the line that is named says which one it was. Ten errors a minute are told of.
    let methods = [
        "timestamp",
        "rawbytes",
        "capture_length",
        "num_layers",
        "get_layer",
        "find_layer",
        "flowid",
        "originid",
        "set_timestamp",
        "set_packetstore_policy",
    ];
    let lines = methods.iter().enumerate().fold(String::new(), |text, (i, method)| {
        text + &format!("if n == {} then local x = kept:{method}(0, 0) end\n", i + 2)
    });
    let capture = Capture::udp(methods.len() as u32 + 1, 100);
    let body = format!("if n == 1 then kept = layer:packet() end\n{lines}");
    let outcome = witness(Bench::new().counter("stale.lua", IPV4, "local kept", &body)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    for line in 7..7 + methods.len() {
        let part = format!("stale.lua:{line}: ERR_STALE: Packet used outside its callback");
        named(&outcome, "stale.lua", "simplecounter.onpacket", &part);
    }
}

#[test]
fn a_method_called_without_its_object_is_a_fault_with_the_line_of_the_script() {
    let calls = [
        ("layer.getbyte(3)", "getbyte"),
        ("layer:rawbytes().size()", "size"),
        ("layer.rawbytes(layer:packet())", "rawbytes"),
        ("local p = layer:packet(); p.num_layers()", "num_layers"),
        ("local f = layer:packet():flowid(); f.ipa()", "ipa"),
        ("local f = layer:packet():flowid(); local id = f.id()", "id"),
    ];
    let lines = calls
        .iter()
        .enumerate()
        .fold(String::new(), |text, (i, (call, _))| text + &format!("if n == {} then {call} end\n", i + 1));
    let capture = Capture::udp(calls.len() as u32, 100);
    let outcome = witness(Bench::new().counter("dots.lua", IPV4, "", &lines)).run(&capture);
    outcome.exits(1);
    undisturbed(&outcome, &capture);
    for (i, (_, method)) in calls.iter().enumerate() {
        let part = format!("dots.lua:{}: calling '{method}' on bad self (", i + 6);
        named(&outcome, "dots.lua", "simplecounter.onpacket", &part);
    }
    assert!(!outcome.stderr.contains("millstream.objects"), "{}", outcome.stderr);
}

#[test]
fn a_wrong_argument_shows_the_frames_of_the_script_alone() {
    let capture = Capture::udp(1, 100);
    let body = "T.util.split({}, ',')";
    let outcome = witness(Bench::new().counter("frames.lua", IPV4, "", body)).run(&capture);
    outcome.exits(1);
    let part = "frames.lua:6: bad argument #1 to 'split' (string expected, got table)";
    named(&outcome, "frames.lua", "simplecounter.onpacket", part);
    for own in ["[arguments]", "[T.util]", "millstream.util"] {
        assert!(!outcome.stderr.contains(own), "{own}: {}", outcome.stderr);
    }
}

#[test]
fn a_script_that_empties_the_library_harms_nothing_but_itself() {
    let capture = Conversation::open(40000, 80)
        .client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .server(b"HTTP/1.1 204 No\r\n\r\n")
        .close()
        .capture();
    let text = "local pairs, type, G = pairs, type, _G
        local counted, told = 0, print
        TrisulPlugin = { id = { name = 'vandal' },
          onload = function()
            local names = {}
            for name, value in pairs(G) do names[name] = value end
            for name, value in pairs(names) do
              if type(value) == 'table' and value ~= G and name ~= 'package' and name ~= 'TrisulPlugin' then
                local fields = {}
                for field in pairs(value) do fields[field] = true end
                for field in pairs(fields) do value[field] = nil end
              end
              if name ~= 'TrisulPlugin' then G[name] = nil end
            end
          end,
          onunload = function() told('still here', counted) end,
          simplecounter = { protocol_guid = '@IPV4', onpacket = function(engine, layer)
            engine:update_counter('@GROUP', layer:packet():flowid():ipa(), 0, 1)
            layer:rawbytes():hexdump()
          end },
          reassembly_handler = {
            onpayload = function(e, t, f, d, pos, b) told('payload', b:tostring(0, 3)) end,
            onattribute = function() counted = counted + 1 end,
          },
          filex_monitor = { filter = function(e, t, f, header) told('header', header:is_method('get')) end },
          protocol_handler = { control = { guid = '{AAAAAAAA-0000-0000-0000-000000000001}', name = 'X' },
            parselayer = function() end },
          cg_monitor = { counter_guid = '@GROUP', onflush = function(e, t, key, m) told('flush', key) end },
          sg_monitor = { onflush = function(e, flow) flow:add_tag('z') told('flow', flow:tags()) end },
        }"
    .replace("@IPV4", IPV4)
    .replace("@GROUP", GROUP);
    let bench = Bench::new().plugin("vandal.lua", &text).args(&["--set", "Reassembly>FileExtraction>Enabled=True"]);
    let outcome = witness(bench).run(&capture);
    outcome.exits(0);
    undisturbed(&outcome, &capture);
    for line in ["payload\tGET", "header\ttrue", "flush\tseen", "flow\tz"] {
        assert!(outcome.lines().contains(&line), "{line}: {}\n{}", outcome.stdout, outcome.stderr);
    }
}
