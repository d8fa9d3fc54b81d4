//! Where packets enter: capture files, standard input and interfaces behind one [`Source`] trait.
//!
//! Owns readers, decompressors, the merge of several files by packet time, BPF filters and libpcap handles; knows
//! nothing of protocols beyond link type numbers. A source belongs to one engine thread; [`SharedReader`] is
//! visited by several under its lock, and the files behind [`TurnSource`] by one after the other.
//! Invariants: a call of [`Source::fill`] returns within about 10 ms on a quiet input; memory is bounded by
//! [`MAX_CAPLEN`], never by a length that a file claims; a damaged file ends at its first damaged record.

mod compressed;
mod dealing;
mod file;
mod filter;
mod gate;
mod interface;
mod library;
mod limit;
mod live;
mod opening;
mod pace;
mod packet_socket;
mod pcapfile;
mod pcapng;
mod poll;
mod reader;
mod record;
mod shared;
mod sniff;
mod source;
mod split;
mod ticks;
mod turns;

pub use file::{FileOptions, FileSource};
pub use filter::{Filter, FilterError, FilterFault};
pub use library::{InterfaceState, LinkState, interfaces, library_version, may_capture};
pub use limit::{Limit, Limits, TimeBase};
pub use live::{Delivery, LiveOptions, LiveSource, Promiscuity};
pub use pace::Paced;
pub use record::{Cut, DamageReason, MAX_CAPLEN};
pub use shared::{SharedReader, SharedSource};
pub use sniff::{Compression, Content};
pub use source::{Damage, Fill, OpenError, Origin, Progress, Skipped, Source, SourceError, SourceStats};
pub use split::open_split;
pub use turns::TurnSource;
