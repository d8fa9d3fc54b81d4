//! Groups counted by what is found in flows: *HTTP Hosts*, *Content Types*, *Methods*, *Status Codes*, *TLS Orgs*,
//! *Ciphers*, *CAs*. Traffic is counted by flow counters, from the packet on in which the fact was complete.

use super::fact::{Fact, FactKind};
use super::flow_counters::{CounterCommand, CounterTarget, CounterWhat};
use super::module::{FactOutput, MaybeGroup, Module};
use crate::flow::{FlowCounter, FlowHandle};
use crate::memory::lengthen;
use crate::metrics::{CountedDirection, GroupIndex, Shard};

const TRAFFIC: u32 = 0;
const HITS: u32 = 1;
const ONLY_METER: u32 = 0;
const INTERMEDIATE: u32 = 0;
const ROOT: u32 = 1;

/// Which of the groups are counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContentGroups {
    pub http_hosts: MaybeGroup,
    pub content_types: MaybeGroup,
    pub methods: MaybeGroup,
    pub status_codes: MaybeGroup,
    pub tls_orgs: MaybeGroup,
    pub tls_ciphers: MaybeGroup,
    pub tls_cas: MaybeGroup,
}

/// Counts facts and attaches flow counters.
#[derive(Debug)]
pub(super) struct Contents {
    groups: ContentGroups,
    hosts: Once,
    orgs: Once,
    ciphers: Once,
}

impl Contents {
    pub fn new(groups: ContentGroups) -> Self {
        Self { groups, hosts: Once::default(), orgs: Once::default(), ciphers: Once::default() }
    }
}

/// Flows that something was done for, by slot of the flow table.
#[derive(Debug, Default)]
struct Once {
    generations: Vec<Option<u32>>,
}

impl Once {
    /// True the first time for a flow.
    fn first(&mut self, flow: FlowHandle) -> bool {
        let slot = flow.slot as usize;
        lengthen(&mut self.generations, slot + 1, None);
        self.generations[slot].replace(flow.generation) != Some(flow.generation)
    }
}

fn hit(shard: &mut Shard, group: GroupIndex, key: &[u8], meter: u32) {
    let _ = shard.update(group, key, meter, 1.0);
}

fn attach(out: &mut FactOutput, fact: &Fact<'_>, group: GroupIndex, key: &[u8]) {
    let counter = FlowCounter { group, key: key.into(), meter: TRAFFIC, direction: CountedDirection::Both };
    command(out, fact, CounterWhat::Attach(counter));
}

fn command(out: &mut FactOutput, fact: &Fact<'_>, what: CounterWhat) {
    out.commands.push(CounterCommand { packet: fact.packet, target: CounterTarget::Flow(fact.flow), what });
}

/// A media type without its parameters.
fn media_type(value: &[u8]) -> &[u8] {
    value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

impl Module for Contents {
    fn fact(&mut self, fact: &Fact<'_>, out: &mut FactOutput, shard: &mut Shard) {
        let groups = self.groups;
        match fact.kind {
            // All bytes of a flow belong to its first host.
            FactKind::HttpHost(host) if !host.is_empty() => {
                if let Some(group) = groups.http_hosts
                    && self.hosts.first(fact.flow)
                {
                    attach(out, fact, group, host);
                }
            }
            // Bytes belong to the latest response.
            FactKind::ContentType(value) => {
                let key = media_type(value);
                if let Some(group) = groups.content_types
                    && !key.is_empty()
                {
                    hit(shard, group, key, HITS);
                    command(out, fact, CounterWhat::Detach(group));
                    attach(out, fact, group, key);
                }
            }
            FactKind::HttpMethod(method) => {
                groups.methods.into_iter().for_each(|group| hit(shard, group, method, ONLY_METER))
            }
            FactKind::HttpStatus(code) => {
                groups.status_codes.into_iter().for_each(|group| hit(shard, group, code, ONLY_METER))
            }
            FactKind::TlsOrganisation(name) if !name.is_empty() => {
                if let Some(group) = groups.tls_orgs {
                    hit(shard, group, name, HITS);
                    if self.orgs.first(fact.flow) {
                        attach(out, fact, group, name);
                    }
                }
            }
            FactKind::TlsCipher(suite) if !suite.is_empty() => {
                if let Some(group) = groups.tls_ciphers {
                    hit(shard, group, suite, HITS);
                    if self.ciphers.first(fact.flow) {
                        attach(out, fact, group, suite);
                    }
                }
            }
            FactKind::TlsRoot(name) if !name.is_empty() => {
                groups.tls_cas.into_iter().for_each(|group| hit(shard, group, name, ROOT))
            }
            FactKind::TlsIntermediate(name) if !name.is_empty() => {
                groups.tls_cas.into_iter().for_each(|group| hit(shard, group, name, INTERMEDIATE))
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Once, media_type};
    use crate::flow::FlowHandle;

    #[test]
    fn a_media_type_ends_at_its_parameters() {
        assert_eq!(media_type(b"text/html; charset=utf-8"), b"text/html");
        assert_eq!(media_type(b" image/png "), b"image/png");
        assert_eq!(media_type(b";"), b"");
    }

    #[test]
    fn once_is_per_flow_not_per_slot() {
        let mut once = Once::default();
        let flow = |slot, generation| FlowHandle { slot, generation };
        assert!(once.first(flow(3, 0)) && !once.first(flow(3, 0)));
        assert!(once.first(flow(3, 1)) && once.first(flow(0, 1)) && !once.first(flow(3, 1)));
    }
}
