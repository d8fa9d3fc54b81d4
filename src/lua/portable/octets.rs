//! Numbers and texts one behind the other, for what is written down and read again by the same program.

/// Writes to the end of a list of bytes.
#[derive(Debug, Default)]
pub struct Octets(Vec<u8>);

impl Octets {
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Four bytes.
    pub fn word(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Eight bytes.
    pub fn long(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// A length and as many bytes. What is too long for it was refused long before: nothing that travels has 4 GiB.
    pub fn text(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.word(length);
        self.0.extend_from_slice(&bytes[..length as usize]);
    }
}

/// Reads them again; nothing where there are too few bytes.
#[derive(Clone, Copy, Debug)]
pub struct OctetReader<'a>(&'a [u8]);

impl<'a> OctetReader<'a> {
    /// From the first byte on.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all were read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// Four bytes.
    pub fn word(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn long(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A length and as many bytes.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.word()?;
        self.take(length as usize)
    }

    /// A number of things that take at least `least` bytes each: never more than there can be.
    pub fn count(&mut self, least: usize) -> Option<usize> {
        let count = self.word()? as usize;
        (count.checked_mul(least.max(1))? <= self.0.len()).then_some(count)
    }
}
