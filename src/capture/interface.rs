//! One interface being captured: its libpcap handle, its counters, and coming back after it went down.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use pcap::{Active, Capture, Device, IfFlags, Precision};

use super::live::{Delivery, LiveOptions, Promiscuity};
use super::packet_socket::{self, FanoutGroup};
use super::poll::Readiness;
use super::record::linktype_from;
use super::source::OpenError;
use crate::packet::{Batch, LinkType, MAX_BATCH, Packet};
use crate::time::{Stopwatch, Timestamp};

/// Time the kernel may hold packets back to deliver more at once; half of what a quiet link may take.
const HOLD_MILLIS: i32 = 5;
/// Pause between two attempts to open an interface that is down.
const RETRY: Duration = Duration::from_secs(1);

/// Counters of the kernel, added up over all handles.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KernelCounters {
    pub received: u64,
    pub dropped: u64,
    pub interface_dropped: u64,
}

impl KernelCounters {
    /// Adds what the 32-bit counters of a handle went up by: received, dropped, dropped by the interface.
    fn add(&mut self, before: [u32; 3], now: [u32; 3], drops: InterfaceDrops) {
        let since = |index: usize| u64::from(now[index].wrapping_sub(before[index]));
        self.received += since(0);
        self.dropped += since(1);
        if drops == InterfaceDrops::Counted {
            self.interface_dropped += since(2);
        }
    }
}

/// Who counts what an interface itself drops: every handle is told all of it, whoever else reads packets of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterfaceDrops {
    /// This reader.
    Counted,
    /// The first member of its group.
    CountedByFirst,
}

enum State {
    Up(Handle),
    Down(Stopwatch),
}

struct Handle {
    capture: Capture<Active>,
    linktype: LinkType,
    /// What the handle's 32-bit counters were when last looked at.
    seen: [u32; 3],
    /// Index of the interface when it was opened, if it was up.
    index: Option<i32>,
    /// True once the socket has reported an error or the interface is down: what is left in its buffer is read, then it is closed.
    is_failing: bool,
}

/// One interface being captured.
pub(super) struct Interface {
    name: String,
    origin: u16,
    state: State,
    group: Option<FanoutGroup>,
    watch: Watch,
    drops: InterfaceDrops,
    pub kernel: KernelCounters,
    pub went_down: u64,
    pub came_back: u64,
}

impl Interface {
    /// Opens an interface, as the only reader of its packets or as a member of a group.
    pub fn open(name: &str, origin: u16, options: &LiveOptions, share: Share) -> Result<Self, OpenError> {
        let capture = open_capture(name, options)?;
        let fanout = |source| OpenError::Fanout { interface: name.to_owned(), source };
        let group = match share {
            Share::Alone => None,
            Share::First => Some(packet_socket::create_group(capture.as_fd()).map_err(fanout)?),
            Share::With(group) => {
                packet_socket::join_group(capture.as_fd(), group).map_err(fanout)?;
                Some(group)
            }
        };
        let mut handle = Handle::new(capture, name);
        if matches!(share, Share::With(_)) {
            // What came in between opening and joining went to the others as well.
            handle.discard();
        }
        let drops = match share {
            Share::Alone | Share::First => InterfaceDrops::Counted,
            Share::With(_) => InterfaceDrops::CountedByFirst,
        };
        let watch = if handle.index.is_some() { Watch::Wanted } else { Watch::Pointless };
        Ok(Self {
            name: name.to_owned(),
            origin,
            state: State::Up(handle),
            group,
            watch,
            drops,
            kernel: KernelCounters::default(),
            went_down: 0,
            came_back: 0,
        })
    }

    pub const fn group(&self) -> Option<FanoutGroup> {
        self.group
    }

    /// The descriptor to wait for, if the interface is up.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Up(handle) => Some(handle.capture.as_fd()),
            State::Down(_) => None,
        }
    }

    /// Its index among the origins, if it is down or away.
    pub const fn down(&self) -> Option<u16> {
        match &self.state {
            State::Up(_) => None,
            State::Down(_) => Some(self.origin),
        }
    }

    /// Takes note of what waiting for the descriptor found.
    pub const fn note(&mut self, readiness: Readiness) {
        if let (State::Up(handle), Readiness::Failed) = (&mut self.state, readiness) {
            handle.is_failing = true;
        }
    }

    /// Looks whether the interface is still up and still the same one.
    pub fn check(&mut self) {
        if let (State::Up(handle), Watch::Wanted) = (&mut self.state, self.watch) {
            let index = packet_socket::index_if_up(handle.capture.as_fd(), &self.name);
            handle.is_failing |= index.is_none() || index != handle.index;
        }
    }

    /// Copies packets into the batch, as many as fit.
    pub fn read(&mut self, batch: &mut Batch) {
        let State::Up(handle) = &mut self.state else { return };
        let (linktype, origin) = (handle.linktype, self.origin);
        let before = batch.len();
        let outcome = handle.capture.dispatch(Some(MAX_BATCH - before), |packet| {
            let header = packet.header;
            // The handle was opened for nanoseconds, which come in the field for microseconds.
            let ts = Timestamp::new(header.ts.tv_sec, header.ts.tv_usec);
            let offset = batch.buffer.len() as u32;
            batch.buffer.extend_from_slice(packet.data);
            let caplen = packet.data.len() as u32;
            batch.push(Packet::new(ts, offset, caplen, header.len.max(caplen), linktype, origin));
        });
        let is_empty = batch.len() == before;
        if outcome.is_err() || (handle.is_failing && is_empty) {
            self.count();
            self.state = State::Down(Stopwatch::start());
            self.went_down += 1;
        }
    }

    /// Adds what the kernel counted since the last call.
    pub fn count(&mut self) {
        if let State::Up(handle) = &mut self.state {
            handle.count(&mut self.kernel, self.drops);
        }
    }

    /// Tries to open the interface again, if it is down and its time has come.
    pub fn retry(&mut self, options: &LiveOptions) {
        let State::Down(since) = self.state else { return };
        if since.elapsed() < RETRY {
            return;
        }
        let reopened = open_capture(&self.name, options)
            .ok()
            .filter(|capture| self.group.is_none_or(|group| packet_socket::join_group(capture.as_fd(), group).is_ok()));
        self.state = match reopened {
            Some(capture) => {
                self.came_back += 1;
                State::Up(Handle::new(capture, &self.name))
            }
            None => State::Down(Stopwatch::start()),
        };
    }
}

/// Whether an interface can go down or away; those of libpcap's own making (`any`) cannot.
#[derive(Clone, Copy, Debug)]
enum Watch {
    Wanted,
    Pointless,
}

/// Who else gets packets of the interface.
#[derive(Clone, Copy, Debug)]
pub(super) enum Share {
    /// Nobody.
    Alone,
    /// Engines that are opened later.
    First,
    /// The members of this group.
    With(FanoutGroup),
}

impl Handle {
    fn new(capture: Capture<Active>, name: &str) -> Self {
        // Link types have numbers that are not negative.
        let linktype = linktype_from(capture.get_datalink().0.cast_unsigned());
        let index = packet_socket::index_if_up(capture.as_fd(), name);
        Self { capture, linktype, seen: [0; 3], index, is_failing: false }
    }

    /// Empties the buffer and forgets what was counted so far.
    fn discard(&mut self) {
        while self.capture.dispatch(Some(MAX_BATCH), |_| {}).is_ok_and(|count| count > 0) {}
        self.count(&mut KernelCounters::default(), InterfaceDrops::CountedByFirst);
    }

    fn count(&mut self, kernel: &mut KernelCounters, drops: InterfaceDrops) {
        let Ok(stat) = self.capture.stats() else { return };
        let now = [stat.received, stat.dropped, stat.if_dropped];
        kernel.add(self.seen, now, drops);
        self.seen = now;
    }
}

fn open_capture(name: &str, options: &LiveOptions) -> Result<Capture<Active>, OpenError> {
    let refused = |error: &pcap::Error| explain(name, error);
    let inactive = Capture::from_device(name).map_err(|error| refused(&error))?;
    let mut capture = inactive
        .promisc(options.promiscuity == Promiscuity::On)
        .snaplen(i32::try_from(options.snaplen).unwrap_or(i32::MAX))
        .buffer_size(i32::try_from(options.buffer_bytes).unwrap_or(i32::MAX))
        .timeout(HOLD_MILLIS)
        .immediate_mode(options.delivery == Delivery::Immediate)
        .precision(Precision::Nano)
        .open()
        .and_then(Capture::setnonblock)
        .map_err(|error| refused(&error))?;
    if let Some(expression) = &options.filter {
        capture.filter(expression, true).map_err(|error| {
            let linktype = linktype_from(capture.get_datalink().0.cast_unsigned());
            super::filter::FilterError::new(expression, linktype, error.to_string())
        })?;
    }
    Ok(capture)
}

/// Finds out why an interface cannot be opened. libpcap's words are for reading, so the facts are asked for again.
fn explain(name: &str, error: &pcap::Error) -> OpenError {
    let interface = name.to_owned();
    let devices = Device::list().unwrap_or_default();
    let device = devices.iter().find(|device| device.name == name);
    if device.is_none() && !devices.is_empty() {
        // Those without an interface behind them (netfilter queues, message buses) are not what was meant.
        let is_network = |device: &&Device| {
            !device.addresses.is_empty() || device.flags.contains(IfFlags::UP) || device.name == "any"
        };
        let available = devices.iter().filter(is_network).map(|device| device.name.clone()).collect();
        return OpenError::NoSuchInterface { interface, available };
    }
    if !packet_socket::may_capture() {
        let executable = std::env::current_exe().unwrap_or_else(|_| "millstream".into());
        return OpenError::CaptureRight { interface, executable };
    }
    if device.is_some_and(|device| !device.flags.contains(IfFlags::UP)) {
        return OpenError::InterfaceDown { interface };
    }
    OpenError::Interface { interface, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::{Interface, InterfaceDrops, KernelCounters, State, Watch};
    use crate::time::Stopwatch;

    impl Interface {
        /// One that is away, with what the kernel counted before.
        pub fn away(origin: u16, kernel: KernelCounters) -> Self {
            let (state, drops) = (State::Down(Stopwatch::start()), InterfaceDrops::Counted);
            let (group, watch) = (None, Watch::Wanted);
            Self { name: String::new(), origin, state, group, watch, drops, kernel, went_down: 2, came_back: 1 }
        }
    }

    #[test]
    fn counters_of_a_handle_are_added_up_also_where_they_begin_anew() {
        let mut kernel = KernelCounters::default();
        kernel.add([0, 0, 0], [u32::MAX - 1, 10, 20], InterfaceDrops::Counted);
        kernel.add([u32::MAX - 1, 10, 20], [1, 12, 25], InterfaceDrops::Counted);
        let found = (kernel.received, kernel.dropped, kernel.interface_dropped);
        assert_eq!(found, (u64::from(u32::MAX) + 2, 12, 25));
    }

    #[test]
    fn what_an_interface_drops_is_counted_by_one_of_those_who_share_it() {
        let (mut first, mut second) = (KernelCounters::default(), KernelCounters::default());
        first.add([0, 0, 0], [50, 2, 7], InterfaceDrops::Counted);
        second.add([0, 0, 0], [40, 3, 7], InterfaceDrops::CountedByFirst);
        assert_eq!((first.interface_dropped, second.interface_dropped), (7, 0));
        assert_eq!((second.received, second.dropped), (40, 3), "these are its own");
    }
}
