//! Extensions of certificates as text.

use std::fmt::Display;

use super::der::{self, Element, Elements};
use super::distinguished_name::Name;
use super::general_name::{self, Directory};
use super::object::Object;
use super::page::{Case, Page};
use super::timestamps;

const INDENT: usize = 16;

const KEY_USAGE: [&str; 9] = [
    "Digital Signature",
    "Non Repudiation",
    "Key Encipherment",
    "Data Encipherment",
    "Key Agreement",
    "Certificate Sign",
    "CRL Sign",
    "Encipher Only",
    "Decipher Only",
];
const NETSCAPE_TYPE: [&str; 8] =
    ["SSL Client", "SSL Server", "S/MIME", "Object Signing", "Unused", "SSL CA", "S/MIME CA", "Object Signing CA"];
const REASONS: [&str; 9] = [
    "Unused",
    "Key Compromise",
    "CA Compromise",
    "Affiliation Changed",
    "Superseded",
    "Cessation Of Operation",
    "Certificate Hold",
    "Privilege Withdrawn",
    "AA Compromise",
];

/// One extension: its name, then what it says. Nothing if it is not even an extension.
pub fn write(page: &mut Page<'_>, extension: Element<'_>) -> Option<()> {
    let mut fields = Elements::new(extension.only(der::SEQUENCE)?);
    let kind = Object(fields.expect(der::OBJECT)?);
    let critical = fields.optional(der::BOOLEAN).is_some_and(|value| value.iter().any(|byte| *byte != 0));
    let value = fields.expect(der::OCTET_STRING)?;
    page.line(12, format_args!("{kind}: {}", if critical { "critical" } else { "" }));
    let mark = page.bytes().len();
    if known(page, &kind.dotted(), value).is_none() {
        page.bytes().truncate(mark);
        page.start(INDENT);
        page.printable(value);
        page.end();
    }
    Some(())
}

fn known(page: &mut Page<'_>, kind: &str, value: &[u8]) -> Option<()> {
    match kind {
        "2.5.29.14" => {
            page.start(INDENT);
            page.hex(Case::Upper, der::single(value)?.only(der::OCTET_STRING)?);
            page.end();
        }
        "2.5.29.15" => bit_names(page, &KEY_USAGE, der::single(value)?.only(der::BIT_STRING)?)?,
        "2.5.29.17" | "2.5.29.18" => joined(page, der::sequence(value)?, |page, name| {
            general_name::write(page, name, Directory::OneLine);
            Some(())
        })?,
        "2.5.29.19" => basic_constraints(page, value)?,
        "2.5.29.30" => name_constraints(page, value)?,
        "2.5.29.31" | "2.5.29.46" => der::sequence(value)?.try_for_each(|point| distribution_point(page, point))?,
        "2.5.29.32" => der::sequence(value)?.try_for_each(|policy| policy_text(page, policy))?,
        "2.5.29.33" => joined(page, der::sequence(value)?, |page, pair| {
            let mut pair = Elements::new(pair.only(der::SEQUENCE)?);
            let (from, to) = (Object(pair.expect(der::OBJECT)?), Object(pair.expect(der::OBJECT)?));
            page.add(format_args!("{from}:{to}"));
            Some(())
        })?,
        "2.5.29.35" => authority_key(page, value)?,
        "2.5.29.36" => policy_constraints(page, value)?,
        "2.5.29.37" => joined(page, der::sequence(value)?, |page, usage| {
            page.add(Object(usage.only(der::OBJECT)?));
            Some(())
        })?,
        "2.5.29.54" => page.line(INDENT, der::small(der::single(value)?.only(der::INTEGER)?)?),
        "2.16.840.1.113730.1.1" => bit_names(page, &NETSCAPE_TYPE, der::single(value)?.only(der::BIT_STRING)?)?,
        "2.16.840.1.113730.1.2"
        | "2.16.840.1.113730.1.3"
        | "2.16.840.1.113730.1.4"
        | "2.16.840.1.113730.1.7"
        | "2.16.840.1.113730.1.8"
        | "2.16.840.1.113730.1.12"
        | "2.16.840.1.113730.1.13" => {
            let text = der::single(value)?.only(der::IA5)?;
            page.start(INDENT);
            page.printable(text);
            page.end();
        }
        "1.3.6.1.5.5.7.1.1" | "1.3.6.1.5.5.7.1.11" => access(page, value)?,
        "1.3.6.1.5.5.7.1.24" => joined(page, der::sequence(value)?, |page, feature| {
            match der::small(feature.only(der::INTEGER)?)? {
                5 => page.add("status_request"),
                17 => page.add("status_request_v2"),
                other => page.add(other),
            }
            Some(())
        })?,
        "1.3.6.1.5.5.7.48.1.5" => page.end(),
        "1.3.6.1.4.1.11129.2.4.2" => timestamps::write(page, der::single(value)?.only(der::OCTET_STRING)?)?,
        "1.3.6.1.4.1.11129.2.4.3" => {
            der::single(value)?.only(der::NULL)?;
            page.line(INDENT, "NULL");
        }
        _ => return None,
    }
    Some(())
}

/// A line of parts with commas between.
fn joined<'a>(
    page: &mut Page<'_>,
    list: Elements<'a>,
    mut write: impl FnMut(&mut Page<'_>, Element<'a>) -> Option<()>,
) -> Option<()> {
    page.start(INDENT);
    let mut empty = true;
    for one in list {
        if !empty {
            page.add(", ");
        }
        empty = false;
        write(page, one)?;
    }
    if empty {
        page.add("<EMPTY>");
    }
    page.end();
    Some(())
}

fn set_bits<'n>(names: &[&'n str], value: &[u8]) -> Option<Vec<&'n str>> {
    let bytes = der::bits(value)?;
    let is_set = |bit: usize| bytes.get(bit / 8).is_some_and(|byte| byte << (bit % 8) & 0x80 != 0);
    Some((0..).zip(names).filter(|(bit, _)| is_set(*bit)).map(|(_, name)| *name).collect())
}

fn bit_names(page: &mut Page<'_>, names: &[&str], value: &[u8]) -> Option<()> {
    let set = set_bits(names, value)?;
    page.line(INDENT, if set.is_empty() { "<EMPTY>".to_owned() } else { set.join(", ") });
    Some(())
}

fn basic_constraints(page: &mut Page<'_>, value: &[u8]) -> Option<()> {
    let mut fields = der::sequence(value)?;
    let authority = fields.optional(der::BOOLEAN).is_some_and(|value| value.iter().any(|byte| *byte != 0));
    page.start(INDENT);
    page.add(if authority { "CA:TRUE" } else { "CA:FALSE" });
    if let Some(length) = fields.optional(der::INTEGER) {
        page.add(format_args!(", pathlen:{}", der::small(length)?));
    }
    page.end();
    Some(())
}

fn name_constraints(page: &mut Page<'_>, value: &[u8]) -> Option<()> {
    for part in der::sequence(value)? {
        page.line(
            INDENT,
            match part.tag {
                0xA0 => "Permitted:",
                0xA1 => "Excluded:",
                _ => return None,
            },
        );
        for tree in part.inside() {
            let name = Elements::new(tree.only(der::SEQUENCE)?).next()?;
            page.start(INDENT + 2);
            general_name::write_constraint(page, name);
            page.end();
        }
    }
    Some(())
}

fn names_below(page: &mut Page<'_>, names: Elements<'_>) {
    for name in names {
        page.start(INDENT + 2);
        general_name::write(page, name, Directory::Listed);
        page.end();
    }
}

fn distribution_point(page: &mut Page<'_>, point: Element<'_>) -> Option<()> {
    let mut fields = Elements::new(point.only(der::SEQUENCE)?);
    if let Some(name) = fields.optional(der::context_of(0)) {
        let name = der::single(name)?;
        match name.tag {
            0xA0 => {
                page.line(INDENT, "Full Name:");
                names_below(page, name.inside());
            }
            0xA1 => {
                page.line(INDENT, "Relative Name:");
                // A relative name is the contents of one set of a name.
                let mut set = vec![der::SET];
                set.extend(name.whole.get(1..)?);
                page.line(INDENT + 2, Name(&set).listed());
            }
            _ => return None,
        }
    }
    if let Some(reasons) = fields.optional(der::context(1)) {
        page.line(INDENT, "Reasons:");
        page.line(INDENT + 2, set_bits(&REASONS, reasons)?.join(", "));
    }
    if let Some(issuer) = fields.optional(der::context_of(2)) {
        page.line(INDENT, "CRL Issuer:");
        names_below(page, Elements::new(issuer));
    }
    Some(())
}

fn policy_text(page: &mut Page<'_>, policy: Element<'_>) -> Option<()> {
    let mut fields = Elements::new(policy.only(der::SEQUENCE)?);
    page.line(INDENT, format_args!("Policy: {}", Object(fields.expect(der::OBJECT)?)));
    let Some(qualifiers) = fields.optional(der::SEQUENCE) else { return Some(()) };
    for qualifier in Elements::new(qualifiers) {
        let mut fields = Elements::new(qualifier.only(der::SEQUENCE)?);
        let kind = Object(fields.expect(der::OBJECT)?);
        match kind.dotted().as_str() {
            "1.3.6.1.5.5.7.2.1" => text_line(page, INDENT + 2, "CPS: ", fields.expect(der::IA5)?),
            "1.3.6.1.5.5.7.2.2" => {
                page.line(INDENT + 2, "User Notice:");
                user_notice(page, fields.expect(der::SEQUENCE)?)?;
            }
            other => page.line(INDENT + 2, format_args!("Unknown Qualifier: {other}")),
        }
    }
    Some(())
}

fn text_line(page: &mut Page<'_>, indent: usize, label: impl Display, text: &[u8]) {
    page.start(indent);
    page.add(label);
    page.printable(text);
    page.end();
}

fn user_notice(page: &mut Page<'_>, notice: &[u8]) -> Option<()> {
    for field in Elements::new(notice) {
        if field.tag != der::SEQUENCE {
            text_line(page, INDENT + 4, "Explicit Text: ", field.value);
            continue;
        }
        let mut reference = field.inside();
        text_line(page, INDENT + 4, "Organization: ", reference.next()?.value);
        let numbers: Option<Vec<String>> = Elements::new(reference.expect(der::SEQUENCE)?)
            .map(|number| Some(der::small(number.only(der::INTEGER)?)?.to_string()))
            .collect();
        let numbers = numbers?;
        let label = if numbers.len() > 1 { "Numbers" } else { "Number" };
        page.line(INDENT + 4, format_args!("{label}: {}", numbers.join(", ")));
    }
    Some(())
}

fn authority_key(page: &mut Page<'_>, value: &[u8]) -> Option<()> {
    let fields = der::sequence(value)?;
    let alone = fields.clone().all(|field| field.tag == der::context(0));
    let mut empty = true;
    for field in fields {
        empty = false;
        page.start(INDENT);
        match field.tag {
            0x80 => {
                page.add(if alone { "" } else { "keyid:" });
                page.hex(Case::Upper, field.value);
            }
            0xA1 => {
                for (index, name) in field.inside().enumerate() {
                    if index > 0 {
                        page.end();
                        page.start(INDENT);
                    }
                    general_name::write(page, name, Directory::OneLine);
                }
            }
            0x82 => {
                page.add("serial:");
                page.hex(Case::Upper, der::magnitude(field.value));
            }
            _ => return None,
        }
        page.end();
    }
    if empty {
        page.line(INDENT, "<EMPTY>");
    }
    Some(())
}

fn policy_constraints(page: &mut Page<'_>, value: &[u8]) -> Option<()> {
    joined(page, der::sequence(value)?, |page, field| {
        let label = match field.tag {
            0x80 => "Require Explicit Policy",
            0x81 => "Inhibit Policy Mapping",
            _ => return None,
        };
        page.add(format_args!("{label}:{}", der::small(field.value)?));
        Some(())
    })
}

fn access(page: &mut Page<'_>, value: &[u8]) -> Option<()> {
    for description in der::sequence(value)? {
        let mut fields = Elements::new(description.only(der::SEQUENCE)?);
        let method = Object(fields.expect(der::OBJECT)?);
        let place = fields.next()?;
        page.start(INDENT);
        page.add(format_args!("{method} - "));
        general_name::write(page, place, Directory::OneLine);
        page.end();
    }
    Some(())
}
