//! Mail messages: the files attached to them, hashed line by line as they pass.
//!
//! Nesting, headers and names are bounded; a part that goes beyond a bound is passed over.

mod decode;
mod header;
mod message;

pub(super) use message::Mime;
