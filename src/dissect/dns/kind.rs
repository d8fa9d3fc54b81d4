//! Names of types and classes.

use std::io::Write;

/// OPT, the pseudo record of EDNS.
pub const OPT: u16 = 41;

/// Types by number.
const KINDS: [(u16, &str); 62] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (38, "A6"),
    (39, "DNAME"),
    (OPT, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (32_769, "DLV"),
];

/// Appends the name of a type, `TYPE65280` for one without.
pub fn push_kind(text: &mut Vec<u8>, kind: u16) {
    match KINDS.binary_search_by_key(&kind, |(number, _)| *number) {
        Ok(index) => text.extend_from_slice(KINDS[index].1.as_bytes()),
        Err(_) => write!(text, "TYPE{kind}").expect("writing to memory does not fail"),
    }
}

/// Appends the name of a class, `CLASS7` for one without. The top bit, which multicast DNS uses, is left out.
pub fn push_class(text: &mut Vec<u8>, class: u16) {
    let name = match class & 0x7FFF {
        1 => "IN",
        3 => "CH",
        4 => "HS",
        254 => "NONE",
        255 => "ANY",
        _ => return write!(text, "CLASS{class}").expect("writing to memory does not fail"),
    };
    text.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_in_order() {
        assert!(KINDS.is_sorted_by_key(|(number, _)| *number));
        let mut text = Vec::new();
        for kind in [1, 257, 65_280] {
            push_kind(&mut text, kind);
            text.push(b' ');
        }
        assert_eq!(text, b"A CAA TYPE65280 ");
    }
}
