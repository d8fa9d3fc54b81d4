//! Flows in which the end that counts as the client is the one who answers.

use super::dissector::{Appetite, Context, Expectation, StreamDissector};
use super::finding::Transaction;
use crate::flow::{Direction, Flow, Roles};
use crate::time::Timestamp;

/// Who asks where neither a SYN nor the content tells: the end with the higher port, as ids of flows have it.
pub(super) fn by_ports(flow: &Flow) -> Roles {
    let client = flow.client();
    let port = |end| flow.tuple.port(end);
    if port(client) < port(client.other()) { Roles::Turned } else { Roles::Known }
}

/// A dissector of a flow in which the end that counts as the client is the server. What it finds is told of who asks and
/// who answers.
#[derive(Debug)]
pub(super) struct Turned(pub Box<dyn StreamDissector>);

impl StreamDissector for Turned {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, position: u64, bytes: &[u8]) -> Appetite {
        cx.roles = Roles::Turned;
        self.0.data(cx, Roles::Turned.of(direction), position, bytes)
    }

    fn gap(&mut self, cx: &mut Context<'_>, direction: Direction, position: u64, missing: u64) -> Appetite {
        cx.roles = Roles::Turned;
        self.0.gap(cx, Roles::Turned.of(direction), position, missing)
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        cx.roles = Roles::Turned;
        self.0.end(cx);
    }

    fn held(&self) -> usize {
        size_of_val(&*self.0) + self.0.held()
    }

    fn decline_body(&mut self, transaction: Transaction, direction: Direction) {
        self.0.decline_body(transaction, direction);
    }

    fn due(&self) -> Option<Timestamp> {
        self.0.due()
    }

    fn wake(&mut self, cx: &mut Context<'_>) {
        cx.roles = Roles::Turned;
        self.0.wake(cx);
    }

    fn announced(&mut self) -> Option<Expectation> {
        self.0.announced()
    }
}

#[cfg(test)]
mod tests {
    use crate::dissect::DissectWants;
    use crate::dissect::rehearsal::{ALL, Rehearsal};
    use crate::flow::Direction::{self, ToClient, ToServer};
    use crate::flow::{Want, state};

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

    #[test]
    fn of_mail_and_files_a_greeting_seen_first_tells_who_answers() {
        let told = |direction: Direction, said: &[u8]| {
            let mut rehearsal = Rehearsal::new(ALL);
            let flow = rehearsal.open_between(0, (6, [10, 0, 0, 1], 50_000, 50_001), 0);
            rehearsal.say(flow, direction, said);
            rehearsal.run();
            let is_turned = rehearsal.dissectors.take_turned().count() > 0;
            (rehearsal.found.split_off(1), is_turned)
        };
        let (mail, files) = (&b"220 x ESMTP\r\n"[..], &b"220-x\r\n220 an FTP server\r\n"[..]);
        for (direction, is_turned) in [(ToServer, true), (ToClient, false)] {
            assert_eq!(told(direction, mail), (vec!["Smtp".to_owned()], is_turned));
            assert_eq!(told(direction, files), (vec!["Ftp".to_owned()], is_turned));
            // A client of mail is known by its word, but many a protocol begins with the name of a user.
            assert_eq!(told(direction.other(), b"EHLO x\r\n"), (vec!["Smtp".to_owned()], is_turned));
            assert_eq!(told(direction.other(), b"USER x\r\n"), (vec![], false));
        }
    }

    #[test]
    fn what_follows_starttls_has_the_ends_of_what_came_before() {
        const HELLO: &[u8] = &[22, 3, 3, 0, 42, 1, 0, 0, 38, 3, 3];
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.open(6, 25, 0);
        let hello = [HELLO, &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        let said: [(Direction, &[u8]); 4] = [
            (ToServer, b"220 x ESMTP\r\n"),
            (ToClient, b"STARTTLS\r\n"),
            (ToServer, b"220 go on\r\n"),
            (ToClient, &hello),
        ];
        for (direction, said) in said {
            rehearsal.say(flow, direction, said);
            rehearsal.batch();
        }
        assert_eq!(rehearsal.found[..3], ["=", "Smtp", "Tls"]);
    }

    #[test]
    fn what_follows_in_a_tunnel_has_the_same_ends_however_batches_are_cut() {
        // The port of the one who asks is the lower one.
        let tunnel = |each_alone: bool, inside: &[(Direction, &[u8])]| {
            let mut rehearsal = Rehearsal::new(ALL);
            let flow = rehearsal.open(6, 8_080, 0);
            let opening: [(Direction, &[u8]); 2] =
                [(ToClient, b"CONNECT h:22 HTTP/1.1\r\nHost: h\r\n\r\n"), (ToServer, b"HTTP/1.1 200 OK\r\n\r\n")];
            for (direction, said) in opening.iter().chain(inside) {
                rehearsal.say(flow, *direction, said);
                if each_alone {
                    rehearsal.batch();
                }
            }
            rehearsal.batch();
            rehearsal.found.retain(|line| line.starts_with("SSH:BANNER") || line.contains("/in"));
            rehearsal.found
        };
        let banners: [(Direction, &[u8]); 2] = [(ToClient, b"SSH-2.0-client\r\n"), (ToServer, b"SSH-2.0-server\r\n")];
        let expected = ["SSH:BANNER:CLIENT=SSH-2.0-client", "SSH:BANNER:SERVER=SSH-2.0-server"];
        for each_alone in [false, true] {
            assert_eq!(tunnel(each_alone, &banners), expected, "{each_alone}");
            // Whoever asked for the tunnel is the one who asks in it.
            assert_eq!(tunnel(each_alone, &[(ToServer, b"GET /in HTTP/1.1\r\nHost: i\r\n\r\n")]), [""; 0]);
        }
    }

    #[test]
    fn a_banner_seen_first_belongs_to_the_end_with_the_port_of_a_server() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.open_between(0, (6, [10, 0, 0, 1], 22, 50_000), 0);
        rehearsal.say(flow, ToServer, b"SSH-2.0-server\r\n");
        rehearsal.say(flow, ToClient, b"SSH-2.0-client\r\n");
        rehearsal.run();
        let expected = ["=", "Ssh", "SSH:BANNER:SERVER=SSH-2.0-server", "SSH:BANNER:CLIENT=SSH-2.0-client"];
        assert_eq!(rehearsal.found, expected);
    }

    #[test]
    fn what_follows_in_a_tunnel_has_the_same_ends() {
        let mut rehearsal = Rehearsal::new(DissectWants { http_resources: Want::Yes, ..DissectWants::default() });
        let flow = rehearsal.open(6, 8_080, 0);
        rehearsal.say(flow, ToClient, b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n");
        rehearsal.say(flow, ToServer, b"HTTP/1.1 200 OK\r\n\r\n");
        rehearsal.say(flow, ToClient, b"GET /in HTTP/1.1\r\nHost: i\r\n\r\n");
        rehearsal.say(flow, ToServer, b"HTTP/1.1 204 No Content\r\n\r\n");
        rehearsal.end(flow);
        rehearsal.run();
        let expected =
            ["CONNECT h h:80 HTTP/1.1 -> status:200 usec:0 ua:-", "GET i /in HTTP/1.1 -> status:204 usec:0 ua:-"];
        assert_eq!(rehearsal.found, expected);
    }

    #[test]
    fn flows_of_which_the_server_is_seen_first_are_told_of_by_content_or_port() {
        const HELLO: &[u8] = &[22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        let hello = [HELLO, &[7; 32], &[0, 0x13, 1, 0]].concat();
        let turned = |proto: u8, bits: u16, ports: (u16, u16), said: &[u8]| {
            let mut rehearsal = Rehearsal::new(DissectWants::ALL);
            let flow = rehearsal.open_between(0, (proto, [10, 0, 0, 1], ports.0, ports.1), bits);
            rehearsal.say(flow, ToServer, said);
            rehearsal.run();
            let turned = rehearsal.dissectors.take_turned().any(|turned| turned == flow);
            assert_eq!(rehearsal.dissectors.take_turned().count(), 0, "told once");
            turned
        };
        let answer = [&QUERY[..2], &[0x81, 0x80], &QUERY[4..]].concat();
        let (http, ssh) = (&b"HTTP/1.1 200 OK\r\n\r\n"[..], &b"SSH-2.0-x\r\n"[..]);
        for (said, proto) in [(http, 6), (&hello[..], 6), (&answer, 17)] {
            // What the content tells is not asked of ports.
            for ports in [(80, 50_000), (50_000, 80)] {
                assert!(turned(proto, 0, ports, said), "{ports:?} {}", said.escape_ascii());
            }
        }
        assert!(!turned(6, 0, (80, 50_000), b"GET / HTTP/1.1\r\n\r\n") && !turned(17, 0, (53, 50_000), QUERY));
        assert!(turned(6, 0, (22, 50_000), ssh) && !turned(6, 0, (50_000, 22), ssh) && !turned(6, 0, (22, 22), ssh));
        // A SYN tells better: no HTTP is found, and of a banner the ports are not asked.
        assert!(!turned(6, state::SEEN_SYN, (80, 50_000), http) && !turned(6, state::SEEN_SYN_ACK, (22, 50_000), ssh));
    }
}
