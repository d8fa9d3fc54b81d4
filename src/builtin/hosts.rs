//! *Hosts*, *HostsIPv6*, *Internal Hosts*, *External Hosts*, and the groups of hosts that speak some application.

use super::combiner::Combiner;
use super::fact::RaisedAlert;
use super::module::{MaybeGroup, Module, Updates};
use super::sight::{Change, IpSight, Opening, Sight, Turn};
use crate::key::{BinaryKey, HomeNets, Host};
use crate::metrics::{KeyRef, Shard};

const TOTAL: u32 = 0;
const RECEIVED: u32 = 1;
const TRANSMIT: u32 = 2;
const TOTAL_PACKETS: u32 = 3;
const ACTIVE: u32 = 4;
const ATTACKER_ALERTS: u32 = 5;
const HOMENET: u32 = 6;
const EXTERNAL: u32 = 7;
const SYN_SENT: u32 = 8;
const SYN_RECEIVED: u32 = 9;
const SYN_ACK_SENT: u32 = 10;
const VICTIM_ALERTS: u32 = 12;
const NEW: u32 = 13;

/// Packets between asking for sums and adding to them.
const AHEAD: usize = 6;

/// Sums of one host. What is not with the home networks is with others.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    received: u64,
    sent: u64,
    homenet: u64,
    packets: u32,
    syn_sent: u32,
    syn_received: u32,
    syn_ack_sent: u32,
    begun: u32,
    ended: u32,
}

/// A set of ports, one bit for each.
#[derive(Debug)]
struct Ports(Box<[u64]>);

impl Ports {
    fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let mut words = vec![0; (usize::from(u16::MAX) + 1) / 64];
        ports.into_iter().for_each(|port| words[usize::from(port) / 64] |= 1 << (port % 64));
        Self(words.into())
    }

    #[inline]
    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port) / 64] >> (port % 64) & 1 != 0
    }
}

/// Which flows the hosts of a group are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any.
    All,
    /// HTTP.
    Web,
    /// Mail.
    Email,
    /// SSH.
    Ssh,
    /// Of an application that no well-known port stands for.
    Unusual,
}

impl Kind {
    /// Whether a port is one of this kind's.
    fn has(self, port: u16) -> bool {
        match self {
            Self::Web => matches!(port, 80 | 443 | 8080),
            Self::Email => matches!(port, 25 | 110 | 143 | 465 | 587 | 993 | 995),
            Self::Ssh => port == 22,
            Self::All | Self::Unusual => false,
        }
    }

    /// Whether a packet or flow belongs here. `known` tells well-known ports.
    fn takes(self, ports: (u16, u16), app: Option<u16>, known: impl Fn(u16) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Unusual => app.is_some_and(|port| !known(port)),
            _ => app.is_some() && (self.has(ports.0) || self.has(ports.1)),
        }
    }
}

/// The groups a host is counted in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostGroups {
    /// IPv4 hosts.
    pub v4: MaybeGroup,
    /// IPv6 hosts.
    pub v6: MaybeGroup,
    /// IPv4 hosts inside the home networks.
    pub internal: MaybeGroup,
    /// IPv4 hosts outside.
    pub external: MaybeGroup,
}

/// Counts the hosts of all packets, or of those of some applications.
#[derive(Debug)]
pub(super) struct Hosts {
    groups: HostGroups,
    kind: Kind,
    home: HomeNets,
    /// For [`Kind::Unusual`].
    known: Ports,
    v4: Combiner<u64, Sums>,
    v6: Combiner<Option<u128>, Sums>,
}

impl Hosts {
    pub fn new(groups: HostGroups, kind: Kind, home: HomeNets, known: Vec<u16>) -> Self {
        let known = Ports::new(known);
        Self { groups, kind, home, known, v4: Combiner::new(), v6: Combiner::new() }
    }

    #[inline]
    fn takes(&self, ports: (u16, u16), app: Option<u16>) -> bool {
        self.kind == Kind::All || self.kind.takes(ports, app, |port| self.known.has(port))
    }

    /// Asks the memory for the sums of a host that is counted soon.
    #[inline]
    fn ask_for(&self, host: Host) {
        match host {
            Host::V4(bytes) => self.v4.ask_for(u64::from(u32::from_be_bytes(bytes))),
            Host::V6(bytes) => self.v6.ask_for(Some(u128::from_be_bytes(bytes))),
        }
    }

    /// Adds to the sums of a host.
    #[inline]
    fn count(&mut self, host: Host, add: impl Fn(&mut Sums), shard: &mut Shard) {
        let groups = self.groups;
        match host {
            Host::V4(bytes) if groups.v4.is_some() || groups.internal.is_some() || groups.external.is_some() => {
                let home = &self.home;
                let key = u64::from(u32::from_be_bytes(bytes));
                add(self.v4.sums(key, |key, sums| flush_v4(&groups, home, key, sums, shard)));
            }
            Host::V6(bytes) if groups.v6.is_some() => {
                let key = Some(u128::from_be_bytes(bytes));
                add(self.v6.sums(key, |key, sums| flush_v6(&groups, key, sums, shard)));
            }
            _ => {}
        }
    }

    #[inline]
    fn packet(&mut self, wire: u64, ip: &IpSight, shard: &mut Shard) {
        let at_home = |inside: bool| if inside { wire } else { 0 };
        let (to, from) = (at_home(ip.way.destination_inside()), at_home(ip.way.source_inside()));
        let (syn, syn_ack) = (u32::from(ip.opening == Opening::Syn), u32::from(ip.opening == Opening::SynAck));
        let sent = |sums: &mut Sums| {
            sums.sent += wire;
            sums.packets += 1;
            sums.homenet += to;
            sums.syn_sent += syn;
            sums.syn_ack_sent += syn_ack;
        };
        let received = |sums: &mut Sums| {
            sums.received += wire;
            sums.packets += 1;
            sums.homenet += from;
            sums.syn_received += syn;
        };
        self.count(ip.source, sent, shard);
        self.count(ip.destination, received, shard);
    }

    /// Counts meters of a host in every group it belongs to.
    fn update(&self, host: Host, updates: &[(u32, f64)], shard: &mut Shard) {
        let key = BinaryKey::host(host);
        let [first, second] = match host {
            Host::V4(_) if self.home.contains_host(host) => [self.groups.v4, self.groups.internal],
            Host::V4(_) => [self.groups.v4, self.groups.external],
            Host::V6(_) => [self.groups.v6, None],
        };
        for group in [first, second].into_iter().flatten() {
            let _ = shard.update_meters(group, KeyRef::Binary(&key), updates);
        }
    }
}

#[inline]
fn updates_of(sums: &Sums) -> Updates<11> {
    let total = sums.received + sums.sent;
    let mut updates = Updates::new();
    updates.always(TOTAL, total);
    updates.nonzero(RECEIVED, sums.received);
    updates.nonzero(TRANSMIT, sums.sent);
    updates.always(TOTAL_PACKETS, u64::from(sums.packets));
    updates.active(ACTIVE, sums.begun, sums.ended);
    updates.nonzero(HOMENET, sums.homenet);
    updates.nonzero(EXTERNAL, total - sums.homenet);
    updates.nonzero(SYN_SENT, u64::from(sums.syn_sent));
    updates.nonzero(SYN_RECEIVED, u64::from(sums.syn_received));
    updates.nonzero(SYN_ACK_SENT, u64::from(sums.syn_ack_sent));
    updates.nonzero(NEW, u64::from(sums.begun));
    updates
}

fn flush_v4(groups: &HostGroups, home: &HomeNets, key: u64, sums: &Sums, shard: &mut Shard) {
    let host = Host::V4((key as u32).to_be_bytes());
    let key = BinaryKey::host(host);
    let updates = updates_of(sums);
    if let Some(group) = groups.v4 {
        updates.send(shard, group, KeyRef::Binary(&key));
    }
    if groups.internal.is_some() || groups.external.is_some() {
        let group = if home.contains_host(host) { groups.internal } else { groups.external };
        if let Some(group) = group {
            updates.send(shard, group, KeyRef::Binary(&key));
        }
    }
}

/// As [`flush_v4`] for several hosts, whose records are asked for first.
fn flush_v4_part(groups: &HostGroups, home: &HomeNets, part: &[(u64, Sums)], shard: &mut Shard) {
    let hosts = || part.iter().map(|&(key, _)| Host::V4((key as u32).to_be_bytes()));
    if let Some(group) = groups.v4 {
        shard.ask_for(group, hosts().map(BinaryKey::host));
    }
    for (group, inside) in [(groups.internal, true), (groups.external, false)] {
        if let Some(group) = group {
            shard.ask_for(group, hosts().filter(|host| home.contains_host(*host) == inside).map(BinaryKey::host));
        }
    }
    part.iter().for_each(|(key, sums)| flush_v4(groups, home, *key, sums, shard));
}

fn flush_v6(groups: &HostGroups, key: Option<u128>, sums: &Sums, shard: &mut Shard) {
    if let (Some(group), Some(key)) = (groups.v6, key) {
        updates_of(sums).send(shard, group, KeyRef::Binary(&BinaryKey::host(Host::V6(key.to_be_bytes()))));
    }
}

impl Module for Hosts {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        for (index, sight) in sights.iter().enumerate() {
            let ahead = sights.get(index + AHEAD).filter(|_| self.kind == Kind::All);
            if let Some(ip) = ahead.and_then(|ahead| ahead.ip.as_ref()) {
                self.ask_for(ip.source);
                self.ask_for(ip.destination);
            }
            let Some(ip) = &sight.ip else { continue };
            if self.takes(ip.ports, ip.app) {
                self.packet(u64::from(sight.wire), ip, shard);
            }
        }
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        for (index, change) in changes.iter().enumerate() {
            if let Some(ahead) = changes.get(index + AHEAD).filter(|_| self.kind == Kind::All) {
                ahead.hosts().into_iter().for_each(|host| self.ask_for(host));
            }
            if !self.takes((change.tuple.port_a, change.tuple.port_z), change.app) {
                continue;
            }
            for host in change.hosts() {
                match change.what {
                    Turn::Began => self.count(host, |sums| sums.begun += 1, shard),
                    Turn::Ended(_) => self.count(host, |sums| sums.ended += 1, shard),
                }
            }
        }
    }

    fn flush(&mut self, shard: &mut Shard) {
        let (groups, home) = (self.groups, &self.home);
        self.v4.drain_parts(|part| flush_v4_part(&groups, home, part, shard));
        self.v6.drain(|key, sums| flush_v6(&groups, key, sums, shard));
    }

    fn alert(&mut self, alert: &RaisedAlert<'_>, shard: &mut Shard) {
        let Some((source, destination)) = alert.ends() else { return };
        if self.takes(alert.ports(), alert.app()) {
            self.update(source, &[(ATTACKER_ALERTS, 1.0)], shard);
            self.update(destination, &[(VICTIM_ALERTS, 1.0)], shard);
        }
    }
}
