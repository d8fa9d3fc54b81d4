//! Frontend script types, a file each: what is called on the packet thread for the packets of a batch.

mod escape;
mod flow_tap;
mod inputfilter;
mod keeping;
mod levels;
mod protocol_handler;
mod simplecounter;

pub use flow_tap::{Course, FlowTap, hears_flows};
pub use inputfilter::{BuiltPacket, InputFilter, Step};
pub use protocol_handler::{Answer, Next, ProtocolHandler};
pub use simplecounter::{SimpleCounter, StopOnMessage};
