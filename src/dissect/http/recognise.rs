//! Whether a stream speaks HTTP/1, told from its first bytes.

use super::header::{HeaderBlock, is_blank};
use crate::dissect::Recognition;
use crate::flow::Direction;

/// Methods that are believed without a look at the version.
const METHODS: [&[u8]; 32] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"CONNECT",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"CHECKOUT",
    b"CHECKIN",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"ACL",
    b"BIND",
    b"REBIND",
    b"UNBIND",
    b"PURGE",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
];

/// Longest method.
const MAX_METHOD: usize = 32;

/// How far the version of a request with an unknown method is looked for.
const MAX_LINE: usize = 512;

/// Schemes of protocols with the same shape of request.
const OTHERS: [&[u8]; 4] = [b"rtsp:", b"rtspu:", b"sip:", b"sips:"];

/// Whether the first bytes of a direction are those of HTTP/1. `head` is all that came so far, from the first byte of
/// the stream; at most 512 bytes of it are looked at.
#[must_use]
pub fn recognise(direction: Direction, head: &[u8]) -> Recognition {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    // A few line ends before the first message are left over from something.
    if start > 4 {
        return Recognition::No;
    }
    let head = &head[start..head.len().min(start + MAX_LINE)];
    let verdict = match direction {
        Direction::ToServer => request(head),
        Direction::ToClient => response(head),
    };
    // More of it would tell no more.
    if verdict == Recognition::Undecided && head.len() == MAX_LINE { Recognition::No } else { verdict }
}

fn response(head: &[u8]) -> Recognition {
    const START: &[u8] = b"HTTP/";
    let common = head.len().min(START.len());
    if !head[..common].eq_ignore_ascii_case(&START[..common]) {
        return Recognition::No;
    }
    match head.get(START.len()) {
        Some(b'0'..=b'9') => Recognition::Yes,
        Some(_) => Recognition::No,
        None => Recognition::Undecided,
    }
}

fn request(head: &[u8]) -> Recognition {
    let length = head.iter().position(|byte| !is_token(*byte)).unwrap_or(head.len());
    if length > MAX_METHOD {
        return Recognition::No;
    }
    let (method, rest) = head.split_at(length);
    match rest.first() {
        None => return Recognition::Undecided,
        Some(byte) if is_blank(*byte) && length > 0 => {}
        Some(_) => return Recognition::No,
    }
    let known = METHODS.contains(&method);
    let Some(start) = rest.iter().position(|byte| !is_blank(*byte)) else { return Recognition::Undecided };
    let target = &rest[start..];
    if known {
        let verdict = believable(method, target);
        if verdict != Recognition::No {
            return verdict;
        }
    }
    match memchr::memchr(b'\n', head) {
        Some(end) if HeaderBlock::new(&head[..end]).version().starts_with(b"HTTP/1.") => Recognition::Yes,
        None if head.len() < MAX_LINE => Recognition::Undecided,
        _ => Recognition::No,
    }
}

/// Whether what follows a known method can be a target: other protocols have commands of the same names.
fn believable(method: &[u8], target: &[u8]) -> Recognition {
    match target.first() {
        Some(b'/' | b'*') => return Recognition::Yes,
        Some(b'[') if method == b"CONNECT" => return Recognition::Yes,
        Some(byte) if byte.is_ascii_alphanumeric() => {}
        _ => return Recognition::No,
    }
    if OTHERS.iter().any(|scheme| target.len() >= scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)) {
        return Recognition::No;
    }
    let Some(colon) = target.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte)) else {
        return Recognition::Undecided;
    };
    match (target[colon], method) {
        (b':', b"CONNECT") => Recognition::Yes,
        (b':', _) if target[colon..].starts_with(b"://") => Recognition::Yes,
        (b':', _) if b"://".starts_with(&target[colon..]) => Recognition::Undecided,
        _ => Recognition::No,
    }
}

/// Whether a first line can begin a message of a direction; stricter about methods where the version is missing.
pub(super) fn can_begin(direction: Direction, block: &HeaderBlock<'_>) -> bool {
    match direction {
        Direction::ToClient => block.is_response(),
        Direction::ToServer => {
            let method = block.method();
            let sound = (1..=MAX_METHOD).contains(&method.len()) && method.iter().all(|byte| is_token(*byte));
            block.is_request() && sound && (!block.version().is_empty() || METHODS.contains(&method))
        }
    }
}

/// Characters of a token (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request_of(text: &str) -> Recognition {
        recognise(Direction::ToServer, text.as_bytes())
    }

    #[test]
    fn requests_are_recognised() {
        for text in [
            "GET / HTTP/1.1\r\n",
            "GET /",
            "\r\nPOST /x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET http://www.example.com/ HTTP/1.1",
            "CONNECT www.example.com:443 HTTP/1.1",
            "CONNECT [2001:db8::1]:443 HTTP/1.1",
            "FROBNICATE /x HTTP/1.1\r\n",
            "GET path HTTP/1.0\r\n",
        ] {
            assert_eq!(request_of(text), Recognition::Yes, "{text:?}");
        }
    }

    #[test]
    fn what_could_still_become_a_request_is_undecided() {
        for text in ["", "\r\n", "G", "GET", "GET ", "OPTIONS s", "GET http:", "FROBNICATE /x HTTP/1.1", "EHLO there"] {
            assert_eq!(request_of(text), Recognition::Undecided, "{text:?}");
        }
    }

    #[test]
    fn commands_of_other_protocols_are_no_requests() {
        for text in [
            "EHLO mail.example.com\r\n",
            "USER anonymous\r\n",
            "OPTIONS sip:bob@example.com SIP/2.0\r\n",
            "OPTIONS rtsp://camera/ RTSP/1.0\r\n",
            "HEAD 1204\r\n",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "PRI * HTTP/2.0\r\n",
            "\u{16}\u{3}\u{1}",
            " GET / HTTP/1.1\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n",
        ] {
            assert_eq!(request_of(text), Recognition::No, "{text:?}");
        }
        assert_eq!(request_of(&"A".repeat(40)), Recognition::No);
        assert_eq!(request_of(&format!("X /{}", "a".repeat(600))), Recognition::No);
    }

    #[test]
    fn responses_are_recognised_by_their_version() {
        let response_of = |text: &str| recognise(Direction::ToClient, text.as_bytes());
        assert_eq!(response_of("HTTP/1.1 200 OK\r\n"), Recognition::Yes);
        assert_eq!(response_of("http/1"), Recognition::Yes);
        assert_eq!(response_of("HTT"), Recognition::Undecided);
        assert_eq!(response_of("HTTPS/1"), Recognition::No);
        assert_eq!(response_of("220 ready"), Recognition::No);
    }

    #[test]
    fn more_bytes_never_change_a_verdict() {
        for text in [
            "GET http://www.example.com/ HTTP/1.1\r\n",
            "OPTIONS sip:bob@example.com SIP/2.0\r\n",
            "ACL x HTTP/1.1\r\n",
        ] {
            let verdicts: Vec<_> = (0..=text.len()).map(|len| request_of(&text[..len])).collect();
            let decided =
                verdicts.iter().position(|verdict| *verdict != Recognition::Undecided).expect("it is decided");
            assert!(verdicts[decided..].iter().all(|verdict| *verdict == verdicts[decided]), "{text:?}");
        }
    }
}
