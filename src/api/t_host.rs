//! `T.host`: home networks, well-known directories, and the calls that reach the engine through supplied functions.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Function, Lua, Table};

use super::constants::{LogFn, LogLevel};
use super::modules;
use crate::guid::Guid;
use crate::key::{HomeNets, mask_v4};

/// Address and mask of each IPv4 network, in the order given.
fn v4_networks(nets: &HomeNets) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> + '_ {
    nets.networks().iter().filter_map(|network| match network.address() {
        IpAddr::V4(address) => Some((address, Ipv4Addr::from_bits(mask_v4(network.prefix())))),
        IpAddr::V6(_) => None,
    })
}

/// The IPv6 address of a host key: 32 hex digits.
fn key_to_v6(key: &[u8]) -> Option<Ipv6Addr> {
    let digits = std::str::from_utf8(key).ok()?;
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
}

/// Functions of `T.host` that need the engine; they are called with arguments of the right types.
#[derive(Clone, Debug)]
pub struct HostFunctions {
    /// `createkey(guid, key, label, description)`.
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

/// Installs the functions of `T.host` into `host`; `parse_ipv4` is that of `T.util`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(
    lua: &Lua,
    host: &Table,
    parse_ipv4: &Function,
    nets: &Rc<HomeNets>,
    paths: &HostPaths,
    functions: &HostFunctions,
    log: &LogFn,
) -> mlua::Result<()> {
    let v4 = lua.create_table()?;
    for (address, mask) in v4_networks(nets) {
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
    let text = include_str!("modules/host/t_host.lua");
    modules::run_host_chunk(lua, "millstream.host", text, (host, modules::arguments(lua)?, natives, parse_ipv4))
        .map(|_| ())
}

fn path_text(lua: &Lua, path: &Path) -> mlua::Result<mlua::LuaString> {
    lua.create_string(path.as_os_str().as_encoded_bytes())
}

/// The path of the group's configuration file, which is copied from the template if it does not exist; `""` for text
/// that is not a GUID.
fn prepare_config(config: &Path, guid: &[u8], template: &Path, log: &LogFn) -> String {
    let Ok(guid) = Guid::parse(guid) else {
        log(LogLevel::Warn, format!("prepare_config: '{}' is not a GUID", String::from_utf8_lossy(guid)).as_bytes());
        return String::new();
    };
    let text = guid.to_string();
    let target = config.join(format!("PI-{}.xml", text.trim_matches(['{', '}'])));
    if !target.exists()
        && let Err(error) = copy_new(template, &target)
    {
        let (from, to) = (template.display(), target.display());
        log(LogLevel::Error, format!("prepare_config: cannot copy {from} to {to}: {error}").as_bytes());
    }
    target.to_string_lossy().into_owned()
}

/// Copies so that other VMs see either no file or all of it.
fn copy_new(template: &Path, target: &Path) -> io::Result<()> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let partial = target.with_extension(format!("{}-{serial}.partial", std::process::id()));
    if let Some(directory) = target.parent() {
        fs::create_dir_all(directory)?;
    }
    let result = fs::copy(template, &partial).and_then(|_| fs::rename(&partial, target));
    if result.is_err() {
        // The copy may not exist; the error that matters is the first one.
        let _ = fs::remove_file(&partial);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::key_to_v6;

    #[test]
    fn v6_keys() {
        assert_eq!(key_to_v6(b"FE80000000000000BA2A72FFFECC5E33"), "fe80::ba2a:72ff:fecc:5e33".parse().ok());
        for bad in [&b"FE80"[..], b"+E80000000000000BA2A72FFFECC5E33", b"GE80000000000000BA2A72FFFECC5E33", b""] {
            assert_eq!(key_to_v6(bad), None);
        }
    }
}
