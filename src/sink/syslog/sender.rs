//! The thread that sends.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::message::{self, Sender};
use crate::sink::alert_queue::{AlertSender, AlertsEnd};
use crate::sink::eve::AlertItem;
use crate::time::Stopwatch;

/// Where the log of this machine listens.
const LOCAL: &str = "/dev/log";
/// How long it takes until a log that is away is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTarget {
    /// A socket on this machine.
    Local(PathBuf),
    /// Host and port, over UDP.
    Udp(String),
}

/// Why a text is no such place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is neither local nor udp:HOST:PORT")]
pub struct SyslogTargetError {
    text: String,
}

impl FromStr for SyslogTarget {
    type Err = SyslogTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "local" {
            return Ok(Self::Local(LOCAL.into()));
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Local(path.into()));
        }
        let place = text.strip_prefix("udp:");
        let has_port = |place: &&str| place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let place = place.filter(has_port).ok_or_else(|| SyslogTargetError { text: text.to_owned() })?;
        Ok(Self::Udp(place.to_owned()))
    }
}

impl std::fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(place) => write!(f, "udp:{place}"),
        }
    }
}

/// The output at work.
#[derive(Debug)]
pub struct Syslog {
    sender: Option<AlertSender>,
    worker: Option<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    sent: u64,
    lost: u64,
    failure: Option<String>,
}

enum Socket {
    Local(UnixDatagram),
    Udp(UdpSocket),
}

impl Socket {
    fn open(target: &SyslogTarget) -> io::Result<Self> {
        match target {
            SyslogTarget::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                // A log that is full must not hold the queue up.
                socket.set_nonblocking(true)?;
                Ok(Self::Local(socket))
            }
            SyslogTarget::Udp(place) => {
                let address = place.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
                let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Local(socket) => socket.send(message).map(|_| ()),
            Self::Udp(socket) => socket.send(message).map(|_| ()),
        }
    }
}

impl Syslog {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there is no such log now, or the thread cannot be started.
    pub fn start(target: SyslogTarget) -> io::Result<Self> {
        let socket = Socket::open(&target)?;
        let (sender, alerts) = AlertSender::new();
        let worker = thread::Builder::new().name("syslog".to_owned()).spawn(move || run(&alerts, &target, socket))?;
        Ok(Self { sender: Some(sender), worker: Some(worker) })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> AlertSender {
        self.sender.clone().expect("the sender is there until the output is closed")
    }

    /// Sends what is left; every other sender must be gone.
    #[must_use]
    pub fn close(mut self) -> AlertsEnd {
        let full = self.sender.take().map(|sender| sender.full());
        // A panic of the thread has been reported by it.
        let outcome = self.worker.take().and_then(|worker| worker.join().ok()).unwrap_or_default();
        let full = full.map_or(0, |full| full.load(Ordering::Relaxed));
        let dropped = [("syslog_queue_full", full), ("syslog_not_sent", outcome.lost)];
        AlertsEnd {
            delivered: outcome.sent,
            dropped: dropped.into_iter().filter(|(_, count)| *count > 0).collect(),
            failure: outcome.failure,
        }
    }
}

fn run(alerts: &Receiver<Arc<AlertItem>>, target: &SyslogTarget, socket: Socket) -> Outcome {
    let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host: String = host.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    let sender = Sender { host: if host.is_empty() { "-".to_owned() } else { host }, process: std::process::id() };
    let mut outcome = Outcome::default();
    let (mut open, mut failed) = (Some(socket), Stopwatch::start());
    for alert in alerts {
        if open.is_none() && failed.elapsed() >= AGAIN {
            open = Socket::open(target).ok();
            failed = Stopwatch::start();
        }
        let message = message::of_alert(&sender, &alert);
        match open.as_ref().map(|socket| socket.send(&message)) {
            Some(Ok(())) => outcome.sent += 1,
            None => outcome.lost += 1,
            Some(Err(e)) => {
                outcome.lost += 1;
                if outcome.failure.is_none() {
                    log::warn!("{target}: {e}");
                }
                // Over UDP an error belongs to an earlier message, and one that is full will have room again.
                if matches!(open, Some(Socket::Local(_))) && e.kind() != io::ErrorKind::WouldBlock {
                    open = None;
                    failed = Stopwatch::start();
                }
                outcome.failure = Some(e.to_string());
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::SyslogTarget;

    #[test]
    fn targets_are_named_as_people_type_them() {
        assert_eq!("local".parse(), Ok(SyslogTarget::Local("/dev/log".into())));
        assert_eq!("udp:log.example:514".parse(), Ok(SyslogTarget::Udp("log.example:514".to_owned())));
        for text in ["", "udp:host", "tcp:host:1", "udp:host:99999", "unix:"] {
            assert!(text.parse::<SyslogTarget>().is_err(), "{text}");
        }
    }
}
