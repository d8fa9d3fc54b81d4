//! HTTP/1: messages, their headers and bodies, in both directions of a flow.
//!
//! Bytes of two streams in, attributes, resources, documents, headers and decoded bodies out. Knows nothing of files or
//! scripts. Requests and responses are matched in order; a response that is seen before its request waits for it, within
//! limits. Headers, waiting bytes, outstanding requests and decoders are bounded; a body is passed on as it comes and
//! never held. Where the framing of a direction is lost, the rest of that direction is left alone.

mod body;
mod chunked;
mod coding;
mod dissector;
mod framing;
mod header;
mod outstanding;
mod recognise;
mod report;
mod scan;
mod side;
#[cfg(test)]
mod tests;

pub use dissector::Http;
pub use header::{Field, Fields, HeaderBlock};
pub use recognise::recognise;
