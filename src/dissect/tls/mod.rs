//! TLS over TCP, up to the point where it is encrypted, and the hellos that QUIC shares with it.
//!
//! Knows records, handshake messages and fingerprints of hellos; refuses to know how streams are put together or what
//! certificates say. Runs on the engine thread. Invariants: application data is never kept; one message of at most
//! [`MAX_MESSAGE`] bytes and one record are kept per direction, and only while they are incomplete; each hello and each
//! chain is reported once per flow.

mod cursor;
mod dissector;
mod fingerprint;
mod handshake;
mod hello;
mod recognise;
mod record;
mod report;

pub use cursor::Cursor;
pub use dissector::Tls;
pub use fingerprint::{Transport, ja3_hash, ja3_text, ja3s_text, ja4};
pub use handshake::MAX_MESSAGE;
pub use hello::{ClientHello, ServerHello};
pub use recognise::recognise;
pub use report::{report_client_hello, report_server_hello};
