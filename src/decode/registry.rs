//! Which protocols exist and where they attach.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::guid::Guid;
use crate::packet::{ProtocolId, builtin};

/// Most protocols scripts may add; far more than ever are loaded, and ids stay small.
const MAX_PROTOCOLS: usize = 4_096;

/// Most protocols that are known because a handler named them as what comes next.
const MAX_NAMED: usize = 256;

const NONE: u16 = u16::MAX;

/// The protocols by id and GUID, and the attachments of those that scripts parse.
#[derive(Clone, Debug)]
pub struct Registry {
    protocols: Vec<Protocol>,
    by_guid: HashMap<Guid, ProtocolId>,
    tcp: PortTable,
    udp: PortTable,
    ipv4: [u16; 256],
    ipv6: [u16; 256],
    ethertypes: Vec<(u16, ProtocolId)>,
    // True while nothing attached concerns the frequent headers; the fast path is taken only then.
    plain: bool,
    named: Arc<Named>,
}

/// GUIDs that nobody defines and handlers named, whose ids follow those of all others. Engines fill the places one after the
/// other while packets run, each once.
#[derive(Debug)]
struct Named {
    places: Vec<OnceLock<Guid>>,
    // How many are filled, as far as it has been told.
    count: AtomicUsize,
}

impl Named {
    fn new() -> Self {
        Self { places: (0..MAX_NAMED).map(|_| OnceLock::new()).collect(), count: AtomicUsize::new(0) }
    }

    /// The place of a GUID, a free one if it has none yet. What is filled is only read: the place that this one fills is the
    /// only one at which an engine could meet another that writes.
    fn place_of(&self, guid: Guid) -> Option<usize> {
        self.places.iter().position(|place| match place.get() {
            Some(known) => *known == guid,
            None if place.set(guid).is_ok() => {
                self.count.fetch_add(1, Ordering::Release);
                true
            }
            // Another engine was first.
            None => place.get() == Some(&guid),
        })
    }

    fn iter(&self) -> impl Iterator<Item = Guid> + '_ {
        self.places.iter().map_while(|place| place.get().copied())
    }
}

#[derive(Clone, Debug)]
struct Protocol {
    guid: Guid,
    name: Box<str>,
    parser: Parser,
}

/// Who finds the extent of a protocol's layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parser {
    Native,
    NameOnly,
    Script,
}

/// What became of a protocol that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its id.
    pub id: ProtocolId,
    /// Numbers that another protocol had taken before, and which; worth an INFO line each.
    pub taken: Vec<(u32, ProtocolId)>,
    /// Numbers that do not exist in the host protocol.
    pub out_of_range: Vec<u32>,
    /// False if there is a host protocol but nothing can attach to it; it is then reached only by its GUID.
    pub attachable: bool,
}

/// A protocol could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The GUID has a parser already; the first one stays.
    #[error("protocol {0} is already defined")]
    Defined(Guid),
    /// Too many protocols.
    #[error("more than {MAX_PROTOCOLS} protocols")]
    Full,
}

/// Attachments by port: a bitmap that answers the frequent "none", and the list behind it.
#[derive(Clone, Debug)]
struct PortTable {
    bits: Box<[u64; 1024]>,
    ports: Vec<(u16, ProtocolId)>,
}

impl PortTable {
    fn new() -> Self {
        Self { bits: Box::new([0; 1024]), ports: Vec::new() }
    }

    #[inline]
    fn has(&self, port: u16) -> bool {
        self.bits[usize::from(port >> 6)] >> (port & 63) & 1 != 0
    }

    #[inline]
    fn has_either(&self, sport: u16, dport: u16) -> bool {
        !self.ports.is_empty() && (self.has(dport) || self.has(sport))
    }

    fn find(&self, port: u16) -> Option<ProtocolId> {
        if !self.has(port) {
            return None;
        }
        self.ports.binary_search_by_key(&port, |&(port, _)| port).ok().map(|at| self.ports[at].1)
    }

    /// Takes a port, or says who has it.
    fn insert(&mut self, port: u16, protocol: ProtocolId) -> Result<(), ProtocolId> {
        match self.ports.binary_search_by_key(&port, |&(port, _)| port) {
            Ok(at) => Err(self.ports[at].1),
            Err(at) => {
                self.ports.insert(at, (port, protocol));
                self.bits[usize::from(port >> 6)] |= 1 << (port & 63);
                Ok(())
            }
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The built-in protocols. Those of link layers other than Ethernet and of opaque bytes have GUIDs of our own.
    #[must_use]
    pub fn new() -> Self {
        const BUILTIN: [(ProtocolId, &str, &str, Parser); builtin::COUNT as usize] = [
            (builtin::ETHERNET, "Ethernet", "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}", Parser::Native),
            (builtin::IPV4, "IPv4", "{0A2C724B-5B9F-4BA6-9C97-B05080558574}", Parser::Native),
            (builtin::IPV6, "IPv6", "{85C0CCED-DA8D-4029-924A-A6AB87F62EF8}", Parser::Native),
            (builtin::ICMP, "ICMP", "{7DDD65F2-A316-43B5-A103-368E700E045E}", Parser::Native),
            (builtin::UDP, "UDP", "{14D7AB53-CC51-47E9-8814-9C06AAE60189}", Parser::Native),
            (builtin::TCP, "TCP", "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}", Parser::Native),
            (builtin::LINK, "Link", "{5D1C3A52-6C0B-4C5E-9E0B-7A1F3E94C6D1}", Parser::NameOnly),
            (builtin::OPAQUE, "Opaque", "{B3F0A6E4-27D9-4B8A-8F46-0C9D51E2A7B8}", Parser::NameOnly),
            (builtin::SFLOW, "sFlow", "{462919DD-EE84-497C-AC6F-05D1162BCC5B}", Parser::NameOnly),
            (builtin::NETFLOW, "NetFlow", "{CEF0774D-F1F3-40A6-8987-168BD69D9901}", Parser::NameOnly),
        ];
        let mut registry = Self {
            protocols: Vec::new(),
            by_guid: HashMap::new(),
            tcp: PortTable::new(),
            udp: PortTable::new(),
            ipv4: [NONE; 256],
            ipv6: [NONE; 256],
            ethertypes: Vec::new(),
            plain: true,
            named: Arc::new(Named::new()),
        };
        for (id, name, guid, parser) in BUILTIN {
            debug_assert_eq!(usize::from(id.0), registry.protocols.len());
            registry.push(Guid::literal(guid), name, parser);
        }
        registry
    }

    fn push(&mut self, guid: Guid, name: &str, parser: Parser) -> ProtocolId {
        let id = ProtocolId(self.protocols.len() as u16);
        self.protocols.push(Protocol { guid, name: name.into(), parser });
        self.by_guid.insert(guid, id);
        id
    }

    /// Adds a protocol that a script parses, attached to `host` by `numbers`: ports, EtherTypes or IP protocol numbers.
    /// Whoever claimed a number first keeps it.
    ///
    /// # Errors
    /// [`RegisterError::Defined`] if the GUID is that of a native protocol or another script's.
    pub fn add(&mut self, guid: Guid, name: &str, host: Option<Guid>, numbers: &[u32]) -> Result<Added, RegisterError> {
        let id = match self.by_guid.get(&guid) {
            Some(&id) => {
                let protocol = &mut self.protocols[usize::from(id.0)];
                if protocol.parser != Parser::NameOnly || id == builtin::LINK || id == builtin::OPAQUE {
                    return Err(RegisterError::Defined(guid));
                }
                protocol.parser = Parser::Script;
                id
            }
            None if self.protocols.len() >= MAX_PROTOCOLS => return Err(RegisterError::Full),
            None => self.push(guid, name, Parser::Script),
        };
        let mut added = Added { id, taken: Vec::new(), out_of_range: Vec::new(), attachable: true };
        let Some(host) = host else { return Ok(added) };
        let host = self.id(host);
        for &number in numbers {
            let limit = if matches!(host, Some(builtin::IPV4 | builtin::IPV6)) { 0xFF } else { 0xFFFF };
            if number > limit {
                added.out_of_range.push(number);
                continue;
            }
            let outcome = match host {
                Some(builtin::TCP) => self.tcp.insert(number as u16, id),
                Some(builtin::UDP) => self.udp.insert(number as u16, id),
                Some(builtin::IPV4) => take(&mut self.ipv4[number as usize], id),
                Some(builtin::IPV6) => take(&mut self.ipv6[number as usize], id),
                Some(builtin::ETHERNET) => self.take_ethertype(number as u16, id),
                _ => {
                    added.attachable = false;
                    break;
                }
            };
            if let Err(owner) = outcome
                && owner != id
            {
                added.taken.push((number, owner));
            }
        }
        self.plain = self.ethertypes.is_empty()
            && [6, 17].iter().all(|&number: &usize| self.ipv4[number] == NONE && self.ipv6[number] == NONE);
        Ok(added)
    }

    fn take_ethertype(&mut self, ethertype: u16, id: ProtocolId) -> Result<(), ProtocolId> {
        match self.ethertypes.iter().find(|&&(taken, _)| taken == ethertype) {
            Some(&(_, owner)) => Err(owner),
            None => {
                self.ethertypes.push((ethertype, id));
                Ok(())
            }
        }
    }

    /// The protocol of a GUID.
    #[must_use]
    pub fn id(&self, guid: Guid) -> Option<ProtocolId> {
        let named = || self.named().position(|known| known == guid).map(id_of_named);
        self.by_guid.get(&guid).copied().or_else(named)
    }

    /// The protocol of a GUID that a handler names as what comes next. One that nobody defines is opaque and known from now
    /// on, unless there are too many of these.
    #[must_use]
    pub fn id_or_name(&self, guid: Guid) -> Option<ProtocolId> {
        self.by_guid.get(&guid).copied().or_else(|| self.named.place_of(guid).map(id_of_named))
    }

    /// The GUIDs that handlers named and nobody defines.
    pub fn named(&self) -> impl Iterator<Item = Guid> + '_ {
        self.named.iter()
    }

    /// How many they are: where the number is the same, nobody has named one since.
    #[must_use]
    pub fn named_count(&self) -> usize {
        self.named.count.load(Ordering::Acquire)
    }

    /// The GUID of a protocol; that of opaque bytes for an id from elsewhere.
    #[must_use]
    pub fn guid(&self, id: ProtocolId) -> Guid {
        let named = usize::from(id.0).checked_sub(MAX_PROTOCOLS).and_then(|place| self.named.places.get(place)?.get());
        named.copied().unwrap_or_else(|| self.entry(id).guid)
    }

    /// The name of a protocol.
    #[must_use]
    pub fn name(&self, id: ProtocolId) -> &str {
        &self.entry(id).name
    }

    /// True if a script finds the extent of this protocol's layer.
    #[must_use]
    pub fn is_script(&self, id: ProtocolId) -> bool {
        self.entry(id).parser == Parser::Script
    }

    /// All protocols with GUID and name, built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = (ProtocolId, Guid, &str)> + '_ {
        self.protocols.iter().enumerate().map(|(id, protocol)| (ProtocolId(id as u16), protocol.guid, &*protocol.name))
    }

    fn entry(&self, id: ProtocolId) -> &Protocol {
        self.protocols.get(usize::from(id.0)).unwrap_or(&self.protocols[usize::from(builtin::OPAQUE.0)])
    }

    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.plain
    }

    #[inline]
    pub(super) fn has_tcp(&self, sport: u16, dport: u16) -> bool {
        self.tcp.has_either(sport, dport)
    }

    #[inline]
    pub(super) fn has_udp(&self, sport: u16, dport: u16) -> bool {
        self.udp.has_either(sport, dport)
    }

    pub(super) fn tcp(&self, sport: u16, dport: u16) -> Option<ProtocolId> {
        self.tcp.find(dport).or_else(|| self.tcp.find(sport))
    }

    pub(super) fn udp(&self, sport: u16, dport: u16) -> Option<ProtocolId> {
        self.udp.find(dport).or_else(|| self.udp.find(sport))
    }

    pub(super) fn ip(&self, host: ProtocolId, number: u8) -> Option<ProtocolId> {
        let table = if host == builtin::IPV4 { &self.ipv4 } else { &self.ipv6 };
        let id = table[usize::from(number)];
        (id != NONE).then_some(ProtocolId(id))
    }

    pub(super) fn ethertype(&self, ethertype: u16) -> Option<ProtocolId> {
        self.ethertypes.iter().find(|&&(taken, _)| taken == ethertype).map(|&(_, id)| id)
    }
}

fn id_of_named(place: usize) -> ProtocolId {
    ProtocolId((MAX_PROTOCOLS + place) as u16)
}

fn take(slot: &mut u16, id: ProtocolId) -> Result<(), ProtocolId> {
    if *slot == NONE {
        *slot = id.0;
        Ok(())
    } else {
        Err(ProtocolId(*slot))
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAMED, RegisterError, Registry};
    use crate::guid::Guid;
    use crate::packet::{ProtocolId, builtin};

    const UDP: Guid = Guid::literal("{14D7AB53-CC51-47E9-8814-9C06AAE60189}");
    const PING: Guid = Guid::literal("{AAAAAAAA-0000-0000-0000-000000000001}");
    const PONG: Guid = Guid::literal("{AAAAAAAA-0000-0000-0000-000000000002}");

    #[test]
    fn builtin_protocols_have_the_published_guids() {
        let registry = Registry::new();
        assert_eq!(registry.id(UDP), Some(builtin::UDP));
        assert_eq!(registry.guid(builtin::TCP).to_string(), "{77E462AB-2E42-42EC-9A58-C1A6821D6B31}");
        assert_eq!(registry.name(builtin::NETFLOW), "NetFlow");
        assert_eq!(registry.iter().count(), usize::from(builtin::COUNT));
        assert_eq!(registry.guid(ProtocolId(999)), registry.guid(builtin::OPAQUE));
    }

    #[test]
    fn the_first_claim_of_a_port_wins() {
        let mut registry = Registry::new();
        let ping = registry.add(PING, "PING", Some(UDP), &[4711, 4712, 4711, 65536]).unwrap();
        assert_eq!((ping.taken.len(), &ping.out_of_range[..]), (0, &[65536][..]));
        let pong = registry.add(PONG, "PONG", Some(UDP), &[4712, 4713]).unwrap();
        assert_eq!(pong.taken, [(4712, ping.id)]);
        assert_eq!(registry.udp(4713, 4711), Some(ping.id), "destination first");
        assert_eq!(registry.udp(4713, 9), Some(pong.id), "then source");
        assert_eq!(registry.tcp(4713, 4711), None);
        assert!(registry.has_udp(4712, 1) && !registry.has_udp(1, 2));
        assert!(registry.is_script(ping.id) && !registry.is_script(builtin::UDP));
    }

    #[test]
    fn a_guid_is_defined_once_but_names_wait_for_a_parser() {
        let mut registry = Registry::new();
        registry.add(PING, "PING", None, &[]).unwrap();
        assert_eq!(registry.add(PING, "PING", None, &[]), Err(RegisterError::Defined(PING)));
        assert_eq!(registry.add(UDP, "UDP", None, &[]), Err(RegisterError::Defined(UDP)));
        let sflow = registry.guid(builtin::SFLOW);
        assert_eq!(registry.add(sflow, "sFlow", Some(UDP), &[6343]).unwrap().id, builtin::SFLOW);
        assert!(registry.is_script(builtin::SFLOW));
        assert!(registry.add(sflow, "sFlow", None, &[]).is_err());
    }

    #[test]
    fn guids_that_nobody_defines_are_known_once_they_were_named_up_to_a_limit() {
        let mut registry = Registry::new();
        let ping = registry.add(PING, "PING", None, &[]).unwrap().id;
        assert_eq!((registry.id_or_name(PING), registry.id(PONG), registry.named().count()), (Some(ping), None, 0));
        let pong = registry.id_or_name(PONG).unwrap();
        assert_eq!((registry.id(PONG), registry.id_or_name(PONG), registry.guid(pong)), (Some(pong), Some(pong), PONG));
        assert!(!registry.is_script(pong) && registry.name(pong) == "Opaque");
        assert_eq!(registry.clone().named_count(), 1, "however often it was named");
        let other = |n: usize| Guid::parse(format!("{{BBBBBBBB-0000-0000-0000-{n:012}}}").as_bytes()).unwrap();
        let known = (0..2 * MAX_NAMED).filter(|&n| registry.id_or_name(other(n)).is_some());
        assert_eq!(known.count(), MAX_NAMED - 1);
        assert_eq!((registry.id(other(MAX_NAMED)), registry.named_count()), (None, MAX_NAMED));
    }

    #[test]
    fn engines_that_name_the_same_guids_at_once_know_them_by_the_same_ids() {
        let (registry, start) = (Registry::new(), std::sync::Barrier::new(4));
        let other = |n: usize| Guid::parse(format!("{{BBBBBBBB-0000-0000-0000-{n:012}}}").as_bytes()).unwrap();
        let name_all = |first: usize| {
            start.wait();
            let named = (0..50).filter(|n| registry.id_or_name(other((n + first) % 50)).is_some()).count();
            assert_eq!(named, 50);
            (0..50).map(|n| registry.id_or_name(other(n))).collect::<Vec<_>>()
        };
        let known = std::thread::scope(|scope| {
            let engines: Vec<_> = (0..4).map(|engine| scope.spawn(move || name_all(engine * 13))).collect();
            engines.into_iter().map(|engine| engine.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(known.iter().all(|ids| *ids == known[0] && ids.iter().all(Option::is_some)));
        assert_eq!((registry.named().count(), registry.named_count()), (50, 50));
    }

    #[test]
    fn attachments_to_unknown_hosts_are_reported() {
        let mut registry = Registry::new();
        assert!(!registry.add(PING, "PING", Some(PONG), &[1]).unwrap().attachable);
        assert!(registry.is_plain());
        let ipv4 = registry.guid(builtin::IPV4);
        let pong = registry.add(PONG, "PONG", Some(ipv4), &[2, 6, 256]).unwrap();
        assert_eq!(pong.out_of_range, [256]);
        assert_eq!(registry.ip(builtin::IPV4, 2), Some(pong.id));
        assert_eq!(registry.ip(builtin::IPV6, 2), None);
        assert!(!registry.is_plain(), "a claim on TCP itself forbids the fast path");
    }
}
