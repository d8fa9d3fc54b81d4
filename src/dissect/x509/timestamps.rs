//! Signed certificate timestamps (RFC 6962), a list in the syntax of TLS.

use super::object::Object;
use super::page::{Case, Page};
use super::validity::Milliseconds;

const INDENT: usize = 16;

/// Takes a number of bytes off the front.
fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (front, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(front)
}

/// Takes off what has its length in front, in two bytes.
fn take16<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(rest, 2)?;
    take(rest, usize::from(u16::from_be_bytes([length[0], length[1]])))
}

/// All of a list; nothing if it is damaged, whatever was written until then.
pub fn write(page: &mut Page<'_>, mut list: &[u8]) -> Option<()> {
    let mut entries = take16(&mut list)?;
    if entries.is_empty() {
        return None;
    }
    while !entries.is_empty() {
        write_one(page, take16(&mut entries)?)?;
    }
    Some(())
}

fn write_one(page: &mut Page<'_>, mut entry: &[u8]) -> Option<()> {
    if take(&mut entry, 1)? != [0] {
        return None;
    }
    let log = take(&mut entry, 32)?;
    let time = u64::from_be_bytes(take(&mut entry, 8)?.try_into().ok()?);
    let extensions = take16(&mut entry)?;
    let algorithm = take(&mut entry, 2)?;
    let signature = take16(&mut entry)?;
    page.line(INDENT, "Signed Certificate Timestamp:");
    page.line(INDENT + 4, "Version   : v1 (0x0)");
    labelled(page, "Log ID    : ", log);
    page.line(INDENT + 4, format_args!("Timestamp : {}", Milliseconds(time)));
    if extensions.is_empty() {
        page.line(INDENT + 4, "Extensions: none");
    } else {
        labelled(page, "Extensions: ", extensions);
    }
    page.start(INDENT + 4);
    page.add("Signature : ");
    match algorithm {
        [4, 3] => page.add(Object(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2])),
        [4, 1] => page.add(Object(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11])),
        _ => page.add(format_args!("{:02X}{:02X}", algorithm[0], algorithm[1])),
    }
    page.end();
    page.hex_lines(INDENT + 16, 16, Case::Upper, signature);
    Some(())
}

/// Bytes behind a label, further lines below the first byte.
fn labelled(page: &mut Page<'_>, label: &str, bytes: &[u8]) {
    let mark = page.bytes().len();
    page.hex_lines(INDENT + 4 + label.len(), 16, Case::Upper, bytes);
    if let Some(place) = page.bytes().get_mut(mark + INDENT + 4..mark + INDENT + 4 + label.len()) {
        place.copy_from_slice(label.as_bytes());
    }
}
