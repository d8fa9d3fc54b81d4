//! Arguments that bound what traffic may fill, and say how long flows live.

use std::time::Duration;

use clap::Args;

use super::value::{interval, size};
use crate::flow::{DefragLimits, FlowsConfig, StreamLimits, Timeouts};

/// How much traffic may take. What is cut off is counted in the report under a name.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct TrafficLimitArgs {
    /// Memory for flows, of all packet threads together; a million take 150m. Where it is full, flows that nobody answered
    /// give way first, then those that were silent longest
    #[arg(long, value_name = "SIZE", default_value = "192m", value_parser = size)]
    pub flow_memory: u64,

    /// Bytes of all streams that may wait for missing ones; above it gaps are reported instead
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = size)]
    pub stream_memory: u64,

    /// The same for one direction of one connection
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = size)]
    pub stream_window: u64,

    /// IP fragments that may wait for the others of their datagram; above it the oldest are given up
    #[arg(long, value_name = "SIZE", default_value = "32m", value_parser = size)]
    pub fragment_memory: u64,

    /// Silence that ends a TCP connection
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = interval)]
    pub tcp_timeout: Duration,

    /// Silence that ends a UDP flow
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = interval)]
    pub udp_timeout: Duration,

    /// End flows that are older than this, however busy; what follows is a new flow
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub flow_age: Option<Duration>,
}

impl TrafficLimitArgs {
    /// What they say of flows and streams, for each of so many packet threads.
    #[must_use]
    pub fn flows(&self, threads: usize) -> FlowsConfig {
        let streams = StreamLimits {
            bytes: bytes(self.stream_window),
            total: bytes(self.stream_memory) / threads,
            ..StreamLimits::default()
        };
        let timeouts = Timeouts {
            half_open: self.tcp_timeout,
            established: self.tcp_timeout,
            closing: self.tcp_timeout,
            udp: self.udp_timeout,
            age: self.flow_age,
            ..Timeouts::default()
        };
        FlowsConfig { memory: bytes(self.flow_memory) / threads, timeouts, streams }
    }

    /// What they say of fragments, for each of so many packet threads.
    #[must_use]
    pub fn fragments(&self, threads: usize) -> DefragLimits {
        DefragLimits { bytes: bytes(self.fragment_memory) / threads, ..DefragLimits::default() }
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
