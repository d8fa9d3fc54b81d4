//! Ten minutes in which several things go wrong: what the recipes of the documentation look for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::container::{MILLISECOND, SECOND, START, Trace};
use super::conversation::{Conversation, Direction, exchange};
use super::random::Random;
use super::tls::{self, Identity};
use super::wire::{self, flag};
use super::{dns, http};

use Direction::{ToClient, ToServer};

const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
const FILES: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 5);
const WEB: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);

/// The contents of a file that a list of hashes knows.
const KNOWN_FILE: &[u8] = b"This text stands for a program that nobody should run.\n";

fn desk(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 0, number)
}

/// What happens, and where it is written down.
struct Scene {
    trace: Trace,
    random: Random,
    port: u16,
}

impl Scene {
    fn client(&mut self, address: Ipv4Addr) -> SocketAddr {
        self.port += 1;
        SocketAddr::new(address.into(), self.port)
    }

    fn talk(&mut self, client: Ipv4Addr, server: (Ipv4Addr, u16), at: i64) -> Conversation {
        let client = self.client(client);
        let mut talk = Conversation::new(client, SocketAddr::new(server.0.into(), server.1), at);
        talk.open();
        talk
    }

    fn keep(&mut self, talk: &Conversation) {
        self.trace.datagrams(&talk.datagrams);
    }

    fn lookup(&mut self, client: Ipv4Addr, name: &str, found: Option<Ipv4Addr>, at: i64) {
        let flags = if found.is_some() { dns::ANSWER } else { dns::NO_SUCH_NAME };
        let answers: Vec<dns::Record> =
            found.into_iter().map(|address| dns::record(name, 300, dns::Data::Host(address.into()))).collect();
        let id = self.random.next() as u16;
        let source = self.client(client);
        let question = dns::message(id, dns::QUERY, name, dns::kind::A, &[], &[]);
        let answer = dns::message(id, flags, name, dns::kind::A, &answers, &[]);
        self.trace.datagrams(&exchange(source, (RESOLVER, 53).into(), at, &question, &answer));
    }

    /// A plain page, asked for by the given program.
    fn page(&mut self, client: u8, (server, host): (Ipv4Addr, &str), path: &str, program: &str, at: i64) {
        let mut talk = self.talk(desk(client), (server, 80), at);
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {program}\r\nAccept: */*\r\n\r\n");
        talk.send(ToServer, head.as_bytes());
        talk.send(ToClient, &http::response("200 OK", "text/html", "", &http::page("Plain", 3)));
        talk.close();
        self.keep(&talk);
    }

    /// Calls home every thirty seconds, give or take a little.
    fn beacon(&mut self) {
        for i in 0..20 {
            let at = START + 5 * SECOND + i * 30 * SECOND + self.random.between(0, 400) as i64 * MILLISECOND;
            let mut talk = self.talk(desk(31), (Ipv4Addr::new(203, 0, 113, 66), 8_080), at);
            talk.send(ToServer, b"GET /c?id=7 HTTP/1.1\r\nHost: updates.example\r\nUser-Agent: agent/2\r\n\r\n");
            talk.send(ToClient, &http::response("200 OK", "text/plain", "", b"ok\n"));
            talk.close();
            self.keep(&talk);
        }
    }

    /// The same number of visits by a person: no rhythm.
    fn person(&mut self) {
        let mut at = START + 3 * SECOND;
        for i in 0..16 {
            let program = "Mozilla/5.0 (X11; Linux x86_64) browser/1.0";
            self.lookup(desk(12), "www.example.com", Some(WEB), at);
            self.page(12, (WEB, "www.example.com"), &format!("/page{i}"), program, at + 40 * MILLISECOND);
            at += self.random.between(4, 70) as i64 * SECOND + self.random.between(0, 999) as i64 * MILLISECOND;
        }
    }

    /// Other programs than browsers.
    fn programs(&mut self) {
        for (client, program, at) in [
            (13, "curl/8.5.0", 50),
            (13, "curl/8.5.0", 61),
            (14, "python-requests/2.31.0", 75),
            (15, "sqlmap/1.8#stable", 90),
        ] {
            self.page(client, (WEB, "shop.example.com"), "/item?id=1", program, START + at * SECOND);
        }
    }

    /// Guesses passwords of a shell: short connections that end after the third attempt.
    fn guesses(&mut self) {
        let attacker = Ipv4Addr::new(203, 0, 113, 99);
        for i in 0..24 {
            let mut talk = self.talk(attacker, (FILES, 22), START + 100 * SECOND + i * 1_700 * MILLISECOND);
            talk.send(ToServer, b"SSH-2.0-libssh2_1.11.0\r\n");
            talk.send(ToClient, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
            for _ in 0..3 {
                talk.send(ToServer, &self.random.bytes(84));
                talk.send(ToClient, &self.random.bytes(52));
            }
            talk.close();
            self.keep(&talk);
        }
    }

    /// Passwords that anybody on the way can read.
    fn passwords(&mut self) {
        let mut talk = self.talk(desk(14), (Ipv4Addr::new(192, 0, 2, 21), 21), START + 150 * SECOND);
        talk.send(ToClient, b"220 files.example.net FTP server ready\r\n");
        for (command, answer) in
            [("USER accounts", "331 password"), ("PASS hunter2", "230 logged in"), ("QUIT", "221 bye")]
        {
            talk.send(ToServer, format!("{command}\r\n").as_bytes());
            talk.send(ToClient, format!("{answer}\r\n").as_bytes());
        }
        talk.close();
        self.keep(&talk);
        let mut talk = self.talk(desk(13), (WEB, 80), START + 155 * SECOND);
        // alice:correct horse
        let extra = "Authorization: Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==\r\n";
        talk.send(ToServer, &http::request("GET", "/admin", "intranet.example.com", extra, b""));
        talk.send(ToClient, &http::response("200 OK", "text/html", "", b"<p>hello</p>\n"));
        talk.close();
        self.keep(&talk);
    }

    /// TLS 1.0, a certificate that is long over, one that vouches for itself, and one that is fine.
    fn certificates(&mut self) {
        let ca = ("Example Trust Services", "Example Issuing CA");
        let current: (&[u8], &[u8]) = (b"260101000000Z", b"261231235959Z");
        let own = ("Example Printers", "printer.example.net");
        for (i, (minor, identity)) in [
            (1, Identity { subject: ("Example Widgets", "old.example.org"), issuer: ca, validity: current }),
            (
                3,
                Identity {
                    subject: ("Example Widgets", "expired.example.org"),
                    issuer: ca,
                    validity: (b"190301000000Z", b"200301000000Z"),
                },
            ),
            (3, Identity { subject: own, issuer: own, validity: current }),
            (3, Identity { subject: ("Example Widgets", "fine.example.org"), issuer: ca, validity: current }),
        ]
        .into_iter()
        .enumerate()
        {
            let server = Ipv4Addr::new(198, 51, 100, 60 + i as u8);
            let mut talk = self.talk(desk(15), (server, 443), START + (170 + 3 * i as i64) * SECOND);
            tls::plain_handshake(&mut talk, minor, &identity, &mut self.random);
            talk.send(ToServer, &tls::application_data(200, &mut self.random));
            talk.send(ToClient, &tls::application_data(700, &mut self.random));
            talk.close();
            self.keep(&talk);
        }
    }

    /// Echo messages that carry something else, and two honest ones.
    fn echoes(&mut self) {
        let far = IpAddr::from([203, 0, 113, 70]);
        for i in 0..12u32 {
            let at = START + 200 * SECOND + i64::from(i) * 900 * MILLISECOND;
            let ends = (IpAddr::from(desk(33)), far);
            let there = wire::icmp_packet(ends, 8, 0, 0x7001_0000 | i, &self.random.bytes(900));
            let back = wire::icmp_packet((ends.1, ends.0), 0, 0, 0x7001_0000 | i, &self.random.bytes(640));
            self.trace.packet(at, &there);
            self.trace.packet(at + 30 * MILLISECOND, &back);
        }
        self.trace.datagrams(&super::conversation::ping(desk(12).into(), WEB.into(), START + 205 * SECOND, 2));
    }

    fn upload(&mut self) {
        let mut talk = self.talk(desk(15), (Ipv4Addr::new(203, 0, 113, 20), 80), START + 230 * SECOND);
        let body = self.random.bytes(60_000);
        let extra = "Content-Type: application/octet-stream\r\nContent-Length: 60000\r\n";
        talk.send(ToServer, &http::request("POST", "/drop", "paste.example.net", extra, &body));
        talk.send(ToClient, &http::response("201 Created", "text/plain", "", b"kept\n"));
        talk.close();
        self.keep(&talk);
    }

    fn download(&mut self) {
        let mut talk = self.talk(desk(14), (WEB, 80), START + 245 * SECOND);
        talk.send(ToServer, &http::request("GET", "/tools/setup.bin", "downloads.example.com", "", b""));
        talk.send(ToClient, &http::response("200 OK", "application/octet-stream", "", KNOWN_FILE));
        talk.close();
        self.keep(&talk);
    }

    /// Made-up names, none of which exists.
    fn missing_names(&mut self) {
        for i in 0..18 {
            let label: String = self.random.bytes(11).iter().map(|b| char::from(b'a' + b % 26)).collect();
            let at = START + 260 * SECOND + i * 700 * MILLISECOND;
            self.lookup(desk(34), &format!("{label}.example"), None, at);
        }
        self.lookup(desk(13), "wwww.example.com", None, START + 266 * SECOND);
    }

    /// A machine that was not there before.
    fn stranger(&mut self) {
        let at = START + 400 * SECOND;
        self.trace.frame(at, wire::arp(1, desk(77), RESOLVER));
        self.trace.frame(at + MILLISECOND, wire::arp(2, RESOLVER, desk(77)));
        self.lookup(desk(77), "time.example.com", Some(Ipv4Addr::new(192, 0, 2, 123)), at + 20 * MILLISECOND);
    }

    /// A connection that stays open, with a word now and then.
    fn long_flow(&mut self) {
        let mut talk = self.talk(desk(16), (Ipv4Addr::new(198, 51, 100, 7), 5_222), START + SECOND);
        for _ in 0..13 {
            talk.wait(45 * SECOND);
            talk.send(ToServer, b"<presence/>\n");
        }
        talk.close();
        self.keep(&talk);
    }

    /// A protocol of somebody's own over UDP: "SN", version, sensor, tenths of a degree.
    fn sensors(&mut self) {
        for i in 0..36u16 {
            let sensor = 41 + i % 3;
            let degrees: u16 = 195 + i % 7 + if i == 20 { 300 } else { 0 };
            let reading = [&b"SN"[..], &[1, sensor as u8], &degrees.to_be_bytes(), &i.to_be_bytes()].concat();
            let from = (IpAddr::from(desk(sensor as u8)), 40_000 + sensor);
            let packet = wire::udp_packet(from, (FILES.into(), 4_711), i, &reading);
            self.trace.packet(START + i64::from(i) * 15 * SECOND + 700 * MILLISECOND, &packet);
        }
    }

    /// A server far away on a bad line: long handshakes, segments that have to be sent again.
    fn bad_line(&mut self) {
        for i in 0..5 {
            let client = self.client(desk(13));
            let server = ([198, 51, 100, 99], 443).into();
            let at = START + (300 + 11 * i) * SECOND;
            let mut talk = Conversation::new(client, server, at).round_trip((280 + 40 * i) * MILLISECOND);
            talk.open();
            for _ in 0..4 {
                let data = tls::application_data(900, &mut self.random);
                let seq = talk.seq[1];
                talk.next(ToClient, flag::PSH | flag::ACK, &data);
                talk.wait(200 * MILLISECOND);
                talk.segment(ToClient, flag::PSH | flag::ACK, seq, &data);
                talk.acknowledge(ToServer);
            }
            talk.close();
            self.keep(&talk);
        }
    }
}

/// Ten minutes, well below 300 KB.
pub fn capture() -> Trace {
    let mut scene = Scene { trace: Trace::default(), random: Random::new(911), port: 42_000 };
    scene.beacon();
    scene.person();
    scene.programs();
    scene.guesses();
    scene.passwords();
    scene.certificates();
    scene.echoes();
    scene.upload();
    scene.download();
    scene.missing_names();
    scene.stranger();
    scene.long_flow();
    scene.sensors();
    scene.bad_line();
    scene.trace.sort();
    scene.trace
}
