//! Hexadecimal digits by table.

/// Both digits of every byte, upper case.
pub(super) static PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut table = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = [DIGITS[i >> 4], DIGITS[i & 15]];
        i += 1;
    }
    table
};

/// Value of a digit; 0xFF for what is none. Lower case is none: a key spelt so is another key.
pub(super) static UPPER: [u8; 256] = digits(Case::Upper);

/// Value of a digit of either case; 0xFF for what is none.
pub(super) static ANY_CASE: [u8; 256] = digits(Case::Any);

/// Which letters count as digits.
enum Case {
    Upper,
    Any,
}

const fn digits(case: Case) -> [u8; 256] {
    let mut table = [0xFF; 256];
    let mut i = 0;
    while i < 16 {
        let offset = i as u8;
        if i < 10 {
            table[b'0' as usize + i] = offset;
        } else {
            table[b'A' as usize + i - 10] = offset;
            if matches!(case, Case::Any) {
                table[b'a' as usize + i - 10] = offset;
            }
        }
        i += 1;
    }
    table
}

/// Decodes `N` bytes whose digit pairs start every `STRIDE` characters. `None` if a digit is none of `table`'s.
///
/// The caller checks separators. The length is in the type and every digit is looked up before one test at the end,
/// which leaves neither bounds nor branches in the loop.
#[inline]
pub(super) fn decode<const N: usize, const STRIDE: usize, const L: usize>(
    text: &[u8; L],
    table: &[u8; 256],
) -> Option<[u8; N]> {
    const { assert!((N - 1) * STRIDE + 2 <= L, "the last pair lies within the text") };
    let mut bytes = [0; N];
    let mut seen = 0;
    for (i, byte) in bytes.iter_mut().enumerate() {
        let high = table[text[i * STRIDE] as usize];
        let low = table[text[i * STRIDE + 1] as usize];
        seen |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (seen < 16).then_some(bytes)
}

/// The value of a text that is all hexadecimal digits of either case, at most eight of them.
pub(super) fn parse_u32(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 8 {
        return None;
    }
    text.iter().try_fold(0, |value: u32, &c| match ANY_CASE[c as usize] {
        0xFF => None,
        digit => Some((value << 4) | u32::from(digit)),
    })
}
