//! Public keys as text.

use super::certificate::Algorithm;
use super::der;
use super::object::Object;
use super::page::{Case, Page};

const INDENT: usize = 16;

/// The name standards bodies gave a curve, and the bits of its field.
fn curve(name: &str) -> Option<(Option<&'static str>, u32)> {
    match name {
        "prime192v1" => Some((Some("P-192"), 192)),
        "secp224r1" => Some((Some("P-224"), 224)),
        "prime256v1" => Some((Some("P-256"), 256)),
        "secp384r1" => Some((Some("P-384"), 384)),
        "secp521r1" => Some((Some("P-521"), 521)),
        "secp256k1" | "brainpoolP256r1" => Some((None, 256)),
        "brainpoolP384r1" => Some((None, 384)),
        "brainpoolP512r1" => Some((None, 512)),
        _ => None,
    }
}

/// All lines of a key; a single one that says so if it cannot be read.
pub fn write(page: &mut Page<'_>, algorithm: Algorithm<'_>, key: &[u8]) {
    let mark = page.bytes().len();
    if known(page, algorithm, key).is_none() {
        page.bytes().truncate(mark);
        page.line(12, "Unable to load Public Key");
    }
}

fn known(page: &mut Page<'_>, algorithm: Algorithm<'_>, key: &[u8]) -> Option<()> {
    let name = algorithm.kind.names()?.1;
    match name {
        "rsaEncryption" | "rsassaPss" => {
            rsa(page, key)?;
            if name == "rsassaPss" && algorithm.parameters.is_none() {
                page.line(INDENT, "No PSS parameter restrictions");
            }
            Some(())
        }
        "id-ecPublicKey" => elliptic(page, algorithm, key),
        "dsaEncryption" => dsa(page, algorithm, key),
        "ED25519" | "ED448" | "X25519" | "X448" => {
            page.line(INDENT, format_args!("{name} Public-Key:"));
            page.line(INDENT, "pub:");
            page.hex_lines(INDENT + 4, 15, Case::Lower, key);
            Some(())
        }
        _ => None,
    }
}

/// Bits of a number that is not negative.
fn bit_length(number: &[u8]) -> usize {
    let number = der::magnitude(number);
    let leading = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
    number.len() * 8 - leading
}

/// A number: in full if it is small, else its bytes, with a zero in front of a set highest bit.
fn number(page: &mut Page<'_>, label: &str, bytes: &[u8]) {
    match der::small(bytes) {
        Some(value) => page.line(INDENT, format_args!("{label} {value} (0x{value:x})")),
        None => {
            page.line(INDENT, label);
            page.hex_lines(INDENT + 4, 15, Case::Lower, bytes);
        }
    }
}

fn rsa(page: &mut Page<'_>, key: &[u8]) -> Option<()> {
    let mut fields = der::sequence(key)?;
    let (modulus, exponent) = (fields.expect(der::INTEGER)?, fields.expect(der::INTEGER)?);
    page.line(INDENT, format_args!("Public-Key: ({} bit)", bit_length(modulus)));
    number(page, "Modulus:", modulus);
    number(page, "Exponent:", exponent);
    Some(())
}

fn elliptic(page: &mut Page<'_>, algorithm: Algorithm<'_>, key: &[u8]) -> Option<()> {
    let name = Object(algorithm.parameters?.only(der::OBJECT)?).names()?.1;
    let (standard, bits) = curve(name)?;
    page.line(INDENT, format_args!("Public-Key: ({bits} bit)"));
    page.line(INDENT, "pub:");
    page.hex_lines(INDENT + 4, 15, Case::Lower, key);
    page.line(INDENT, format_args!("ASN1 OID: {name}"));
    if let Some(standard) = standard {
        page.line(INDENT, format_args!("NIST CURVE: {standard}"));
    }
    Some(())
}

fn dsa(page: &mut Page<'_>, algorithm: Algorithm<'_>, key: &[u8]) -> Option<()> {
    let mut parameters = algorithm.parameters?.inside();
    let public = der::single(key)?.only(der::INTEGER)?;
    let prime = parameters.expect(der::INTEGER)?;
    page.line(INDENT, format_args!("Public-Key: ({} bit)", bit_length(prime)));
    number(page, "pub:", public);
    number(page, "P:", prime);
    number(page, "Q:", parameters.expect(der::INTEGER)?);
    number(page, "G:", parameters.expect(der::INTEGER)?);
    Some(())
}
