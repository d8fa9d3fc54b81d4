//! Alerts as messages of syslog (RFC 5424), to the log of this machine or over UDP.
//!
//! A thread of its own behind a bounded queue. Nobody acknowledges such messages: delivered means handed to the system.
//! Invariants: a message is at most [`MAX_MESSAGE`] bytes of valid UTF-8 without control characters; alerts taken in =
//! sent + lost.

mod message;
mod sender;

pub use message::MAX_MESSAGE;
pub use sender::{Syslog, SyslogTarget, SyslogTargetError};
