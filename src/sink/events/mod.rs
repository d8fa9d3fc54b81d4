//! The event stream: everything that scripts produced, one JSON object a line, in the order it happened.
//!
//! Lines are made by the thread that hands them over ([`EventSender`]), so that their order is its order; a thread of its
//! own ([`EventStream`]) writes them. When the queue is full the sender waits (files) or drops and counts (interfaces).
//! Invariants: of a line the file has all or nothing; lines handed over = written + lost.

mod line;
mod outlet;
mod sender;
mod writer;

pub(super) use line::write_text;
pub use line::{Field, Head, json_text, write_event};
pub use sender::{EventLines, EventSender};
pub use writer::{EventHandle, EventStream, StreamEnd};
