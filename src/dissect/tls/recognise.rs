//! Whether a stream starts as TLS does.

use super::record::MAX_RECORD;
use crate::dissect::Recognition;
use crate::flow::Direction;

/// Judges the first bytes of a stream: a handshake record with a hello in it, an old hello that offers SSL 3 or TLS, or
/// an alert. Streams that are met in their middle may start with the other side's hello, so the direction only decides
/// which old forms can occur.
#[must_use]
pub fn recognise(direction: Direction, head: &[u8]) -> Recognition {
    let Some(first) = head.first() else { return Recognition::Undecided };
    let fits: &[fn(&[u8]) -> bool] = match first {
        22 => &[|h| h[1] == 3, |h| h[2] <= 4, |h| (4..=MAX_RECORD).contains(&length(h)), |h| matches!(h[5], 1 | 2)],
        21 => &[|h| h[1] == 3, |h| h[2] <= 4, |h| length(h) == 2, |h| matches!(h[5], 1 | 2)],
        0x80.. if direction == Direction::ToServer => {
            // Hello of version 2 syntax: type 1, then the version offered.
            &[|h| h[2] == 1, |h| h[3] == 3, |h| h[4] <= 3, |h| usize::from(h[0] & 0x7F) << 8 | usize::from(h[1]) >= 25]
        }
        _ => return Recognition::No,
    };
    // The last byte that each of the checks looks at.
    let needed: [usize; 4] = if *first >= 0x80 { [2, 3, 4, 4] } else { [1, 2, 4, 5] };
    for (check, needed) in fits.iter().zip(needed) {
        if head.len() <= needed {
            return Recognition::Undecided;
        }
        if !check(head) {
            return Recognition::No;
        }
    }
    Recognition::Yes
}

fn length(head: &[u8]) -> usize {
    usize::from(head[3]) << 8 | usize::from(head[4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &[u8]) -> Recognition {
        recognise(Direction::ToServer, head)
    }

    #[test]
    fn a_hello_is_recognised_once_its_type_is_there() {
        let head = [22, 3, 1, 2, 0, 1, 0, 1, 0xFC];
        assert_eq!(judge(&head), Recognition::Yes);
        for length in 0..6 {
            assert_eq!(judge(&head[..length]), Recognition::Undecided, "{length}");
        }
    }

    #[test]
    fn what_no_tls_peer_sends_is_refused_as_soon_as_it_shows() {
        for head in [&b"GET / HTTP/1.1"[..], &[22, 2], &[22, 3, 9], &[22, 3, 1, 0xFF, 0xFF], &[22, 3, 1, 0, 40, 9]] {
            assert_eq!(judge(head), Recognition::No, "{head:?}");
        }
        assert_eq!(judge(&[21, 3, 3, 0, 2, 2, 40]), Recognition::Yes);
    }

    #[test]
    fn old_hellos_are_for_servers_only() {
        let head = [0x80, 46, 1, 3, 1, 0, 21];
        assert_eq!(judge(&head), Recognition::Yes);
        assert_eq!(recognise(Direction::ToClient, &head), Recognition::No);
        assert_eq!(judge(&[0x80, 46, 1, 0, 2]), Recognition::No);
    }
}
