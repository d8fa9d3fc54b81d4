//! Names of hosts, people and places in extensions.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{self, Element};
use super::distinguished_name::Name;
use super::object::Object;
use super::page::Page;

const PRINCIPAL: &str = "1.3.6.1.4.1.311.20.2.3";

/// How directory names in it are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory {
    /// `/C=US/O=Example`.
    OneLine,
    /// `C=US, O=Example`.
    Listed,
}

/// One name with its kind in front.
pub fn write(page: &mut Page<'_>, name: Element<'_>, directory: Directory) {
    let mut text = |kind: &str| {
        page.add(kind);
        page.printable(name.value);
    };
    match name.tag {
        0x81 => text("email:"),
        0x82 => text("DNS:"),
        0x86 => text("URI:"),
        0x87 => {
            page.add("IP Address:");
            address(page, name.value);
        }
        0x88 => page.add(format_args!("Registered ID:{}", Object(name.value))),
        0xA0 => other(page, name),
        0xA3 => page.add("X400Name:<unsupported>"),
        0xA4 => {
            let inside = der::single(name.value).and_then(|inner| inner.only(der::SEQUENCE)).map(Name);
            let inside = inside.unwrap_or(Name(&[]));
            page.add("DirName:");
            match directory {
                Directory::OneLine => page.add(inside.one_line()),
                Directory::Listed => page.add(inside.listed()),
            }
        }
        0xA5 => page.add("EdiPartyName:<unsupported>"),
        _ => page.add("<unsupported>"),
    }
}

/// A name that limits others: addresses have a mask.
pub fn write_constraint(page: &mut Page<'_>, name: Element<'_>) {
    if name.tag != 0x87 {
        return write(page, name, Directory::Listed);
    }
    page.add("IP:");
    match name.value.len() {
        8 | 32 => {
            let (address_part, mask) = name.value.split_at(name.value.len() / 2);
            address(page, address_part);
            page.add("/");
            address(page, mask);
        }
        _ => page.add("IP Address:<invalid>"),
    }
}

fn address(page: &mut Page<'_>, bytes: &[u8]) {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        page.add(Ipv4Addr::from(four));
    } else if let Ok(sixteen) = <[u8; 16]>::try_from(bytes) {
        for (index, word) in Ipv6Addr::from(sixteen).segments().into_iter().enumerate() {
            page.add(format_args!("{}{word:X}", if index == 0 { "" } else { ":" }));
        }
    } else {
        page.add("<invalid>");
    }
}

fn other(page: &mut Page<'_>, name: Element<'_>) {
    let mut fields = name.inside();
    let kind = fields.expect(der::OBJECT).map(Object);
    let value = fields.expect(der::context_of(0)).and_then(der::single);
    match (kind, value) {
        (Some(kind), Some(value)) if matches!(value.tag, der::UTF8 | der::IA5 | der::PRINTABLE) => {
            let dotted = kind.dotted();
            if dotted == PRINCIPAL {
                page.add("othername: UPN::");
            } else {
                page.add(format_args!("othername: {dotted}::"));
            }
            page.printable(value.value);
        }
        _ => page.add("othername:<unsupported>"),
    }
}
