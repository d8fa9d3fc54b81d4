//! How packets of flows are stored, as `packet_storage` scripts say.

use crate::flow::FlowHandle;

/// What a script says about storing a flow, from the strictest to the most liberal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opinion {
    /// None: the configured default.
    #[default]
    None,
    /// Nothing is stored.
    Ignore,
    /// Up to and including the TCP or UDP header.
    Headers,
    /// Until the flow has carried 10,000 bytes.
    Kilobytes10,
    /// 100,000 bytes.
    Kilobytes100,
    /// 1,000,000 bytes.
    Megabyte,
    /// 10,000,000 bytes.
    Megabytes10,
    /// Everything.
    Full,
}

impl Opinion {
    /// What a script's number says.
    #[must_use]
    pub const fn of_number(number: i32) -> Self {
        match number {
            0 => Self::Ignore,
            1 => Self::Full,
            2 => Self::Headers,
            3 => Self::Megabyte,
            4 => Self::Kilobytes100,
            5 => Self::Kilobytes10,
            6 => Self::Megabytes10,
            _ => Self::None,
        }
    }

    /// The number scripts use.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::None => -1,
            Self::Ignore => 0,
            Self::Full => 1,
            Self::Headers => 2,
            Self::Megabyte => 3,
            Self::Kilobytes100 => 4,
            Self::Kilobytes10 => 5,
            Self::Megabytes10 => 6,
        }
    }

    /// Bytes the flow carries before storing ends; `None` without such an end.
    #[must_use]
    pub const fn byte_limit(self) -> Option<u64> {
        match self {
            Self::Kilobytes10 => Some(10_000),
            Self::Kilobytes100 => Some(100_000),
            Self::Megabyte => Some(1_000_000),
            Self::Megabytes10 => Some(10_000_000),
            Self::None | Self::Ignore | Self::Headers | Self::Full => None,
        }
    }
}

/// A decision that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyChange {
    /// Packet of the batch with which it changed; that packet is stored by the new one.
    pub packet: u32,
    /// The flow.
    pub flow: FlowHandle,
    /// The new decision.
    pub policy: Opinion,
}

/// The combined decision about every flow.
#[derive(Debug, Default)]
pub struct PolicyTable {
    of: Vec<(u32, Opinion)>,
    changes: Vec<PolicyChange>,
}

impl PolicyTable {
    /// What holds for a flow now; [`Opinion::None`] is the configured default.
    #[must_use]
    pub fn of(&self, flow: FlowHandle) -> Opinion {
        let known = self.of.get(flow.slot as usize).filter(|(generation, _)| *generation == flow.generation);
        known.map_or(Opinion::None, |(_, policy)| *policy)
    }

    /// What changed in this batch, in the order of packets.
    #[must_use]
    pub fn changes(&self) -> &[PolicyChange] {
        &self.changes
    }

    /// Forgets the changes.
    pub fn begin(&mut self) {
        self.changes.clear();
    }

    /// Notes a decision; true if it is another one than before.
    pub fn decide(&mut self, packet: u32, flow: FlowHandle, policy: Opinion) -> bool {
        if self.of(flow) == policy {
            return false;
        }
        let slot = flow.slot as usize;
        if self.of.len() <= slot {
            self.of.resize(slot + 1, (0, Opinion::None));
        }
        self.of[slot] = (flow.generation, policy);
        self.changes.push(PolicyChange { packet, flow, policy });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Opinion, PolicyTable};
    use crate::flow::FlowHandle;

    #[test]
    fn the_liberal_order_is_the_order_of_the_type() {
        let order = [1, 6, 3, 4, 5, 2, 0, -1].map(Opinion::of_number);
        assert!(order.is_sorted_by(|a, b| a > b));
        assert!(order.iter().all(|policy| Opinion::of_number(policy.number()) == *policy));
        assert_eq!([Opinion::of_number(7), Opinion::of_number(-1)], [Opinion::None; 2]);
    }

    #[test]
    fn a_decision_holds_for_one_generation_of_a_slot() {
        let mut table = PolicyTable::default();
        let flow = FlowHandle { slot: 3, generation: 7 };
        assert!(!table.decide(0, flow, Opinion::None));
        assert!(table.decide(1, flow, Opinion::Full));
        assert!(!table.decide(2, flow, Opinion::Full));
        assert_eq!(table.of(flow), Opinion::Full);
        assert_eq!(table.of(FlowHandle { generation: 8, ..flow }), Opinion::None);
        assert_eq!(table.changes().len(), 1);
        table.begin();
        assert!(table.changes().is_empty());
    }
}
