//! Whom a webhook may call.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::key::Network;

/// Something that may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// A name; its addresses must not be inside, unless they are allowed themselves.
    Name(String),
    /// Addresses, inside or not.
    Addresses(Network),
}

/// Why a text is no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no host name, address or network")]
pub struct AllowedHostError {
    text: String,
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(network) = text.parse::<Network>() {
            return Ok(Self::Addresses(network));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !text.is_empty() && text.len() <= 253 && text.chars().all(is_name) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(AllowedHostError { text: text.to_owned() })
    }
}

/// Whether a host, as it stands in an address of the web, is one that may be asked for at all.
pub(super) fn allows_host(allowed: &[AllowedHost], host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return allows_literal(allowed, address);
    }
    allowed.iter().any(|one| matches!(one, AllowedHost::Name(name) if name.eq_ignore_ascii_case(host)))
}

fn allows_literal(allowed: &[AllowedHost], address: IpAddr) -> bool {
    let plain = address.to_canonical();
    allowed.iter().any(|one| match one {
        AllowedHost::Addresses(network) => network.contains(plain) || network.contains(address),
        AllowedHost::Name(_) => false,
    })
}

/// Whether an address that an allowed name resolved to may be connected to.
pub(super) fn allows_address(allowed: &[AllowedHost], address: IpAddr) -> bool {
    allows_literal(allowed, address) || !is_inside(address)
}

/// Addresses that lead to this machine, to networks around it, or nowhere.
fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || v4.is_documentation()
                || a == 0
                // Shared address space, benchmarking, and what is reserved.
                || a == 100 && (64..128).contains(&b)
                || a == 198 && (18..20).contains(&b)
                || a == 192 && b == 0 && v4.octets()[2] == 0
                || a >= 240
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6 == Ipv6Addr::LOCALHOST
                || v6 == Ipv6Addr::UNSPECIFIED
                || v6.is_multicast()
                || first & 0xFE00 == 0xFC00
                || first & 0xFFC0 == 0xFE80
                || first & 0xFFC0 == 0xFEC0
                // Ways to IPv4 addresses in disguise.
                || v6.segments()[..6] == [0x64, 0xFF9B, 0, 0, 0, 0]
                || first == 0x2002
                || v6.segments()[..6] == [0; 6]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowedHost, allows_address, allows_host, is_inside};

    fn list(texts: &[&str]) -> Vec<AllowedHost> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn names_are_compared_whole_and_addresses_by_network() {
        let allowed = list(&["hooks.example.com", "10.1.0.0/16", "::1"]);
        for (host, expected) in [
            ("hooks.example.com", true),
            ("HOOKS.example.com", true),
            ("hooks.example.com.evil.org", false),
            ("example.com", false),
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("[::1]", true),
            ("[::ffff:10.1.2.3]", true),
            ("8.8.8.8", false),
        ] {
            assert_eq!(allows_host(&allowed, host), expected, "{host}");
        }
    }

    #[test]
    fn a_name_does_not_lead_inside() {
        let allowed = list(&["hooks.example.com", "192.168.7.0/24"]);
        for (address, expected) in [
            ("93.184.216.34", true),
            ("127.0.0.1", false),
            ("192.168.1.1", false),
            ("192.168.7.9", true),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fd00::1", false),
            ("fe80::1", false),
            ("64:ff9b::7f00:1", false),
            ("2606:2800:220:1::1", true),
        ] {
            assert_eq!(allows_address(&allowed, address.parse().unwrap()), expected, "{address}");
        }
        assert!(is_inside("0.0.0.0".parse().unwrap()));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "a b", "http://x/", "x/y", "10.1.2.3/8"] {
            assert!(text.parse::<AllowedHost>().is_err(), "{text}");
        }
    }
}
