//! GUIDs: parse, compare, print. Normal form is upper case with braces, 38 characters.

use std::fmt;
use std::str::FromStr;

/// A 128-bit identifier; equality is that of the bits, so letter case of the text does not matter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(u128);

/// The text is not a GUID with braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a GUID of the form {{XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX}}")]
pub struct InvalidGuid;

impl Guid {
    /// From its 128 bits, first hex digit most significant.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Parses the text with braces, any letter case.
    ///
    /// # Errors
    /// [`InvalidGuid`] for anything else, text without braces included.
    pub const fn parse(text: &[u8]) -> Result<Self, InvalidGuid> {
        if text.len() != 38 || text[0] != b'{' || text[37] != b'}' {
            return Err(InvalidGuid);
        }
        let mut bits = 0u128;
        let mut i = 1;
        while i < 37 {
            let c = text[i];
            if matches!(i, 9 | 14 | 19 | 24) {
                if c != b'-' {
                    return Err(InvalidGuid);
                }
            } else {
                let digit = match c {
                    b'0'..=b'9' => c - b'0',
                    b'a'..=b'f' => c - b'a' + 10,
                    b'A'..=b'F' => c - b'A' + 10,
                    _ => return Err(InvalidGuid),
                };
                bits = (bits << 4) | digit as u128;
            }
            i += 1;
        }
        Ok(Self(bits))
    }

    /// A GUID known at compile time.
    ///
    /// # Panics
    /// At compile time, if the text is not a GUID.
    #[must_use]
    pub const fn literal(text: &str) -> Self {
        match Self::parse(text.as_bytes()) {
            Ok(guid) => guid,
            Err(_) => panic!("not a GUID"),
        }
    }

    /// A version 4 GUID (RFC 9562, section 5.4) from 128 random bits.
    #[must_use]
    pub const fn from_random(bits: u128) -> Self {
        let versioned = (bits & !(0xF << 76)) | (0x4 << 76);
        Self((versioned & !(0x3 << 62)) | (0x2 << 62))
    }

    /// The 128 bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;

    fn from_str(text: &str) -> Result<Self, InvalidGuid> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{{{:08X}-{:04X}-{:04X}-{:04X}-{:012X}}}",
            (b >> 96) as u32,
            (b >> 80) as u16,
            (b >> 64) as u16,
            (b >> 48) as u16,
            b & 0xFFFF_FFFF_FFFF
        )
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Guid, InvalidGuid};

    #[test]
    fn case_does_not_matter_and_normal_form_is_upper() {
        let lower: Guid = "{77e462ab-2e42-42ec-9a58-c1a6821d6b31}".parse().unwrap();
        let upper: Guid = "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}".parse().unwrap();
        assert_eq!(lower, upper);
        assert_eq!(lower.to_string(), "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}");
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in [
            "",
            "77E462AB-2E42-42EC-9A58-C1A6821D6B31",
            "{77E462AB-2E42-42EC-9A58-C1A6821D6B3G}",
            "{77E462AB+2E42-42EC-9A58-C1A6821D6B31}",
        ] {
            assert_eq!(text.parse::<Guid>(), Err(InvalidGuid), "{text}");
        }
    }

    #[test]
    fn random_guids_carry_version_and_variant() {
        let text = Guid::from_random(u128::MAX).to_string();
        assert_eq!(text, "{FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF}");
    }
}
