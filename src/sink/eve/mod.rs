//! Events as JSON lines, with the names and types of the public EVE schema: flow, alert, dns, http, tls, quic, ssh, fileinfo,
//! stats, and what plugins record.
//!
//! Threads that produce hand over what was seen ([`EveSender`]); a thread of its own puts it together, formats and writes.
//! Knows metrics and keys; protocols that have to be taken apart go through [`Readers`]. A reader that is slow or gone
//! never holds packets up: what does not fit is dropped and counted. Invariants: a line is whole or not there; items taken
//! in = lines written + lines lost + items that only add to others.

mod alert;
mod alerted;
mod dns;
mod ends;
mod file_info;
mod flow;
mod flows;
mod formatter;
mod http;
mod item;
mod json;
mod proto_name;
mod sender;
mod ssh;
mod stats;
mod target;
mod tls;
mod writer;

pub use alert::alert_body;
pub use dns::{DnsFacts, DnsRecord};
pub use formatter::{EveOrigin, Readers};
pub use item::{AlertItem, Beside, EveItem, FlowItem, NoteItem, NoteKind, StatsItem};
pub use sender::EveSender;
pub use target::EveTarget;
pub use tls::CertificateFacts;
pub use writer::{EveEnd, EveHandle, EveOptions, EveStream};
