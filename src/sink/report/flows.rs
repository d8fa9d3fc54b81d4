//! What the report shows of flows.

use serde::Serialize;

use super::human;
use super::model::NamedCount;
use super::text::{Page, Paint};
use super::text_table::{Align, Table};

/// What became of flows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FlowsReport {
    /// Flows found in packets.
    pub created: u64,
    /// Most of them at a time; the sum over the packet threads.
    pub live_peak: u64,
    /// How they ended, by reason, the evicted among them; the sum is `created`.
    pub ended: Vec<NamedCount>,
    /// The largest.
    pub top: Vec<FlowLine>,
}

/// One flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowLine {
    /// Flow id.
    pub flow: String,
    /// The id in readable form.
    pub readable: String,
    /// Wire bytes of both directions.
    pub bytes: u64,
    /// Packets of both directions.
    pub packets: u64,
    /// Milliseconds from the first packet to the last.
    pub millis: u64,
    /// Why it ended.
    pub reason: String,
}

impl Page {
    /// Flows by the way they ended, and the largest.
    pub(super) fn flows(&mut self, flows: &FlowsReport) {
        let ended: Vec<String> = flows.ended.iter().map(|end| format!("{} {}", end.count, end.name)).collect();
        let title = format!("Flows: {}, at most {} at a time", flows.created, flows.live_peak);
        self.section(Paint::Title, &title);
        if !ended.is_empty() {
            self.line(&format!("  ended by {}", ended.join(", ")));
        }
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Left]);
        for flow in &flows.top {
            table.row(vec![
                flow.readable.clone(),
                human::bytes(flow.bytes as f64),
                format!("{} packets", human::count(flow.packets as f64)),
                human::duration(flow.millis as f64 / 1e3),
                flow.reason.clone(),
            ]);
        }
        self.table(table, 2);
    }
}
