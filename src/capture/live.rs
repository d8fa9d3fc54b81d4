//! Interfaces as one source, through libpcap.

use super::interface::{Interface, Share};
use super::poll::{MAX_WAIT, PollSet};
use super::record::MAX_CAPLEN;
use super::source::{Fill, OpenError, Origin, Progress, Source, SourceError, SourceStats};
use crate::packet::Batch;
use crate::time::{Stopwatch, Timestamp};

/// Time between two looks at the kernel's counters while packets come.
const COUNT_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);
/// Bytes of a batch that are kept for the next one; more come only with giant packets.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Whether an interface takes packets for other stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promiscuity {
    /// All packets on the link.
    On,
    /// Only those for this host, and its own.
    Off,
}

/// When the kernel hands packets over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each as it comes.
    Immediate,
    /// Many at once; those of a quiet link within 10 ms.
    Batched,
}

/// How interfaces are captured.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Names of the interfaces.
    pub interfaces: Vec<String>,
    /// Whether to take packets for other stations.
    pub promiscuity: Promiscuity,
    /// When packets are handed over.
    pub delivery: Delivery,
    /// Bytes kept of every packet.
    pub snaplen: u32,
    /// Size of the kernel's buffer, per interface and engine.
    pub buffer_bytes: u32,
    /// BPF expression, run by the kernel.
    pub filter: Option<String>,
}

impl LiveOptions {
    /// Promiscuous, batched, whole packets, 16 MiB of buffer, no filter.
    #[must_use]
    pub const fn new(interfaces: Vec<String>) -> Self {
        Self {
            interfaces,
            promiscuity: Promiscuity::On,
            delivery: Delivery::Batched,
            snaplen: MAX_CAPLEN,
            buffer_bytes: 16 * 1024 * 1024,
            filter: None,
        }
    }
}

/// Interfaces, read by one engine.
pub struct LiveSource {
    options: LiveOptions,
    interfaces: Vec<Interface>,
    origins: Vec<Origin>,
    poll: PollSet,
    /// The interface to be read first, so that a busy one does not starve the others.
    turn: usize,
    counted: Stopwatch,
    last: Timestamp,
    stats: SourceStats,
}

impl LiveSource {
    /// Opens interfaces for one engine.
    ///
    /// # Errors
    /// [`OpenError`], which says what to type.
    pub fn open(options: &LiveOptions) -> Result<Self, OpenError> {
        let mut sources = Self::open_engines(options, 1)?;
        sources.pop().ok_or(OpenError::NoInput)
    }

    /// Opens interfaces for several engines: every packet goes to one of them, both directions of a flow to the same.
    ///
    /// # Errors
    /// [`OpenError`], which says what to type.
    pub fn open_engines(options: &LiveOptions, engines: usize) -> Result<Vec<Self>, OpenError> {
        if options.interfaces.is_empty() {
            return Err(OpenError::NoInput);
        }
        let mut sources: Vec<Self> = Vec::with_capacity(engines);
        for engine in 0..engines.max(1) {
            let mut interfaces = Vec::with_capacity(options.interfaces.len());
            for (origin, name) in (0..).zip(&options.interfaces) {
                let first = sources.first().map(|source| source.interfaces[usize::from(origin)].group());
                let share = match first.flatten() {
                    Some(group) => Share::With(group),
                    None if engine == 0 && engines > 1 => Share::First,
                    None => Share::Alone,
                };
                interfaces.push(Interface::open(name, origin, options, share)?);
            }
            sources.push(Self {
                options: options.clone(),
                interfaces,
                origins: options.interfaces.iter().cloned().map(Origin::Interface).collect(),
                poll: PollSet::default(),
                turn: 0,
                counted: Stopwatch::start(),
                last: Timestamp::from_nanos(i64::MIN),
                stats: SourceStats::default(),
            });
        }
        Ok(sources)
    }

    fn read(&mut self, batch: &mut Batch) {
        let count = self.interfaces.len();
        for step in 0..count {
            if !batch.is_full() {
                self.interfaces[(self.turn + step) % count].read(batch);
            }
        }
        self.turn = (self.turn + 1) % count;
    }

    /// Waits until an interface has something, at most [`MAX_WAIT`].
    fn wait(&mut self) {
        self.poll.clear();
        for fd in self.interfaces.iter().filter_map(Interface::fd) {
            self.poll.push(fd);
        }
        // Without descriptors this is a plain pause. A failed wait leaves nothing to note, and reading tells the rest.
        if self.poll.wait(MAX_WAIT).is_ok() {
            let up = self.interfaces.iter_mut().filter(|interface| interface.fd().is_some());
            for (index, interface) in up.enumerate() {
                interface.note(self.poll.readiness(index));
            }
        }
    }

    fn count(&mut self) {
        self.counted = Stopwatch::start();
        for interface in &mut self.interfaces {
            interface.count();
            interface.check();
        }
    }
}

impl Source for LiveSource {
    fn fill(&mut self, batch: &mut Batch) -> Result<Fill, SourceError> {
        batch.clear();
        batch.shared = None;
        batch.buffer.clear();
        batch.buffer.shrink_to(KEPT_BYTES);
        for interface in &mut self.interfaces {
            interface.retry(&self.options);
        }
        self.read(batch);
        if batch.is_empty() {
            self.wait();
            self.read(batch);
        }
        for packet in batch.packets() {
            self.stats.time_back += u64::from(packet.ts < self.last);
            self.last = packet.ts;
            self.stats.bytes += u64::from(packet.wirelen);
        }
        self.stats.packets += batch.len() as u64;
        if batch.is_empty() || self.counted.elapsed() >= COUNT_INTERVAL {
            self.count();
        }
        Ok(if batch.is_empty() { Fill::Idle } else { Fill::Packets })
    }

    /// The kernel's counters are those of the last call of `fill` that brought nothing, or of 100 ms ago.
    fn stats(&self) -> SourceStats {
        let mut stats = self.stats.clone();
        for interface in &self.interfaces {
            stats.kernel_received += interface.kernel.received;
            stats.kernel_dropped += interface.kernel.dropped;
            stats.interface_dropped += interface.kernel.interface_dropped;
            stats.interface_down += interface.went_down;
            stats.interface_back += interface.came_back;
            stats.down.extend(interface.down());
        }
        stats
    }

    fn progress(&self) -> Option<Progress> {
        None
    }

    fn origins(&self) -> &[Origin] {
        &self.origins
    }
}

#[cfg(test)]
mod tests {
    use super::{LiveOptions, LiveSource};
    use crate::capture::interface::{Interface, KernelCounters};
    use crate::capture::poll::PollSet;
    use crate::capture::source::{Source, SourceStats};
    use crate::time::{Stopwatch, Timestamp};

    #[test]
    fn what_the_kernel_counted_of_all_interfaces_is_summed_by_what_it_was() {
        let counted = |received, dropped, interface_dropped| KernelCounters { received, dropped, interface_dropped };
        let source = LiveSource {
            options: LiveOptions::new(Vec::new()),
            interfaces: vec![Interface::away(0, counted(100, 10, 1)), Interface::away(1, counted(200, 20, 2))],
            origins: Vec::new(),
            poll: PollSet::default(),
            turn: 0,
            counted: Stopwatch::start(),
            last: Timestamp::EPOCH,
            stats: SourceStats::default(),
        };
        let stats = source.stats();
        assert_eq!((stats.kernel_received, stats.kernel_dropped, stats.interface_dropped), (300, 30, 3));
        assert_eq!((stats.interface_down, stats.interface_back, stats.down), (4, 2, vec![0, 1]));
    }
}
