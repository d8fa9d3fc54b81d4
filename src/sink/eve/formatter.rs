//! Puts together what was seen and writes it as lines.

use super::alert;
use super::alerted::Alerted;
use super::dns::{self, DnsFacts};
use super::ends::Ends;
use super::file_info;
use super::flow;
use super::flows::{FlowTable, Followed, Told};
use super::http::Exchange;
use super::item::{Beside, EveItem, FlowItem, NoteItem, NoteKind};
use super::json::Object;
use super::ssh::SshFlow;
use super::stats::{self, StatsBook};
use super::tls::{CertificateFacts, Role, TlsFlow};
use crate::key::{End, FlowTuple};
use crate::metrics::{FlowFacts, Seen, Sighting};
use crate::sink::iso_time::push_time;
use crate::time::Timestamp;

/// How protocols are taken apart that this module knows nothing of.
#[derive(Clone, Copy, Debug)]
pub struct Readers {
    /// A DNS message.
    pub dns: fn(&[u8]) -> Option<DnsFacts>,
    /// A certificate.
    pub certificate: fn(&[u8]) -> Option<CertificateFacts>,
}

/// A place that packets come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EveOrigin {
    /// A capture file.
    File(String),
    /// An interface.
    Interface(String),
    /// One that has no name.
    #[default]
    Unnamed,
}

/// What all lines have at their beginning.
pub(super) fn head(
    object: &mut Object<'_>,
    time: Timestamp,
    event: &str,
    told: Option<&Told>,
    origin: Option<&EveOrigin>,
) {
    object.raw("timestamp", |out| push_timestamp(out, time));
    if let Some((_, identity)) = told {
        object.count("flow_id", identity.flow_id());
    }
    match origin {
        Some(EveOrigin::Interface(name)) => object.text("in_iface", name.as_bytes()),
        Some(EveOrigin::File(name)) => object.text("pcap_filename", name.as_bytes()),
        Some(EveOrigin::Unnamed) | None => {}
    }
    object.text("event_type", event.as_bytes());
    if let Some((ends, identity)) = told {
        ends.write(object);
        identity.write_icmp(object);
        if let Some(id) = identity.community_id() {
            object.text("community_id", id);
        }
    }
}

/// A time in quotes: `"2026-01-15T09:00:30.123456+0000"`.
pub(super) fn push_timestamp(out: &mut Vec<u8>, time: Timestamp) {
    out.push(b'"');
    push_time(out, time);
    out.extend_from_slice(b"+0000\"");
}

/// Makes lines of items.
#[derive(Debug)]
pub(super) struct Formatter {
    origins: Vec<EveOrigin>,
    readers: Readers,
    flows: FlowTable,
    alerted: Alerted,
    stats: StatsBook,
    /// Time of the last item.
    now: Timestamp,
}

impl Formatter {
    /// A formatter that has seen nothing.
    pub fn new(origins: Vec<EveOrigin>, readers: Readers) -> Self {
        let (flows, alerted, stats) = (FlowTable::default(), Alerted::default(), StatsBook::default());
        Self { origins, readers, flows, alerted, stats, now: Timestamp::EPOCH }
    }

    /// Asks for the flows of several items at once: where there are many, each waits for memory, and these waits overlap.
    pub fn ask_for(&self, items: &[EveItem], beside: &Beside) {
        let tuple = |item: &EveItem| match item {
            EveItem::Sighting(_, sighting) => Some(sighting.flow),
            EveItem::Flow(place) => beside.flows[*place].tuple,
            EveItem::Alert(_) | EveItem::Note(_) | EveItem::Stats(_) => None,
        };
        self.flows.ask_for(items.iter().filter_map(tuple));
    }

    /// Takes an item in and appends the lines that are complete with it; tells how many.
    pub fn take(&mut self, item: &EveItem, beside: &Beside, out: &mut Vec<u8>) -> u64 {
        let mut lines = Lines { origins: &self.origins, origin: None, out, count: 0 };
        match item {
            &EveItem::Sighting(time, ref sighting) => {
                self.now = time;
                let (followed, gone) = self.flows.follow(sighting.flow);
                followed.client = Some(sighting.client);
                followed.origin = Some(sighting.origin);
                if let Some((flow, mut gone)) = gone {
                    lines.rest(time, flow, &mut gone);
                }
                lines.origin = followed.origin;
                if let Seen::Protocol(name) = sighting.seen {
                    self.stats.protocol(name, sighting.flow.proto);
                }
                lines.sighting(time, sighting, &beside.texts, followed, self.readers);
            }
            EveItem::Flow(place) => {
                let item = &beside.flows[*place];
                self.now = item.time;
                lines.flow(item, &mut self.flows, &mut self.alerted);
            }
            EveItem::Alert(item) => {
                let ends = alert::ends(item);
                let (mut app, mut told) = (None, None);
                let mut origin = item.facts.origin;
                self.stats.alerts += 1;
                if let Some(ends) = ends {
                    told = Some(match self.flows.get_mut(&ends.tuple) {
                        Some(followed) => {
                            followed.alerted = true;
                            app = followed.app;
                            origin = origin.or(followed.origin);
                            followed.told(ends, item.facts)
                        }
                        None => {
                            self.alerted.add(ends.tuple);
                            (ends, ends.identity(item.facts))
                        }
                    });
                }
                lines.origin = origin;
                lines.line(item.alert.time, "alert", told, |object| {
                    if let Some(app) = app {
                        object.text("app_proto", app.as_bytes());
                    }
                    alert::write(item, ends, object);
                });
            }
            EveItem::Note(item) => {
                let client = item.facts.client;
                let mut ends = Ends::of_id(&item.flow, client);
                lines.origin = item.facts.origin;
                if let Some(ends) = &mut ends
                    && let Some(followed) = self.flows.get(&ends.tuple)
                {
                    ends.source = client.or(followed.client).unwrap_or(ends.source);
                    lines.origin = lines.origin.or(followed.origin);
                }
                let told = ends.map(|ends| (ends, ends.identity(item.facts)));
                lines.line(item.time, "plugin", told, |object| note(item, object));
            }
            EveItem::Stats(item) => {
                if let Some(sum) = self.stats.take((**item).clone()) {
                    let book = &self.stats;
                    lines.line(sum.time, "stats", None, |object| stats::write(&sum, book, object));
                }
            }
        }
        lines.count
    }

    /// Flows that were forgotten while they lasted, because there were too many.
    pub fn forgotten(&self) -> u64 {
        self.flows.forgotten
    }

    /// Everything is over: what is not complete is told as it is.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> u64 {
        let mut lines = Lines { origins: &self.origins, origin: None, out, count: 0 };
        while let Some((flow, followed)) = self.flows.forget_oldest() {
            lines.rest(self.now, flow, followed);
        }
        lines.count
    }
}

/// Lines on their way into a buffer.
struct Lines<'a> {
    origins: &'a [EveOrigin],
    /// Where the packets came from that the next lines are about.
    origin: Option<u16>,
    out: &'a mut Vec<u8>,
    count: u64,
}

impl Lines<'_> {
    fn line(&mut self, time: Timestamp, event: &str, told: Option<Told>, fill: impl FnOnce(&mut Object<'_>)) {
        let origin = match self.origins {
            // There is no other place.
            [one] => Some(one),
            several => self.origin.and_then(|origin| several.get(usize::from(origin))),
        };
        let mut object = Object::begin(self.out);
        head(&mut object, time, event, told.as_ref(), origin);
        fill(&mut object);
        object.end();
        self.out.push(b'\n');
        self.count += 1;
    }

    fn sighting(
        &mut self,
        time: Timestamp,
        sighting: &Sighting,
        texts: &[u8],
        followed: &mut Followed,
        readers: Readers,
    ) {
        let &Sighting { flow, client, seen, .. } = sighting;
        let told = followed.told(Ends { tuple: flow, source: client }, FlowFacts::default());
        match seen {
            Seen::Protocol(name) => followed.app = Some(name),
            Seen::Attribute(name, value) if is_of_handshake(name.of(texts)) => {
                let tls = followed.tls.get_or_insert_default();
                if tls.attribute(name.of(texts), value.of(texts))
                    && let Some(tls) = followed.tls.take()
                {
                    self.tls(time, told, &tls, followed.app);
                }
            }
            Seen::Attribute(name, value) => {
                let ssh = followed.ssh.get_or_insert_default();
                if ssh.attribute(name.of(texts), value.of(texts))
                    && let Some(ssh) = followed.ssh.take()
                {
                    self.ssh(time, told, &ssh);
                }
            }
            Seen::FingerprintText(sender, text) => {
                let role = if sender == client { Role::Client } else { Role::Server };
                if followed.app == Some("ssh") {
                    followed.ssh.get_or_insert_default().fingerprint_text(role, text.of(texts));
                } else {
                    followed.tls.get_or_insert_default().fingerprint_text(role, text.of(texts));
                }
            }
            Seen::Certificate(der) => {
                let der = der.of(texts);
                let mut tls = followed.tls.take().unwrap_or_default();
                tls.certificate(der, (readers.certificate)(der));
                self.tls(time, told, &tls, followed.app);
            }
            Seen::HttpHeader { exchange, sender, block } => {
                if let Some(gone) = followed.http.header(exchange, sender, client, block.of(texts)) {
                    self.http(time, told, &gone);
                }
            }
            Seen::HttpEnd(end) => {
                if let Some(over) = followed.http.end(end, client) {
                    self.http(time, told, &over);
                }
            }
            Seen::Dns(message) => {
                if let Some(facts) = (readers.dns)(message.of(texts)) {
                    let place = followed.dns.place(&facts);
                    self.line(time, "dns", Some(told), |object| {
                        object.object("dns", |object| dns::write(&facts, place, object))
                    });
                }
            }
            Seen::File(file) => {
                let (app, (ends, identity)) = (followed.app, told);
                let told = (Ends { source: file.sender, ..ends }, identity);
                self.line(time, "fileinfo", Some(told), |object| {
                    if let Some(app) = app {
                        object.text("app_proto", app.as_bytes());
                    }
                    file_info::of_file(&file, file.name.of(texts), object);
                });
            }
        }
    }

    fn tls(&mut self, time: Timestamp, told: Told, tls: &TlsFlow, app: Option<&'static str>) {
        if app == Some("quic") {
            self.line(time, "quic", Some(told), |object| object.object("quic", |object| tls.write_quic(object)));
        } else {
            self.line(time, "tls", Some(told), |object| object.object("tls", |object| tls.write(object)));
        }
    }

    fn ssh(&mut self, time: Timestamp, told: Told, ssh: &SshFlow) {
        self.line(time, "ssh", Some(told), |object| object.object("ssh", |object| ssh.write(object)));
    }

    /// An exchange, and the files in it.
    fn http(&mut self, time: Timestamp, (ends, identity): Told, exchange: &Exchange) {
        self.line(time, "http", Some((ends, identity)), |object| {
            object.count("tx_id", exchange.place);
            object.object("http", |object| exchange.write(object));
        });
        let mut files = exchange.files().peekable();
        if files.peek().is_none() {
            return;
        }
        // Their lines begin with the same object.
        let mut body = Vec::new();
        let mut object = Object::begin(&mut body);
        exchange.write(&mut object);
        object.end();
        for end in files {
            let told = (Ends { source: end.sender, ..ends }, identity);
            self.line(time, "fileinfo", Some(told), |object| {
                object.raw("http", |out| out.extend_from_slice(&body));
                object.text("app_proto", b"http");
                file_info::of_body(exchange.file_name(), end, exchange.place, object);
            });
        }
    }

    fn flow(&mut self, item: &FlowItem, flows: &mut FlowTable, named: &mut Alerted) {
        let ends = match item.tuple {
            Some(tuple) => Some(Ends { tuple, source: item.facts.client.unwrap_or(End::A) }),
            None => Ends::of_id(&item.flow.id, item.facts.client),
        };
        let (mut app, mut alerted, mut told) = (None, false, None);
        self.origin = item.facts.origin;
        if let Some(ends) = ends {
            if let Some(followed) = flows.end(&ends.tuple) {
                (app, alerted) = (followed.app, followed.alerted);
                told = Some(followed.told(ends, item.facts));
                self.rest(item.time, ends.tuple, followed);
                self.origin = item.facts.origin;
            }
            told = told.or_else(|| Some((ends, ends.identity(item.facts))));
            alerted |= named.end(&ends.tuple);
        }
        let proto = ends.map(|ends| ends.tuple.proto);
        let client = ends.map_or(End::A, |ends| ends.source);
        self.line(item.time, "flow", told, |object| {
            if let Some(app) = app {
                object.text("app_proto", app.as_bytes());
            }
            flow::write(item, client, proto, alerted.into(), object);
        });
    }

    /// What of a flow was not complete, when it is over or forgotten.
    fn rest(&mut self, time: Timestamp, flow: FlowTuple, followed: &mut Followed) {
        if !followed.is_unfinished() {
            return;
        }
        let told = followed.told(Ends { tuple: flow, source: followed.client.unwrap_or(End::A) }, FlowFacts::default());
        self.origin = followed.origin;
        if let Some(tls) = followed.tls.take() {
            self.tls(time, told, &tls, followed.app);
        }
        if let Some(ssh) = followed.ssh.take() {
            self.ssh(time, told, &ssh);
        }
        for exchange in followed.http.take() {
            self.http(time, told, &exchange);
        }
    }
}

/// Whether an attribute is one of TLS, or of the QUIC around it.
fn is_of_handshake(name: &[u8]) -> bool {
    name.starts_with(b"TLS:") || name.starts_with(b"QUIC:")
}

fn note(item: &NoteItem, object: &mut Object<'_>) {
    object.object("plugin", |object| {
        let kind = match item.kind {
            NoteKind::Resource => "resource",
            NoteKind::Document => "document",
        };
        object.text("kind", kind.as_bytes());
        object.text("script", item.script.as_bytes());
        object.text("group", &item.group_name);
        object.text("guid", item.group.to_string().as_bytes());
        if item.kind == NoteKind::Resource {
            object.text("uri", &item.summary);
            object.text("label", &item.text);
        } else {
            object.text("text", &item.text);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::{EveOrigin, Formatter, Readers};
    use crate::guid::Guid;
    use crate::key::{End, FlowTuple};
    use crate::metrics::{Alert, AlertKind, Extent, FlowFacts, HttpBodyEnd, Seen, SeenFile, Session, Sighting, Span};
    use crate::sink::eve::{AlertItem, Beside, DnsFacts, EveItem, FlowItem};
    use crate::time::Timestamp;
    use proptest::prelude::*;

    const READERS: Readers = Readers {
        dns: |bytes| {
            let name = bytes.to_vec();
            Some(DnsFacts { questions: vec![(name.clone(), name)], ..DnsFacts::default() })
        },
        certificate: |_| None,
    };

    const NAMES: [&str; 7] =
        ["TLS:SNI", "TLS:JA3S", "TLS:VERSION", "TLS:ALPN", "SSH:BANNER:CLIENT", "SSH:HASSH", "SSH:X"];

    fn tuple(port: u16) -> FlowTuple {
        FlowTuple::v4(6, [10, 0, 0, 1], [10, 0, 0, 2], 40_000 + port, 80).0
    }

    /// What is seen, and its texts.
    fn seen() -> impl Strategy<Value = (Seen, Vec<u8>)> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let end = || prop_oneof![Just(End::A), Just(End::Z)];
        let texts = |first: &[u8], second: &[u8]| {
            let mut texts = b"others".to_vec();
            let spans = (Span::put(&mut texts, first), Span::put(&mut texts, second));
            (spans, texts)
        };
        prop_oneof![
            prop_oneof![Just("http"), Just("tls"), Just("quic")].prop_map(|name| (Seen::Protocol(name), Vec::new())),
            (proptest::sample::select(&NAMES[..]), bytes()).prop_map(move |(name, value)| {
                let ((name, value), texts) = texts(name.as_bytes(), &value);
                (Seen::Attribute(name, value), texts)
            }),
            (0..4_u64, end(), any::<u64>()).prop_map(|(exchange, sender, length)| {
                (Seen::HttpEnd(HttpBodyEnd { exchange, sender, length, extent: Extent::Cut }), Vec::new())
            }),
            (0..5_u8, 0..4_u64, end(), bytes()).prop_map(move |(kind, exchange, sender, bytes)| {
                let ((span, _), texts) = texts(&bytes, b"");
                let seen = match kind {
                    0 => Seen::Certificate(span),
                    1 => Seen::HttpHeader { exchange, sender, block: span },
                    2 => Seen::Dns(span),
                    3 => Seen::FingerprintText(sender, span),
                    _ => Seen::File(SeenFile { sender, name: span, length: 1, md5: [0; 16], place: 0 }),
                };
                (seen, texts)
            }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_seen_makes_whole_and_valid_lines(
            items in proptest::collection::vec((0..3_u16, seen(), any::<bool>(), any::<i64>()), 0..60),
            origin in ".*",
        ) {
            let mut formatter = Formatter::new(vec![EveOrigin::File(origin)], READERS);
            let (mut out, mut lines) = (Vec::new(), 0);
            for (flow, (seen, own), ends, nanos) in items {
                let (time, flow) = (Timestamp::from_nanos(nanos), tuple(flow));
                let mut beside = Beside { texts: own, flows: Vec::new() };
                let sighting = Sighting { flow, client: End::A, origin: 0, seen };
                lines += formatter.take(&EveItem::Sighting(time, sighting), &beside, &mut out);
                if ends {
                    let session = Session { id: flow.id().as_bytes().to_vec(), ..Session::default() };
                    beside.flows.push(FlowItem { time, flow: session, tuple: None, facts: FlowFacts::default() });
                    lines += formatter.take(&EveItem::Flow(0), &beside, &mut out);
                }
            }
            lines += formatter.finish(&mut out);
            let mut count = 0;
            for line in out.split_inclusive(|&byte| byte == b'\n') {
                let event: serde_json::Value = serde_json::from_slice(line).expect("a line is valid JSON");
                prop_assert!(event[event["event_type"].as_str().unwrap_or_default()].is_object());
                count += 1;
            }
            prop_assert_eq!(count, lines);
        }
    }

    #[test]
    fn an_event_of_quic_has_the_version_seen() {
        for (version, expected) in [(Some("1"), Some("1")), (Some("2"), Some("6b3343cf")), (None, None)] {
            let mut formatter = Formatter::new(Vec::new(), READERS);
            let mut beside = Beside::default();
            let texts = &mut beside.texts;
            let mut seen = vec![Seen::Protocol("quic")];
            let attributes = version.map(|version| ("QUIC:VERSION", version)).into_iter().chain([("TLS:SNI", "a")]);
            for (name, value) in attributes {
                seen.push(Seen::Attribute(Span::put(texts, name.as_bytes()), Span::put(texts, value.as_bytes())));
            }
            let mut out = Vec::new();
            for seen in seen {
                let sighting = Sighting { flow: tuple(1), client: End::A, origin: 0, seen };
                assert_eq!(formatter.take(&EveItem::Sighting(Timestamp::EPOCH, sighting), &beside, &mut out), 0);
            }
            assert_eq!(formatter.finish(&mut out), 1);
            let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(event["quic"]["version"].as_str(), expected, "{event}");
        }
    }

    #[test]
    fn events_name_the_interface_that_their_flow_began_on() {
        let names = ["eth0", "eth1"].map(|name| EveOrigin::Interface(name.to_owned()));
        let mut formatter = Formatter::new(names.to_vec(), READERS);
        let mut beside = Beside::default();
        let (mut out, mut begin) = (Vec::new(), Vec::new());
        for origin in [1, 0] {
            let span = Span::put(&mut beside.texts, b"TLS:SNI");
            let sighting = Sighting { flow: tuple(origin), client: End::A, origin, seen: Seen::Attribute(span, span) };
            begin.push(EveItem::Sighting(Timestamp::EPOCH, sighting));
        }
        begin.push(EveItem::Stats(Box::default()));
        for item in &begin {
            formatter.take(item, &beside, &mut out);
        }
        // One flow has ended, in the batch of a packet of the other interface; the other one goes on.
        let session = Session { id: tuple(1).id().as_bytes().to_vec(), ..Session::default() };
        let facts = FlowFacts { origin: Some(1), ..FlowFacts::default() };
        beside.flows.push(FlowItem { time: Timestamp::EPOCH, flow: session, tuple: None, facts });
        formatter.take(&EveItem::Flow(0), &beside, &mut out);
        formatter.finish(&mut out);
        let events = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let told = events.map(|line| {
            let event: serde_json::Value = serde_json::from_slice(line).unwrap();
            ["event_type", "in_iface"].map(|field| event[field].as_str().unwrap_or("-").to_owned())
        });
        let expected = [["stats", "-"], ["tls", "eth1"], ["flow", "eth1"], ["tls", "eth0"]];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn alerts_of_flows_that_have_ended_make_no_room_scarce() {
        let mut formatter = Formatter::new(Vec::new(), READERS);
        let (beside, mut out) = (Beside::default(), Vec::new());
        let sighting = Sighting { flow: tuple(1), client: End::A, origin: 0, seen: Seen::Protocol("tls") };
        formatter.take(&EveItem::Sighting(Timestamp::EPOCH, sighting), &beside, &mut out);
        let alert = |flow: FlowTuple| {
            let alert = Alert {
                time: Timestamp::EPOCH,
                group: Guid::from_u128(1),
                flow: Some(flow.id().as_bytes().to_vec()),
                sigid: Vec::new(),
                priority: 1.0,
                message: Vec::new(),
                classification: Vec::new(),
                status: Vec::new(),
                extra: Vec::new(),
                ack: 0,
                kind: AlertKind::Simple,
                ids: None,
            };
            let (script, group) = (String::new(), Vec::new());
            EveItem::Alert(Box::new(AlertItem { alert, script, group, facts: FlowFacts::default(), so_far: None }))
        };
        for number in 0..140_000_u32 {
            let [_, a, b, c] = number.to_be_bytes();
            let ended = FlowTuple::v4(17, [10, a, b, c], [10, 255, 0, 1], 2_000, 53).0;
            out.clear();
            assert_eq!(formatter.take(&alert(ended), &beside, &mut out), 1);
        }
        assert_eq!(formatter.forgotten(), 0);
        // What goes on is known, and what an alert named before anything else was told is told of as alerted.
        for (number, app) in [(1, Some("tls")), (2, None)] {
            formatter.take(&alert(tuple(number)), &beside, &mut out);
            let flow = Session { id: tuple(number).id().as_bytes().to_vec(), ..Session::default() };
            let item = FlowItem { time: Timestamp::EPOCH, flow, tuple: None, facts: FlowFacts::default() };
            out.clear();
            formatter.take(&EveItem::Flow(0), &Beside { flows: vec![item], ..Beside::default() }, &mut out);
            let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((event["app_proto"].as_str(), event["flow"]["alerted"].as_bool()), (app, Some(true)), "{event}");
        }
    }

    #[test]
    fn a_handshake_that_stops_is_told_of_when_the_flow_ends() {
        let mut formatter = Formatter::new(Vec::new(), READERS);
        let mut out = Vec::new();
        let mut beside = Beside::default();
        let texts = &mut beside.texts;
        let seen = Seen::Attribute(Span::put(texts, b"TLS:SNI"), Span::put(texts, b"example.com"));
        let sighting = Sighting { flow: tuple(1), client: End::A, origin: 0, seen };
        assert_eq!(formatter.take(&EveItem::Sighting(Timestamp::EPOCH, sighting), &beside, &mut out), 0);
        let session = Session { id: tuple(1).id().as_bytes().to_vec(), reason: "rst", ..Session::default() };
        let facts = FlowFacts { client: Some(End::A), ..FlowFacts::default() };
        beside.flows.push(FlowItem { time: Timestamp::EPOCH, flow: session, tuple: None, facts });
        assert_eq!(formatter.take(&EveItem::Flow(0), &beside, &mut out), 2);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\"sni\":\"example.com\",\"version\":\"UNDETERMINED\""), "{text}");
        assert_eq!(formatter.finish(&mut Vec::new()), 0);
    }
}
