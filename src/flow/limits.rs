//! How much the flow stage keeps, and how long.

use std::time::Duration;

/// Limits of the flow stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowsConfig {
    /// Bytes of the table in use: flows, index, timers, TCP connections. Streams have limits of their own.
    pub memory: usize,
    /// When flows end by themselves.
    pub timeouts: Timeouts,
    /// How much of streams may wait for missing bytes.
    pub streams: StreamLimits,
}

impl Default for FlowsConfig {
    fn default() -> Self {
        Self { memory: 192 << 20, timeouts: Timeouts::default(), streams: StreamLimits::default() }
    }
}

/// How long a flow may be silent, by kind, on packet time. Values beyond about 18 minutes are fine, if less exactly kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP without a completed handshake, or a single packet of a connection whose beginning was not seen. Hosts that get no
    /// answer try again after 1, 2, 4 s and so on, up to 32 s, some even later: a shorter time would make a flow of each try.
    pub half_open: Duration,
    /// TCP that was established. Keep-alives, if any, are most often sent every 45 to 75 s.
    pub established: Duration,
    /// TCP of which at least one end has sent its FIN.
    pub closing: Duration,
    /// How long a closed TCP flow stays known after its end, so that late packets do not open a new one.
    pub closed: Duration,
    /// UDP.
    pub udp: Duration,
    /// Everything else.
    pub other: Duration,
    /// Longest life of a flow, however busy; `None` for no limit.
    pub age: Option<Duration>,
}

impl Timeouts {
    /// Nanoseconds of silence after which no flow ends, whatever its kind and age.
    pub(super) fn harmless(&self) -> i64 {
        if self.age.is_some() {
            return 0;
        }
        let all = [self.half_open, self.established, self.closing, self.closed, self.udp, self.other];
        all.iter().min().map_or(0, |shortest| i64::try_from(shortest.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            half_open: Duration::from_secs(120),
            established: Duration::from_secs(120),
            closing: Duration::from_secs(120),
            closed: Duration::from_secs(2),
            udp: Duration::from_secs(60),
            other: Duration::from_secs(60),
            age: None,
        }
    }
}

/// How much of streams may wait for missing bytes; above, the bytes are given up and a gap is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLimits {
    /// Bytes of one direction of a flow.
    pub bytes: usize,
    /// Segments of one direction of a flow.
    pub segments: usize,
    /// Bytes of all flows, overhead included.
    pub total: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, segments: 1_024, total: 256 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_below_every_timeout_is_harmless() {
        let timeouts = Timeouts { other: Duration::from_millis(1_500), ..Timeouts::default() };
        assert_eq!(timeouts.harmless(), 1_500_000_000);
        assert_eq!(Timeouts { age: Some(Duration::MAX), ..timeouts }.harmless(), 0);
    }
}
