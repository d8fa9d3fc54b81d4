//! Names that hosts give themselves, as labels of their keys.

use super::fact::{Fact, FactKind};
use super::module::{FactOutput, Module};
use crate::guid::Guid;
use crate::key::{Host, mac_key};
use crate::metrics::Shard;

/// A label for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundLabel {
    /// Counter group.
    pub group: Guid,
    /// Key.
    pub key: Box<[u8]>,
    /// Label.
    pub label: Box<[u8]>,
}

/// Labels hosts and hardware addresses.
#[derive(Debug)]
pub(super) struct HostNames {
    hosts: Option<Guid>,
    macs: Option<Guid>,
}

impl HostNames {
    pub const fn new(hosts: Option<Guid>, macs: Option<Guid>) -> Self {
        Self { hosts, macs }
    }
}

impl Module for HostNames {
    fn fact(&mut self, fact: &Fact<'_>, out: &mut FactOutput, _shard: &mut Shard) {
        let FactKind::HostName { mac, ip, name } = fact.kind else { return };
        if name.is_empty() {
            return;
        }
        let mut add = |group: Option<Guid>, key: &[u8]| {
            out.labels.extend(group.map(|group| FoundLabel { group, key: key.into(), label: name.into() }));
        };
        add(self.macs, mac_key(mac).as_bytes());
        if let Some(ip) = ip.filter(|&ip| ip != [0; 4]) {
            add(self.hosts, Host::V4(ip).key().as_bytes());
        }
    }
}
