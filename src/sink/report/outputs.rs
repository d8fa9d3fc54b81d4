//! What the report shows of outputs for other programs.

use serde::Serialize;

use super::human;
use super::model::NamedCount;
use super::text::{Page, Paint};

/// What one output wrote and lost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OutputReport {
    /// Its name: `eve`, `csv`, `webhook`, `syslog`.
    pub name: String,
    /// Where it goes.
    pub target: String,
    /// Lines, rows or alerts that went there.
    pub written: u64,
    /// What was lost, by reason; also among the drops.
    pub dropped: Vec<NamedCount>,
    /// The last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Page {
    /// What went where.
    pub(super) fn outputs(&mut self, outputs: &[OutputReport]) {
        self.section(Paint::Title, "Outputs");
        for output in outputs {
            let written = human::count(output.written as f64);
            let mut parts = vec![format!("{} to {}: {written}", output.name, output.target)];
            parts
                .extend(output.dropped.iter().map(|drop| format!("{} {}", human::count(drop.count as f64), drop.name)));
            parts.extend(output.failure.clone());
            self.line(&format!("  {}", parts.join(", ")));
        }
    }
}
