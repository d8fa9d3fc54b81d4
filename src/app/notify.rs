//! What a run tells the service manager that started it: ready, loading again, ending, alive.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager; nowhere if there is none.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    /// How often it wants to hear that the run is alive.
    pub watchdog: Option<Duration>,
}

impl Notify {
    /// As the variables of the environment say. What they say is no reason not to run.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Self::default();
        };
        let variable = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = std::env::var_os("WATCHDOG_PID").is_none()
            || variable("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let watchdog = variable("WATCHDOG_USEC").filter(|micros| for_us && *micros > 0).map(Duration::from_micros);
        match connect(address.as_bytes()) {
            Ok(socket) => Self { socket: Some(socket), watchdog },
            Err(e) => {
                log::warn!("NOTIFY_SOCKET {}: {e}", address.to_string_lossy());
                Self::default()
            }
        }
    }

    /// Packets are taken from now on.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nMAINPID={}\nSTATUS={status}", std::process::id()));
    }

    /// Plugins and settings are loaded again; [`ready`](Self::ready) says when that is over.
    pub fn reloading(&self) {
        self.send("RELOADING=1");
    }

    /// The run comes to its end.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The packet threads go on.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // A service manager that is gone needs to know nothing.
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// Connects to a path, or, with an @ in front, to a name.
fn connect(address: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match address.strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(std::ffi::OsStr::from_bytes(address))?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
