//! A counter key as bytes of fixed size, so that hashing and comparing it never touches text.
//!
//! Text in one of the binary forms (addresses, ports, MACs) is packed to its bytes; other text up to 16 bytes is held
//! as it is; longer text lives in the table's text store. Within one kind the numeric order of the packed words is the
//! byte order of the text.

use std::cmp::Ordering;

use crate::key::{BinaryKey, KeyKind, canonical};

/// Longest key; longer ones are cut.
pub const MAX_KEY_LEN: usize = 255;

/// Longest text that is held as it is; longer ones lie in the table's text store.
pub const LONGEST_INLINE: usize = 16;

/// Name of the sum over all keys of a group; scripts cannot update it.
pub const GROUP_TOTALS: &[u8] = b"SYS:GROUP_TOTALS";

/// Key that takes the updates of new keys once a group is full.
pub const OVERFLOW_KEY: &[u8] = b"SYS:OVERFLOW";

/// Kind number of text that lives in the text store; the others are those of [`KeyKind`].
const LONG: u8 = 0xFF;

/// A key of fixed size: two words of content, and kind and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    /// Bytes 0..8, big-endian, zero behind the end; for long text the offset in the text store.
    pub hi: u64,
    /// Bytes 8..16; for long text the hash of the text.
    pub lo: u64,
    /// Kind in bits 8..16, length in bits 0..8.
    pub tag: u32,
}

/// A key as a caller names it, ready to be looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe<'a> {
    /// It fits the record.
    Inline(Packed),
    /// Text longer than 16 bytes, at most [`MAX_KEY_LEN`], without NUL.
    Long(&'a [u8]),
}

impl Packed {
    /// Of a key with a binary form.
    #[inline]
    pub fn binary(key: &BinaryKey) -> Self {
        let [hi, lo] = halves(key.bytes);
        Self { hi, lo, tag: tag(key.kind as u8, key.kind.len()) }
    }

    /// Of the bytes of a kind other than text; the caller has checked their number.
    #[inline]
    pub fn bytes(kind: KeyKind, bytes: &[u8]) -> Self {
        let (hi, lo) = short(bytes);
        Self { hi, lo, tag: tag(kind as u8, bytes.len()) }
    }

    /// Of a kind of up to four bytes, which are a number in network order. Never in memory: see [`short`].
    #[inline(always)]
    pub fn word(kind: KeyKind, word: u32) -> Self {
        debug_assert!(kind.len() <= 4);
        Self { hi: u64::from(word) << (64 - 8 * kind.len()), lo: 0, tag: tag(kind as u8, kind.len()) }
    }

    /// Of text kept in the text store.
    pub fn long(offset: usize, len: usize, hash: u64) -> Self {
        Self { hi: offset as u64, lo: hash, tag: tag(LONG, len) }
    }

    #[inline]
    fn kind(self) -> u8 {
        (self.tag >> 8) as u8
    }

    fn len(self) -> usize {
        (self.tag & 0xFF) as usize
    }

    #[inline]
    pub fn is_long(self) -> bool {
        self.kind() == LONG
    }

    /// Where a long text lies in the text store.
    pub fn range(self) -> std::ops::Range<usize> {
        self.hi as usize..self.hi as usize + self.len()
    }

    /// Calls `read` with the text of the key.
    pub fn with_text<R>(self, texts: &[u8], read: impl FnOnce(&[u8]) -> R) -> R {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.hi.to_be_bytes());
        bytes[8..].copy_from_slice(&self.lo.to_be_bytes());
        let kind = match self.kind() {
            LONG => return read(&texts[self.range()]),
            k if k == KeyKind::Host4 as u8 => KeyKind::Host4,
            k if k == KeyKind::Host6 as u8 => KeyKind::Host6,
            k if k == KeyKind::Port as u8 => KeyKind::Port,
            k if k == KeyKind::Mac as u8 => KeyKind::Mac,
            _ => return read(&bytes[..self.len()]),
        };
        read(BinaryKey { kind, bytes }.text().as_bytes())
    }

    /// Order of the texts, byte by byte.
    pub fn cmp_text(self, texts: &[u8], other: Self, other_texts: &[u8]) -> Ordering {
        if self.kind() == other.kind() && !self.is_long() {
            // Zero padding is below any byte of a text without NUL, so a prefix sorts first.
            return (self.hi, self.lo).cmp(&(other.hi, other.lo));
        }
        self.with_text(texts, |a| other.with_text(other_texts, |b| a.cmp(b)))
    }
}

impl Probe<'_> {
    /// Calls `read` with the text of the key.
    pub fn with_text<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Inline(packed) => packed.with_text(&[], read),
            Self::Long(text) => read(text),
        }
    }
}

/// Brings a key as a script wrote it into its canonical form: ends at the first NUL, at most [`MAX_KEY_LEN`] bytes,
/// binary where the text is exactly that of a binary key.
#[inline]
pub(super) fn probe(text: &[u8]) -> Probe<'_> {
    if let Some(key) = canonical(text) {
        return Probe::Inline(Packed::binary(&key));
    }
    if text.len() <= LONGEST_INLINE {
        let (hi, lo) = short(text);
        if !has_nul(hi, lo, text.len()) {
            return Probe::Inline(Packed { hi, lo, tag: tag(KeyKind::Text as u8, text.len()) });
        }
    }
    probe_slow(text)
}

#[cold]
#[inline(never)]
fn probe_slow(text: &[u8]) -> Probe<'_> {
    let end = text.iter().take(MAX_KEY_LEN).position(|&c| c == 0).unwrap_or_else(|| text.len().min(MAX_KEY_LEN));
    if end < text.len() || end <= LONGEST_INLINE {
        // What is left may be a canonical form again, and it has no NUL any more: this does not recurse twice.
        let text = &text[..end];
        if let Some(key) = canonical(text) {
            return Probe::Inline(Packed::binary(&key));
        }
        if text.len() <= LONGEST_INLINE {
            let (hi, lo) = short(text);
            return Probe::Inline(Packed { hi, lo, tag: tag(KeyKind::Text as u8, text.len()) });
        }
    }
    Probe::Long(&text[..end])
}

#[inline]
const fn tag(kind: u8, len: usize) -> u32 {
    ((kind as u32) << 8) | len as u32
}

#[inline]
fn halves(bytes: [u8; 16]) -> [u64; 2] {
    let both = u128::from_be_bytes(bytes);
    [(both >> 64) as u64, both as u64]
}

/// Up to 16 bytes as two big-endian words. Overlapping loads: a copy of variable length would be a call to `memcpy`.
#[inline]
pub(super) fn short(text: &[u8]) -> (u64, u64) {
    let n = text.len();
    debug_assert!(n <= 16);
    if n >= 8 {
        let hi = load8(&text[..8]);
        let last = load8(&text[n - 8..]);
        (hi, if n == 8 { 0 } else { last << (8 * (16 - n)) })
    } else if n >= 4 {
        let first = u64::from(load4(&text[..4]));
        let last = u64::from(load4(&text[n - 4..]));
        ((first << 32) | (last << (8 * (8 - n))), 0)
    } else if n > 0 {
        // First, middle and last byte, some of them the same: no loop.
        let byte = |i: usize| u64::from(text[i]) << (56 - 8 * i);
        (byte(0) | byte(n / 2) | byte(n - 1), 0)
    } else {
        (0, 0)
    }
}

#[inline]
fn load8(text: &[u8]) -> u64 {
    text.try_into().map_or(0, u64::from_be_bytes)
}

#[inline]
fn load4(text: &[u8]) -> u32 {
    text.try_into().map_or(0, u32::from_be_bytes)
}

/// True if one of the first `len` bytes is zero.
#[inline]
fn has_nul(hi: u64, lo: u64, len: usize) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7) != 0;
    let padding = |used: usize| u64::MAX.checked_shr(8 * used as u32).unwrap_or(0);
    zero(hi | padding(len.min(8))) || zero(lo | padding(len.saturating_sub(8)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{MAX_KEY_LEN, Packed, Probe, probe};

    fn text_of(key: &[u8]) -> Vec<u8> {
        match probe(key) {
            Probe::Inline(packed) => packed.with_text(&[], <[u8]>::to_vec),
            Probe::Long(text) => text.to_vec(),
        }
    }

    fn naive(key: &[u8]) -> Vec<u8> {
        key.iter().copied().take_while(|&c| c != 0).take(MAX_KEY_LEN).collect()
    }

    fn packed(key: &[u8]) -> Packed {
        match probe(key) {
            Probe::Inline(packed) => packed,
            Probe::Long(_) => panic!("short keys only"),
        }
    }

    proptest! {
        #[test]
        fn any_key_reads_back_cut_at_nul_and_255(key in proptest::collection::vec(any::<u8>(), 0..300)) {
            assert_eq!(text_of(&key), naive(&key));
        }

        #[test]
        fn short_keys_order_like_their_texts(a in "[ -~]{0,16}", b in "([0-9A-F]{2}[.]){3}[0-9A-F]{2}|p-[0-9A-F]{4}|[a-d]{0,4}") {
            let (x, y) = (packed(a.as_bytes()), packed(b.as_bytes()));
            assert_eq!(x.cmp_text(&[], y, &[]), a.as_bytes().cmp(b.as_bytes()));
        }
    }

    #[test]
    fn a_key_with_a_trailing_nul_is_the_key_without() {
        assert_eq!(packed(b"C0.A8.01.02\0"), packed(b"C0.A8.01.02"));
        assert_eq!(packed(b"host\0rest of a very long line"), packed(b"host"));
        assert_eq!(text_of(b"\0"), b"");
        assert_eq!(text_of(&[b'x'; 65_536]).len(), MAX_KEY_LEN);
    }
}
