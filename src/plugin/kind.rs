//! Script types: the blocks a plugin file may hold, their spellings and their side.

/// A block of the `TrisulPlugin` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PluginKind {
    /// Defines a counter group.
    CounterGroup,
    /// Defines a resource group.
    ResourceGroup,
    /// Defines an alert group.
    AlertGroup,
    /// Adds a protocol to the layer stack.
    ProtocolHandler,
    /// Called for every packet with a protocol.
    SimpleCounter,
    /// Taps TCP streams.
    ReassemblyHandler,
    /// Taps content carried by HTTP.
    FilexMonitor,
    /// Decides what packets are stored.
    PacketStorage,
    /// Replaces the packet source.
    InputFilter,
    /// Taps flow records and measurements.
    MessageMonitor,
    /// Flow attributes, older form.
    FlowMonitor,
    /// Receives broadcasts, older form.
    ChannelListener,
    /// Window clock of a backend engine.
    EngineMonitor,
    /// Monitors a counter group.
    CgMonitor,
    /// Monitors flows.
    SgMonitor,
    /// Monitors alerts.
    AlertMonitor,
    /// Monitors resources.
    ResourceMonitor,
    /// Monitors full-text documents.
    FtsMonitor,
    /// Ranks flows by a metric.
    FlowTracker,
    /// Functions that are called from outside; a block of its own only where a file has no other with a VM.
    Functions,
}

/// Where the callbacks of a block run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Nowhere: the block is read when the file is probed.
    Definition,
    /// On the packet thread.
    Frontend,
    /// On the input thread.
    Input,
    /// In every VM of the file.
    Shared,
    /// On the flush thread.
    Backend,
}

impl Side {
    /// Whether it has VMs on the packet threads.
    #[must_use]
    pub const fn is_with_packets(self) -> bool {
        matches!(self, Self::Frontend | Self::Shared)
    }
}

struct Row {
    kind: PluginKind,
    name: &'static str,
    other: &'static str,
    side: Side,
}

const ROWS: [Row; 20] = {
    use PluginKind as K;
    use Side as S;
    const fn row(kind: K, name: &'static str, other: &'static str, side: S) -> Row {
        Row { kind, name, other, side }
    }
    [
        row(K::CounterGroup, "countergroup", "counter_group", S::Definition),
        row(K::ResourceGroup, "resourcegroup", "resource_group", S::Definition),
        row(K::AlertGroup, "alertgroup", "alert_group", S::Definition),
        row(K::ProtocolHandler, "protocol_handler", "protocolhandler", S::Frontend),
        row(K::SimpleCounter, "simplecounter", "simple_counter", S::Frontend),
        row(K::ReassemblyHandler, "reassembly_handler", "reassemblyhandler", S::Frontend),
        row(K::FilexMonitor, "filex_monitor", "filexmonitor", S::Frontend),
        row(K::PacketStorage, "packet_storage", "packetstorage", S::Frontend),
        row(K::InputFilter, "inputfilter", "input_filter", S::Input),
        row(K::MessageMonitor, "messagemonitor", "message_monitor", S::Frontend),
        row(K::FlowMonitor, "flowmonitor", "flow_monitor", S::Frontend),
        row(K::ChannelListener, "channellistener", "channel_listener", S::Shared),
        row(K::EngineMonitor, "engine_monitor", "enginemonitor", S::Backend),
        row(K::CgMonitor, "cg_monitor", "cgmonitor", S::Backend),
        row(K::SgMonitor, "sg_monitor", "sgmonitor", S::Backend),
        row(K::AlertMonitor, "alert_monitor", "alertmonitor", S::Backend),
        row(K::ResourceMonitor, "resource_monitor", "resourcemonitor", S::Backend),
        row(K::FtsMonitor, "fts_monitor", "ftsmonitor", S::Backend),
        row(K::FlowTracker, "flowtracker", "flow_tracker", S::Backend),
        row(K::Functions, "functions", "functions", S::Frontend),
    ]
};

impl PluginKind {
    /// Every kind, in the order of the contract's table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The spelling that scripts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The other accepted spelling.
    #[must_use]
    pub fn other_spelling(self) -> &'static str {
        self.row().other
    }

    /// Where its callbacks run.
    #[must_use]
    pub fn side(self) -> Side {
        self.row().side
    }

    /// The kind of a block name in either spelling.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name || row.other == name).map(|row| row.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::{PluginKind, Side};

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for kind in PluginKind::all() {
            assert_eq!(PluginKind::from_name(kind.name()), Some(kind));
            assert_eq!(PluginKind::from_name(kind.other_spelling()), Some(kind));
        }
        assert_eq!(PluginKind::FlowTracker.name(), "flowtracker");
    }

    #[test]
    fn definitions_have_no_side() {
        assert_eq!(PluginKind::AlertGroup.side(), Side::Definition);
        assert_eq!(PluginKind::from_name("ifts_monitor"), None);
    }
}
