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

struct Row {
    kind: PluginKind,
    name: &'static str,
    other: &'static str,
    side: Side,
    active: Activity,
}

/// Whether this version calls the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Its callbacks are called.
    Active,
    /// It is recognised, and said once not to be active yet.
    NotYet,
}

const ROWS: [Row; 19] = {
    use Activity::{Active, NotYet};
    use PluginKind as K;
    use Side as S;
    const fn row(kind: K, name: &'static str, other: &'static str, side: S, active: Activity) -> Row {
        Row { kind, name, other, side, active }
    }
    [
        row(K::CounterGroup, "countergroup", "counter_group", S::Definition, Active),
        row(K::ResourceGroup, "resourcegroup", "resource_group", S::Definition, Active),
        row(K::AlertGroup, "alertgroup", "alert_group", S::Definition, Active),
        row(K::ProtocolHandler, "protocol_handler", "protocolhandler", S::Frontend, Active),
        row(K::SimpleCounter, "simplecounter", "simple_counter", S::Frontend, Active),
        row(K::ReassemblyHandler, "reassembly_handler", "reassemblyhandler", S::Frontend, Active),
        row(K::FilexMonitor, "filex_monitor", "filexmonitor", S::Frontend, Active),
        row(K::PacketStorage, "packet_storage", "packetstorage", S::Frontend, Active),
        row(K::InputFilter, "inputfilter", "input_filter", S::Input, Active),
        row(K::MessageMonitor, "messagemonitor", "message_monitor", S::Frontend, Active),
        row(K::FlowMonitor, "flowmonitor", "flow_monitor", S::Frontend, Active),
        row(K::ChannelListener, "channellistener", "channel_listener", S::Shared, Active),
        row(K::EngineMonitor, "engine_monitor", "enginemonitor", S::Backend, NotYet),
        row(K::CgMonitor, "cg_monitor", "cgmonitor", S::Backend, NotYet),
        row(K::SgMonitor, "sg_monitor", "sgmonitor", S::Backend, NotYet),
        row(K::AlertMonitor, "alert_monitor", "alertmonitor", S::Backend, NotYet),
        row(K::ResourceMonitor, "resource_monitor", "resourcemonitor", S::Backend, NotYet),
        row(K::FtsMonitor, "fts_monitor", "ftsmonitor", S::Backend, NotYet),
        row(K::FlowTracker, "flowtracker", "flow_tracker", S::Backend, NotYet),
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

    /// Whether this version calls it.
    #[must_use]
    pub fn activity(self) -> Activity {
        self.row().active
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
