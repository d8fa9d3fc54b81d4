//! What became of flows and their bytes, by name.

use super::event::EndReason;
use super::flows::{ICMP, ICMP_V6, TCP, UDP};

/// What a flow is, for timeouts and for the choice of what to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowKind {
    /// TCP whose handshake was not completed.
    HalfOpen,
    /// TCP under way.
    Established,
    /// TCP with a FIN of at least one end.
    Closing,
    /// TCP that ended.
    Closed,
    /// UDP.
    Udp,
    /// Any other protocol.
    Other,
}

/// Numbers of the flow stage. `created = ended + evicted + live`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Flows found in packets.
    pub created: u64,
    /// Of those, the ones of TCP, UDP, ICMP and ICMP for IPv6.
    pub created_by: [u64; 4],
    /// Most that lived at a time.
    pub live_peak: u64,
    /// Ended because both FINs were acknowledged.
    pub ended_fin: u64,
    /// Ended by a reset.
    pub ended_rst: u64,
    /// Ended by silence.
    pub ended_idle: u64,
    /// Ended by age.
    pub ended_age: u64,
    /// Ended with the input.
    pub ended_input: u64,
    /// Ended by a script.
    pub ended_script: u64,
    /// Evicted half-open TCP flows.
    pub evicted_half_open: u64,
    /// Evicted TCP flows that were established.
    pub evicted_tcp: u64,
    /// Evicted UDP flows.
    pub evicted_udp: u64,
    /// Evicted flows of other protocols.
    pub evicted_other: u64,
    /// Packets of flows that had ended.
    pub late_packets: u64,
    /// Resets ignored, because they do not fit the window.
    pub resets_ignored: u64,
    /// SYNs ignored, because their connection is established.
    pub syns_ignored: u64,
    /// TCP segments ignored: out of the window, before the first byte, or behind the FIN.
    pub out_of_window: u64,
    /// Segments with bytes, or a SYN or FIN, that were seen before.
    pub retransmissions: u64,
    /// Segments of which some bytes were there already and the others were taken.
    pub overlaps: u64,
    /// Segments whose repeated bytes differ from those that wait for delivery.
    pub conflicts: u64,
    /// Gaps in streams.
    pub gaps: u64,
    /// Bytes missing in those gaps.
    pub gap_bytes: u64,
    /// Holes given up because the stream held too many bytes or segments.
    pub stream_limit: u64,
    /// Holes given up because all streams together held too many bytes.
    pub stream_total_limit: u64,
    /// Held bytes dropped because nobody wanted the stream any more.
    pub stream_bytes_dropped: u64,
    /// Statements of scripts about flows refused at a limit.
    pub statements_refused: u64,
    /// Statements of scripts about flows that did not appear in time.
    pub statements_expired: u64,
    /// Statements of scripts about flows that had ended, whose records were made without them.
    pub statements_late: u64,
    /// Records of flows that scripts made.
    pub script_records: u64,
}

impl FlowCounts {
    /// Flows that ended by themselves or the input, without the evicted.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.ended_fin + self.ended_rst + self.ended_idle + self.ended_age + self.ended_input + self.ended_script
    }

    /// Flows evicted.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted_half_open + self.evicted_tcp + self.evicted_udp + self.evicted_other
    }

    /// Flows that have not ended.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.created - self.ended() - self.evicted()
    }

    /// Counts a beginning.
    #[inline]
    pub(super) fn begin(&mut self, proto: u8) {
        self.created += 1;
        self.live_peak = self.live_peak.max(self.live());
        let place = match proto {
            TCP => 0,
            UDP => 1,
            ICMP => 2,
            ICMP_V6 => 3,
            _ => return,
        };
        self.created_by[place] += 1;
    }

    /// Counts an end.
    pub(super) fn end(&mut self, reason: EndReason, kind: FlowKind) {
        *match (reason, kind) {
            (EndReason::Fin, _) => &mut self.ended_fin,
            (EndReason::Rst, _) => &mut self.ended_rst,
            (EndReason::Idle, _) => &mut self.ended_idle,
            (EndReason::Age, _) => &mut self.ended_age,
            (EndReason::End, _) => &mut self.ended_input,
            (EndReason::Script, _) => &mut self.ended_script,
            (EndReason::Evicted, FlowKind::HalfOpen) => &mut self.evicted_half_open,
            (EndReason::Evicted, FlowKind::Established | FlowKind::Closing | FlowKind::Closed) => &mut self.evicted_tcp,
            (EndReason::Evicted, FlowKind::Udp) => &mut self.evicted_udp,
            (EndReason::Evicted, FlowKind::Other) => &mut self.evicted_other,
        } += 1;
    }

    /// Names and numbers of all.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 27] {
        [
            ("flow_created", self.created),
            ("flow_ended_fin", self.ended_fin),
            ("flow_ended_rst", self.ended_rst),
            ("flow_ended_idle", self.ended_idle),
            ("flow_ended_age", self.ended_age),
            ("flow_ended_input", self.ended_input),
            ("flow_ended_script", self.ended_script),
            ("flow_evicted_half_open", self.evicted_half_open),
            ("flow_evicted_tcp", self.evicted_tcp),
            ("flow_evicted_udp", self.evicted_udp),
            ("flow_evicted_other", self.evicted_other),
            ("flow_late_packets", self.late_packets),
            ("flow_resets_ignored", self.resets_ignored),
            ("flow_syns_ignored", self.syns_ignored),
            ("flow_out_of_window", self.out_of_window),
            ("flow_retransmissions", self.retransmissions),
            ("flow_overlaps", self.overlaps),
            ("flow_conflicts", self.conflicts),
            ("flow_gaps", self.gaps),
            ("flow_gap_bytes", self.gap_bytes),
            ("flow_stream_limit", self.stream_limit),
            ("flow_stream_total_limit", self.stream_total_limit),
            ("flow_stream_bytes_dropped", self.stream_bytes_dropped),
            ("flow_statements_refused", self.statements_refused),
            ("flow_statements_expired", self.statements_expired),
            ("flow_statements_late", self.statements_late),
            ("flow_script_records", self.script_records),
        ]
    }
}
