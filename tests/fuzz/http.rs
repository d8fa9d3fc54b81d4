//! What is fed to the dissector of HTTP.

use std::collections::HashMap;
use std::time::Duration;

use millstream::dissect::http::{HeaderBlock, Http, recognise};
use millstream::dissect::{
    Appetite, Context, Counts, DissectWants, FindingKind, Findings, StreamDissector, Transaction,
};
use millstream::flow::{Direction, Flow, FlowHandle, Roles, Want};
use millstream::key::FlowTuple;
use millstream::time::Timestamp;

/// Segments and holes of both directions of an HTTP flow: a byte of kind, two of length, the content. Fed as they are and
/// in small pieces, which must make no difference.
pub fn segments(bytes: &[u8]) {
    let whole = http_headers(bytes, usize::MAX);
    assert_eq!(whole, http_headers(bytes, 5), "pieces make a difference");
    let block = HeaderBlock::new(bytes);
    for field in block.fields() {
        assert!(block.value(field.name).is_some());
    }
    let _ = (block.method(), block.target(), block.version(), block.status());
    let _ = (recognise(Direction::ToServer, bytes), recognise(Direction::ToClient, bytes));
}

/// The headers found, those of each direction in order.
fn http_headers(mut bytes: &[u8], piece: usize) -> [Vec<Vec<u8>>; 2] {
    let mut flow = HttpFlow::default();
    while let [kind, low, high, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let direction = if kind & 1 == 0 { Direction::ToServer } else { Direction::ToClient };
        let mut appetite = Appetite::More;
        if kind & 6 == 6 {
            bytes = rest;
            flow.now = flow.now.plus(Duration::from_millis(u64::from(kind >> 3) * 50));
            appetite = flow.call(|http, cx| http.gap(cx, direction, 0, length as u64 + 1));
        } else {
            let content;
            (content, bytes) = rest.split_at(length.min(rest.len()));
            for part in content.chunks(piece) {
                appetite = flow.call(|http, cx| http.data(cx, direction, 0, part));
                if appetite != Appetite::More {
                    break;
                }
            }
        }
        if appetite != Appetite::More {
            return flow.headers;
        }
    }
    flow.call(|http, cx| http.end(cx));
    assert!(flow.bodies.values().all(Option::is_none), "every body has an end");
    flow.headers
}

#[derive(Debug, Default)]
struct HttpFlow {
    http: Http,
    findings: Findings,
    counts: Counts,
    transactions: u64,
    now: Timestamp,
    /// How much of a body was told, until it ends.
    bodies: HashMap<(Transaction, Direction), Option<u64>>,
    headers: [Vec<Vec<u8>>; 2],
}

impl HttpFlow {
    fn call<R>(&mut self, run: impl FnOnce(&mut Http, &mut Context<'_>) -> R) -> R {
        let yes = Want::Yes;
        let wants = DissectWants {
            attributes: yes,
            http_resources: yes,
            http_documents: yes,
            http_headers: yes,
            http_bodies: yes,
            ..DissectWants::default()
        };
        let flow = Flow { state: 0, ..Flow::new(FlowTuple::NO_IP, self.now) };
        let mut context = Context {
            after: 0,
            handle: FlowHandle { slot: 0, generation: 0 },
            flow: &flow,
            time: self.now,
            wants: &wants,
            findings: &mut self.findings,
            counts: &mut self.counts,
            transactions: &mut self.transactions,
            roles: Roles::Known,
            turned: &mut Vec::new(),
        };
        let result = run(&mut self.http, &mut context);
        assert!(self.http.held() < 4 << 20, "{}", self.http.held());
        self.check();
        result
    }

    fn check(&mut self) {
        for finding in self.findings.list() {
            match finding.kind {
                FindingKind::HttpBody { transaction, direction, position, bytes } => {
                    let told = self.bodies.entry((transaction, direction)).or_insert(Some(0));
                    assert_eq!(*told, Some(position), "contiguous, and nothing behind the end");
                    *told = (!bytes.is_empty()).then_some(position + bytes.len() as u64);
                }
                FindingKind::HttpHeader { direction, block, .. } => {
                    let block = self.findings.bytes(block);
                    assert!(block.ends_with(b"\n"));
                    self.headers[direction.index()].push(block.to_vec());
                }
                _ => {}
            }
        }
        self.findings.clear();
    }
}
