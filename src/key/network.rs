//! Networks, and the list of those that count as inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::Host;

/// One network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The part before the slash is no address.
    #[error("home network '{text}': '{address}' is not an IPv4 or IPv6 address")]
    Address {
        /// The whole entry.
        text: String,
        /// The part that does not parse.
        address: String,
    },
    /// The part after the slash is no prefix length.
    #[error("home network '{text}': prefix length '{prefix}' is not a number from 0 to {limit}")]
    Prefix {
        /// The whole entry.
        text: String,
        /// The part that does not parse.
        prefix: String,
        /// The longest prefix of this kind of address.
        limit: u8,
    },
    /// The address has bits beyond the prefix.
    #[error("home network '{text}' has bits set beyond its prefix; did you mean {suggestion}?")]
    HostBits {
        /// The whole entry.
        text: String,
        /// The same network with those bits cleared.
        suggestion: Network,
    },
}

impl Network {
    fn masked(address: IpAddr, prefix: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask_v4(prefix))),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask_v6(prefix))),
        };
        Self { address, prefix }
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits of the address count.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// First and last address as numbers.
    fn range(&self) -> Range {
        match self.address {
            IpAddr::V4(first) => Range::V4(first.to_bits(), first.to_bits() | !mask_v4(self.prefix)),
            IpAddr::V6(first) => Range::V6(first.to_bits(), first.to_bits() | !mask_v6(self.prefix)),
        }
    }

    /// Whether the address lies in this network; an IPv4 address never lies in an IPv6 network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                Self::masked(address, self.prefix).address == self.address
            }
            _ => false,
        }
    }
}

enum Range {
    V4(u32, u32),
    V6(u128, u128),
}

/// The mask of an IPv4 prefix length.
#[must_use]
pub fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    /// Parses `10.0.0.0/8`, `fc00::/7`, or an address alone for a single host.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(parsed) = address.parse::<IpAddr>() else {
            return Err(NetworkError::Address { text: text.to_owned(), address: address.to_owned() });
        };
        let limit = if parsed.is_ipv4() { 32 } else { 128 };
        let length = match prefix {
            None => limit,
            Some(digits) => match digits.parse::<u8>() {
                Ok(length) if length <= limit && digits.bytes().all(|b| b.is_ascii_digit()) => length,
                _ => {
                    return Err(NetworkError::Prefix { text: text.to_owned(), prefix: digits.to_owned(), limit });
                }
            },
        };
        let network = Self::masked(parsed, length);
        if network.address != parsed {
            return Err(NetworkError::HostBits { text: text.to_owned(), suggestion: network });
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The networks that count as inside.
///
/// Looked up for every packet: the networks are kept as sorted ranges that do not touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeNets {
    networks: Vec<Network>,
    // INVARIANT: first <= last, sorted, and each range ends before the next one begins.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Default for HomeNets {
    /// The private ranges of IPv4, and unique local and link-local addresses of IPv6.
    fn default() -> Self {
        const NETWORKS: &str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, fe80::/10";
        NETWORKS.parse().expect("the default networks are well-formed")
    }
}

impl FromStr for HomeNets {
    type Err = NetworkError;

    /// Parses networks separated by commas or blanks; no networks at all is a valid list.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let entries = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty());
        let networks: Vec<Network> = entries.map(str::parse).collect::<Result<_, _>>()?;
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &networks {
            match network.range() {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        Ok(Self { networks, v4: disjoint(v4), v6: disjoint(v6) })
    }
}

/// Sorts ranges and joins those that overlap.
fn disjoint<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut joined: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Whether a number lies in one of the ranges.
#[inline]
fn lies_in<T: Ord + Copy>(ranges: &[(T, T)], number: T) -> bool {
    // A short list is faster to walk than to search.
    if ranges.len() <= 8 {
        // All of it: where the walk ends cannot be foretold, which costs more than the rest of it.
        return ranges.iter().fold(false, |lies, &(first, last)| lies | ((first <= number) & (number <= last)));
    }
    let behind = ranges.partition_point(|&(first, _)| first <= number);
    behind > 0 && number <= ranges[behind - 1].1
}

impl HomeNets {
    /// The networks in the order given.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        &self.networks
    }

    /// Whether the address lies in any of the networks. An IPv4-mapped IPv6 address counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.contains_host(address.into())
    }

    /// As [`HomeNets::contains`], for an address in network order.
    #[inline]
    #[must_use]
    pub fn contains_host(&self, host: Host) -> bool {
        match host {
            Host::V4(bytes) => lies_in(&self.v4, u32::from_be_bytes(bytes)),
            Host::V6(bytes) => match u128::from_be_bytes(bytes) {
                mapped if mapped >> 32 == 0xFFFF => lies_in(&self.v4, mapped as u32),
                number => lies_in(&self.v6, number),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::{any, proptest};

    use super::{HomeNets, Network, NetworkError};

    fn home(nets: &HomeNets, text: &str) -> bool {
        nets.contains(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn default_networks() {
        let nets = HomeNets::default();
        for inside in ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.7.7", "fc00::1"] {
            assert!(home(&nets, inside), "{inside}");
        }
        for inside in ["fdff::1", "fe80::1", "febf::1", "::ffff:10.0.0.1"] {
            assert!(home(&nets, inside), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "172.32.0.0", "192.169.0.0", "fec0::1", "fb00::1", "8.8.8.8"] {
            assert!(!home(&nets, outside), "{outside}");
        }
    }

    #[test]
    fn the_whole_space_and_single_hosts() {
        let nets: HomeNets = "0.0.0.0/0 ::1, 8.8.8.8".parse().unwrap();
        assert!(home(&nets, "255.255.255.255") && home(&nets, "::1") && !home(&nets, "::2"));
        assert_eq!(nets.networks()[2].to_string(), "8.8.8.8/32");
        assert!("".parse::<HomeNets>().unwrap().networks().is_empty());
    }

    #[test]
    fn errors_name_the_entry_and_the_way_out() {
        let error = |text: &str| text.parse::<HomeNets>().unwrap_err().to_string();
        assert_eq!(error("10.0.0.0/8,10.0.0/8"), "home network '10.0.0/8': '10.0.0' is not an IPv4 or IPv6 address");
        let prefix = "home network '10.0.0.0/33': prefix length '33' is not a number from 0 to 32";
        assert_eq!(error("10.0.0.0/33"), prefix);
        assert_eq!(error("fc00::/+7"), "home network 'fc00::/+7': prefix length '+7' is not a number from 0 to 128");
        let bits = "home network '10.1.2.3/8' has bits set beyond its prefix; did you mean 10.0.0.0/8?";
        assert_eq!(error("10.1.2.3/8"), bits);
        assert!(matches!("1.2.3.4/".parse::<Network>(), Err(NetworkError::Prefix { .. })));
    }

    proptest! {
        #[test]
        fn ranges_say_what_the_networks_say(
            nets in proptest::collection::vec((any::<bool>(), any::<u8>(), 0..=32u8), 0..20),
            addresses in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<u32>()), 1..20),
        ) {
            let number = |byte: u8, rest: u32| u32::from(byte & 3) << 30 | rest >> 2;
            let ip = |wide: bool, n: u32| if wide {
                IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(n) << 96))
            } else {
                IpAddr::V4(std::net::Ipv4Addr::from_bits(n))
            };
            let text: Vec<String> = nets.iter().map(|&(wide, byte, prefix)| {
                Network::masked(ip(wide, number(byte, u32::from(byte) << 20)), prefix).to_string()
            }).collect();
            let home: HomeNets = text.join(",").parse().unwrap();
            for &(wide, byte, rest) in &addresses {
                let address = ip(wide, number(byte, rest));
                assert_eq!(home.contains(address), home.networks().iter().any(|net| net.contains(address)));
            }
        }
    }
}
