//! What there is to capture with: libpcap, the interfaces it finds, the right to open them.
#![expect(unsafe_code, reason = "the library in use does not wrap libpcap's version")]

use std::ffi::{CStr, c_char};
use std::net::IpAddr;

use pcap::{Device, IfFlags};

use super::packet_socket;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its name, as `--interface` takes it.
    pub name: String,
    /// Whether packets can arrive.
    pub link: LinkState,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Whether an interface is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Administratively up.
    Up,
    /// Administratively down.
    Down,
}

/// The interfaces libpcap finds, without those that stand for no network (message buses, netfilter queues).
///
/// # Errors
/// When libpcap cannot list them; in its words.
pub fn interfaces() -> Result<Vec<InterfaceState>, String> {
    let is_network = |device: &Device| {
        !device.addresses.is_empty() || device.flags.contains(IfFlags::UP) || device.flags.contains(IfFlags::LOOPBACK)
    };
    let state = |device: Device| InterfaceState {
        link: if device.flags.contains(IfFlags::UP) { LinkState::Up } else { LinkState::Down },
        addresses: device.addresses.iter().map(|address| address.addr).collect(),
        name: device.name,
    };
    let devices = Device::list().map_err(|e| e.to_string())?;
    let (networks, others): (Vec<Device>, Vec<Device>) = devices.into_iter().partition(is_network);
    // Interfaces that are down and have no address look like the others, but the kernel knows them.
    let down = others.into_iter().filter(|device| std::path::Path::new("/sys/class/net").join(&device.name).exists());
    Ok(networks.into_iter().chain(down).map(state).collect())
}

/// The version of libpcap, in its words.
#[must_use]
pub fn library_version() -> String {
    unsafe extern "C" {
        fn pcap_lib_version() -> *const c_char;
    }
    // SAFETY: the function takes nothing and can be called at any time.
    let version = unsafe { pcap_lib_version() };
    // SAFETY: it returns a text that ends with a zero byte and lives as long as the process.
    let version = unsafe { CStr::from_ptr(version) };
    version.to_string_lossy().into_owned()
}

/// Whether this process may open interfaces for capture.
#[must_use]
pub fn may_capture() -> bool {
    packet_socket::may_capture()
}

#[cfg(test)]
mod tests {
    use super::{LinkState, interfaces, library_version};

    #[test]
    fn the_library_says_its_version_and_finds_the_loopback_interface() {
        assert!(library_version().contains("libpcap version"), "{}", library_version());
        let found = interfaces().unwrap();
        if let Some(loopback) = found.iter().find(|interface| interface.name == "lo") {
            assert_eq!(loopback.link, LinkState::Up);
        }
    }
}
