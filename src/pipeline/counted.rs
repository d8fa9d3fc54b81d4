//! Findings of which nobody reads more than how many there were.

use std::cell::Cell;

use crate::dissect::{DocumentKind, FindingKind, ResourceKind};
use crate::metrics::{GroupKind, Records};

/// How many there were since the records of the report were told.
#[derive(Debug, Default)]
pub(super) struct Counted {
    attributes: Cell<u64>,
    resources: [Cell<u64>; ResourceKind::ALL.len()],
    documents: [Cell<u64>; DocumentKind::ALL.len()],
}

impl Counted {
    /// Counts a finding, if it is of a kind that is recorded.
    #[inline]
    pub fn count(&self, kind: &FindingKind) {
        let counter = match kind {
            FindingKind::Attribute { .. } => &self.attributes,
            FindingKind::Resource { kind, .. } => &self.resources[*kind as usize],
            FindingKind::Document { kind, .. } => &self.documents[*kind as usize],
            _ => return,
        };
        counter.set(counter.get() + 1);
    }

    /// Tells the records of the report.
    pub fn hand_on(&self, records: &mut Records) {
        records.count_flow_statements("flow_attribute", self.attributes.take());
        for (kind, count) in ResourceKind::ALL.into_iter().zip(&self.resources) {
            let count = count.take();
            records.count_groups(GroupKind::Resource, kind.group(), count);
            records.resources.count_more(count);
        }
        for (kind, count) in DocumentKind::ALL.into_iter().zip(&self.documents) {
            let count = count.take();
            records.count_groups(GroupKind::Fts, kind.group(), count);
            records.documents.count_more(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counted;
    use crate::dissect::{DocumentKind, FindingKind, Protocol, ResourceKind, Text};
    use crate::metrics::{GroupKind, Records};

    #[test]
    fn findings_are_counted_by_kind_and_handed_on_once() {
        let (counted, mut records) = (Counted::default(), Records::default());
        let text = Text::default();
        counted.count(&FindingKind::Attribute { name: text, value: text });
        counted.count(&FindingKind::Recognised { protocol: Protocol::Dns });
        for kind in ResourceKind::ALL {
            counted.count(&FindingKind::Resource { kind, uri: text, label: text });
        }
        for _ in 0..2 {
            counted.count(&FindingKind::Document { kind: DocumentKind::Dns, text });
        }
        counted.hand_on(&mut records);
        counted.hand_on(&mut records);
        assert_eq!(records.flow_statements().collect::<Vec<_>>(), [("flow_attribute", 1)]);
        assert_eq!((records.flows.count(), records.resources.count(), records.documents.count()), (1, 4, 2));
        let documents: Vec<_> = records.by_group(GroupKind::Fts).collect();
        assert_eq!(documents, [(DocumentKind::Dns.group(), 2)]);
        assert!(records.resources.kept().is_empty());
    }
}
