//! Native metering in a packet thread: the built-in groups, and the counters attached to flows.

use std::net::IpAddr;
use std::ops::Range;

use crate::api::{AlertEnds, EngineContext, Rank, Record, ScriptId, Side, Stamp};
use crate::builtin::{
    Builtin, BuiltinPlan, CounterCommand, CounterTarget, CounterWhat, Fact, FactKind, FlowCounters, RaisedAlert,
    Selection, Stretch,
};
use crate::dissect::FindingKind;
use crate::flow::{FlowEvents, Flows};
use crate::key::Host;
use crate::metrics::{Registry, Shard};
use crate::plugin::Traffic;
use crate::time::Timestamp;

/// Groups of contents that settings switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentMeters {
    /// HTTP Hosts.
    pub hosts: Meter,
    /// HTTP Content Types.
    pub types: Meter,
}

/// Whether something is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Counts what is counted without scripts.
#[derive(Debug)]
pub struct Metering {
    builtin: Builtin,
    contents: ContentMeters,
    counters: FlowCounters,
    /// Changes of flow counters, in packet order.
    commands: Vec<CounterCommand>,
}

impl Metering {
    /// Metering of the selected groups.
    #[must_use]
    pub fn new(registry: &Registry, selection: &Selection, plan: BuiltinPlan, contents: ContentMeters) -> Self {
        let builtin = Builtin::new(registry, selection, plan);
        Self { builtin, contents, counters: FlowCounters::new(), commands: Vec::new() }
    }

    /// Nothing but the counters attached to flows.
    #[must_use]
    pub fn none(registry: &Registry) -> Self {
        let contents = ContentMeters { hosts: Meter::Off, types: Meter::Off };
        Self::new(registry, &Selection::default(), BuiltinPlan::default(), contents)
    }

    /// The built-in groups.
    #[must_use]
    pub const fn builtin(&self) -> &Builtin {
        &self.builtin
    }

    /// Meters the packets of a stretch and what happened to their flows.
    pub fn packets(&mut self, context: &EngineContext, traffic: &Traffic<'_>, from: usize, to: usize) {
        if self.builtin.is_idle() {
            return;
        }
        let mut shard = context.shard.borrow_mut();
        let events = traffic.events().list();
        if from == to {
            self.builtin.flow_events(events, traffic.flows, &mut shard);
            return;
        }
        let facts = self.facts(traffic);
        let stretch = Stretch { batch: traffic.batch, from, to, events };
        self.builtin.run(&stretch, traffic.flows, &facts, &mut shard);
        drop(shard);
        self.commands.append(&mut self.builtin.take_commands());
        for label in self.builtin.take_labels() {
            let (script, time) = (ScriptId::NATIVE, context.now.get());
            let stamp = Stamp { packet: to as u32 - 1, rank: Rank::default(), time, script, side: Side::Frontend };
            let (guid, key, label) = (label.group, label.key.into_vec(), label.label.into_vec());
            context.records.borrow_mut().push((stamp, Record::KeyInfo { guid, key, label, description: None }));
        }
    }

    /// Takes note that time has passed by packets of other engines.
    pub fn pass(&mut self, shard: &mut Shard) {
        self.builtin.pass(shard);
    }

    /// What was found in the stretch as far as it is counted.
    fn facts<'a>(&self, traffic: &Traffic<'a>) -> Vec<Fact<'a>> {
        let findings = traffic.findings;
        let list = &findings.list()[traffic.first_finding()..];
        let mut facts = Vec::with_capacity(list.len());
        for finding in list {
            let after = finding.after as usize;
            if after >= traffic.range.end {
                break;
            }
            let kind = match finding.kind {
                FindingKind::Attribute { name, value } => {
                    FactKind::of_attribute(findings.bytes(name), findings.bytes(value))
                }
                FindingKind::HttpHeader { direction, block, .. } => {
                    FactKind::of_http_header(direction, findings.bytes(block))
                }
                FindingKind::HostName { mac, ip, name } => {
                    Some(FactKind::HostName { mac, ip, name: findings.bytes(name) })
                }
                _ => None,
            };
            let wanted = |kind: &FactKind<'_>| match kind {
                FactKind::HttpHost(_) => self.contents.hosts == Meter::On,
                FactKind::ContentType(_) => self.contents.types == Meter::On,
                _ => true,
            };
            if let Some(kind) = kind.filter(wanted) {
                facts.push(Fact { packet: traffic.events().list()[after].packet, flow: finding.flow, kind });
            }
        }
        facts
    }

    /// Takes in what a script asks of the counters of a flow.
    pub fn ask(&mut self, packet: u32, flow: &[u8], what: CounterWhat) {
        self.commands.push(CounterCommand { packet, target: CounterTarget::Id(flow.into()), what });
    }

    /// Counts the packets of a stretch that belong to flows with counters.
    pub fn flow_counters(&mut self, context: &EngineContext, flows: &mut Flows, stretch: Range<usize>) {
        // What was asked before the stretch comes first.
        self.commands.sort_by_key(|c| if c.packet == FlowEvents::NO_PACKET { 0 } else { u64::from(c.packet) + 1 });
        if stretch.is_empty() {
            for command in self.commands.drain(..) {
                self.counters.apply(command, flows, context.now.get());
            }
            return;
        }
        let (batch, mut shard) = (context.batch.borrow(), context.shard.borrow_mut());
        self.counters.run(&batch, stretch, &mut self.commands, flows, &mut shard);
    }

    /// To be called before the shard is read.
    pub fn flush(&mut self, shard: &mut Shard) {
        self.builtin.flush(shard);
    }

    /// To be called before stream time moves to `now`.
    pub fn close(&mut self, now: Timestamp, shard: &mut Shard) {
        if !self.builtin.is_idle() {
            self.builtin.close(now, shard);
        }
    }

    /// To be called before the last buckets are closed.
    pub fn finish(&mut self, shard: &mut Shard) {
        if !self.builtin.is_idle() {
            self.builtin.finish(shard);
        }
    }

    /// Meters the alerts among records that are about to be handed on.
    pub fn alerts(&mut self, records: &[(Stamp, Record)], shard: &mut Shard) {
        if self.builtin.is_idle() {
            return;
        }
        for (_, record) in records {
            if let Record::Alert(alert) = record {
                let raised = RaisedAlert {
                    group: alert.guid,
                    flow: &alert.flow,
                    ends: alert.ends.as_ref().and_then(hosts_of),
                    sigid: &alert.sigid,
                    classification: &alert.classification,
                    priority: alert.priority,
                };
                self.builtin.alert(&raised, shard);
            }
        }
    }
}

/// Source and destination of an alert, if both are addresses.
fn hosts_of(ends: &AlertEnds) -> Option<(Host, Host)> {
    let host = |text: &str| text.parse::<IpAddr>().ok().map(Host::from);
    Some((host(&ends.source_ip)?, host(&ends.destination_ip)?))
}
