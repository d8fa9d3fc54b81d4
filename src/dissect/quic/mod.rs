//! QUIC up to the hellos: the Initial packets of versions 1 and 2 and of the late drafts, whose keys anybody can derive.
//!
//! Knows packets, their protection and the frames of Initial packets; what a hello says is for [`crate::dissect::tls`]. Runs
//! on the engine thread. Invariants: at most [`MAX_CRYPTO`] bytes of handshake are kept per direction; a flow gets so many
//! datagrams and no more; only packets that pass authentication are believed.

mod crypto_stream;
mod dissector;
mod frame;
mod keys;
mod packet;
mod recognise;
mod version;

pub use crypto_stream::MAX_CRYPTO;
pub use dissector::Quic;
pub use recognise::recognise;
