//! Short ASCII text on the stack.

use std::fmt;
use std::ops::Deref;

use super::hex::PAIRS;

/// ASCII text of at most `N` bytes, held in place.
///
/// What does not fit is left out; every form in this module is shorter than the type it returns.
#[derive(Clone, Copy)]
pub struct Inline<const N: usize> {
    // INVARIANT: len <= N, and bytes[..len] are ASCII.
    len: u8,
    bytes: [u8; N],
}

/// Text of one host, port or MAC key, or its readable form.
pub type KeyText = Inline<47>;

impl<const N: usize> Inline<N> {
    const FITS: () = assert!(N <= u8::MAX as usize, "the length is one byte");

    /// Empty text.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        let () = Self::FITS;
        Self { len: 0, bytes: [0; N] }
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII is ever added")
    }

    /// Adds two upper-case hexadecimal digits.
    #[inline]
    pub fn push_hex(&mut self, byte: u8) {
        self.push_ascii(&PAIRS[byte as usize]);
    }

    /// Adds two upper-case hexadecimal digits for every byte.
    #[inline]
    pub fn push_hex_all(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        debug_assert!(start + bytes.len() * 2 <= N, "the type is large enough for every form");
        let (pairs, _) = self.bytes[start..].as_chunks_mut::<2>();
        let mut pushed = 0;
        for (pair, &byte) in pairs.iter_mut().zip(bytes) {
            *pair = PAIRS[byte as usize];
            pushed += 2;
        }
        self.len += pushed;
    }

    /// The next `L` bytes for the caller to fill with ASCII, which saves a copy; `None` if they do not fit.
    #[inline]
    pub(super) fn room<const L: usize>(&mut self) -> Option<&mut [u8; L]> {
        let room = self.bytes.get_mut(usize::from(self.len)..)?.first_chunk_mut::<L>();
        debug_assert!(room.is_some(), "the type is large enough for every form");
        // All forms are shorter than the length can count, since `N` is.
        self.len += if room.is_some() { L as u8 } else { 0 };
        room
    }

    /// Adds a decimal number.
    #[inline]
    pub fn push_decimal(&mut self, mut number: u32) {
        let mut digits = [0; 10];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.push_ascii(&digits[at..]);
    }

    /// Adds text; characters beyond ASCII become `?`.
    pub fn push_str(&mut self, text: &str) {
        if text.is_ascii() {
            self.push_ascii(text.as_bytes());
        } else {
            for c in text.chars() {
                self.push_ascii(&[if c.is_ascii() { c as u8 } else { b'?' }]);
            }
        }
    }

    /// Adds text and blanks up to `width` characters, as `%-*s` does.
    pub(super) fn push_padded(&mut self, text: &str, width: usize) {
        self.push_str(text);
        for _ in text.len()..width {
            self.push_ascii(b" ");
        }
    }

    /// Adds bytes that the caller knows to be ASCII.
    #[inline]
    pub(super) fn push_ascii(&mut self, text: &[u8]) {
        debug_assert!(text.is_ascii());
        let start = usize::from(self.len);
        debug_assert!(start + text.len() <= N, "the type is large enough for every form");
        let taken = text.len().min(N - start);
        self.bytes[start..start + taken].copy_from_slice(&text[..taken]);
        self.len += taken as u8;
    }
}

impl<const N: usize> Default for Inline<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for Inline<N> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> fmt::Write for Inline<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> PartialEq for Inline<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for Inline<N> {}

impl<const N: usize> PartialEq<str> for Inline<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> PartialEq<&str> for Inline<N> {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}
