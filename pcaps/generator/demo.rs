//! A minute and a half in a small office: browsing, mail, a backup, a call, a shell, a printer, a scan, odd names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::container::{MILLISECOND, SECOND, START, Trace};
use super::conversation::{Conversation, Direction, exchange, ping};
use super::random::Random;
use super::tls::{self, Version};
use super::{compress, dns, http, scan, ssh, wire};

use Direction::{ToClient, ToServer};

const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
const FILES: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 5);
const PRINTER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 9);
const INTRUDER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 66);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 1);

/// Sites with where they are and how much of the browsing they get.
const SITES: [(&str, Ipv4Addr, u32); 9] = [
    ("www.example.com", Ipv4Addr::new(192, 0, 2, 80), 5),
    ("mail.example.org", Ipv4Addr::new(198, 51, 100, 25), 4),
    ("docs.example.net", Ipv4Addr::new(198, 51, 100, 60), 4),
    ("video.example.com", Ipv4Addr::new(203, 0, 113, 90), 2),
    ("api.weather.example", Ipv4Addr::new(203, 0, 113, 14), 2),
    ("shop.example.com", Ipv4Addr::new(192, 0, 2, 43), 2),
    ("news.example.org", Ipv4Addr::new(198, 51, 100, 80), 3),
    ("static.cdn.example.net", Ipv4Addr::new(203, 0, 113, 77), 4),
    ("login.example.org", Ipv4Addr::new(198, 51, 100, 44), 1),
];

struct Office {
    trace: Trace,
    random: Random,
    /// Next free client port, shared by all hosts: numbers never meet.
    port: u16,
}

fn desk(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 0, number as u8)
}

fn desk6(number: u64) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xDB8, 0x20, 0, 0, 0, 0x0A14, number as u16)
}

fn seconds(at: f64) -> i64 {
    START + (at * 1e9) as i64
}

impl Office {
    fn client(&mut self, address: impl Into<IpAddr>) -> SocketAddr {
        self.port += 1;
        SocketAddr::new(address.into(), self.port)
    }

    fn lookup(&mut self, client: Ipv4Addr, name: &str, found: &[IpAddr], at: i64) {
        let id = self.random.next() as u16;
        for kind in [dns::kind::A, dns::kind::AAAA] {
            let answers: Vec<dns::Record> = found
                .iter()
                .filter(|address| address.is_ipv4() == (kind == dns::kind::A))
                .map(|&address| dns::record(name, 300, dns::Data::Host(address)))
                .collect();
            let source = self.client(client);
            let question = dns::message(id, dns::QUERY, name, kind, &[], &[]);
            let answer = dns::message(id, dns::ANSWER, name, kind, &answers, &[]);
            self.trace.datagrams(&exchange(source, (RESOLVER, 53).into(), at, &question, &answer));
        }
    }

    /// A visit to a site over TLS: a few requests, answers of up to `most` bytes.
    fn browse(&mut self, client: u64, site: usize, at: i64, most: u64) {
        let (name, address, _) = SITES[site];
        // Half of the hosts reach the sites over IPv6 where they have it.
        let over_v6 = client.is_multiple_of(2) && site < 3;
        let six = Ipv6Addr::new(0x2001, 0xDB8, 0x80, 0, 0, 0, 0, site as u16 + 0x50);
        self.lookup(desk(client), name, &[address.into(), six.into()], at);
        let (source, server): (SocketAddr, IpAddr) = if over_v6 {
            (self.client(desk6(client)), six.into())
        } else {
            (self.client(desk(client)), address.into())
        };
        let round_trip = (9 + site as i64 * 4) * MILLISECOND;
        let mut talk =
            Conversation::new(source, SocketAddr::new(server, 443), at + 25 * MILLISECOND).round_trip(round_trip);
        talk.open();
        let version = if self.random.between(0, 4) == 0 { Version::Tls12 } else { Version::Tls13 };
        tls::handshake(&mut talk, version, name, &mut self.random);
        for _ in 0..self.random.between(1, 4) {
            let (question, answer) = (self.random.between(180, 620), self.random.between(300, most));
            talk.send(ToServer, &tls::application_data(question as usize, &mut self.random));
            talk.send(ToClient, &tls::application_data(answer as usize, &mut self.random));
            talk.wait(self.random.between(20, 900) as i64 * MILLISECOND);
        }
        if self.random.between(0, 9) == 0 {
            talk.reset(ToServer);
        } else {
            talk.close();
        }
        self.trace.datagrams(&talk.datagrams);
    }

    fn plain_web(&mut self, client: u64, at: i64, requests: &[(&str, Vec<u8>)]) {
        self.lookup(desk(client), "files.example.com", &[Ipv4Addr::new(192, 0, 2, 80).into()], at);
        let source = self.client(desk(client));
        let mut talk = Conversation::new(source, ([192, 0, 2, 80], 80).into(), at + 30 * MILLISECOND);
        talk.open();
        for (path, answer) in requests {
            talk.send(ToServer, &http::request("GET", path, "files.example.com", "", b""));
            talk.send(ToClient, answer);
            talk.wait(120 * MILLISECOND);
        }
        talk.close();
        self.trace.datagrams(&talk.datagrams);
    }

    /// Both voices of a call, a packet of 160 samples every 20 ms.
    fn call(&mut self, client: u64, at: i64, packets: u16) {
        let (near, far) = ((IpAddr::from(desk(client)), 16_384), (IpAddr::from([203, 0, 113, 5]), 27_010));
        for i in 0..packets {
            for (from, to, source) in [(near, far, 0x0B0E_1001u32), (far, near, 0x0B0E_2002)] {
                let stamp = (u32::from(i) * 160).to_be_bytes();
                let head = [&[0x80, 0x00][..], &(1_000 + i).to_be_bytes(), &stamp, &source.to_be_bytes()].concat();
                let rtp = [head, self.random.bytes(160)].concat();
                let sent = at + i64::from(i) * 20 * MILLISECOND + i64::from(source & 0xF) * MILLISECOND;
                self.trace.packet(sent, &wire::udp_packet(from, to, i, &rtp));
            }
        }
    }

    fn shell(&mut self, client: u64, at: i64) {
        let source = self.client(desk(client));
        let mut talk = Conversation::new(source, (FILES, 22).into(), at).round_trip(MILLISECOND);
        ssh::log_in(&mut talk, &mut self.random);
        ssh::keys(&mut talk, 110, 14, &mut self.random);
        talk.close();
        self.trace.datagrams(&talk.datagrams);
    }

    /// A bulk copy over SSH: the largest talker of the capture.
    fn backup(&mut self, client: u64, at: i64) {
        let source = self.client(desk(client));
        let mut talk = Conversation::new(source, (FILES, 22).into(), at).round_trip(MILLISECOND);
        ssh::log_in(&mut talk, &mut self.random);
        for _ in 0..10 {
            talk.send(ToServer, &self.random.bytes(14_000));
            talk.wait(180 * MILLISECOND);
        }
        talk.close();
        self.trace.datagrams(&talk.datagrams);
    }

    fn print(&mut self, client: u64, at: i64) {
        let source = self.client(desk(client));
        let mut talk = Conversation::new(source, (PRINTER, 9_100).into(), at).round_trip(MILLISECOND);
        talk.open();
        let job = "@PJL SET COPIES = 1\r\n@PJL ENTER LANGUAGE = PCL\r\n".to_owned()
            + &"Minutes of the meeting\r\n".repeat(300);
        talk.send(ToServer, job.as_bytes());
        talk.close();
        self.trace.datagrams(&talk.datagrams);
    }

    /// Names that carry data: long, random, each asked once, answered with text.
    fn name_tunnel(&mut self, client: u64, at: i64) {
        for i in 0..30 {
            let label: String = self
                .random
                .bytes(30)
                .iter()
                .map(|b| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(b % 32)]))
                .collect();
            let name = format!("{i:02}{label}.t.example.net");
            let id = self.random.next() as u16;
            let text = dns::record(&name, 0, dns::Data::Text(self.random.bytes(90)));
            let question = dns::message(id, dns::QUERY, &name, dns::kind::TXT, &[], &[]);
            let answer = dns::message(id, dns::ANSWER, &name, dns::kind::TXT, &[text], &[]);
            let source = self.client(desk(client));
            let sent = at + i * 400 * MILLISECOND;
            self.trace.datagrams(&exchange(source, (RESOLVER, 53).into(), sent, &question, &answer));
        }
    }

    fn ask_hardware(&mut self, who: Ipv4Addr, whom: Ipv4Addr, at: i64) {
        self.trace.frame(at, wire::arp(1, who, whom));
        self.trace.frame(at + MILLISECOND / 3, wire::arp(2, whom, who));
    }

    fn clock(&mut self, client: u64, at: i64) {
        // NTP counts from 1900; the fraction stays zero.
        let stamp = |nanos: i64| super::container::word(nanos / SECOND + 2_208_988_800).to_be_bytes();
        let mut question = vec![0x23, 0, 6, 0xEC];
        question.resize(40, 0);
        question.extend_from_slice(&[&stamp(at)[..], &[0; 4]].concat());
        let mut answer = vec![0x24, 2, 6, 0xEC, 0, 0, 1, 0, 0, 0, 2, 0, 192, 0, 2, 1];
        for _ in 0..4 {
            answer.extend_from_slice(&[&stamp(at)[..], &[0; 4]].concat());
        }
        let source = SocketAddr::new(desk(client).into(), 123);
        self.trace.datagrams(&exchange(source, ([192, 0, 2, 123], 123).into(), at, &question, &answer));
    }
}

fn background(office: &mut Office) {
    for client in 11..23 {
        office.ask_hardware(desk(client), GATEWAY, seconds(client as f64 / 9.0));
        office.ask_hardware(desk(client), RESOLVER, seconds(client as f64 / 9.0 + 31.0));
        office.clock(client, seconds(client as f64 * 3.1 - 30.0));
    }
    let group = (IpAddr::from([224, 0, 0, 251]), 5_353);
    for i in 0..6 {
        let message = dns::announcement("printer.local", "Office printer._ipp._tcp.local", PRINTER);
        office.trace.packet(
            seconds(2.0 + 15.0 * f64::from(i)),
            &wire::udp_packet((PRINTER.into(), 5_353), group, i as u16, &message),
        );
    }
    office.trace.datagrams(&ping(desk(13).into(), [192, 0, 2, 1].into(), seconds(10.0), 15));
    office.trace.datagrams(&ping(desk6(14).into(), [0x2001, 0xDB8, 0x80, 0, 0, 0, 0, 1].into(), seconds(40.2), 6));
}

/// About ninety seconds, a few thousand packets, under one megabyte.
pub fn capture() -> Trace {
    let mut office = Office { trace: Trace::default(), random: Random::new(2_026), port: 50_000 };
    background(&mut office);
    let weighted: Vec<usize> =
        SITES.iter().enumerate().flat_map(|(i, site)| std::iter::repeat_n(i, site.2 as usize)).collect();
    for visit in 0..58u64 {
        let client = 11 + visit * 5 % 12;
        let site = *office.random.pick(&weighted);
        let at = seconds(0.6 + visit as f64 * 1.45) + office.random.between(0, 700) as i64 * MILLISECOND;
        office.browse(client, site, at, 3_700);
    }
    let image = compress::png(64, |x, y| [(x * 4) as u8, (y * 4) as u8, ((x ^ y) * 4) as u8]);
    for (i, client) in [12, 15, 17, 20].into_iter().enumerate() {
        let page = http::response("200 OK", "text/html", "", &http::page("Today", 18 + i * 4));
        let packed = compress::gzip(&http::page("Archive", 60));
        let packed = http::chunked("text/html", "Content-Encoding: gzip\r\n", &packed, 512);
        let missing = http::response("404 Not Found", "text/plain", "", b"not here\n");
        let image = http::response("200 OK", "image/png", "", &image);
        let requests = [("/", page), ("/logo.png", image), ("/archive.html", packed), ("/old.html", missing)];
        office.plain_web(client, seconds(6.0 + 19.0 * i as f64), &requests);
    }
    office.shell(12, seconds(4.0));
    office.backup(16, seconds(30.0));
    office.print(18, seconds(47.0));
    office.call(19, seconds(50.0), 150);
    office.name_tunnel(21, seconds(66.0));
    office.ask_hardware(INTRUDER, FILES, seconds(54.9));
    scan::syn(&mut office.trace, INTRUDER, FILES, (1..=240).chain([443, 445, 3_306, 5_432, 8_080]), seconds(55.0));
    office.trace.sort();
    office.trace
}
