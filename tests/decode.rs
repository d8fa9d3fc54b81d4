//! Layers of hand-made packets of every encapsulation, properties of decoding, and all captures at hand.

#[path = "decode/captures.rs"]
mod captures;
#[path = "decode/encapsulations.rs"]
mod encapsulations;
#[path = "decode/frames.rs"]
mod frames;
#[path = "decode/identity.rs"]
mod identity;
#[path = "decode/malformed.rs"]
mod malformed;
#[path = "decode/properties.rs"]
mod properties;
#[path = "decode/scripts.rs"]
mod scripts;
