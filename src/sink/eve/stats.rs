//! Events about the run itself.

use std::collections::BTreeMap;

use super::item::StatsItem;
use super::json::Object;

/// IP protocol number of TCP.
const TCP: u8 = 6;

/// The latest of every engine.
#[derive(Debug, Default)]
pub(super) struct StatsBook {
    engines: BTreeMap<u32, StatsItem>,
    /// Alerts that were told of.
    pub alerts: u64,
    /// Flows by what they speak.
    protocols: BTreeMap<&'static str, u64>,
}

impl StatsBook {
    /// A flow over an IP protocol turned out to speak a protocol.
    pub fn protocol(&mut self, name: &'static str, proto: u8) {
        let name = match (name, proto) {
            ("dns", TCP) => "dns_tcp",
            ("dns", _) => "dns_udp",
            _ => name,
        };
        *self.protocols.entry(name).or_default() += 1;
    }

    /// Takes a count in. The first engine sets the pace; what it tells is told together with the latest of the others.
    pub fn take(&mut self, item: StatsItem) -> Option<StatsItem> {
        let Some(engine) = item.engine else { return Some(item) };
        self.engines.insert(engine, item);
        if engine != 0 {
            return None;
        }
        let mut all = self.engines.values();
        let mut sum = all.next()?.clone();
        for item in all {
            sum.first = sum.first.min(item.first);
            sum.packets += item.packets;
            sum.bytes += item.bytes;
            sum.kernel_drops += item.kernel_drops;
            sum.interface_drops += item.interface_drops;
            sum.flows += item.flows;
            sum.flows_by.iter_mut().zip(item.flows_by).for_each(|(sum, count)| *sum += count);
            sum.live_flows += item.live_flows;
            sum.flow_memory += item.flow_memory;
            sum.gaps += item.gaps;
            sum.overlaps += item.overlaps;
            for (name, count) in &item.drops {
                match sum.drops.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known += count,
                    None => sum.drops.push((name.clone(), *count)),
                }
            }
        }
        Some(sum)
    }
}

/// The object of an event.
pub(super) fn write(item: &StatsItem, book: &StatsBook, object: &mut Object<'_>) {
    object.object("stats", |object| {
        object.count("uptime", item.time.since(item.first).as_secs());
        object.object("capture", |object| {
            object.count("kernel_packets", item.packets.saturating_add(item.kernel_drops));
            object.count("kernel_drops", item.kernel_drops);
            object.count("kernel_ifdrops", item.interface_drops);
        });
        object.object("decoder", |object| {
            object.count("pkts", item.packets);
            object.count("bytes", item.bytes);
            object.count("avg_pkt_size", item.bytes.checked_div(item.packets).unwrap_or(0));
        });
        object.object("flow", |object| {
            object.count("total", item.flows);
            object.count("active", item.live_flows);
            for (name, count) in ["tcp", "udp", "icmpv4", "icmpv6"].into_iter().zip(item.flows_by) {
                object.count(name, count);
            }
            object.count("memuse", item.flow_memory);
        });
        object.object("tcp", |object| {
            object.count("reassembly_gap", item.gaps);
            object.count("overlap", item.overlaps);
        });
        object.object("detect", |object| object.count("alert", book.alerts));
        object.object("app_layer", |object| {
            object.object("flow", |object| book.protocols.iter().for_each(|(name, count)| object.count(name, *count)));
        });
        object.object("dropped", |object| item.drops.iter().for_each(|(name, count)| object.count(name, *count)));
    });
}

#[cfg(test)]
mod tests {
    use super::{StatsBook, StatsItem};
    use crate::time::Timestamp;

    /// What an engine tells, each figure another.
    fn item(engine: u32, unit: u64, drops: &[(&str, u64)]) -> StatsItem {
        StatsItem {
            engine: Some(engine),
            time: Timestamp::new(100 + i64::from(engine), 0),
            first: Timestamp::new(50 - i64::from(engine), 0),
            packets: unit,
            bytes: 2 * unit,
            kernel_drops: 3 * unit,
            interface_drops: 4 * unit,
            flows: 5 * unit,
            flows_by: [6, 7, 8, 9].map(|by| by * unit),
            live_flows: 10 * unit,
            flow_memory: 11 * unit,
            gaps: 12 * unit,
            overlaps: 13 * unit,
            drops: drops.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }

    #[test]
    fn the_first_engine_tells_the_sum_of_the_latest_of_all() {
        let mut book = StatsBook::default();
        assert!(book.take(item(1, 1_000, &[])).is_none(), "the first sets the pace");
        assert!(book.take(item(2, 200, &[("b", 5), ("c", 7)])).is_none());
        assert!(book.take(item(1, 3_000, &[("a", 1), ("b", 2)])).is_none());
        let sum = book.take(item(0, 10, &[("a", 30)])).unwrap();
        let all = StatsItem {
            time: Timestamp::new(100, 0),
            first: Timestamp::new(48, 0),
            ..item(0, 3_210, &[("a", 31), ("b", 7), ("c", 7)])
        };
        assert_eq!(format!("{sum:#?}"), format!("{all:#?}"));
        let alone = StatsItem { engine: None, ..item(0, 1, &[]) };
        assert_eq!(format!("{:?}", book.take(alone.clone()).unwrap()), format!("{alone:?}"), "it is a sum already");
    }
}
