//! Certificates: names, text and PEM of what a TLS peer shows.
//!
//! Knows DER and the text that `x509 -text` tools print; refuses to know how certificates travel. Runs on the engine thread,
//! inside the dissector that met the certificate. Invariants: no input panics; every structure is read to a fixed depth, so
//! there is no recursion; work and text are linear in the bytes; chains are cut at [`MAX_CERTIFICATES`] of
//! [`MAX_CERTIFICATE`] bytes.

mod certificate;
mod chain;
mod der;
mod distinguished_name;
mod extension;
mod general_name;
mod object;
mod page;
mod public_key;
mod text;
mod timestamps;
mod validity;

pub use certificate::Certificate;
pub use chain::{MAX_CERTIFICATE, MAX_CERTIFICATES, Owner, report};
pub use distinguished_name::Name;
pub use text::write_text;
