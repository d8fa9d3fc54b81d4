//! The stage: builds the modules that are asked for and runs each of them over a stretch of packets.

use super::aggregates::Aggregates;
use super::alerts::Alerts;
use super::apps::Apps;
use super::contents::{ContentGroups, Contents};
use super::fact::{Fact, FactWants, RaisedAlert};
use super::flow_counters::CounterCommand;
use super::hosts::{HostGroups, Hosts, Kind};
use super::icmp::IcmpTypes;
use super::labels::{FoundLabel, HostNames};
use super::layers::{LinkLayer, NetworkLayer};
use super::macs::{DirMac, Mac};
use super::meta::{MetaCounters, MetaSessions};
use super::module::{FactOutput, Module};
use super::places::{Interfaces, Performance, Subnets};
use super::select::Selection;
use super::sight::{Change, Sight};
use super::survey::{FlowView, Stretch, Survey};
use super::vlan::Vlan;
use crate::flow::{FlowEvent, FlowLookup, FlowWants, Want};
use crate::key::{HomeNets, parse_port};
use crate::metrics::{Group, GroupIndex, GroupKind, Registry, Shard};
use crate::packet::MAX_BATCH;
use crate::time::Timestamp;

/// What metering is told of the run.
#[derive(Clone, Debug, Default)]
pub struct BuiltinPlan {
    /// Home networks.
    pub home: HomeNets,
    /// Names of the inputs, by the number that packets carry.
    pub origins: Vec<String>,
    /// Id of the probe.
    pub probe: String,
}

/// Native metering of one engine.
#[derive(Debug)]
pub struct Builtin {
    survey: Survey,
    modules: Vec<Box<dyn Module>>,
    sights: Vec<Sight>,
    changes: Vec<Change>,
    out: FactOutput,
    last: Option<Timestamp>,
    flow_wants: FlowWants,
    fact_wants: FactWants,
}

impl Builtin {
    /// Meters the groups of `selection`.
    #[must_use]
    pub fn new(registry: &Registry, selection: &Selection, plan: BuiltinPlan) -> Self {
        let choice = Choice { registry, selection };
        let (flow_wants, fact_wants) = choice.wants();
        Self {
            modules: choice.modules(&plan),
            survey: Survey::new(plan.home),
            sights: Vec::with_capacity(MAX_BATCH),
            changes: Vec::with_capacity(MAX_BATCH),
            out: FactOutput::default(),
            last: None,
            flow_wants,
            fact_wants,
        }
    }

    /// True if nothing is metered: none of the calls below is needed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.modules.is_empty()
    }

    /// What it asks of the flow stage.
    #[must_use]
    pub fn flow_wants(&self) -> FlowWants {
        self.flow_wants
    }

    /// Which facts it counts.
    #[must_use]
    pub fn fact_wants(&self) -> FactWants {
        self.fact_wants
    }

    /// Meters the packets of a stretch, the flows that begin and end in it, and what was found in it. The shard's time
    /// is that of the stretch already.
    pub fn run<F: FlowView>(&mut self, stretch: &Stretch<'_>, flows: &F, facts: &[Fact<'_>], shard: &mut Shard) {
        if self.is_idle() {
            return;
        }
        self.sights.clear();
        self.changes.clear();
        self.survey.run(stretch, flows, &mut self.sights, &mut self.changes);
        for module in &mut self.modules {
            if !self.changes.is_empty() {
                module.flows(&self.changes, shard);
            }
            module.packets(&self.sights, shard);
            for fact in facts {
                module.fact(fact, &mut self.out, shard);
            }
        }
        // Tallies are of updates as they are made.
        if shard.has_tallies() {
            self.flush(shard);
        }
    }

    /// Hands everything that was added up to the shard: to be called before the shard is read.
    pub fn flush(&mut self, shard: &mut Shard) {
        self.modules.iter_mut().for_each(|module| module.flush(shard));
    }

    /// Takes note that time has passed by packets of other engines. The shard's time is that already.
    pub fn pass(&mut self, shard: &mut Shard) {
        self.modules.iter_mut().for_each(|module| module.pass(shard));
    }

    /// Meters flows that end without a packet.
    pub fn flow_events(&mut self, events: &[FlowEvent], flows: &impl FlowLookup, shard: &mut Shard) {
        self.changes.clear();
        self.survey.without_packets(events, flows, &mut self.changes);
        if !self.changes.is_empty() {
            self.modules.iter_mut().for_each(|module| module.flows(&self.changes, shard));
            if shard.has_tallies() {
                self.flush(shard);
            }
        }
    }

    /// Meters an alert.
    pub fn alert(&mut self, alert: &RaisedAlert<'_>, shard: &mut Shard) {
        self.modules.iter_mut().for_each(|module| module.alert(alert, shard));
    }

    /// To be called before each [`Shard::advance`] to `now` that may close a bucket.
    pub fn close(&mut self, now: Timestamp, shard: &mut Shard) {
        self.flush(shard);
        if let Some(last) = self.last.filter(|&last| last < now) {
            self.modules.iter_mut().for_each(|module| module.close(last, now, shard));
        }
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    /// To be called before [`Shard::finish`].
    pub fn finish(&mut self, shard: &mut Shard) {
        self.close(Timestamp::from_nanos(i64::MAX), shard);
    }

    /// What the facts of the stretches so far ask of the flow counters, in packet order.
    pub fn take_commands(&mut self) -> Vec<CounterCommand> {
        // Each module has gone through the facts by itself.
        self.out.commands.sort_by_key(|command| command.packet);
        std::mem::take(&mut self.out.commands)
    }

    /// Labels found in the stretches so far.
    pub fn take_labels(&mut self) -> Vec<FoundLabel> {
        std::mem::take(&mut self.out.labels)
    }
}

/// Which groups are metered, by name.
struct Choice<'a> {
    registry: &'a Registry,
    selection: &'a Selection,
}

impl Choice<'_> {
    fn find(&self, name: &str) -> Option<GroupIndex> {
        self.selection.find(self.registry, name)
    }

    fn group(&self, index: GroupIndex) -> Option<&Group> {
        self.registry.counter_group(index)
    }

    fn bucketsize(&self, index: GroupIndex) -> u32 {
        self.group(index).map_or(crate::metrics::DEFAULT_BUCKETSIZE, |group| group.bucketsize)
    }

    fn contents(&self) -> ContentGroups {
        ContentGroups {
            http_hosts: self.find("HTTP Hosts"),
            content_types: self.find("HTTP Content Types"),
            methods: self.find("HTTP Methods"),
            status_codes: self.find("HTTP Status Codes"),
            tls_orgs: self.find("TLS Orgs"),
            tls_ciphers: self.find("TLS Ciphers"),
            tls_cas: self.find("TLS CAs"),
        }
    }

    fn hosts(&self) -> HostGroups {
        HostGroups {
            v4: self.find("Hosts"),
            v6: self.find("HostsIPv6"),
            internal: self.find("Internal Hosts"),
            external: self.find("External Hosts"),
        }
    }

    fn wants(&self) -> (FlowWants, FactWants) {
        const OF_LINKS: [&str; 6] =
            ["LinkLayerStats", "Mac", "Dir Mac", "VLANStats", "Interfaces", "System Performance"];
        let of_links = OF_LINKS.iter().filter(|name| self.find(name).is_some()).count();
        let records = Want::from(self.selection.groups().len() > of_links);
        let contents = self.contents();
        let attributes =
            [contents.http_hosts, contents.content_types, contents.tls_orgs, contents.tls_ciphers, contents.tls_cas];
        let facts = FactWants {
            attributes: attributes.iter().any(Option::is_some).into(),
            http_headers: (contents.methods.is_some() || contents.status_codes.is_some()).into(),
            host_names: (self.find("Hosts").is_some() || self.find("Mac").is_some()).into(),
        };
        (FlowWants { records, ..FlowWants::default() }, facts)
    }

    fn modules(&self, plan: &BuiltinPlan) -> Vec<Box<dyn Module>> {
        let mut modules: Vec<Box<dyn Module>> = Vec::new();
        let mut add = |name: &str, make: &dyn Fn(GroupIndex) -> Box<dyn Module>| {
            modules.extend(self.find(name).map(make));
        };
        add("Aggregates", &|group| Box::new(Aggregates::new(group, self.bucketsize(group))));
        add("Apps", &|group| Box::new(Apps::new(group)));
        add("NetworkLayerStats", &|group| Box::new(NetworkLayer::new(group)));
        add("LinkLayerStats", &|group| Box::new(LinkLayer::new(group)));
        add("Mac", &|group| Box::new(Mac::new(group)));
        add("Dir Mac", &|group| Box::new(DirMac::new(group)));
        add("VLANStats", &|group| Box::new(Vlan::new(group)));
        add("ICMP Types", &|group| Box::new(IcmpTypes::new(group)));
        add("Interfaces", &|group| Box::new(Interfaces::new(group, plan.origins.clone())));
        add("Subnets", &|group| Box::new(Subnets::new(group, plan.home.networks())));
        add("System Performance", &|group| Box::new(Performance::new(group, plan.probe.clone())));
        for (name, kind) in [
            ("Web Hosts", Kind::Web),
            ("Email Hosts", Kind::Email),
            ("SSH Hosts", Kind::Ssh),
            ("Unusual Traffic Hosts", Kind::Unusual),
        ] {
            let of = |group| HostGroups { v4: Some(group), ..HostGroups::default() };
            add(name, &|group| Box::new(Hosts::new(of(group), kind, plan.home.clone(), self.known_ports())));
        }
        let hosts = self.hosts();
        if [hosts.v4, hosts.v6, hosts.internal, hosts.external].iter().any(Option::is_some) {
            modules.push(Box::new(Hosts::new(hosts, Kind::All, plan.home.clone(), Vec::new())));
        }
        let (_, facts) = self.wants();
        if (facts.attributes | facts.http_headers).is_yes() {
            modules.push(Box::new(Contents::new(self.contents())));
        }
        if facts.host_names.is_yes() {
            let guid = |name| self.find(name).and_then(|index| self.group(index)).map(|group| group.guid);
            modules.push(Box::new(HostNames::new(guid("Hosts"), guid("Mac"))));
        }
        let alerts = Alerts {
            signatures: self.find("Alert Signatures"),
            classes: self.find("Alert Classes"),
            priorities: self.find("Alert Priorities"),
        };
        if [alerts.signatures, alerts.classes, alerts.priorities].iter().any(Option::is_some) {
            modules.push(Box::new(alerts));
        }
        if let Some(group) = self.find("Meta Session Group") {
            modules.push(Box::new(MetaSessions::new(group, self.bucketsize(group))));
        }
        // Last: it tells of what the others counted.
        if let Some(group) = self.find("Meta Counter Group") {
            modules.push(Box::new(MetaCounters::new(group, self.registry)));
        }
        modules
    }

    /// Ports that have a name.
    fn known_ports(&self) -> Vec<u16> {
        let apps = self.registry.find_name(GroupKind::Counter, b"Apps");
        let keys = apps.into_iter().flat_map(|group| group.known_keys);
        keys.filter_map(|(key, _)| parse_port(key.as_bytes())).collect()
    }
}
