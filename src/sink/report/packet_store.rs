//! What the report shows of the packet store.

use serde::Serialize;

use super::human;
use super::model::NamedCount;
use super::text::{Page, Paint};

/// What became of the packets offered to the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PacketStoreReport {
    /// Packets written.
    pub packets: u64,
    /// Bytes of files written for them.
    pub bytes: u64,
    /// Files begun.
    pub files: u64,
    /// Packets of which only the headers were kept.
    pub headers_only: u64,
    /// Packets that are not stored because their flow's policy says so.
    pub skipped_by_policy: u64,
    /// Packets that should have been stored, by reason; also among the drops.
    pub dropped: Vec<NamedCount>,
    /// Files deleted at a limit.
    pub deleted_files: u64,
    /// Bytes in them.
    pub deleted_bytes: u64,
}

impl Page {
    /// What was stored, and what was not.
    pub(super) fn packet_store(&mut self, store: &PacketStoreReport) {
        let (packets, bytes) = (human::count(store.packets as f64), human::bytes(store.bytes as f64));
        self.section(Paint::Title, &format!("Packet store: {packets} packets, {bytes} in {} files", store.files));
        let mut parts = Vec::new();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                parts.push(format!("{} {what}", human::count(count as f64)));
            }
        };
        say(store.headers_only, "headers only");
        say(store.skipped_by_policy, "left out by policy");
        store.dropped.iter().for_each(|drop| say(drop.count, &drop.name));
        say(store.deleted_files, "old files deleted");
        if !parts.is_empty() {
            self.line(&format!("  {}", parts.join(", ")));
        }
    }
}
