//! What the two hellos say.

use super::cursor::Cursor;

/// Numbers of extensions.
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const GROUPS: u16 = 10;
    pub const POINT_FORMATS: u16 = 11;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const PROTOCOLS: u16 = 16;
    pub const SUPPORTED_VERSIONS: u16 = 43;
}

/// Random number of a server hello that asks for another client hello (RFC 8446, section 4.1.3).
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11,
    0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// True for values that are sent only to keep others from relying on what they know (RFC 8701).
pub const fn is_grease(value: u16) -> bool {
    value & 0x0F0F == 0x0A0A && value >> 8 == value & 0xFF
}

/// Numbers of two bytes one after the other, without the GREASE ones.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> + Clone + '_ {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).filter(|value| !is_grease(*value))
}

/// Type and contents of each extension; ends where it cannot be read.
fn extensions(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> + Clone + '_ {
    let mut cursor = Cursor::new(bytes);
    std::iter::from_fn(move || Some((cursor.number16()?, cursor.vector16()?)))
}

/// A client hello.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'a> {
    version: u16,
    ciphers: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> ClientHello<'a> {
    /// Reads the body of the message; nothing if it is cut off before the extensions.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let version = cursor.number16()?;
        cursor.take(32)?;
        cursor.vector8()?;
        let ciphers = cursor.vector16()?;
        cursor.vector8()?;
        let extensions = cursor.vector16().unwrap_or_default();
        Some(Self { version, ciphers, extensions })
    }

    /// The version in its head, which later versions have frozen.
    #[must_use]
    pub const fn legacy_version(&self) -> u16 {
        self.version
    }

    /// The highest version it offers.
    #[must_use]
    pub fn highest_version(&self) -> u16 {
        let list = self.extension(extension::SUPPORTED_VERSIONS).and_then(|body| Cursor::new(body).vector8());
        list.and_then(|list| numbers(list).max()).unwrap_or(self.version)
    }

    /// Cipher suites, in order, without GREASE.
    pub fn ciphers(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        numbers(self.ciphers)
    }

    /// Types of extensions, in order, without GREASE.
    pub fn extension_types(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        extensions(self.extensions).map(|(kind, _)| kind).filter(|kind| !is_grease(*kind))
    }

    /// Groups it can use, in order, without GREASE.
    pub fn groups(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        numbers(self.list16(extension::GROUPS))
    }

    /// Signature algorithms, in order, without GREASE.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        numbers(self.list16(extension::SIGNATURE_ALGORITHMS))
    }

    /// Forms of points.
    #[must_use]
    pub fn point_formats(&self) -> &'a [u8] {
        self.extension(extension::POINT_FORMATS).and_then(|body| Cursor::new(body).vector8()).unwrap_or_default()
    }

    /// True if it has the extension for the server's name, whatever is in it.
    #[must_use]
    pub fn has_server_name(&self) -> bool {
        self.extension(extension::SERVER_NAME).is_some()
    }

    /// The name of the server.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        let mut list = Cursor::new(Cursor::new(self.extension(extension::SERVER_NAME)?).vector16()?);
        loop {
            let (kind, name) = (list.number8()?, list.vector16()?);
            if kind == 0 && !name.is_empty() {
                return Some(name);
            }
        }
    }

    /// Protocols it offers to speak inside, in order.
    pub fn protocols(&self) -> impl Iterator<Item = &'a [u8]> + Clone + 'a {
        let mut list = Cursor::new(self.list16(extension::PROTOCOLS));
        std::iter::from_fn(move || list.vector8())
    }

    fn extension(&self, wanted: u16) -> Option<&'a [u8]> {
        extensions(self.extensions).find(|(kind, _)| *kind == wanted).map(|(_, body)| body)
    }

    /// Contents of an extension that is a list with its length in two bytes in front.
    fn list16(&self, wanted: u16) -> &'a [u8] {
        self.extension(wanted).and_then(|body| Cursor::new(body).vector16()).unwrap_or_default()
    }
}

/// A server hello.
#[derive(Clone, Copy, Debug)]
pub struct ServerHello<'a> {
    version: u16,
    random: &'a [u8],
    cipher: u16,
    extensions: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// Reads the body of the message; nothing if it is cut off before the extensions.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let version = cursor.number16()?;
        let random = cursor.take(32)?;
        // Drafts of TLS 1.3 up to 21 have neither session nor compression.
        let draft = (0x7F00..=0x7F15).contains(&version);
        if !draft {
            cursor.vector8()?;
        }
        let cipher = cursor.number16()?;
        if !draft {
            cursor.number8()?;
        }
        let extensions = cursor.vector16().unwrap_or_default();
        Some(Self { version, random, cipher, extensions })
    }

    /// The version in its head.
    #[must_use]
    pub const fn legacy_version(&self) -> u16 {
        self.version
    }

    /// The version agreed on.
    #[must_use]
    pub fn agreed_version(&self) -> u16 {
        let found = extensions(self.extensions).find(|(kind, _)| *kind == extension::SUPPORTED_VERSIONS);
        found.and_then(|(_, body)| Cursor::new(body).number16()).unwrap_or(self.version)
    }

    /// The cipher suite agreed on.
    #[must_use]
    pub const fn cipher(&self) -> u16 {
        self.cipher
    }

    /// Types of extensions, in order.
    pub fn extension_types(&self) -> impl Iterator<Item = u16> + Clone + 'a {
        extensions(self.extensions).map(|(kind, _)| kind)
    }

    /// True if it only asks for another client hello.
    #[must_use]
    pub fn is_retry(&self) -> bool {
        self.random == RETRY
    }

    /// True if everything after it is encrypted.
    #[must_use]
    pub fn hides_what_follows(&self) -> bool {
        matches!(self.agreed_version(), 0x0304..=0x03FF | 0x7F00..=0x7FFF)
    }
}
