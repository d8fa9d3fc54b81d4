//! Reading numbers and vectors off the front of bytes.

/// What is left to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// At the start of some bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True at the end.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, if there are as many.
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(front)
    }

    /// A number of one byte.
    pub fn number8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A number of two bytes.
    pub fn number16(&mut self) -> Option<u16> {
        let (front, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*front))
    }

    /// A number of three bytes.
    pub fn number24(&mut self) -> Option<u32> {
        let ([a, b, c], rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes([0, *a, *b, *c]))
    }

    /// A number of four bytes.
    pub fn number32(&mut self) -> Option<u32> {
        let (front, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*front))
    }

    /// Bytes with their length in one byte in front.
    pub fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.number8()?;
        self.take(usize::from(length))
    }

    /// Bytes with their length in two bytes in front.
    pub fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.number16()?;
        self.take(usize::from(length))
    }

    /// Bytes with their length in three bytes in front.
    pub fn vector24(&mut self) -> Option<&'a [u8]> {
        let length = self.number24()?;
        self.take(length as usize)
    }
}
