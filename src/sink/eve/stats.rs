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
