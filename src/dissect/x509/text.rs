//! A certificate as text, line by line as the usual tools print it.

use super::certificate::{Algorithm, Certificate};
use super::der::{self, Elements};
use super::page::{Case, Page};
use super::{extension, public_key};

/// Further extensions are left out. Real certificates have about ten.
const MAX_EXTENSIONS: usize = 64;

/// Appends the text of a certificate. No line holds line ends of the certificate's own.
pub fn write_text(out: &mut Vec<u8>, certificate: &Certificate<'_>) {
    let page = &mut Page::new(out);
    page.line(0, "Certificate:");
    page.line(4, "Data:");
    let version = certificate.version;
    match version {
        0..=2 => page.line(8, format_args!("Version: {} (0x{version:x})", version + 1)),
        _ => page.line(8, format_args!("Version: Unknown ({version})")),
    }
    serial(page, certificate.serial);
    algorithm(page, 8, certificate.inner_algorithm);
    parameters(page, certificate.inner_algorithm);
    page.line(8, format_args!("Issuer: {}", certificate.issuer.listed()));
    page.line(8, "Validity");
    page.line(12, format_args!("Not Before: {}", certificate.not_before));
    page.line(12, format_args!("Not After : {}", certificate.not_after));
    page.line(8, format_args!("Subject: {}", certificate.subject.listed()));
    page.line(8, "Subject Public Key Info:");
    page.line(12, format_args!("Public Key Algorithm: {}", certificate.key_algorithm.kind));
    public_key::write(page, certificate.key_algorithm, certificate.key);
    extensions(page, certificate.extensions);
    algorithm(page, 4, certificate.outer_algorithm);
    page.line(4, "Signature Value:");
    parameters(page, certificate.outer_algorithm);
    signature(page, certificate.outer_algorithm, certificate.signature);
}

/// In full if it fits a signed number, else its bytes.
fn serial(page: &mut Page<'_>, bytes: &[u8]) {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let magnitude = if negative { negated(bytes) } else { der::magnitude(bytes).to_vec() };
    let value = (magnitude.len() <= 8)
        .then(|| magnitude.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
        .filter(|value| i64::try_from(*value).is_ok());
    let sign = if negative { "-" } else { "" };
    match value {
        Some(value) => page.line(8, format_args!("Serial Number: {sign}{value} ({sign}0x{value:x})")),
        None => {
            page.line(8, "Serial Number:");
            page.start(12);
            page.add(if negative { " (Negative)" } else { "" });
            page.hex(Case::Lower, &magnitude);
            page.end();
        }
    }
}

/// The magnitude of a negative number in two's complement.
fn negated(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for byte in out.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    let zeros = out.iter().take_while(|byte| **byte == 0).count().min(out.len().saturating_sub(1));
    out.split_off(zeros)
}

fn algorithm(page: &mut Page<'_>, indent: usize, algorithm: Algorithm<'_>) {
    page.line(indent, format_args!("Signature Algorithm: {}", algorithm.kind));
}

/// The bytes; of DSA its two numbers, if they can be read.
fn signature(page: &mut Page<'_>, algorithm: Algorithm<'_>, bytes: &[u8]) {
    let is_dsa =
        algorithm.kind.names().is_some_and(|(name, _)| name.starts_with("DSA") || name.starts_with("dsa_with"));
    let numbers = || {
        let mut list = der::sequence(bytes)?;
        Some([("r:", list.expect(der::INTEGER)?), ("s:", list.expect(der::INTEGER)?)])
    };
    match if is_dsa { numbers() } else { None } {
        Some(numbers) => {
            for (label, number) in numbers {
                page.line(8, label);
                page.hex_lines(12, 15, Case::Lower, number);
            }
        }
        None => page.hex_lines(8, 18, Case::Lower, bytes),
    }
}

/// Parameters of RSA-PSS, the one signature that has some.
fn parameters(page: &mut Page<'_>, algorithm: Algorithm<'_>) {
    if algorithm.kind.names().is_none_or(|(_, name)| name != "rsassaPss") {
        return;
    }
    let Some(list) = algorithm.parameters.and_then(|parameters| parameters.only(der::SEQUENCE)) else { return };
    let mut list = Elements::new(list);
    let nested = |bytes: &[u8]| -> Option<String> {
        let inner = Algorithm::parse(der::single(bytes)?.only(der::SEQUENCE)?)?;
        Some(inner.kind.to_string())
    };
    let hash = list.optional(der::context_of(0)).and_then(nested);
    page.line(8, format_args!("Hash Algorithm: {}", hash.as_deref().unwrap_or("sha1 (default)")));
    let mask = list.optional(der::context_of(1)).and_then(|bytes| {
        let mask = Algorithm::parse(der::single(bytes)?.only(der::SEQUENCE)?)?;
        Some(format!("{} with {}", mask.kind, nested(mask.parameters?.whole)?))
    });
    page.line(8, format_args!("Mask Algorithm: {}", mask.as_deref().unwrap_or("mgf1 with sha1 (default)")));
    let number = |bytes: &[u8]| der::small(der::single(bytes)?.only(der::INTEGER)?);
    // The blank in front belongs to the form.
    match list.optional(der::context_of(2)).and_then(number) {
        Some(salt) => page.line(8, format_args!(" Salt Length: 0x{salt:02X}")),
        None => page.line(8, " Salt Length: 0x14 (default)"),
    }
    match list.optional(der::context_of(3)).and_then(number) {
        Some(trailer) => page.line(8, format_args!("Trailer Field: 0x{trailer:02X}")),
        None => page.line(8, "Trailer Field: 0x01 (default)"),
    }
}

fn extensions(page: &mut Page<'_>, list: Option<Elements<'_>>) {
    let Some(mut list) = list else { return };
    page.line(8, "X509v3 extensions:");
    for one in list.by_ref().take(MAX_EXTENSIONS) {
        if extension::write(page, one).is_none() {
            return;
        }
    }
    if list.next().is_some() {
        page.line(12, "(more)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial_text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        serial(&mut Page::new(&mut out), bytes);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn serial_numbers_are_written_in_full_while_they_fit() {
        assert_eq!(serial_text(&[0x55]), "        Serial Number: 85 (0x55)\n");
        assert_eq!(serial_text(&[0xFB]), "        Serial Number: -5 (-0x5)\n");
        assert_eq!(serial_text(&[0x80]), "        Serial Number: -128 (-0x80)\n");
        assert_eq!(
            serial_text(&[0, 0x97, 1, 2, 3, 4, 5, 6, 7]),
            "        Serial Number:\n            97:01:02:03:04:05:06:07\n"
        );
        assert_eq!(serial_text(&[0xFF; 1]), "        Serial Number: -1 (-0x1)\n");
        assert!(serial_text(&[]).starts_with("        Serial Number: 0"));
    }
}
