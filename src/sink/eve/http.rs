//! HTTP events: a request and its response, when both are over.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::json::Object;
use crate::key::End;
use crate::metrics::{Extent, HttpBodyEnd};

/// Most exchanges of a flow that wait for their end; the oldest is told as it is.
const MAX_EXCHANGES: usize = 64;

/// Exchanges that there is room for in flows to come.
const KEPT: usize = 4;

/// A request and its response, as far as they came.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    number: u64,
    /// Place in the flow, from 0.
    pub place: u64,
    /// Headers of request and response.
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    /// Bodies of request and response.
    pub request_end: Option<HttpBodyEnd>,
    pub response_end: Option<HttpBodyEnd>,
}

/// The exchanges of a flow.
#[derive(Debug, Default)]
pub(super) struct HttpFlow {
    open: VecDeque<Exchange>,
    seen: u64,
}

impl HttpFlow {
    /// A header; gives an exchange back that had to make room.
    pub fn header(&mut self, number: u64, sender: End, client: End, block: &[u8]) -> Option<Exchange> {
        let (exchange, gone) = self.exchange(number);
        if sender == client {
            exchange.request = block.to_vec()
        } else {
            exchange.response = block.to_vec()
        }
        gone
    }

    /// A message is over; gives the exchange back that is over with it.
    pub fn end(&mut self, end: HttpBodyEnd, client: End) -> Option<Exchange> {
        let at = self.open.iter().position(|exchange| exchange.number == end.exchange)?;
        let exchange = &mut self.open[at];
        if end.sender == client {
            exchange.request_end = Some(end);
            // The response was there before the request had ended.
            return if exchange.response_end.is_some() { self.open.remove(at) } else { None };
        }
        exchange.response_end = Some(end);
        let is_over = exchange.request_end.is_some() || exchange.request.is_empty();
        if is_over { self.open.remove(at) } else { None }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// All that is left.
    pub fn take(&mut self) -> VecDeque<Exchange> {
        std::mem::take(&mut self.open)
    }

    /// One without exchanges, in the same memory where that is little.
    pub fn emptied(mut self) -> Self {
        self.open.clear();
        Self { open: if self.open.capacity() <= KEPT { self.open } else { VecDeque::new() }, seen: 0 }
    }

    fn exchange(&mut self, number: u64) -> (&mut Exchange, Option<Exchange>) {
        if let Some(at) = self.open.iter().position(|exchange| exchange.number == number) {
            return (&mut self.open[at], None);
        }
        let gone = if self.open.len() >= MAX_EXCHANGES { self.open.pop_front() } else { None };
        let place = self.seen;
        self.seen += 1;
        self.open.push_back(Exchange { number, place, ..Exchange::default() });
        let last = self.open.len() - 1;
        (&mut self.open[last], gone)
    }
}

impl Exchange {
    /// The object of the event.
    pub fn write(&self, object: &mut Object<'_>) {
        let (first, fields) = split(&self.request);
        let [host, agent, forwarded, referer] =
            values(fields, [b"host", b"user-agent", b"x-forwarded-for", b"referer"]);
        let (name, port) = host_and_port(&host);
        object.some_text("hostname", name);
        if let Some(port) = port {
            object.count("http_port", u64::from(port));
        }
        let mut words = first.split(|&byte| byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), target_of(first));
        object.some_text("url", target);
        object.some_text("http_user_agent", &agent);
        object.some_text("xff", &forwarded);
        let (status_line, response) = split(&self.response);
        let [kind, location] = values(response, [b"content-type", b"location"]);
        let kind = kind.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        object.some_text("http_content_type", kind);
        object.some_text("http_refer", &referer);
        object.some_text("http_method", method);
        let protocol = if first.is_empty() {
            status_line.split(|&byte| byte == b' ').next().unwrap_or_default()
        } else {
            first.rsplit(|&byte| byte == b' ').next().filter(|word| word.starts_with(b"HTTP/")).unwrap_or_default()
        };
        object.some_text("protocol", protocol);
        if let Some(status) = status_of(status_line) {
            object.count("status", status);
            if (300..400).contains(&status) {
                object.some_text("redirect", &location);
            }
        }
        object.count("length", self.response_end.map_or(0, |end| end.length));
    }

    /// The name of the file that a body is: the path that was asked for.
    pub fn file_name(&self) -> &[u8] {
        let target = target_of(split(&self.request).0);
        let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
        let is_scheme = path.first().is_some_and(u8::is_ascii_alphabetic);
        let Some(at) = path.windows(3).position(|window| window == b"://").filter(|_| is_scheme) else { return path };
        let rest = &path[at + 3..];
        rest.iter().position(|&byte| byte == b'/').map_or(b"/", |slash| &rest[slash..])
    }

    /// The bodies that are files: who sent them.
    pub fn files(&self) -> impl Iterator<Item = HttpBodyEnd> {
        [self.request_end, self.response_end].into_iter().flatten().filter(|end| {
            // A body that was cut before its first byte is one that nobody saw anything of.
            end.length > 0 || end.extent == Extent::Gaps
        })
    }
}

/// First line and the rest.
fn split(block: &[u8]) -> (&[u8], &[u8]) {
    let end = block.iter().position(|&byte| byte == b'\n').unwrap_or(block.len());
    let first = block[..end].strip_suffix(b"\r").unwrap_or(&block[..end]);
    (first, block.get(end + 1..).unwrap_or_default())
}

/// What is asked for: all between the method and the version.
fn target_of(first: &[u8]) -> &[u8] {
    let Some(from) = first.iter().position(|&byte| byte == b' ') else { return b"" };
    let rest = &first[from + 1..];
    match rest.iter().rposition(|&byte| byte == b' ') {
        Some(at) if rest[at + 1..].starts_with(b"HTTP/") => &rest[..at],
        _ => rest,
    }
}

fn status_of(line: &[u8]) -> Option<u64> {
    let word = line.split(|&byte| byte == b' ').nth(1)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The first value of each field that is asked for, in one pass; lines that go on are joined.
fn values<'a, const N: usize>(fields: &'a [u8], names: [&[u8]; N]) -> [Cow<'a, [u8]>; N] {
    let mut found: [Option<Cow<'a, [u8]>>; N] = [const { None }; N];
    // The field whose value may go on.
    let mut open: Option<usize> = None;
    for line in fields.split(|&byte| byte == b'\n') {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some(value) = open.and_then(|index| found[index].as_mut()) {
                let value = value.to_mut();
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            continue;
        }
        open = None;
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = line[..colon].trim_ascii();
        if let Some(index) = names.iter().position(|wanted| name.eq_ignore_ascii_case(wanted))
            && found[index].is_none()
        {
            found[index] = Some(Cow::Borrowed(line[colon + 1..].trim_ascii()));
            open = Some(index);
        }
    }
    found.map(Option::unwrap_or_default)
}

fn host_and_port(host: &[u8]) -> (&[u8], Option<u16>) {
    let from = host.iter().rposition(|&byte| byte == b']').unwrap_or(0);
    let Some(colon) = host[from..].iter().rposition(|&byte| byte == b':').map(|at| from + at) else {
        return (host, None);
    };
    match std::str::from_utf8(&host[colon + 1..]).ok().and_then(|port| port.parse().ok()) {
        Some(port) => (&host[..colon], Some(port)),
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::{Exchange, HttpFlow, MAX_EXCHANGES, host_and_port, values};
    use crate::key::End;
    use crate::metrics::{Extent, HttpBodyEnd};
    use crate::sink::eve::json::Object;

    fn written(request: &str, response: &str) -> serde_json::Value {
        let exchange = Exchange { request: request.into(), response: response.into(), ..Exchange::default() };
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        exchange.write(&mut object);
        object.end();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn request_and_response_make_one_object() {
        let request =
            "GET /a b?q=1 HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent: one\r\n  two\r\nReferer: http://r/\r\n\r\n";
        let response = "HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Type: text/html; charset=x\r\n\r\n";
        let expected = serde_json::json!({
            "hostname": "example.com", "http_port": 8080, "url": "/a b?q=1", "http_user_agent": "one two",
            "http_content_type": "text/html", "http_refer": "http://r/", "http_method": "GET", "protocol": "HTTP/1.1",
            "status": 302, "redirect": "/new", "length": 0,
        });
        assert_eq!(written(request, response), expected);
        assert_eq!(written("", "HTTP/1.0 200 OK\r\n\r\n")["protocol"], "HTTP/1.0");
        assert!(written("\0\r\n", "x").is_object());
    }

    #[test]
    fn files_are_named_by_the_path() {
        let name = |line: &str| {
            let exchange = Exchange { request: line.into(), ..Exchange::default() };
            String::from_utf8(exchange.file_name().to_vec()).unwrap()
        };
        assert_eq!(name("GET /a/b.txt?x=/y HTTP/1.1\r\n"), "/a/b.txt");
        assert_eq!(name("GET http://host/c HTTP/1.1\r\n"), "/c");
        assert_eq!(name("GET /?u=http://x HTTP/1.1\r\n"), "/");
        assert_eq!(name("GET"), "");
    }

    #[test]
    fn an_exchange_is_over_with_its_response_and_a_flood_holds_little() {
        let mut flow = HttpFlow::default();
        let end = |exchange, sender| HttpBodyEnd { exchange, sender, length: 3, extent: Extent::Whole };
        flow.header(1, End::A, End::A, b"GET / HTTP/1.1\r\n\r\n");
        assert!(flow.end(end(1, End::A), End::A).is_none());
        flow.header(1, End::Z, End::A, b"HTTP/1.1 200 OK\r\n\r\n");
        let over = flow.end(end(1, End::Z), End::A).unwrap();
        assert_eq!((over.place, over.files().count(), flow.take().len()), (0, 2, 0));
        for number in 0..1_000 {
            flow.header(number, End::A, End::A, b"");
        }
        assert_eq!(flow.take().len(), MAX_EXCHANGES);
    }

    #[test]
    fn hosts_lose_their_port() {
        assert_eq!(host_and_port(b"[::1]:80"), (&b"[::1]"[..], Some(80)));
        assert_eq!(host_and_port(b"[::1]"), (&b"[::1]"[..], None));
        assert_eq!(host_and_port(b"a:x"), (&b"a:x"[..], None));
    }

    #[test]
    fn the_first_value_of_a_field_counts_with_the_lines_that_go_on() {
        let [b, a, none] = values(b"A: 1\r\nb : 2\r\n  and 3\r\nB: 4\r\n x\r\n", [b"B", b"a", b"c"]);
        assert_eq!((&*b, &*a, &*none), (&b"2 and 3"[..], &b"1"[..], &b""[..]));
    }
}
