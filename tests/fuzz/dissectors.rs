//! Targets for one protocol each: how a conversation begins is given, so that all of the input is taken apart.

use millstream::flow::Direction;

use super::{check_conversation, dissect_pieces};

const UDP: u8 = 17;

/// A question for `a.example`.
const QUESTION: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01";

/// What was said first, and then what the input says, in the form that `targets::dissect` reads.
fn after(opening: &[(Direction, &[u8])], bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (direction, said) in opening {
        all.push(direction.index() as u8);
        all.extend((said.len() as u16).to_be_bytes());
        all.extend_from_slice(said);
    }
    all.extend_from_slice(bytes);
    all
}

/// What goes on behind a question, in datagrams and in a stream.
pub fn dns(bytes: &[u8]) {
    let to_server = Direction::ToServer;
    dissect_pieces(UDP, &after(&[(to_server, QUESTION)], bytes), usize::MAX);
    let length = (QUESTION.len() as u16).to_be_bytes();
    check_conversation(&after(&[(to_server, &[&length, QUESTION].concat())], bytes));
}

/// What goes on behind both banners.
pub fn ssh(bytes: &[u8]) {
    let banner = &b"SSH-2.0-x\r\n"[..];
    check_conversation(&after(&[(Direction::ToServer, banner), (Direction::ToClient, banner)], bytes));
}

/// What goes on behind a greeting of mail.
pub fn smtp(bytes: &[u8]) {
    check_conversation(&after(&[(Direction::ToClient, b"220 x ESMTP\r\n")], bytes));
}

/// What goes on behind a greeting of files.
pub fn ftp(bytes: &[u8]) {
    check_conversation(&after(&[(Direction::ToClient, b"220 FTP\r\n")], bytes));
}

/// Options of a request and of an answer: a name is found in each at most once, and is part of it.
pub fn dhcp(bytes: &[u8]) {
    for kind in [1, 2] {
        let mut message = vec![kind, 1, 6, 0];
        message.resize(236, 7);
        message.extend([0x63, 0x82, 0x53, 0x63]);
        message.extend_from_slice(bytes.get(..1_200).unwrap_or(bytes));
        let found = dissect_pieces(UDP, &after(&[(Direction::ToServer, &message)], &[]), usize::MAX);
        assert!(found.len() <= 2, "more than the protocol and a name: {found:?}");
    }
}
