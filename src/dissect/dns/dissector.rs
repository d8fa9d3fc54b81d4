//! DNS messages out of datagrams and streams.

use super::message::Message;
use super::pending::{Pending, is_multicast};
use super::text::{self, Completeness};
use crate::dissect::protocols::Head;
use crate::dissect::{
    Appetite, Context, DatagramDissector, DocumentKind, FindingKind, Recognition, ResourceKind, StreamDissector, Text,
};
use crate::flow::Direction;
use crate::time::Timestamp;

/// Length in front of a message over TCP.
const PREFIX: usize = 2;

/// Whether a datagram is a DNS message.
pub fn recognise_datagram(_direction: Direction, bytes: &[u8]) -> Recognition {
    match Message::check(bytes) {
        // An error without a question may be anything.
        Ok(message) if message.counts != [0; 4] => Recognition::Yes,
        // A datagram is all there is.
        _ => Recognition::No,
    }
}

/// Whether a stream begins with a DNS message behind its length.
pub fn recognise_stream(_direction: Direction, head: Head<'_>) -> Recognition {
    let [high, low, rest @ ..] = head.bytes else { return Recognition::Undecided };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    // Header, root, type and class.
    if len < 17 {
        return Recognition::No;
    }
    match Message::check_part(&rest[..rest.len().min(len)], len) {
        Ok(_) => Recognition::Yes,
        Err(_) if rest.len() >= len => Recognition::No,
        Err(recognition) => recognition,
    }
}

fn message(cx: &mut Context<'_>, pending: &mut Pending, message: &Message<'_>) {
    if cx.wants.events.is_yes() {
        let text = cx.findings.text(message.bytes);
        cx.push(FindingKind::DnsMessage { message: text });
    }
    if cx.wants.dns_resources.is_yes() {
        let mark = cx.findings.mark();
        text::push_subject(cx.findings.writer(), message);
        let name = cx.findings.since(mark);
        if message.is_response() {
            pending.answer(cx, message, name);
            resource(cx, message, name);
        } else {
            pending.ask(cx, message, name);
        }
    }
    if cx.wants.dns_documents.is_yes() {
        let mark = cx.findings.mark();
        if text::push_document(cx.findings.writer(), message) == Completeness::Cut {
            cx.counts.add("dns messages cut");
        }
        let text = cx.findings.since(mark);
        cx.push(FindingKind::Document { kind: DocumentKind::Dns, text });
    }
}

fn resource(cx: &mut Context<'_>, message: &Message<'_>, uri: Text) {
    // An error without question and records tells nothing.
    if uri.is_empty() {
        return;
    }
    let mark = cx.findings.mark();
    if text::push_label(cx.findings.writer(), message) == Completeness::Cut {
        cx.counts.add("dns messages cut");
    }
    let label = cx.findings.since(mark);
    cx.push(FindingKind::Resource { kind: ResourceKind::Dns, uri, label });
}

/// The first message of a flow tells who asks. What a host answers to a group, asked or not, has nobody behind it.
fn begin(cx: &mut Context<'_>, direction: Direction, message: &Message<'_>) {
    if !message.is_response() {
        cx.asks(direction);
    } else if !is_multicast(cx) {
        cx.asks(direction.other());
    }
}

/// DNS over UDP.
#[derive(Debug, Default)]
pub struct DnsDatagrams {
    pending: Pending,
    /// The first message has been seen.
    has_begun: bool,
}

impl DatagramDissector for DnsDatagrams {
    fn datagram(&mut self, cx: &mut Context<'_>, direction: Direction, bytes: &[u8]) -> Appetite {
        match Message::check(bytes) {
            Ok(read) => {
                if !self.has_begun {
                    self.has_begun = true;
                    begin(cx, direction, &read);
                }
                message(cx, &mut self.pending, &read);
            }
            Err(_) => cx.counts.add("dns messages refused"),
        }
        Appetite::More
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.pending.finish(cx);
    }

    fn held(&self) -> usize {
        self.pending.held()
    }

    fn due(&self) -> Option<Timestamp> {
        self.pending.due()
    }

    fn wake(&mut self, cx: &mut Context<'_>) {
        self.pending.expire(cx);
    }
}

/// DNS over TCP.
#[derive(Debug, Default)]
pub struct DnsStream {
    pending: Pending,
    /// Length and bytes of a message that is not complete, of each direction.
    partial: [Vec<u8>; 2],
}

impl DnsStream {
    /// A message with its length in front.
    fn framed(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Appetite {
        match Message::check(&bytes[PREFIX..]) {
            Ok(read) => {
                message(cx, &mut self.pending, &read);
                Appetite::More
            }
            Err(_) => {
                cx.counts.add("dns messages refused");
                Appetite::Done
            }
        }
    }
}

/// How long the message is that the bytes begin, its length included.
fn framed_len(bytes: &[u8]) -> Option<usize> {
    let [high, low, ..] = bytes else { return None };
    Some(PREFIX + usize::from(u16::from_be_bytes([*high, *low])))
}

impl StreamDissector for DnsStream {
    fn data(&mut self, cx: &mut Context<'_>, direction: Direction, _position: u64, mut bytes: &[u8]) -> Appetite {
        let mut partial = std::mem::take(&mut self.partial[direction.index()]);
        while !partial.is_empty() && !bytes.is_empty() {
            let needed = framed_len(&partial).unwrap_or(PREFIX) - partial.len();
            let (now, later) = bytes.split_at(needed.min(bytes.len()));
            partial.extend_from_slice(now);
            bytes = later;
            if framed_len(&partial) == Some(partial.len()) {
                if self.framed(cx, &partial) != Appetite::More {
                    return Appetite::Done;
                }
                partial.clear();
            }
        }
        while let Some(len) = framed_len(bytes).filter(|len| *len <= bytes.len()) {
            let (now, later) = bytes.split_at(len);
            if self.framed(cx, now) != Appetite::More {
                return Appetite::Done;
            }
            bytes = later;
        }
        partial.extend_from_slice(bytes);
        self.partial[direction.index()] = partial;
        Appetite::More
    }

    fn gap(&mut self, cx: &mut Context<'_>, _direction: Direction, _position: u64, _missing: u64) -> Appetite {
        cx.counts.add("dns streams with gaps");
        Appetite::Done
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.pending.finish(cx);
    }

    fn held(&self) -> usize {
        self.pending.held() + self.partial.iter().map(Vec::capacity).sum::<usize>()
    }

    fn due(&self) -> Option<Timestamp> {
        self.pending.due()
    }

    fn wake(&mut self, cx: &mut Context<'_>) {
        self.pending.expire(cx);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dissect::rehearsal::{ALL, Rehearsal, check_pieces, overheard};
    use crate::flow::Direction::{ToClient, ToServer};

    const QUERY: &[u8] = b"\x99\x33\x01\0\0\x01\0\0\0\0\0\0\x03WWW\x07example\x03com\0\0\x01\0\x01";
    const RESPONSE: &[u8] = b"\x99\x33\x81\x80\0\x01\0\x02\0\0\0\0\x03WWW\x07example\x03com\0\0\x01\0\x01\
        \xC0\x0C\0\x05\0\x01\0\0\0\x3C\0\x04\x01a\xC0\x10\xC0\x2D\0\x01\0\x01\0\0\0\x3C\0\x04\x5D\xB8\xD8\x22";

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u16).to_be_bytes()[..], message].concat()
    }

    #[test]
    fn a_response_gives_a_resource_and_each_message_a_document() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.exchange(53);
        rehearsal.say(flow, ToServer, QUERY);
        rehearsal.say(flow, ToClient, RESPONSE);
        rehearsal.end(flow);
        rehearsal.run();
        assert_eq!(
            rehearsal.found,
            [
                "Dns",
                r"QUERY\tID: 39219\tFlags:0x0100\tQDCount:1\tANCount:0\tNSCount:0\tARCount:0\nQuestions\n.WWW.example.com\t\tA\tIN\n\n",
                r"www.example.com -> WWW.example.com\tCNAME\ta.example.com\na.example.com\tA\t93.184.216.34\n",
                r"RESPONSE\tID: 39219\tFlags:0x8180\tQDCount:1\tANCount:2\tNSCount:0\tARCount:0\nQuestions\n.WWW.example.com\t\tA\tIN\nAnswers\n.WWW.example.com\t\tCNAME\tIN\t.a.example.com\n.a.example.com\t\tA\tIN\t93.184.216.34\n\n",
            ]
        );
    }

    #[test]
    fn a_query_repeated_waits_once_and_its_response_ends_the_wait() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.exchange(53);
        for message in [QUERY, QUERY, RESPONSE] {
            rehearsal.say(flow, if message == QUERY { ToServer } else { ToClient }, message);
        }
        rehearsal.end(flow);
        rehearsal.run();
        assert_eq!(rehearsal.found.iter().filter(|line| line.starts_with("www.example.com -> ")).count(), 1);
    }

    #[test]
    fn no_more_queries_wait_than_the_limit() {
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.exchange(53);
        for id in 0..100u16 {
            rehearsal.say(flow, ToServer, &[&id.to_be_bytes(), &QUERY[2..]].concat());
        }
        rehearsal.end(flow);
        rehearsal.run();
        assert_eq!(rehearsal.found.iter().filter(|line| *line == "www.example.com -> ").count(), 64);
        assert_eq!(rehearsal.count("dns queries not waited for"), 36);
    }

    #[test]
    fn text_made_of_one_message_is_limited() {
        // A long name once, and pointers to it.
        let name = [&[63; 64][..], &[60], &[255; 60], &[0]].concat();
        let record = b"\xC0\x0C\0\x0C\0\x01\0\0\0\0\0\x02\xC0\x0C";
        let message =
            [b"\0\x01\x81\x80\0\x01\x10\0\0\0\0\0", &name[..], b"\0\x0C\0\x01", &record.repeat(4_096)].concat();
        let found = overheard(&[(ToClient, framed(&message))]);
        assert!(found.iter().all(|line| line.len() < 1 << 20), "escaping makes it longer");
        let mut rehearsal = Rehearsal::new(ALL);
        let flow = rehearsal.connect(53);
        rehearsal.say(flow, ToClient, &framed(&message));
        rehearsal.run();
        assert_eq!(rehearsal.count("dns messages cut"), 2);
    }

    #[test]
    fn other_datagrams_are_not_dns() {
        let others: [&[u8]; 6] = [
            b"\x80\x01\x01\x10\0\x01\0\0\0\0\0\0\x20EJFDEBFEEBFACACACACACACACACACAAA\0\0\x20\0\x01",
            b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
            &[0; 64],
            &[0xFF; 64],
            b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03abcdefghijklmnop",
            &RESPONSE[..11],
        ];
        for bytes in others {
            assert_eq!(recognise_datagram(ToServer, bytes), Recognition::No, "{bytes:?}");
        }
        assert_eq!(recognise_datagram(ToServer, QUERY), Recognition::Yes);
    }

    fn messages() -> Vec<(Direction, Vec<u8>)> {
        let twice = [framed(QUERY), framed(&[b"\x11\x11", &QUERY[2..]].concat())].concat();
        vec![
            (ToServer, twice),
            (ToClient, framed(RESPONSE)),
            (ToClient, framed(&[b"\x11\x11", &RESPONSE[2..]].concat())),
        ]
    }

    #[test]
    fn messages_over_tcp_are_found_behind_their_lengths() {
        let found = overheard(&messages());
        assert_eq!(found.iter().filter(|line| line.starts_with("www.example.com -> WWW")).count(), 2);
        assert_eq!(found.len(), 2 + 1 + 4 + 2, "attributes, protocol, documents, resources");
    }

    #[test]
    fn a_message_without_a_question_is_judged_when_it_is_complete() {
        let error = b"\x99\x33\x81\x81\0\0\0\0\0\0\0\x01\0\0\x29\x10\0\0\0\0\0\0\0";
        let longer = [&error[..], b"x"].concat();
        for (message, is_dns) in [(&error[..], true), (&longer, false)] {
            let bytes = framed(message);
            for cut in 0..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                let found = overheard(&[(ToClient, first.to_vec()), (ToClient, second.to_vec())]);
                assert_eq!(found.contains(&"Dns".to_owned()), is_dns, "{cut}: {found:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_of_a_stream_do_not_matter(cuts in proptest::collection::vec(any::<usize>(), 0..8)) {
            check_pieces(&messages(), &cuts)?;
        }

        #[test]
        fn damaged_messages_are_read_the_same_in_pieces(
            at in 2usize..100, byte: u8, cuts in proptest::collection::vec(any::<usize>(), 0..4),
        ) {
            let mut said = messages();
            let len = said[1].1.len();
            said[1].1[at % len] = byte;
            check_pieces(&said, &cuts)?;
        }

        #[test]
        fn any_datagram_is_survived(bytes in proptest::collection::vec(any::<u8>(), 1..300), at: usize) {
            let mut rehearsal = Rehearsal::new(ALL);
            let flow = rehearsal.exchange(53);
            rehearsal.say(flow, ToClient, RESPONSE);
            rehearsal.say(flow, ToClient, &bytes);
            let mut message = RESPONSE.to_vec();
            let at = at % message.len();
            message.splice(at.., bytes);
            rehearsal.say(flow, ToClient, &message);
            rehearsal.end(flow);
            rehearsal.run();
        }
    }
}
