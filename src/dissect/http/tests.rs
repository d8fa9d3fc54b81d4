//! Whole conversations through the dissector.

use std::collections::HashMap;
use std::io::Write;
use std::time::Duration;

use proptest::prelude::*;

use super::Http;
use crate::dissect::{
    Appetite, Context, Counts, DissectWants, FindingKind, Findings, StreamDissector, Transaction, Unwanted,
};
use crate::flow::Direction::{ToClient, ToServer};
use crate::flow::{Direction, Flow, FlowHandle, Roles, Want, state};
use crate::key::FlowTuple;
use crate::time::Timestamp;

const START: Timestamp = Timestamp::new(1_700_000_000, 0);

const HANDLE: FlowHandle = FlowHandle { slot: 3, generation: 1 };

const ALL: DissectWants = DissectWants {
    attributes: Want::Yes,
    unwanted: Unwanted::NOTHING,
    tls_records: Want::No,
    dns_resources: Want::No,
    http_resources: Want::Yes,
    certificate_resources: Want::No,
    file_hashes: Want::No,
    dns_documents: Want::No,
    http_documents: Want::Yes,
    certificate_documents: Want::No,
    http_headers: Want::Yes,
    http_bodies: Want::Yes,
    host_names: Want::No,
    protocols: Want::No,
    events: Want::No,
};

const BODIES: DissectWants =
    DissectWants { attributes: Want::No, http_documents: Want::No, http_resources: Want::No, ..ALL };

/// What a conversation was heard to say, a line for each finding; pieces of a body that follow each other are one.
#[derive(Debug)]
struct Bench {
    http: Http,
    wants: DissectWants,
    counts: Counts,
    transactions: u64,
    now: Timestamp,
    /// State of the flow.
    state: u16,
    heard: Vec<String>,
    body: Option<(Transaction, Direction, Vec<u8>)>,
}

impl Bench {
    fn new(wants: DissectWants) -> Self {
        let (counts, heard) = (Counts::default(), Vec::new());
        Self {
            http: Http::new(),
            wants,
            counts,
            transactions: 0,
            now: START,
            state: state::SEEN_SYN,
            heard,
            body: None,
        }
    }

    fn with<R>(&mut self, run: impl FnOnce(&mut Http, &mut Context<'_>) -> R) -> R {
        let (result, findings) = self.run(run);
        self.listen(&findings);
        result
    }

    fn run<R>(&mut self, run: impl FnOnce(&mut Http, &mut Context<'_>) -> R) -> (R, Findings) {
        let flow = Flow { last: self.now, state: self.state, ..Flow::new(FlowTuple::NO_IP, START) };
        let mut findings = Findings::default();
        let result = run(
            &mut self.http,
            &mut Context {
                after: 0,
                handle: HANDLE,
                flow: &flow,
                time: self.now,
                wants: &self.wants,
                findings: &mut findings,
                counts: &mut self.counts,
                transactions: &mut self.transactions,
                roles: Roles::Known,
                turned: &mut Vec::new(),
            },
        );
        (result, findings)
    }

    fn listen(&mut self, findings: &Findings) {
        let text = |text| String::from_utf8_lossy(findings.bytes(text)).into_owned();
        for finding in findings.list() {
            assert_eq!(finding.flow, HANDLE);
            let line = match finding.kind {
                FindingKind::HttpBody { transaction, direction, position, bytes } => {
                    self.hear_body(transaction, direction, position, findings.bytes(bytes));
                    continue;
                }
                FindingKind::Attribute { name, value } => format!("{}={}", text(name), text(value)),
                FindingKind::Resource { uri, label, .. } => format!("[{}] [{}]", text(uri), text(label)),
                FindingKind::Document { text: document, .. } => format!("document of {}", document.len()),
                FindingKind::HttpHeader { transaction, direction, block } => {
                    let block = text(block);
                    assert!(block.ends_with('\n'));
                    format!("{} {}", sign(transaction, direction), block.lines().next().unwrap_or_default())
                }
                FindingKind::HttpMessage { transaction, direction, block } => {
                    format!("{} event {}", sign(transaction, direction), text(block).lines().next().unwrap_or_default())
                }
                FindingKind::HttpEnd { transaction, direction, length, extent } => {
                    format!("{} over {length} {extent:?}", sign(transaction, direction))
                }
                other => panic!("{other:?}"),
            };
            self.heard.push(line);
        }
    }

    fn hear_body(&mut self, transaction: Transaction, direction: Direction, position: u64, bytes: &[u8]) {
        let (_, _, body) = match &mut self.body {
            Some(body) if (body.0, body.1) == (transaction, direction) => body,
            // Bodies of both directions may overlap, which these tests do not let happen.
            place => place.insert((transaction, direction, Vec::new())),
        };
        assert_eq!(body.len() as u64, position, "a body is told without holes and repeats");
        body.extend_from_slice(bytes);
        if bytes.is_empty() {
            let body = String::from_utf8_lossy(body).into_owned();
            self.heard.push(format!("{} body [{body}]", sign(transaction, direction)));
            self.body = None;
        }
    }

    fn say(&mut self, direction: Direction, bytes: impl AsRef<[u8]>) -> Appetite {
        self.with(|http, cx| http.data(cx, direction, 0, bytes.as_ref()))
    }

    fn gap(&mut self, direction: Direction, missing: u64) -> Appetite {
        self.with(|http, cx| http.gap(cx, direction, 0, missing))
    }

    fn end(mut self) -> Vec<String> {
        self.with(|http, cx| http.end(cx));
        assert_eq!(self.body, None, "every body has an end");
        self.heard
    }

    fn count(&self, name: &str) -> u64 {
        self.counts.named().iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

fn sign(transaction: Transaction, direction: Direction) -> String {
    format!("{}{}", transaction.0, if direction == ToServer { '>' } else { '<' })
}

/// Headers and bodies of a conversation in which every piece is one segment.
fn heard(conversation: &[(Direction, &[u8])]) -> Vec<String> {
    let mut bench = Bench::new(BODIES);
    for (direction, bytes) in conversation {
        bench.say(*direction, bytes);
    }
    bench.end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn message(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), body].concat()
}

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn everything_is_told_of_a_transaction_in_order() {
    let mut bench = Bench::new(ALL);
    bench.say(ToServer, "POST /a?b HTTP/1.1\r\nUser-Agent: ua 1\r\nHost: h.example\r\nContent-Length: 2\r\n\r\nhi");
    bench.now = START.plus(Duration::from_micros(1_234_567));
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(
        bench.end(),
        [
            "HTTP-Header=POST /a?b HTTP/1.1\r\nUser-Agent: ua 1\r\nHost: h.example\r\nContent-Length: 2\r\n\r\n",
            "Host=h.example",
            "User-Agent=ua 1",
            "URI=/a?b",
            "document of 76",
            "1> POST /a?b HTTP/1.1",
            "1> body [hi]",
            "HTTP-Header=HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=x\r\nContent-Length: 5\r\n\r\n",
            "Content-Type=text/html; charset=x",
            "document of 74",
            "1< HTTP/1.1 200 OK",
            "[POST h.example /a?b HTTP/1.1] [status:200 usec:1234567 ua:ua 1]",
            "1< body [hello]",
        ]
    );
}

#[test]
fn nothing_is_told_that_nobody_wants() {
    let mut bench = Bench::new(DissectWants::default());
    bench.say(ToServer, GET);
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(bench.end(), Vec::<String>::new());
}

#[test]
fn pipelined_requests_get_their_responses_in_order() {
    let requests = b"HEAD /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\n\r\n";
    let responses = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 204 None\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour";
    assert_eq!(
        heard(&[(ToServer, requests), (ToClient, responses)]),
        [
            "1> HEAD /1 HTTP/1.1",
            "2> GET /2 HTTP/1.1",
            "3> GET /3 HTTP/1.1",
            "4> GET /4 HTTP/1.1",
            "1< HTTP/1.1 200 OK",
            "2< HTTP/1.1 304 Same",
            "3< HTTP/1.1 204 None",
            "4< HTTP/1.1 200 OK",
            "4< body [four]",
        ]
    );
}

#[test]
fn thousands_of_pipelined_requests_are_matched() {
    let mut bench = Bench::new(DissectWants { http_resources: Want::Yes, ..DissectWants::default() });
    bench.say(ToServer, GET.repeat(4_000));
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".repeat(4_000));
    let heard = bench.end();
    assert_eq!(heard.len(), 4_000);
    assert!(heard.iter().all(|line| line == "[GET h /a HTTP/1.1] [status:200 usec:0 ua:-]"), "{:?}", heard[0]);
}

#[test]
fn requests_beyond_the_limit_are_told_without_response() {
    let mut bench = Bench::new(DissectWants { http_resources: Want::Yes, ..DissectWants::default() });
    bench.say(ToServer, GET.repeat(5_000));
    assert_eq!(bench.count("http requests without response dropped"), 904);
    assert!(bench.http.held() < 2 << 20, "{}", bench.http.held());
    let heard = bench.end();
    assert_eq!(heard.len(), 5_000);
    assert!(heard.iter().all(|line| line == "[GET h /a HTTP/1.1] []"));
}

#[test]
fn chunks_and_codings_are_taken_off() {
    let body = gzip(b"decoded");
    let (first, second) = body.split_at(7);
    let mut coded = format!("{:x};x=y\r\n", first.len()).into_bytes();
    coded.extend_from_slice(first);
    coded.extend_from_slice(format!("\r\n{:X}\r\n", second.len()).as_bytes());
    coded.extend_from_slice(second);
    coded.extend_from_slice(b"\r\n0\r\nTrailer: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    for codings in [
        "Transfer-Encoding: chunked\r\nContent-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked\r\nContent-Length: 3",
    ] {
        let response = message(&format!("HTTP/1.1 200 OK\r\n{codings}\r\n\r\n"), &coded);
        assert_eq!(
            heard(&[(ToServer, &GET.repeat(2)), (ToClient, &response)])[2..],
            ["1< HTTP/1.1 200 OK", "1< body [decoded]", "2< HTTP/1.1 200 OK", "2< body [2]"]
        );
    }
}

#[test]
fn a_response_without_length_ends_with_the_flow() {
    assert_eq!(
        heard(&[(ToServer, GET), (ToClient, b"HTTP/1.0 200 OK\r\n\r\none"), (ToClient, b" two")]),
        ["1> GET /a HTTP/1.1", "1< HTTP/1.0 200 OK", "1< body [one two]"]
    );
}

#[test]
fn a_body_that_could_have_been_ends_once_and_others_not_at_all() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(heard(&[(ToServer, GET), (ToClient, chunked)])[2..], ["1< body []"]);
    assert_eq!(
        heard(&[(ToServer, GET), (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")])[2..],
        ["1< body []"]
    );
    assert_eq!(heard(&[(ToServer, GET), (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]).len(), 2);
}

#[test]
fn interim_responses_answer_nothing() {
    let mut bench = Bench::new(ALL);
    bench.say(ToServer, "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    bench.say(ToClient, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n");
    bench.say(ToServer, "hi");
    bench.say(ToClient, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    let heard = bench.end();
    let headers: Vec<_> = heard.iter().filter(|line| line.starts_with("1")).collect();
    assert_eq!(headers, ["1> PUT /a HTTP/1.1", "1> body [hi]", "1< HTTP/1.1 201 Created"]);
    assert_eq!(heard.iter().filter(|line| line.starts_with("HTTP-Header=")).count(), 4);
    assert_eq!(heard.last().map(String::as_str), Some("[PUT - /a HTTP/1.1] [status:201 usec:0 ua:-]"));
}

#[test]
fn a_tunnel_hands_the_flow_back_behind_the_header() {
    let mut bench = Bench::new(ALL);
    bench.say(ToServer, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
    let answer = "HTTP/1.1 200 Established\r\n\r\n";
    assert_eq!(bench.say(ToClient, format!("{answer}\u{16}\u{3}\u{1}")), Appetite::Restart { used: answer.len() });
    assert_eq!(bench.heard.last().map(String::as_str), Some("[CONNECT h:443 h:443 HTTP/1.1] [status:200 usec:0 ua:-]"));
}

#[test]
fn where_only_what_follows_is_wanted_other_flows_are_left_alone() {
    let names = DissectWants { protocols: Want::Yes, ..DissectWants::default() };
    assert!(!names.http().is_yes() && ALL.http().is_yes() && BODIES.http().is_yes());
    let mut bench = Bench::new(names);
    assert_eq!(bench.say(ToServer, GET), Appetite::Done);
    for first in [
        "CONNECT h:443 HTTP/1.1\r\n\r\n",
        "GET http://h/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: TLS/1.0\r\n\r\n",
    ] {
        let mut bench = Bench::new(names);
        assert_eq!(bench.say(ToServer, first), Appetite::More, "{first}");
        bench.say(ToClient, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(bench.say(ToServer, GET), Appetite::More, "{first}");
        bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        bench.say(ToServer, "CONNECT h:443 HTTP/1.1\r\n\r\n");
        assert!(matches!(bench.say(ToClient, "HTTP/1.1 200 OK\r\n\r\n"), Appetite::Restart { .. }), "{first}");
    }
}

#[test]
fn a_refused_tunnel_goes_on_in_http() {
    let refusal = b"HTTP/1.1 407 Who\r\nContent-Length: 2\r\n\r\nno";
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, "CONNECT h:443 HTTP/1.1\r\n\r\n");
    bench.say(ToServer, GET);
    assert_eq!(bench.say(ToClient, refusal), Appetite::More);
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(
        bench.end(),
        [
            "1> CONNECT h:443 HTTP/1.1",
            "1< HTTP/1.1 407 Who",
            "1< body [no]",
            "2> GET /a HTTP/1.1",
            "2< HTTP/1.1 200 OK",
            "2< body [ok]"
        ]
    );
}

#[test]
fn an_upgrade_hands_the_flow_back() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    let answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    assert_eq!(bench.say(ToClient, answer), Appetite::Restart { used: answer.len() });
    assert_eq!(bench.heard, ["1> GET /chat HTTP/1.1", "1< HTTP/1.1 101 Switching Protocols"]);
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    bench.say(ToServer, b"\x81\x05hello");
    assert_eq!(bench.say(ToClient, answer), Appetite::Done, "bytes of the new protocol are past");
}

#[test]
fn a_response_waits_for_its_request() {
    let expected =
        ["1> HEAD /a HTTP/1.1", "1< HTTP/1.1 200 OK", "2> GET /a HTTP/1.1", "2< HTTP/1.1 200 OK", "2< body [ab]"];
    let mut bench = Bench::new(BODIES);
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
    assert!(bench.heard.is_empty());
    assert_eq!(bench.http.due(), Some(START.plus(Duration::from_secs(1))));
    bench.say(ToServer, "HEAD /a HTTP/1.1\r\n\r\n");
    bench.say(ToServer, GET);
    assert_eq!(bench.http.due(), None);
    bench.say(ToClient, "b");
    assert_eq!(bench.end(), expected);
}

#[test]
fn a_response_without_request_is_read_after_a_second_or_at_the_end() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    let expected = ["1< HTTP/1.1 200 OK", "1< body [ab]"];
    let mut bench = Bench::new(BODIES);
    bench.say(ToClient, response);
    bench.now = START.plus(Duration::from_secs(1));
    bench.with(|http, cx| http.wake(cx));
    assert_eq!(bench.heard, expected);
    bench.say(ToClient, response);
    assert_eq!(bench.heard.len(), 4, "the next one does not wait any more");
    assert_eq!(bench.count("http responses without request"), 2);
    assert_eq!(heard(&[(ToClient, response.as_bytes())]), expected);
}

#[test]
fn a_response_that_a_flow_is_met_with_belongs_to_a_request_before_that() {
    let mut bench = Bench { state: 0, ..Bench::new(BODIES) };
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    bench.say(ToServer, GET);
    bench.say(ToClient, "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nb");
    // From here on nothing was missed.
    bench.say(ToClient, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    bench.say(ToServer, GET);
    let expected = [
        "1< HTTP/1.1 200 OK",
        "1< body [a]",
        "2> GET /a HTTP/1.1",
        "2< HTTP/1.1 404 Not Found",
        "2< body [b]",
        "3> GET /a HTTP/1.1",
        "3< HTTP/1.1 410 Gone",
    ];
    assert_eq!(bench.end(), expected);
}

#[test]
fn only_so_many_bytes_wait_for_a_request() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToClient, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20));
    for _ in 0..1 << 10 {
        bench.say(ToClient, [b'x'; 1 << 10]);
        assert!(bench.http.held() <= 256 << 10, "{}", bench.http.held());
    }
    assert_eq!(bench.count("http directions too far apart"), 1);
    assert_eq!(bench.heard.len(), 2);
    assert!(bench.heard[1].len() > 1 << 20);
}

#[test]
fn a_hole_in_a_body_of_known_length_ends_the_content_only() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, GET.repeat(3));
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab");
    bench.gap(ToClient, 5);
    bench.say(ToClient, "hijHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    bench.gap(ToClient, 3);
    bench.say(ToClient, "\r\n2\r\nxy\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    bench.gap(ToClient, 4);
    bench.say(ToClient, "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n!");
    assert_eq!(
        bench.end()[3..],
        [
            "1< HTTP/1.1 200 OK",
            "1< body [ab]",
            "2< HTTP/1.1 200 OK",
            "2< body [ab]",
            "3< HTTP/1.1 200 OK",
            "3< body []",
            "4< HTTP/1.1 404 No",
            "4< body [!]"
        ]
    );
}

#[test]
fn a_hole_anywhere_else_ends_the_direction() {
    for (before, missing) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 2),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 1),
        ("HTTP/1.1 200 OK\r\nContent-", 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", 2),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na", 2),
    ] {
        let mut bench = Bench::new(BODIES);
        bench.say(ToServer, GET.repeat(2));
        bench.say(ToClient, before);
        assert_eq!(bench.gap(ToClient, missing), Appetite::More, "{before:?}");
        bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
        bench.say(ToServer, GET);
        assert_eq!(bench.gap(ToServer, 1), Appetite::Done, "{before:?}");
        let heard = bench.end();
        let answers = heard.iter().filter(|line| line.starts_with("1<"));
        let (bodies, headers): (Vec<_>, Vec<_>) = answers.partition(|line| line.contains("body"));
        assert_eq!(bodies.len(), headers.len(), "{heard:?}");
    }
}

#[test]
fn a_hole_in_a_body_up_to_the_end_of_the_stream_ends_the_content() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, GET);
    bench.say(ToClient, "HTTP/1.1 200 OK\r\n\r\nab");
    bench.gap(ToClient, 5);
    bench.say(ToClient, "cd");
    assert_eq!(bench.end()[1..], ["1< HTTP/1.1 200 OK", "1< body [ab]"]);
}

#[test]
fn an_oversized_header_is_counted_and_ends_the_flow() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, "GET / HTTP/1.1\r\n");
    let mut answer = Appetite::More;
    for _ in 0..70 {
        answer = bench.say(ToServer, format!("X: {}\r\n", "x".repeat(1_000)));
        assert!(bench.http.held() <= 160 << 10, "{}", bench.http.held());
    }
    assert_eq!(answer, Appetite::Done);
    assert_eq!(bench.count("http header too long"), 1);
}

#[test]
fn what_is_no_message_ends_its_direction() {
    let mut bench = Bench::new(BODIES);
    assert_eq!(bench.say(ToServer, "GET / HTTP/1.1\r\n\r\nthis is none\r\n"), Appetite::More);
    assert_eq!(bench.say(ToClient, "nor is this\r\n\r\n"), Appetite::Done);
    assert_eq!(bench.count("http message unreadable"), 2);
    let mut bench = Bench::new(ALL);
    bench.say(ToServer, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!((bench.count("http bad length"), bench.count("http body framing lost")), (1, 1));
    assert_eq!(bench.end().last().map(String::as_str), Some("[POST h / HTTP/1.1] []"));
}

#[test]
fn a_declined_body_is_not_told_any_more() {
    let mut bench = Bench::new(BODIES);
    bench.say(ToServer, GET.repeat(2));
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    bench.http.decline_body(Transaction(2), ToClient);
    bench.http.decline_body(Transaction(1), ToServer);
    bench.http.decline_body(Transaction(1), ToClient);
    bench.body = None;
    bench.say(ToClient, "cdHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd");
    assert_eq!(bench.end()[2..], ["1< HTTP/1.1 200 OK", "2< HTTP/1.1 200 OK"]);
}

#[test]
fn a_bomb_ends_early_and_is_counted() {
    let body = gzip(&vec![0; 20 << 20]);
    let mut bench = Bench::new(DissectWants { http_headers: Want::No, ..BODIES });
    bench.say(ToServer, GET);
    bench.say(ToClient, format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len()));
    for piece in body.chunks(1_400) {
        bench.say(ToClient, piece);
    }
    assert_eq!(bench.count("http body grows too much"), 1);
    let heard = bench.end();
    assert_eq!(heard.len(), 1);
    assert!((1 << 20..3 << 20).contains(&heard[0].len()), "{}", heard[0].len());
}

#[test]
fn a_body_that_is_not_coded_as_it_says_is_passed_on() {
    for (coding, body) in
        [("gzip", "<html>"), ("zstd", "{}"), ("gzip", "\u{1f}"), ("compress", "abc"), ("gzip, gzip, br, br", "x")]
    {
        let response =
            format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(heard(&[(ToServer, GET), (ToClient, response.as_bytes())])[2..], [format!("1< body [{body}]")]);
    }
}

/// A conversation of every kind of message, without two bodies at a time.
fn conversation() -> Vec<(Direction, Vec<u8>)> {
    let text = b"The quick brown fox. ".repeat(40);
    let zipped = gzip(&text);
    let chunked: Vec<u8> = zipped
        .chunks(13)
        .flat_map(|piece| message(&format!("{:x}\r\n", piece.len()), &[piece, b"\r\n"].concat()))
        .collect();
    let post = message(&format!("\r\nPOST /up HTTP/1.1\nHost: b\nContent-Length: {}\n\n", text.len()), &text);
    let asked = [GET, b"HEAD /b HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", &post, GET].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", zipped.len());
    let answers = [
        &message(&head, &zipped)[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 3\r\nContent-Type: a/b\r\n\r\nyes",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n",
        &chunked,
        b"0\r\nT: 1\r\n\r\n",
    ]
    .concat();
    vec![
        (ToServer, asked),
        (ToClient, answers),
        (ToServer, GET.to_vec()),
        (ToClient, b"HTTP/1.1 200 OK\r\n\r\nrest".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_into_segments_tells_the_same(sizes in proptest::collection::vec(1_usize..200, 1..30)) {
        let run = |sizes: &[usize]| {
            let mut bench = Bench::new(ALL);
            let mut sizes = sizes.iter().copied().cycle();
            for (direction, bytes) in conversation() {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, more) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
                    bench.say(direction, piece);
                    rest = more;
                }
            }
            let counts = bench.counts.named().to_vec();
            (bench.end(), counts)
        };
        let whole = run(&[usize::MAX]);
        prop_assert_eq!(whole.0.len(), 53);
        prop_assert_eq!(run(&sizes), whole);
    }

    #[test]
    fn any_bytes_and_holes_in_any_order_are_borne(
        seed in proptest::collection::vec((any::<bool>(), 0_usize..2_000, 0_usize..300, any::<u8>(), 0_u8..8), 0..40)
    ) {
        let conversation = conversation();
        let mut bench = Bench::new(ALL);
        let mut bodies = HashMap::new();
        for (server, at, len, change, what) in seed {
            let direction = if server { ToClient } else { ToServer };
            let bytes = &conversation[direction.index()].1;
            let at = at.min(bytes.len() - 1);
            let mut piece = bytes[at..(at + len + 1).min(bytes.len())].to_vec();
            if what == 0 {
                piece[0] ^= change;
            }
            let (appetite, findings) = bench.run(|http, cx| match what {
                1 => http.gap(cx, direction, 0, len as u64),
                _ => http.data(cx, direction, 0, &piece),
            });
            prop_assert!(bench.http.held() < 512 << 10);
            for finding in findings.list() {
                if let FindingKind::HttpBody { transaction, direction, position, bytes } = finding.kind {
                    let told = bodies.entry((transaction, direction)).or_insert(Some(0));
                    prop_assert_eq!(*told, Some(position), "contiguous, and nothing behind the end");
                    *told = (!bytes.is_empty()).then_some(position + bytes.len() as u64);
                }
            }
            if appetite != Appetite::More {
                break;
            }
        }
    }
}

/// For events alone.
fn for_events() -> Bench {
    Bench::new(DissectWants { events: Want::Yes, ..DissectWants::default() })
}

#[test]
fn each_message_is_over_once_and_says_how_long_it_was() {
    let mut bench = for_events();
    bench.say(ToServer, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    bench.say(ToClient, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    bench.say(ToClient, "5\r\nhello\r\n2\r\n !\r\n0\r\n\r\n");
    bench.say(ToServer, "HEAD /b HTTP/1.1\r\n\r\n");
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    assert_eq!(
        bench.end(),
        [
            "1> event POST /a HTTP/1.1",
            "1> over 3 Whole",
            "1< event HTTP/1.1 200 OK",
            "1< over 7 Whole",
            "2> event HEAD /b HTTP/1.1",
            "2> over 0 Whole",
            "2< event HTTP/1.1 200 OK",
            "2< over 0 Whole",
        ]
    );
}

#[test]
fn bodies_with_holes_and_without_end_are_told_as_such() {
    let mut bench = for_events();
    bench.say(ToServer, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    bench.gap(ToClient, 4);
    bench.say(ToClient, "hij");
    bench.say(ToClient, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    let heard = bench.end();
    assert_eq!(
        heard.iter().filter(|line| line.contains("over")).collect::<Vec<_>>(),
        ["1> over 0 Whole", "2> over 0 Whole", "1< over 6 Gaps", "2< over 3 Cut",]
    );
}
