//! The clock of an input that several engines share.
//!
//! Flows grow old as packets come, whoever has them. An engine sees only its own packets; of the others it is told the first
//! one of each tick and of each second, which is all that an engine with all packets would go by: see [`Timestamp::tick`].

use crate::time::Timestamp;

/// A packet with which a tick or a second begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// When.
    pub time: Timestamp,
    /// Where the bytes of the packet are among those of the batch, or 0 if it came before them.
    pub offset: u32,
    /// Whether the packet has a flow: no other makes flows older.
    pub ages: bool,
}

/// Tells with which packets ticks and seconds begin.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    tick: Timestamp,
    second: Timestamp,
}

impl Default for Clock {
    fn default() -> Self {
        let never = Timestamp::from_nanos(i64::MIN);
        Self { tick: never, second: never }
    }
}

impl Clock {
    /// Nothing begins with a packet before that.
    #[inline]
    #[must_use]
    pub fn due(&self) -> Timestamp {
        self.tick.min(self.second)
    }

    /// Takes a packet in; whether something begins with it.
    pub fn strike(&mut self, packet: &Tick) -> bool {
        let Tick { time, ages, .. } = *packet;
        let begins = time >= self.second || ages && time >= self.tick;
        if begins {
            self.second = self.second.max(time.end_of_second());
            if ages {
                self.tick = self.tick.max(time.end_of_tick());
            }
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, Tick};
    use crate::time::Timestamp;

    #[test]
    fn a_tick_begins_with_a_packet_of_a_flow_and_a_second_with_any() {
        let mut clock = Clock::default();
        // Milliseconds; a tick has 268.4, and the seventh begins at 1,610.6.
        let packets = [
            (1_700, false, true),
            (1_700, false, false),
            (1_800, true, true),
            (1_810, true, false),
            (1_870, false, false),
            (1_880, true, true),
            (2_000, false, true),
            (2_001, true, false),
            (2_200, true, true),
            (1_999, true, false),
        ];
        for (millis, ages, begins) in packets {
            let time = Timestamp::from_nanos(millis * 1_000_000);
            assert!(time >= clock.due() || !begins, "{millis}");
            assert_eq!(clock.strike(&Tick { time, offset: 0, ages }), begins, "{millis}");
        }
    }
}
