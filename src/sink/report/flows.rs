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
        self.table(table(&flows.top), 2);
    }
}

/// Each part of a flow in a column of its own: addresses are of very different lengths.
fn table(flows: &[FlowLine]) -> Table {
    let parts = |flow: &FlowLine| flow.readable.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let width = flows.iter().map(|flow| parts(flow).len()).max().unwrap_or(0);
    let mut align = vec![Align::Left; width];
    align.extend([Align::Right, Align::Right, Align::Right, Align::Left]);
    let mut table = Table::new(&align);
    for flow in flows {
        let mut row = parts(flow);
        row.resize(width, String::new());
        row.extend([
            human::bytes(flow.bytes as f64),
            format!("{} packets", human::count(flow.packets as f64)),
            human::duration(flow.millis as f64 / 1e3),
            flow.reason.clone(),
        ]);
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{FlowLine, table};

    #[test]
    fn addresses_of_any_length_leave_ports_and_figures_in_their_columns() {
        let flow = |readable: &str, bytes| FlowLine {
            readable: readable.to_owned(),
            bytes,
            packets: 2,
            reason: "fin".to_owned(),
            ..FlowLine::default()
        };
        let lines = table(&[
            flow("TCP  10.0.0.1        443   10.0.0.2        50000", 1_500),
            flow("UDP  2001:db8:0:1:aaaa:bbbb:cccc:dddd 53    2001:db8::1     5000 ", 20),
        ]);
        let expected = [
            "  TCP  10.0.0.1                          443  10.0.0.2     50000  1.50 kB  2 packets  0 s  fin",
            "  UDP  2001:db8:0:1:aaaa:bbbb:cccc:dddd  53   2001:db8::1  5000      20 B  2 packets  0 s  fin",
        ];
        assert_eq!(lines.lines(2, 200, '~'), expected);
    }
}
