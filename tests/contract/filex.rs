//! `filex_monitor`: its callbacks, the HTTPHeader object, and the files it is handed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::support::conversation::{Conversation, Side};
use crate::support::{Bench, Capture, Outcome};

const ON: &str = "Reassembly>FileExtraction>Enabled=true";

/// A plugin with one `filex_monitor` block.
fn block(body: &str) -> String {
    format!(
        "local function name(path) return path:match('^.+/(.+)$') end\n\
         TrisulPlugin = {{ id = {{ name = 't' }}, filex_monitor = {{ {body} }} }}\n"
    )
}

fn bench(body: &str) -> Bench {
    Bench::new().plugin("t.lua", &block(body)).args(&["--set", ON])
}

fn run(body: &str, capture: &Capture) -> Outcome {
    bench(body).run(capture)
}

fn web() -> Conversation {
    Conversation::open(40000, 80)
}

const GET: &[u8] = b"GET /dir/a.txt?x=1 HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

fn response(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One request and its response.
fn download(body: &str) -> Capture {
    web().client(GET).server(&response(body)).close().capture()
}

/// Every callback, printed.
const TALKER: &str = "
  filter_flow = function(engine, ts, flow) print('flow', ts) end,
  filter = function(engine, ts, flow, h)
    print('filter', ts, h:is_request(), h:is_response(), h:get_method(), h:get_status())
  end,
  onpayload_raw = function(engine, ts, flow, dir, pos, buf) print('raw', ts, dir, pos, buf:size()) end,
  onpayload_http = function(engine, ts, flow, path, req, resp, dir, pos, buf)
    print('http', ts, name(path), req:get_method(), resp:get_status(), dir, pos, buf:tostring())
  end,
  onfile_http = function(engine, ts, flow, path, req, resp, length, is_chunk)
    print('file', ts, name(path), req:get_method(), resp:get_status(), length, is_chunk, io.open(path):read('*a'))
  end,
  onterminateflow = function(engine, ts, flow) print('end', ts, flow:id()) end,";

#[test]
fn callbacks_of_filex_monitor_come_in_order_with_the_time_of_their_packet() {
    let capture = web().wait(1).client(GET).wait(1).server(&response("hello")).wait(1).server(b"").close().capture();
    let size = GET.len();
    run(TALKER, &capture).prints(&[
        "flow\t100",
        &format!("raw\t101\t0\t0\t{size}"),
        "filter\t101\ttrue\tfalse\tGET\t0",
        &format!("raw\t102\t1\t0\t{}", response("hello").len()),
        "filter\t102\tfalse\ttrue\t\t200",
        "http\t102\twww.example.com_a.txt_1\tGET\t200\t1\t0\thello",
        "http\t102\twww.example.com_a.txt_1\tGET\t200\t1\t5\t",
        "file\t102\twww.example.com_a.txt_1\tGET\t200\t5\tfalse\thello",
        "end\t103\t06A:0A.00.00.05:p-9C40_0A.00.00.09:p-0050",
    ]);
}

#[test]
fn without_the_setting_the_block_is_loaded_and_never_called() {
    let text = block(TALKER).replace("id =", "onload = function() print('loaded') end, id =");
    let outcome = Bench::new().plugin("t.lua", &text).run(&download("hello"));
    outcome.prints(&["loaded"]);
    assert_eq!(outcome.logged("INFO", "FileExtraction>Enabled").len(), 1, "{}", outcome.stderr);
}

#[test]
fn filter_flow_votes_are_individual() {
    let no = TALKER.replace("print('flow', ts)", "return false");
    let outcome = Bench::new()
        .plugin("a-no.lua", &block(&no))
        .plugin("b-yes.lua", &block(TALKER))
        .args(&["--set", ON])
        .run(&download("hello"));
    outcome.exits(0);
    assert!(outcome.printed_by("a-no.lua").is_empty(), "{:?}", outcome.lines());
    assert_eq!(outcome.printed_by("b-yes.lua").len(), 9, "{:?}", outcome.lines());
}

#[test]
fn when_all_scripts_refuse_a_flow_nothing_is_written() {
    let no = TALKER.replace("print('flow', ts)", "return false");
    let outcome = run(&no, &download("hello"));
    outcome.prints(&[]);
    assert!(outcome.of("file").is_empty());
}

/// Votes by `vote`, prints bodies and files.
fn voter(vote: &str) -> String {
    block(&format!(
        "filter = function(engine, ts, flow, h) print(h:is_request() and 'request' or 'response') {vote} end,
         onpayload_http = function(e, ts, f, p, q, r, dir, pos, buf) if buf:size() > 0 then print('body', dir) end end,
         onfile_http = function(e, ts, f, p, q, r, length) print('file', length) end,"
    ))
}

#[test]
fn a_no_to_a_header_is_individual_and_one_to_a_request_is_for_both_bodies() {
    let post = b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsent";
    let outcome = Bench::new()
        .plugin("a-request.lua", &voter("if h:is_request() then return false end"))
        .plugin("b-response.lua", &voter("return h:is_request()"))
        .plugin("c-nil.lua", &voter(""))
        .plugin("d-error.lua", &voter("error('x')"))
        .plugin("e-zero.lua", &voter("return 0"))
        .args(&["--set", ON])
        .run(&web().client(post).server(&response("got it")).close().capture());
    outcome.exits(1);
    let all = ["request", "body\t0", "file\t4", "response", "body\t1", "file\t6"];
    assert_eq!(outcome.printed_by("a-request.lua"), all[..1]);
    assert_eq!(outcome.printed_by("b-response.lua"), all[..4]);
    for yes in ["c-nil.lua", "d-error.lua", "e-zero.lua"] {
        assert_eq!(outcome.printed_by(yes), all, "{yes}");
    }
    assert_eq!(outcome.faults("d-error.lua"), 2);
}

#[test]
fn content_that_all_refuse_is_not_written() {
    let outcome = run(
        "filter = function(e, t, f, h) return h:is_request() end,
         onfile_http = function() print('file') end",
        &download("hello"),
    );
    outcome.prints(&[]);
    assert!(outcome.of("file").is_empty());
}

#[test]
fn informational_responses_are_not_reported() {
    let capture = web().client(GET).server(b"HTTP/1.1 100 Continue\r\n\r\n").server(&response("x")).close().capture();
    run("filter = function(e, t, f, h) print(h:get_status()) end", &capture).prints(&["0", "200"]);
}

#[test]
fn a_change_of_protocol_is_not_reported_but_counted() {
    let get = b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answers = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n";
    let outcome = bench("filter = function(e, t, f, h) print(h:get_status()) end")
        .args(&["--builtin", "HTTP Status Codes"])
        .run(&web().client(get).server(answers).close().capture());
    outcome.prints(&["0"]);
    let codes = "{25E80A84-C175-4C01-977C-1411F5D10B56}";
    assert_eq!(outcome.total(codes, "101", 0).map(|total| total.sum), Some(1.0));
    assert_eq!(outcome.total(codes, "100", 0), None);
}

#[test]
fn raw_bytes_before_recognition_come_first_and_other_protocols_have_none() {
    let body = "onpayload_raw = function(e, t, f, dir, pos, buf) print(dir, pos, buf:tostring()) end";
    let head: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let capture = web().client(&head[..2]).client(&head[2..]).close().capture();
    run(body, &capture).prints(&["0\t0\tGE", "0\t2\tT / HTTP/1.1", "Host: h", "", ""]);
    let other = Conversation::open(40000, 22).server(b"SSH-2.0-x\r\n").client(b"SSH-2.0-y\r\n").close().capture();
    run(body, &other).prints(&[]);
}

#[test]
fn where_the_server_is_seen_first_every_direction_is_that_of_who_asks() {
    let body = "onpayload_raw = function(e, t, f, dir, pos, buf) print('raw', dir, pos, buf:size()) end,
        filter = function(e, t, f, h) print('filter', h:is_request()) end,
        onpayload_http = function(e, t, f, path, q, r, dir, pos, buf) print('http', dir, pos, buf:tostring()) end";
    let (first, second) = (response("hello"), response("x"));
    let capture =
        Conversation::new(40000, 80).server(&first[..2]).server(&first[2..]).client(GET).server(&second).capture();
    run(body, &capture).prints(&[
        "raw\t1\t0\t2",
        &format!("raw\t1\t2\t{}", first.len() - 2),
        "filter\tfalse",
        "http\t1\t0\thello",
        "http\t1\t5\t",
        &format!("raw\t0\t0\t{}", GET.len()),
        "filter\ttrue",
        &format!("raw\t1\t{}\t{}", first.len(), second.len()),
        "filter\tfalse",
        "http\t1\t0\tx",
        "http\t1\t1\t",
    ]);
}

#[test]
fn flows_that_are_not_http_end_without_a_callback() {
    let other = Conversation::open(40000, 22).server(b"SSH-2.0-x\r\n").client(b"SSH-2.0-y\r\n").close().capture();
    run("onterminateflow = function() print('end') end", &other).prints(&[]);
    run("onterminateflow = function() print('end') end", &download("x")).prints(&["end"]);
}

#[test]
fn bodies_are_decoded_and_end_with_an_empty_buffer() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let body = "onpayload_http = function(e, t, f, path, q, r, dir, pos, buf) print(pos, buf:tostring()) end";
    run(body, &web().client(GET).server(chunked).close().capture()).prints(&["0\tabcde", "5\t"]);
    let empty = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    run(body, &web().client(GET).server(empty).close().capture()).prints(&["0\t"]);
    let none = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    run(body, &web().client(GET).server(none).close().capture()).prints(&[]);
    let unknown = b"HTTP/1.1 200 OK\r\nContent-Encoding: x-odd\r\nContent-Length: 2\r\n\r\nok";
    run(body, &web().client(GET).server(unknown).close().capture()).prints(&["0\tok", "2\t"]);
}

#[test]
fn content_ends_early_at_a_hole() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nabcd";
    let capture =
        web().client(GET).server(head).ahead(Side::Server, 4, b"ijkl").sent(Side::Server, 8).close().capture();
    let body = "onpayload_http = function(e, t, f, path, q, r, dir, pos, buf) print(pos, buf:tostring()) end,
        onfile_http = function(e, t, f, path, q, r, length) print('file', length) end";
    run(body, &capture).prints(&["0\tabcd", "4\t", "file\t4"]);
}

#[test]
fn a_response_without_a_request_has_an_empty_request_header() {
    let body = "onpayload_http = function(e, t, f, path, q, r, dir, pos, buf)
        if buf:size() > 0 then
          print(q:is_request(), q:is_response(), q:get_method() == '', q:get_path() == '', q:get_status(),
            q:get_value('Host'), r:is_response(), name(path))
        end
      end";
    let capture = web().server(&response("x")).close().capture();
    run(body, &capture).prints(&["true\tfalse\ttrue\ttrue\t0\tnil\ttrue\t10.0.0.9__1"]);
    let upload = b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    let body = "onpayload_http = function(e, t, f, path, q, r) print(r:is_response(), r:get_status(), next(r:get_all_headers())) end";
    run(body, &web().client(upload).close().capture()).prints(&["true\t0\tnil", "true\t0\tnil"]);
}

#[test]
fn httpheader_methods() {
    let request =
        b"POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nContent-type:  text/html; charset=utf-8 \r\nX-A: 1\r\nx-a: 2\r\n\r\n";
    let body = "filter = function(e, t, f, h)
        if h:is_response() then
          return print(h:get_method() == '', h:is_method(''), h:get_path() == '', h:get_status(), h:get_value(1) == '')
        end
        print(h:get_method(), h:get_path(), h:is_method('post'), h:is_method('GET'), h:is_method(nil))
        print(h:get_value('HOST'), h:get_value('content-TYPE'), h:get_value('X-A'), h:get_value('none'), (h:get_value(nil)))
        print(h:get_value(1), h:get_value(2) == '')
        local all = h:get_all_headers()
        print(all['Host'], all['Content-type'], all['X-A'], all['x-a'], all['content-type'])
        print(h:match_value('content-type', '^text/'), h:match_value('content-type', 'png'), h:match_value('none', '.'),
          h:match_value('Host', '('), h:match_value('Host', '('), h:match_value('content-type', '(?i)HTML'))
      end";
    let capture = web().client(request).server(b"HTTP/1.1 204 No\r\n\r\n").close().capture();
    let outcome = run(body, &capture);
    outcome.prints(&[
        "POST\t/a/b?x=1\ttrue\tfalse\tfalse",
        "h\ttext/html; charset=utf-8\t1, 2\tnil\tnil",
        "text/html; charset=utf-8\ttrue",
        "h\ttext/html; charset=utf-8\t1, 2\tnil\tnil",
        "true\tfalse\tfalse\tfalse\tfalse\ttrue",
        "true\tfalse\ttrue\t204\ttrue",
    ]);
    assert_eq!(outcome.logged("WARN", "match_value").len(), 1, "{}", outcome.stderr);
}

#[test]
fn an_httpheader_is_stale_after_its_callback() {
    let body = "filter = function(e, t, f, h) KEPT = KEPT or h end,
      onpayload_http = function(e, t, f, p, q, r, dir, pos, buf)
        for _, method in ipairs { 'is_request', 'get_method', 'get_value', 'get_all_headers', 'match_value' } do
          local ok, why = pcall(function() local value = KEPT[method](KEPT, 'a', 'b') end)
          print(ok, why:match('%.lua:%d+: (ERR_STALE: HTTPHeader used outside its callback)$'))
        end
        print(pcall(q.get_method, q))
      end";
    let outcome = run(body, &download("x"));
    outcome.exits(0);
    let stale = "false\tERR_STALE: HTTPHeader used outside its callback";
    assert_eq!(outcome.lines()[..6], [stale, stale, stale, stale, stale, "true\tGET"]);
}

#[test]
fn disable_reassembly_ends_payload_and_files_of_the_calling_script_alone() {
    let quiet =
        TALKER.replace("print('filter',", "if h:is_request() then engine:disable_reassembly(flow) end print('filter',");
    let outcome = Bench::new()
        .plugin("a-quiet.lua", &block(&quiet))
        .plugin("b-all.lua", &block(TALKER))
        .args(&["--set", ON])
        .run(&download("hello"));
    outcome.exits(0);
    let words: Vec<&str> =
        outcome.printed_by("a-quiet.lua").iter().map(|line| line.split('\t').next().unwrap_or("")).collect();
    assert_eq!(words, ["flow", "raw", "filter", "filter", "end"]);
    assert_eq!(outcome.printed_by("b-all.lua").len(), 9);
}

#[test]
fn larger_files_come_in_chunks_of_the_size_set() {
    let text: String = (0..2500).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let parts = response(&text);
    let capture = parts.chunks(700).fold(web().client(GET), |talk, part| talk.server(part)).close().capture();
    let body = "onfile_http = function(e, t, f, path, q, r, length, is_chunk)
        local text = io.open(path):read('*a')
        print(name(path), path:match('^.+/(.+)%.%d+.part$'), length, #text, is_chunk, text:sub(1, 3))
      end";
    let outcome = bench(body).args(&["--set", "Reassembly>FileExtraction>ChunkSizeMB=0.001"]).run(&capture);
    outcome.prints(&[
        "www.example.com_a.txt_1.0.part\twww.example.com_a.txt_1\t1000\t1000\ttrue\tabc",
        "www.example.com_a.txt_1.1000.part\twww.example.com_a.txt_1\t1000\t1000\ttrue\tmno",
        "www.example.com_a.txt_1.2000.part\twww.example.com_a.txt_1\t500\t500\ttrue\tyza",
    ]);
    assert_eq!(outcome.fields("file", &["length", "is_chunk"]), ["1000\ttrue", "1000\ttrue", "500\ttrue"]);
}

#[test]
fn chunks_copied_by_async_items_make_the_whole_file() {
    let text: String = (0..25_000).map(|i| char::from(b'a' + (i % 26) as u8)).collect();
    let parts = response(&text);
    let capture = parts.chunks(1400).fold(web().client(GET), |talk, part| talk.server(part)).close().capture();
    let body = "onfile_http = function(e, t, f, path) T.async:cat(path, 'whole.txt') end";
    let bench = bench(body).args(&["--set", "Reassembly>FileExtraction>ChunkSizeMB=0.003"]);
    bench.run(&capture).prints(&[]);
    assert_eq!(fs::read_to_string(bench.path("whole.txt")).unwrap(), text);
}

/// The directory of a run, inside its own.
fn with_directory(bench: Bench) -> (Bench, String) {
    let directory = bench.path("ram").display().to_string();
    let set = format!("Reassembly>FileExtraction>RamFsDir={directory}");
    (bench.args(&["--set", &set]), directory)
}

#[test]
fn a_file_outlives_its_callback_until_async_items_have_ended_and_is_deleted_then() {
    let body = "onfile_http = function(e, t, f, path, q, r, length)
        print(path)
        T.async:schedule {
          data = path,
          onexecute = function(path)
            os.execute('sleep 0.2')
            local file = assert(io.open(path))
            return file:read('*a')
          end,
          onresult = function(engine, path, text) print(text, io.open(path) == nil) end,
        }
        T.async:copy(path, 'copy.txt')
      end";
    let (bench, directory) = with_directory(bench(body));
    let outcome = bench.run(&download("hello"));
    outcome.prints(&[&format!("{directory}/www.example.com_a.txt_1"), "hello\ttrue"]);
    assert_eq!(fs::read_to_string(bench.path("copy.txt")).unwrap(), "hello");
    assert!(!Path::new(&directory).exists(), "the run made it and it is empty");
}

#[test]
fn without_auto_delete_files_stay() {
    let (bench, directory) = with_directory(bench("onfile_http = function() end"));
    let bench = bench.args(&["--set", "Reassembly>FileExtraction>AutoDelete=False"]);
    bench.run(&download("hello")).prints(&[]);
    bench.run(&download("again")).prints(&[]);
    assert_eq!(fs::read_to_string(format!("{directory}/www.example.com_a.txt_1")).unwrap(), "again");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn in_streaming_mode_nothing_is_written() {
    let body = "onpayload_http = function(e, t, f, path) print(io.open(path) == nil, path == LAST or LAST == nil) LAST = path end";
    let outcome = run(body, &download("hello"));
    outcome.prints(&["true\ttrue", "true\ttrue"]);
    assert!(outcome.of("file").is_empty());
}

#[test]
fn the_default_directory_is_the_runs_own_and_gone_afterwards() {
    let body = "onfile_http = function(e, t, f, path)
        local dir = T.env.get_config('Reassembly>FileExtraction>RamFsDir')
        print(path:sub(1, #dir) == dir, dir)
        os.execute([[stat -c '%a %i' ]] .. dir)
      end";
    let outcome = run(body, &download("hello"));
    outcome.exits(0);
    let lines = outcome.lines();
    let directory = lines.iter().find_map(|line| line.strip_prefix("true\t")).expect("printed");
    let number = lines.iter().find_map(|line| line.strip_prefix("700 ")).expect("a directory for the user alone");
    // Another run may have taken the name by now.
    let there = fs::metadata(directory).map(|found| found.ino().to_string());
    assert!(there.is_err() || there.is_ok_and(|found| found != number));
}

#[test]
fn a_directory_that_is_not_safe_to_paste_is_refused() {
    for bad in ["/tmp/a b", "/tmp/$(x)", "relative", "/tmp/../x"] {
        let set = format!("Reassembly>FileExtraction>RamFsDir={bad}");
        let outcome = bench("onfile_http = print").args(&["--set", &set]).run(&download("x"));
        assert_ne!(outcome.code, Some(0), "{bad}");
        assert!(outcome.stderr.contains("RamFsDir"), "{bad}: {}", outcome.stderr);
    }
}

#[test]
fn names_from_traffic_are_safe_to_paste_into_a_shell() {
    let targets = [
        "/../../etc/passwd",
        "/..",
        "/.",
        "/.hidden",
        "/-rf",
        "/a b",
        "/a\tb",
        "/$(reboot)",
        "/`id`",
        "/a;b|c&d",
        "/'\"",
        "/<x>",
        "/%2e%2e%2fx",
        "/\u{fc}",
        "/a\\b",
        "/*?[x]",
        "/~root",
        "",
    ];
    let hosts = ["../../etc", "-h", ".h", "a b", "h;x", "$(x)", "h:80", "[::1]"];
    let mut talk = web();
    for (index, target) in targets.iter().enumerate() {
        let host = hosts[index % hosts.len()];
        talk =
            talk.client(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).server(&response("hello"));
    }
    let body = "onfile_http = function(e, t, f, path, q, r, length)
        local whole = io.popen('cat ' .. path):read('*a')
        print(name(path):match('^[%w_][%w._-]*$') and #name(path) <= 200, whole)
      end";
    let outcome = run(body, &talk.close().capture());
    outcome.prints(&["true\thello"; 18]);
}

#[test]
fn without_room_files_are_cut_counted_and_still_handed_on() {
    let text = "x".repeat(3_000);
    let mut talk = web();
    for _ in 0..2 {
        let parts = response(&text);
        talk = parts.chunks(1_000).fold(talk.client(GET), |talk, part| talk.server(part));
    }
    let (bench, directory) =
        with_directory(bench("onfile_http = function(e, t, f, p, q, r, length) print(length) end"));
    let bench = bench.args(&[
        "--set",
        "Reassembly>FileExtraction>MaxMiB=0.004",
        "--set",
        "Reassembly>FileExtraction>AutoDelete=False",
    ]);
    let outcome = bench.run(&talk.close().capture());
    outcome.exits(0);
    let first: Vec<u64> = outcome.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(first[0], 3_000);
    assert!(first.len() == 2 && first[1] < 3_000, "{first:?}");
    let drops = outcome.fields("drop", &["reason", "count"]);
    assert!(drops.contains(&"files_cut\t1".to_owned()), "{drops:?}");
    assert!(drops.contains(&format!("file_bytes_not_written\t{}", 3_000 - first[1])), "{drops:?}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn scripts_that_hear_messages_see_the_same_files() {
    let body = TALKER;
    let listening = block(body).replace("id =", "onmessage = function(id, text) print('message', text) end, id =");
    let plain = Bench::new().plugin("a.lua", &block(body)).args(&["--set", ON]).run(&download("hello"));
    let outcome = Bench::new()
        .plugin("a.lua", &block(body))
        .plugin("b.lua", &listening)
        .args(&["--set", ON])
        .run(&download("hello"));
    outcome.exits(0);
    assert_eq!(outcome.printed_by("a.lua"), plain.printed_by("a.lua"));
    assert_eq!(outcome.printed_by("b.lua"), plain.printed_by("a.lua"));
}

#[test]
fn two_runs_are_identical_to_the_byte() {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/http-files.pcap");
    let body = TALKER.replace("print('file',", "T.async:copy(path, 'x') print('file',");
    let bench = with_directory(bench(&body)).0;
    let (one, two) = (bench.run_with(&["-r", capture]), bench.run_with(&["-r", capture]));
    one.exits(0);
    assert!(one.of("file").len() > 5, "{:?}", one.of("file"));
    assert_eq!(one.event_lines, two.event_lines);
}

#[test]
fn every_body_of_a_capture_is_a_file_with_its_decoded_bytes() {
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/http-files.pcap");
    let body = "onpayload_http = function(e, t, f, path, q, r, dir, pos, buf)
        BODY = BODY or {}
        BODY[path] = (BODY[path] or '') .. buf:tostring()
      end,
      onfile_http = function(e, t, f, path, q, r, length)
        local text = io.open(path):read('*a')
        print(text == BODY[path], #text == length, r:get_value('Content-Encoding'))
      end";
    let outcome = run(body, &Capture::new());
    outcome.prints(&[]);
    let outcome = bench(body).run_with(&["-r", capture]);
    outcome.exits(0);
    assert!(outcome.lines().len() > 5);
    assert!(outcome.lines().iter().all(|line| line.starts_with("true\ttrue")), "{:?}", outcome.lines());
    assert!(outcome.lines().iter().any(|line| line.ends_with("gzip")), "{:?}", outcome.lines());
}

/// Hashes that the plugin of the project finds, with a size of chunks in megabytes.
fn hashes(chunk: &str) -> Vec<String> {
    let set = format!("Reassembly>FileExtraction>ChunkSizeMB={chunk}");
    let outcome = Bench::new()
        .plugin("file-hashes.lua", include_str!("../../plugins/file-hashes.lua"))
        .args(&["--set", ON, "--set", &set])
        .run_with(&["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/pcaps/http-files.pcap")]);
    outcome.exits(0);
    let mut hashes = outcome.fields("resource", &["uri", "label"]);
    hashes.retain(|line| line.starts_with("SHA256:"));
    hashes.sort();
    hashes
}

#[test]
fn file_hashes_hashes_whole_files_also_of_chunks() {
    let whole = hashes("5");
    assert!(whole.len() > 5, "{whole:?}");
    assert!(whole.iter().all(|line| line.len() > 7 + 64 + 1), "{whole:?}");
    assert_eq!(hashes("0.0005"), whole);
}

#[test]
fn the_sample_looks_at_downloads_of_text() {
    let outcome = Bench::new()
        .plugin("s.lua", include_str!("../../samples/filex_monitor.lua"))
        .args(&["--set", ON])
        .run(&download("first line\nsecond"));
    outcome.prints(&["/dir/a.txt?x=1\t17 bytes", "www.example.com_a.txt_1\tbegins with first line"]);
}

#[test]
fn compressed_bodies_are_written_as_their_contents() {
    // Brotli with one block that is stored as it is, and an empty last one.
    let coded = [&[0x60, 0x01, 0x10][..], b"hello hello hello hello", &[0x03]].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: {}\r\n\r\n", coded.len());
    let capture = web().client(GET).server(&[head.as_bytes(), &coded].concat()).close().capture();
    let body = "onfile_http = function(e, t, f, path, q, r, length) print(length, io.open(path):read('*a')) end";
    run(body, &capture).prints(&["23\thello hello hello hello"]);
}
