//! Names of extracted files. Traffic chooses their words, so only bytes that mean nothing to a shell come through.

/// Longest name, without the ending of a chunk.
const MAX_NAME: usize = 200;
/// Of which the host may take so much.
const MAX_HOST: usize = 80;

const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn safe(bytes: &[u8]) -> impl Iterator<Item = char> {
    bytes.iter().map(|&byte| if is_safe(byte) { char::from(byte) } else { '_' })
}

/// The name of a content: host, last part of the request target and number, joined by `_`. `number` must be safe itself.
#[must_use]
pub fn file_name(host: &[u8], target: &[u8], number: &str) -> String {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let host = &host[..host.len().min(MAX_HOST)];
    let room = MAX_NAME.saturating_sub(host.len() + number.len() + 2);
    let mut name: String = safe(host).collect();
    if name.starts_with(['.', '-']) {
        name.replace_range(..1, "_");
    }
    name.push('_');
    name.extend(safe(&last[..last.len().min(room)]));
    name.push('_');
    name.push_str(number);
    name
}

/// True if names of files in a directory can be pasted into a shell command: an absolute path of safe bytes.
#[must_use]
pub fn is_safe_directory(path: &str) -> bool {
    path.len() > 1
        && path.starts_with('/')
        && !path.contains("//")
        && path.bytes().all(|byte| byte == b'/' || is_safe(byte))
        && path.split('/').all(|part| !part.starts_with('-') && part != "..")
}

#[cfg(test)]
mod tests {
    use super::{file_name, is_safe_directory};
    use proptest::prelude::*;

    #[test]
    fn a_name_is_host_last_part_and_number() {
        assert_eq!(file_name(b"www.example.com", b"/a/b/setup.exe?x=/y#z", "17"), "www.example.com_setup.exe_17");
        assert_eq!(file_name(b"h:8080", b"/", "1"), "h_8080__1");
        assert_eq!(file_name(b"h", b"http://h/x/y.zip", "1-2"), "h_y.zip_1-2");
        assert_eq!(file_name(b"", b"*", "3"), "___3");
    }

    #[test]
    fn hostile_words_become_harmless() {
        for (host, target, name) in [
            (&b"../../etc"[..], &b"/passwd"[..], "_._.._etc_passwd_1"),
            (b"-rf", b"/x", "_rf_x_1"),
            (b".hidden", b"/.x", "_hidden_.x_1"),
            (b"h", b"/..%2f..%2fetc", "h_..%2f..%2fetc_1"),
            (b"h", b"/$(reboot)", "h___reboot__1"),
            (b"h", b"/a b\tc", "h_a_b_c_1"),
            (b"h", b"/'\"`;|&<>", "h__________1"),
            (b"h", b"/a\0b\nc", "h_a_b_c_1"),
            (b"h", "/ü".as_bytes(), "h____1"),
        ] {
            assert_eq!(file_name(host, target, "1"), name.replace('%', "_"), "{target:?}");
        }
    }

    #[test]
    fn directories_are_absolute_and_safe() {
        for good in ["/dev/shm/millstream-0-0", "/tmp/a_b/c.d"] {
            assert!(is_safe_directory(good), "{good}");
        }
        for bad in ["", "/", "tmp", "/tmp/a b", "/tmp/$x", "/tmp/../etc", "/tmp/-x", "/tmp//x", "/tmp/ü", "/a;b"] {
            assert!(!is_safe_directory(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_names_are_short_and_safe(
            host in proptest::collection::vec(any::<u8>(), 0..300),
            target in proptest::collection::vec(any::<u8>(), 0..600),
            number in 0_u64..,
        ) {
            let name = file_name(&host, &target, &number.to_string());
            prop_assert!(name.len() <= 200 && !name.starts_with(['.', '-']));
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
            let end = format!("_{}", number);
            prop_assert!(name.ends_with(&end));
        }
    }
}
