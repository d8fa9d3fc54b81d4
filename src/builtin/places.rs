//! Where packets come from and belong to: *Interfaces*, *Subnets*, *System Performance*. Counted only when asked for.

use std::net::IpAddr;

use super::combiner::Combiner;
use super::module::{Module, Updates};
use super::sight::Sight;
use crate::key::Network;
use crate::metrics::{GroupIndex, KeyRef, Shard};

/// Counts what each input delivers.
#[derive(Debug)]
pub(super) struct Interfaces {
    group: GroupIndex,
    names: Vec<String>,
    sums: Combiner<u64, [u64; 2]>,
}

impl Interfaces {
    pub fn new(group: GroupIndex, names: Vec<String>) -> Self {
        Self { group, names, sums: Combiner::new() }
    }
}

fn flush_interface(group: GroupIndex, names: &[String], origin: u64, sums: &[u64; 2], shard: &mut Shard) {
    let mut updates = Updates::<2>::new();
    updates.always(0, sums[0]);
    updates.always(1, sums[1]);
    match names.get(origin as usize) {
        Some(name) => updates.send(shard, group, KeyRef::Text(name.as_bytes())),
        // An input that appeared after the start; its number is all that is known.
        None => updates.send(shard, group, KeyRef::Text(origin.to_string().as_bytes())),
    }
}

impl Module for Interfaces {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let (group, names) = (self.group, &self.names);
        for sight in sights {
            let key = u64::from(sight.origin);
            let sums = self.sums.sums(key, |key, sums| flush_interface(group, names, key, sums, shard));
            sums[0] += u64::from(sight.wire);
            sums[1] += 1;
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let (group, names) = (self.group, &self.names);
        self.sums.drain(|key, sums| flush_interface(group, names, key, sums, shard));
    }
}

/// Counts each home network as a subnet, under its CIDR text.
#[derive(Debug)]
pub(super) struct Subnets {
    group: GroupIndex,
    networks: Vec<(Network, String, [u64; 3])>,
}

impl Subnets {
    pub fn new(group: GroupIndex, networks: &[Network]) -> Self {
        let networks = networks.iter().map(|&network| (network, network.to_string(), [0; 3])).collect();
        Self { group, networks }
    }
}

impl Module for Subnets {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        for sight in sights {
            let Some(ip) = &sight.ip else { continue };
            let (source, destination): (IpAddr, IpAddr) = (ip.source.into(), ip.destination.into());
            for (network, _, [received, sent, packets]) in &mut self.networks {
                let (is_from, is_to) = (network.contains(source), network.contains(destination));
                *sent += if is_from { u64::from(sight.wire) } else { 0 };
                *received += if is_to { u64::from(sight.wire) } else { 0 };
                *packets += u64::from(is_from || is_to);
            }
        }
        for (_, name, sums) in self.networks.iter_mut().filter(|(_, _, sums)| sums[2] != 0) {
            let [received, sent, packets] = std::mem::take(sums);
            let mut updates = Updates::<4>::new();
            updates.always(0, received + sent);
            updates.nonzero(1, received);
            updates.nonzero(2, sent);
            updates.always(3, packets);
            updates.send(shard, self.group, KeyRef::Text(name.as_bytes()));
        }
    }
}

const PROCESSED: u32 = 10;

/// Counts the packets the probe handled. What the machine does besides is not read here.
#[derive(Debug)]
pub(super) struct Performance {
    group: GroupIndex,
    probe: String,
}

impl Performance {
    pub fn new(group: GroupIndex, probe: String) -> Self {
        Self { group, probe }
    }
}

impl Module for Performance {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        if !sights.is_empty() {
            let _ = shard.update(self.group, self.probe.as_bytes(), PROCESSED, sights.len() as f64);
        }
    }
}
