//! The fields of a certificate.

use super::der::{self, Element, Elements};
use super::distinguished_name::Name;
use super::object::Object;
use super::validity::Moment;

/// An algorithm and its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Algorithm<'a> {
    pub kind: Object<'a>,
    pub parameters: Option<Element<'a>>,
}

impl<'a> Algorithm<'a> {
    pub fn parse(sequence: &'a [u8]) -> Option<Self> {
        let mut fields = Elements::new(sequence);
        Some(Self { kind: Object(fields.expect(der::OBJECT)?), parameters: fields.next() })
    }
}

/// A certificate whose outline could be read; what is deeper inside is read when it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    pub(super) version: u64,
    pub(super) serial: &'a [u8],
    pub(super) inner_algorithm: Algorithm<'a>,
    pub(super) issuer: Name<'a>,
    pub(super) not_before: Moment<'a>,
    pub(super) not_after: Moment<'a>,
    pub(super) subject: Name<'a>,
    pub(super) key_algorithm: Algorithm<'a>,
    /// The key as a bit string.
    pub(super) key: &'a [u8],
    /// The extensions, each a sequence.
    pub(super) extensions: Option<Elements<'a>>,
    pub(super) outer_algorithm: Algorithm<'a>,
    pub(super) signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads the outline; nothing if it is not that of a certificate. Bytes behind it are ignored.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = der::sequence(bytes)?;
        let body = outer.expect(der::SEQUENCE)?;
        let outer_algorithm = Algorithm::parse(outer.expect(der::SEQUENCE)?)?;
        let signature = der::bits(outer.expect(der::BIT_STRING)?)?;
        let mut fields = Elements::new(body);
        let version = match fields.optional(der::context_of(0)) {
            Some(inside) => der::small(der::single(inside)?.only(der::INTEGER)?)?,
            None => 0,
        };
        let serial = fields.expect(der::INTEGER)?;
        let inner_algorithm = Algorithm::parse(fields.expect(der::SEQUENCE)?)?;
        let issuer = Name(fields.expect(der::SEQUENCE)?);
        let mut validity = Elements::new(fields.expect(der::SEQUENCE)?);
        let (not_before, not_after) = (Moment(validity.next()?), Moment(validity.next()?));
        let subject = Name(fields.expect(der::SEQUENCE)?);
        let mut key = Elements::new(fields.expect(der::SEQUENCE)?);
        let key_algorithm = Algorithm::parse(key.expect(der::SEQUENCE)?)?;
        let key = der::bits(key.expect(der::BIT_STRING)?)?;
        let extensions =
            fields.find(|field| field.tag == der::context_of(3)).and_then(|field| der::sequence(field.value));
        Some(Self {
            version,
            serial,
            inner_algorithm,
            issuer,
            not_before,
            not_after,
            subject,
            key_algorithm,
            key,
            extensions,
            outer_algorithm,
            signature,
        })
    }

    /// Its number, big end first.
    #[must_use]
    pub const fn serial(&self) -> &'a [u8] {
        self.serial
    }

    /// Begin and end of its validity as `2026-01-02T03:04:05`, if both can be read.
    #[must_use]
    pub fn validity(&self) -> Option<(String, String)> {
        Some((self.not_before.iso()?, self.not_after.iso()?))
    }

    /// Whom it is for.
    #[must_use]
    pub const fn subject(&self) -> Name<'a> {
        self.subject
    }

    /// Who made it.
    #[must_use]
    pub const fn issuer(&self) -> Name<'a> {
        self.issuer
    }
}
