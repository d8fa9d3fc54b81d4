//! *Alert Signatures*, *Alert Classes*, *Alert Priorities*: alerts by what they say.

use super::fact::RaisedAlert;
use super::module::{MaybeGroup, Module};
use crate::metrics::Shard;

/// Counts alerts.
#[derive(Debug)]
pub(super) struct Alerts {
    pub signatures: MaybeGroup,
    pub classes: MaybeGroup,
    pub priorities: MaybeGroup,
}

impl Module for Alerts {
    fn alert(&mut self, alert: &RaisedAlert<'_>, shard: &mut Shard) {
        if let Some(group) = self.signatures {
            let _ = shard.update(group, alert.sigid, 0, 1.0);
        }
        if let Some(group) = self.classes
            && !alert.classification.is_empty()
        {
            let _ = shard.update(group, alert.classification, 0, 1.0);
        }
        if let Some(group) = self.priorities {
            let _ = shard.update(group, alert.priority.to_string().as_bytes(), 0, 1.0);
        }
    }
}
