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

/// Sums of one host; the total is received and sent together.
const CELLS: usize = 8;
const CELL_RECEIVED: usize = 0;
const CELL_SENT: usize = 1;
const CELL_PACKETS: usize = 2;
const CELL_HOMENET: usize = 3;
const CELL_EXTERNAL: usize = 4;
const CELL_SYN_SENT: usize = 5;
const CELL_SYN_RECEIVED: usize = 6;
const CELL_SYN_ACK_SENT: usize = 7;

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
    /// Sorted; for [`Kind::Unusual`].
    known: Vec<u16>,
    v4: Combiner<CELLS>,
    v6: Combiner<CELLS>,
}

impl Hosts {
    pub fn new(groups: HostGroups, kind: Kind, home: HomeNets, mut known: Vec<u16>) -> Self {
        known.sort_unstable();
        Self { groups, kind, home, known, v4: Combiner::new(), v6: Combiner::new() }
    }

    #[inline]
    fn takes(&self, ports: (u16, u16), app: Option<u16>) -> bool {
        self.kind == Kind::All || self.kind.takes(ports, app, |port| self.known.binary_search(&port).is_ok())
    }

    #[inline]
    fn count(&mut self, host: Host, add: impl Fn(&mut [u64; CELLS]), shard: &mut Shard) {
        match host {
            Host::V4(bytes) => {
                let (groups, home) = (self.groups, &self.home);
                add(self.v4.sums(u128::from(u32::from_be_bytes(bytes)), |key, sums| {
                    flush_v4(&groups, home, key, sums, shard)
                }));
            }
            Host::V6(bytes) => {
                let groups = self.groups;
                add(self.v6.sums(u128::from_be_bytes(bytes), |key, sums| flush_v6(&groups, key, sums, shard)));
            }
        }
    }

    #[inline]
    fn packet(&mut self, wire: u64, ip: &IpSight, shard: &mut Shard) {
        let other = |inside: bool| if inside { CELL_HOMENET } else { CELL_EXTERNAL };
        let (to, from) = (other(ip.way.destination_inside()), other(ip.way.source_inside()));
        let (syn, syn_ack) = (u64::from(ip.opening == Opening::Syn), u64::from(ip.opening == Opening::SynAck));
        let sent = |sums: &mut [u64; CELLS]| {
            sums[CELL_SENT] += wire;
            sums[CELL_PACKETS] += 1;
            sums[to] += wire;
            sums[CELL_SYN_SENT] += syn;
            sums[CELL_SYN_ACK_SENT] += syn_ack;
        };
        let received = |sums: &mut [u64; CELLS]| {
            sums[CELL_RECEIVED] += wire;
            sums[CELL_PACKETS] += 1;
            sums[from] += wire;
            sums[CELL_SYN_RECEIVED] += syn;
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
fn updates_of(sums: &[u64; CELLS]) -> Updates<9> {
    let mut updates = Updates::new();
    updates.always(TOTAL, sums[CELL_RECEIVED] + sums[CELL_SENT]);
    updates.nonzero(RECEIVED, sums[CELL_RECEIVED]);
    updates.nonzero(TRANSMIT, sums[CELL_SENT]);
    updates.always(TOTAL_PACKETS, sums[CELL_PACKETS]);
    updates.nonzero(HOMENET, sums[CELL_HOMENET]);
    updates.nonzero(EXTERNAL, sums[CELL_EXTERNAL]);
    updates.nonzero(SYN_SENT, sums[CELL_SYN_SENT]);
    updates.nonzero(SYN_RECEIVED, sums[CELL_SYN_RECEIVED]);
    updates.nonzero(SYN_ACK_SENT, sums[CELL_SYN_ACK_SENT]);
    updates
}

fn flush_v4(groups: &HostGroups, home: &HomeNets, key: u128, sums: &[u64; CELLS], shard: &mut Shard) {
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

fn flush_v6(groups: &HostGroups, key: u128, sums: &[u64; CELLS], shard: &mut Shard) {
    if let Some(group) = groups.v6 {
        updates_of(sums).send(shard, group, KeyRef::Binary(&BinaryKey::host(Host::V6(key.to_be_bytes()))));
    }
}

impl Module for Hosts {
    fn packets(&mut self, sights: &[Sight], shard: &mut Shard) {
        let groups = self.groups;
        let wants_v4 = groups.v4.is_some() || groups.internal.is_some() || groups.external.is_some();
        for sight in sights {
            let Some(ip) = &sight.ip else { continue };
            let wanted = match ip.source {
                Host::V4(_) => wants_v4,
                Host::V6(_) => groups.v6.is_some(),
            };
            if wanted && self.takes(ip.ports, ip.app) {
                self.packet(u64::from(sight.wire), ip, shard);
            }
        }
        let home = &self.home;
        self.v4.drain(|key, sums| flush_v4(&groups, home, key, sums, shard));
        self.v6.drain(|key, sums| flush_v6(&groups, key, sums, shard));
    }

    fn flows(&mut self, changes: &[Change], shard: &mut Shard) {
        for change in changes {
            if !self.takes((change.tuple.port_a, change.tuple.port_z), change.app) {
                continue;
            }
            let updates = [(ACTIVE, change.what.step()), (NEW, 1.0)];
            let updates = if change.what == Turn::Began { &updates[..] } else { &updates[..1] };
            for host in change.hosts() {
                self.update(host, updates, shard);
            }
        }
    }

    fn alert(&mut self, alert: &RaisedAlert<'_>, shard: &mut Shard) {
        let Some((source, destination)) = alert.ends() else { return };
        if self.takes(alert.ports(), alert.app()) {
            self.update(source, &[(ATTACKER_ALERTS, 1.0)], shard);
            self.update(destination, &[(VICTIM_ALERTS, 1.0)], shard);
        }
    }
}
