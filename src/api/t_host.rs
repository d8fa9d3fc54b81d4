//! `T.host`: home networks, well-known directories, and the calls that reach the engine through supplied functions.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Function, Lua, Table};

use super::constants::{LogFn, LogLevel};
use super::modules;
use super::t_util;
use crate::guid::Guid;

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

fn mask_v4(prefix: u8) -> u32 {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeNets {
    networks: Vec<Network>,
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
        Ok(Self { networks: entries.map(str::parse).collect::<Result<_, _>>()? })
    }
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
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(address))
    }

    fn v4(&self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + '_ {
        self.networks.iter().filter_map(|network| match network.address {
            IpAddr::V4(address) => Some((address, Ipv4Addr::from_bits(mask_v4(network.prefix)))),
            IpAddr::V6(_) => None,
        })
    }
}

/// The IPv6 address of a host key: 32 hex digits.
fn key_to_v6(key: &[u8]) -> Option<Ipv6Addr> {
    let digits = std::str::from_utf8(key).ok()?;
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
}

/// Functions of `T.host` that need the engine; they are called without a leading `T.host`.
#[derive(Clone, Debug)]
pub struct HostFunctions {
    /// `createkey(guid, key, label)`.
    pub createkey: Function,
    /// `broadcast(msgid, clsid, message)`.
    pub broadcast: Function,
    /// `id() -> string`.
    pub id: Function,
    /// `log(level, message)`.
    pub log: Function,
}

/// The directories behind `T.host`.
#[derive(Clone, Debug)]
pub struct HostPaths {
    /// `<DBRoot>/config`.
    pub config: PathBuf,
    /// `App>DataDirectory`.
    pub data: PathBuf,
}

/// Installs the functions of `T.host` into `host`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(
    lua: &Lua,
    host: &Table,
    nets: &Rc<HomeNets>,
    paths: &HostPaths,
    functions: &HostFunctions,
    log: &LogFn,
) -> mlua::Result<()> {
    let v4 = lua.create_table()?;
    for (address, mask) in nets.v4() {
        let row = lua.create_table()?;
        row.raw_set("network", address.to_bits())?;
        row.raw_set("mask", mask.to_bits())?;
        row.raw_set("ip_text", address.to_string())?;
        row.raw_set("netmask_text", mask.to_string())?;
        v4.push(row)?;
    }
    let on_text = Rc::clone(nets);
    let is_home_v6 = lua.create_function(move |_, text: mlua::LuaString| {
        let text = text.as_bytes();
        let address = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
        Ok(address.is_some_and(|address| on_text.contains(IpAddr::V6(address))))
    })?;
    let on_key = Rc::clone(nets);
    let is_home_v6_key = lua.create_function(move |_, key: mlua::LuaString| {
        Ok(key_to_v6(&key.as_bytes()).is_some_and(|address| on_key.contains(IpAddr::V6(address))))
    })?;
    let config = paths.config.clone();
    let log = Rc::clone(log);
    let prepare = lua.create_function(move |_, (guid, template): (mlua::LuaString, mlua::LuaString)| {
        Ok(prepare_config(&config, &guid.as_bytes(), super::strings::path_of(&template.as_bytes()), &log))
    })?;
    let natives = lua.create_table()?;
    natives.raw_set("v4", v4)?;
    natives.raw_set("is_home_v6", is_home_v6)?;
    natives.raw_set("is_home_v6_key", is_home_v6_key)?;
    natives.raw_set("prepare_config", prepare)?;
    natives.raw_set("config_path", path_text(lua, &paths.config)?)?;
    natives.raw_set("data_path", path_text(lua, &paths.data)?)?;
    natives.raw_set("createkey", &functions.createkey)?;
    natives.raw_set("broadcast", &functions.broadcast)?;
    natives.raw_set("id", &functions.id)?;
    natives.raw_set("log", &functions.log)?;
    let parse = t_util::parse_ipv4(lua)?;
    let text = include_str!("modules/host/t_host.lua");
    modules::run_host_chunk(lua, "T.host", text, (host, modules::arguments(lua)?, natives, parse)).map(|_| ())
}

fn path_text(lua: &Lua, path: &Path) -> mlua::Result<mlua::LuaString> {
    lua.create_string(path.as_os_str().as_encoded_bytes())
}

/// The path of the group's configuration file, which is copied from the template if it does not exist; `""` for text
/// that is not a GUID.
fn prepare_config(config: &Path, guid: &[u8], template: &Path, log: &LogFn) -> String {
    let Ok(guid) = Guid::parse(guid) else {
        log(LogLevel::Warn, &format!("prepare_config: '{}' is not a GUID", String::from_utf8_lossy(guid)));
        return String::new();
    };
    let text = guid.to_string();
    let target = config.join(format!("PI-{}.xml", text.trim_matches(['{', '}'])));
    if !target.exists()
        && let Err(error) = copy_new(template, &target)
    {
        let (from, to) = (template.display(), target.display());
        log(LogLevel::Error, &format!("prepare_config: cannot copy {from} to {to}: {error}"));
    }
    target.to_string_lossy().into_owned()
}

/// Copies so that other VMs see either no file or all of it.
fn copy_new(template: &Path, target: &Path) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let partial = target.with_extension(format!("{}-{serial}.partial", std::process::id()));
    let result = fs::copy(template, &partial).and_then(|_| fs::rename(&partial, target));
    if result.is_err() {
        // The copy may not exist; the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    result
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{HomeNets, Network, NetworkError, key_to_v6};

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

    #[test]
    fn v6_keys() {
        assert_eq!(key_to_v6(b"FE80000000000000BA2A72FFFECC5E33"), "fe80::ba2a:72ff:fecc:5e33".parse().ok());
        for bad in [&b"FE80"[..], b"+E80000000000000BA2A72FFFECC5E33", b"GE80000000000000BA2A72FFFECC5E33", b""] {
            assert_eq!(key_to_v6(bad), None);
        }
    }
}
