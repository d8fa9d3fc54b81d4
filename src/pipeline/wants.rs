//! What the flow stage and the dissectors are asked for: the sum of what scripts, outputs and settings want.

use crate::api::Topic;
use crate::api::t_env::ConfigPaths;
use crate::backend::BackendWants;
use crate::builtin::Builtin;
use crate::dissect::{AttributeKinds, DissectWants, Unwanted};
use crate::flow::{FlowWants, Want};
use crate::plugin::{Catalog, CatalogEntry};

/// Methods of the engine object that need flows.
const FLOW_METHODS: [&str; 8] = [
    "add_flow_counter",
    "reset_flow_counter",
    "tag_flow",
    "update_flow",
    "set_flow_duration",
    "new_flow_record",
    "terminate_flow",
    "add_flow_attribute",
];

/// Whether flows and what is found in them are shown without any plugin that wants them (`--flows`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowOutput {
    /// Only what plugins need.
    #[default]
    Plugins,
    /// Flows are tracked for the packet store and shown to nobody.
    Store,
    /// Everything.
    All,
}

/// Who reads what is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readers {
    /// Nobody: it is counted, and the first ones kept.
    #[default]
    Nobody,
    /// Outputs that take what they need of it from where it lies: protocol events, and a store that no script stands in
    /// front of.
    Outputs,
    /// Whoever reads records: an event stream, scripts of the backend, tables.
    All,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Bits of the instances' callbacks.
    pub topics: u32,
    /// Attributes that the callbacks hear of.
    pub attributes: AttributeKinds,
    /// Whether flows are shown.
    pub output: FlowOutput,
    /// Whether there is an event stream.
    pub events: Want,
    /// Whether there is a store.
    pub store: Want,
    /// What the backend wants; `None` without one.
    pub backend: Option<&'a BackendWants>,
    /// Whether no script of the backend looks at what the store gets.
    pub is_past_backend: Want,
    /// Who else writes records out.
    pub outputs: OutputWants,
}

/// What outputs want that write records as they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputWants {
    /// What protocol events are made from, and the records of flows.
    pub protocol_events: Want,
    /// Every record of those that are made.
    pub in_full: Want,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Of the flow stage.
    pub flows: FlowWants,
    /// Of the dissectors.
    pub dissect: DissectWants,
    /// Whether findings become records.
    pub records: Want,
    /// Who reads flows that end.
    pub flow_readers: Readers,
    /// Who reads resources and documents.
    pub item_readers: Readers,
    /// Who reads attributes of flows.
    pub attribute_readers: Readers,
    /// Whether scripts are told of what HTTP carries.
    pub contents: Want,
    /// And of the bytes that carry it.
    pub raw: Want,
    /// Whether scripts have to be done with a packet before flows are tracked with the next.
    pub single_packets: Want,
    /// Whether scripts speak of flows.
    pub words: Want,
    /// Whether records of flows are kept until somebody has looked at them at the flush.
    pub kept_records: Want,
}

impl Wants {
    /// What either asks for.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            flows: self.flows.or(other.flows),
            dissect: self.dissect.or(other.dissect),
            records: self.records | other.records,
            flow_readers: self.flow_readers.max(other.flow_readers),
            item_readers: self.item_readers.max(other.item_readers),
            contents: self.contents | other.contents,
            raw: self.raw | other.raw,
            single_packets: self.single_packets | other.single_packets,
            attribute_readers: self.attribute_readers.max(other.attribute_readers),
            words: self.words | other.words,
            kept_records: self.kept_records | other.kept_records,
        }
    }

    /// For a script that turns out to speak of flows in the midst of a run.
    #[must_use]
    pub fn late() -> Self {
        let flows = FlowWants { records: Want::Yes, ..FlowWants::default() };
        let all = Readers::All;
        let (flow_readers, item_readers, attribute_readers) = (all, all, all);
        let words = Want::Yes;
        Self { flows, records: Want::Yes, flow_readers, item_readers, attribute_readers, words, ..Self::default() }
    }

    /// What callbacks, outputs, the scripts' texts, the built-in groups and the settings want.
    #[must_use]
    pub fn of(asked: &Asked<'_>, catalog: &Catalog, builtin: &Builtin, config: &ConfigPaths) -> Self {
        let Asked { topics, attributes: heard, output, events, store, backend, is_past_backend, outputs } = *asked;
        let shown = outputs.protocol_events;
        let of_backend = |asks: fn(&BackendWants) -> bool| Want::from(backend.is_some_and(asks));
        let of_scripts = of_backend(|wants| wants.asks_flows);
        let (of_resources, of_documents) =
            (of_backend(|wants| wants.asks_resources), of_backend(|wants| wants.asks_documents));
        let monitored = of_scripts | of_resources | of_documents;
        let on = |path: &str| Want::from(!config.get(path).eq_ignore_ascii_case("false"));
        let both = |a: Want, b: Want| a.min(b);
        let application = |name: &str| on(&format!("Reassembly>TCPReassembly>Applications>{name}"));
        if !on("Reassembly>TCPFlowTrack>Enabled").is_yes() {
            return Self::default();
        }
        let all = Want::from(output == FlowOutput::All);
        let speaks = || catalog.entries.iter().any(|entry| FLOW_METHODS.iter().any(|name| entry.mentions(name)));
        let words = Want::from(speaks());
        let asked = Want::from(topics != 0 || output != FlowOutput::Plugins) | words | monitored | shown;
        let (metered, facts) = (builtin.flow_wants(), builtin.fact_wants());
        if !(asked | metered.records).is_yes() {
            return Self::default();
        }
        let hears = |topic: Topic| Want::from(topics & topic.bit() != 0);
        let reassembly = on("Reassembly>TCPReassembly>Enabled");
        let all_shown = both(all | events, asked);
        let resources = both(all_shown | of_resources, reassembly);
        let documents = both(all_shown | of_documents, reassembly);
        let records = all_shown | monitored | shown;
        let of_others = all_shown | facts.attributes;
        let attributes = both(hears(Topic::Attribute) | of_others, reassembly);
        let unwanted = if of_others.is_yes() { Unwanted::NOTHING } else { Unwanted::but(heard) };
        let contents = both(Want::from(topics & Topic::CONTENT != 0), reassembly);
        let raw = both(hears(Topic::RawPayload), reassembly);
        let dissect = DissectWants {
            attributes,
            unwanted: if attributes.is_yes() { unwanted } else { Unwanted::NOTHING },
            tls_records: both(attributes, application("EnableSSLRecordExtraction")),
            dns_resources: resources,
            http_resources: both(resources, application("EnableURILog")),
            certificate_resources: both(resources, application("EnableSSLCertLog")),
            file_hashes: resources,
            dns_documents: both(documents, Want::from(config.get(DNS_DOCUMENTS).eq_ignore_ascii_case("true"))),
            http_documents: both(documents, application("EnableHTTPFTS")),
            certificate_documents: both(documents, application("EnableSSLFTS")),
            http_headers: both(facts.http_headers, reassembly) | contents,
            http_bodies: both(hears(Topic::HttpPayload) | hears(Topic::HttpFile), reassembly),
            protocols: raw | both(shown, reassembly),
            host_names: facts.host_names,
            events: both(shown, reassembly),
        };
        let single_packets = Want::from(catalog.entries.iter().any(CatalogEntry::ends_flows));
        let dissected = Want::from(dissect != DissectWants::default());
        let streams = hears(Topic::Payload) | hears(Topic::StorePayload) | dissected;
        let flows = FlowWants {
            records: Want::Yes,
            streams: both(streams, reassembly),
            datagrams: hears(Topic::StorePayload) | dissected,
        };
        let readers = |of_records: Want, of_outputs: Want| match (of_records, of_outputs) {
            (Want::Yes, _) => Readers::All,
            (_, Want::Yes) => Readers::Outputs,
            _ => Readers::Nobody,
        };
        let of_backend = |asks: fn(&BackendWants) -> bool| {
            let of_backend = of_backend(asks);
            if is_past_backend.is_yes() { (Want::No, of_backend) } else { (of_backend, Want::No) }
        };
        let (of_records, of_outputs) = of_backend(BackendWants::any_flows);
        let flow_readers = readers(events | outputs.in_full | of_records, of_outputs | shown);
        let (of_records, of_outputs) = of_backend(|wants| wants.resources || wants.documents);
        let item_readers = readers(events | outputs.in_full | of_records, of_outputs);
        let attribute_readers = readers(events, store);
        Self {
            flows,
            dissect,
            records,
            flow_readers,
            item_readers,
            attribute_readers,
            contents,
            raw,
            single_packets,
            words,
            kept_records: of_scripts,
        }
    }
}

/// The setting that asks for documents of DNS; off unless set, because they cost memory.
pub const DNS_DOCUMENTS: &str = "Reassembly>TCPReassembly>Applications>EnableDNSFTS";

#[cfg(test)]
mod tests {
    use super::{Asked, AttributeKinds, BackendWants, FlowOutput, OutputWants, Readers, Wants};
    use crate::api::Topic;
    use crate::api::t_env::ConfigPaths;
    use crate::builtin::{Builtin, BuiltinPlan, Selection};
    use crate::flow::Want;
    use crate::plugin::Catalog;
    use std::path::Path;
    use std::sync::Arc;

    /// Nobody asks for anything but records of all flows.
    fn records() -> Asked<'static> {
        Asked {
            topics: 0,
            attributes: AttributeKinds::ALL,
            output: FlowOutput::All,
            events: Want::No,
            store: Want::No,
            backend: None,
            is_past_backend: Want::No,
            outputs: OutputWants::default(),
        }
    }

    /// What comes of it without scripts and built-in groups.
    fn wants_of(asked: &Asked, set: &[&str]) -> Wants {
        let catalog = Catalog {
            entries: Vec::new(),
            groups: Arc::new(crate::metrics::Registry::new()),
            protocols: Arc::new(crate::decode::Registry::new()),
            notes: Vec::new(),
        };
        let mut config = ConfigPaths::with_defaults(Path::new("/tmp"));
        set.iter().for_each(|text| config.apply(text).unwrap());
        let builtin = Builtin::new(&catalog.groups, &Selection::default(), BuiltinPlan::default());
        Wants::of(asked, &catalog, &builtin, &config)
    }

    fn wants(topics: u32, output: FlowOutput, set: &[&str]) -> Wants {
        wants_of(&Asked { topics, output, ..records() }, set)
    }

    #[test]
    fn records_are_made_for_those_who_read_them() {
        let of = |events, is_past_backend, backend: Option<&BackendWants>| {
            let wants = wants_of(&Asked { events, backend, is_past_backend, ..records() }, &[]);
            (wants.flow_readers, wants.item_readers)
        };
        let (no, outputs, all) = (Readers::Nobody, Readers::Outputs, Readers::All);
        assert_eq!(of(Want::No, Want::No, None), (no, no));
        assert_eq!(of(Want::Yes, Want::No, None), (all, all));
        assert_eq!(of(Want::No, Want::Yes, Some(&BackendWants::default())), (no, no));
        let flows = BackendWants { flows: true, ..BackendWants::default() };
        let resources = BackendWants { resources: true, ..BackendWants::default() };
        let documents = BackendWants { documents: true, ..BackendWants::default() };
        assert_eq!(of(Want::No, Want::No, Some(&flows)), (all, no));
        assert_eq!(of(Want::No, Want::Yes, Some(&flows)), (outputs, no));
        for items in [resources, documents] {
            assert_eq!(of(Want::No, Want::No, Some(&items)), (no, all));
            assert_eq!(of(Want::No, Want::Yes, Some(&items)), (no, outputs));
            assert_eq!(of(Want::Yes, Want::Yes, Some(&items)), (all, all));
        }
        // Protocol events are not made from resources and documents.
        let shown = OutputWants { protocol_events: Want::Yes, ..OutputWants::default() };
        let wants = wants_of(&Asked { outputs: shown, ..records() }, &[]);
        assert_eq!((wants.flow_readers, wants.item_readers), (outputs, no));
    }

    #[test]
    fn attributes_are_made_for_those_who_read_them() {
        let of = |events, store| wants_of(&Asked { events, store, ..records() }, &[]).attribute_readers;
        assert_eq!(of(Want::No, Want::No), Readers::Nobody);
        assert_eq!(of(Want::No, Want::Yes), Readers::Outputs);
        assert_eq!(of(Want::Yes, Want::Yes), Readers::All);
    }

    #[test]
    fn nobody_wants_anything_by_default() {
        assert_eq!(wants(0, FlowOutput::Plugins, &[]), Wants::default());
    }

    #[test]
    fn callbacks_bring_what_they_need_and_no_more() {
        let metric = wants(Topic::Metric.bit(), FlowOutput::Plugins, &[]);
        assert_eq!((metric.flows.records, metric.flows.streams), (Want::Yes, Want::No));
        let payload = wants(Topic::Payload.bit(), FlowOutput::Plugins, &[]);
        assert_eq!((payload.flows.streams, payload.flows.datagrams), (Want::Yes, Want::No));
        assert_eq!(payload.dissect.attributes, Want::No);
        let attribute = wants(Topic::Attribute.bit(), FlowOutput::Plugins, &[]);
        assert_eq!((attribute.dissect.attributes, attribute.dissect.tls_records), (Want::Yes, Want::No));
        assert_eq!(attribute.dissect.http_resources, Want::No);
    }

    #[test]
    fn attributes_that_no_callback_names_are_not_looked_for_unless_others_read_them() {
        let of = |topics, output| {
            wants_of(&Asked { topics, attributes: AttributeKinds::TLS, output, ..records() }, &[]).dissect
        };
        let named = of(Topic::Attribute.bit(), FlowOutput::Plugins);
        assert_eq!(named.attributes_of(AttributeKinds::TLS), Want::Yes);
        assert_eq!(named.attributes_of(AttributeKinds::HTTP), Want::No);
        assert_eq!(of(Topic::Attribute.bit(), FlowOutput::All).attributes_of(AttributeKinds::HTTP), Want::Yes);
        let both = named.or(of(0, FlowOutput::All));
        assert_eq!(both.attributes_of(AttributeKinds::SSH), Want::Yes);
        assert_eq!(named.or(of(Topic::New.bit(), FlowOutput::Plugins)).attributes_of(AttributeKinds::HTTP), Want::No);
    }

    #[test]
    fn settings_switch_off_what_is_wanted() {
        let everything = wants(0, FlowOutput::All, &[]);
        assert_eq!(everything.dissect.http_documents, Want::Yes);
        assert_eq!(everything.dissect.dns_documents, Want::No);
        let path = "Reassembly>TCPReassembly>Applications>EnableURILog=FALSE";
        assert_eq!(wants(0, FlowOutput::All, &[path]).dissect.http_resources, Want::No);
        let record = "Reassembly>TCPReassembly>Applications>EnableSSLRecordExtraction=true";
        assert_eq!(wants(0, FlowOutput::All, &[record]).dissect.tls_records, Want::Yes);
        let none = wants(u32::MAX, FlowOutput::All, &["Reassembly>TCPReassembly>Enabled=False"]);
        assert_eq!((none.flows.records, none.flows.streams, none.dissect.attributes), (Want::Yes, Want::No, Want::No));
        assert_eq!(wants(u32::MAX, FlowOutput::All, &["Reassembly>TCPFlowTrack>Enabled=False"]), Wants::default());
    }
}
