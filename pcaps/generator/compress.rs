//! Deflate with the fixed code of RFC 1951, and what is built on it: gzip, zlib, PNG. Written here so that the bytes of
//! the captures do not change with the version of a library.

use std::collections::HashMap;

struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        self.held |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.out.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes go in with their most significant bit first.
    fn code(&mut self, value: u32, width: u32) {
        self.put(value.reverse_bits() >> (32 - width), width);
    }

    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xC0 + symbol - 280, 8),
        }
    }
}

/// Code number, extra bits and their width for a value of a range that doubles every `per` codes.
fn ranged(value: u32, first_extra: u32, per: u32) -> (u32, u32, u32) {
    let mut base = 0;
    for code in 0.. {
        let width = if code < first_extra { 0 } else { (code - first_extra) / per + 1 };
        if value < base + (1 << width) {
            return (code, value - base, width);
        }
        base += 1 << width;
    }
    unreachable!("the ranges grow without end")
}

pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut bits = Bits { out: Vec::new(), held: 0, count: 0 };
    bits.put(1, 1);
    bits.put(1, 2);
    let mut seen: HashMap<[u8; 3], usize> = HashMap::new();
    let mut i = 0;
    while i < data.len() {
        let here: Option<[u8; 3]> = data.get(i..i + 3).and_then(|s| s.try_into().ok());
        let found = here.and_then(|key| seen.insert(key, i)).filter(|&at| i - at <= 32_768);
        let Some(at) = found else {
            bits.symbol(u32::from(data[i]));
            i += 1;
            continue;
        };
        // 258 has a code of its own; stopping at 257 leaves that case out.
        let length = (0..257.min(data.len() - i)).take_while(|&k| data[at + k] == data[i + k]).count();
        let (code, extra, width) = ranged(length as u32 - 3, 8, 4);
        bits.symbol(257 + code);
        bits.put(extra, width);
        let (code, extra, width) = ranged((i - at) as u32 - 1, 4, 2);
        bits.code(code, 5);
        bits.put(extra, width);
        i += length;
    }
    bits.symbol(256);
    bits.put(0, 7);
    bits.out
}

fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = !0u32;
    for &byte in parts.iter().copied().flatten() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    [
        &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255][..],
        &deflate(data),
        &crc32(&[data]).to_le_bytes(),
        &super::container::word(data.len()).to_le_bytes(),
    ]
    .concat()
}

/// A valid PNG image: `size` by `size` pixels, eight bits of red, green and blue.
pub fn png(size: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        let length = super::container::word(body.len()).to_be_bytes();
        [&length[..], kind, body, &crc32(&[kind, body]).to_be_bytes()].concat()
    };
    let mut rows = Vec::new();
    for y in 0..size {
        rows.push(0);
        for x in 0..size {
            rows.extend_from_slice(&pixel(x, y));
        }
    }
    let header = [&size.to_be_bytes()[..], &size.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let image = [&[0x78, 0x01][..], &deflate(&rows), &adler32(&rows).to_be_bytes()].concat();
    [&b"\x89PNG\r\n\x1A\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", &image), &chunk(b"IEND", b"")].concat()
}
