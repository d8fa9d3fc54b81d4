//! The report as data. Field names are those of the JSON document; `version` changes when their meaning does.

use std::io::{self, Write};

use serde::Serialize;

/// What a run did, counted and cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Version of this document: 1.
    pub version: Version,
    /// Whether the run goes on (`--report-every`); absent from the report at its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interim: bool,
    /// Input and speed.
    pub run: Run,
    /// Every drop counter that is not zero.
    pub drops: Vec<NamedCount>,
    /// What was noticed about packets and calls that were processed all the same.
    pub notes: Vec<NamedCount>,
    /// Inputs that were damaged.
    pub damage: Damage,
    /// Counter groups with at least one key, in order of registration.
    pub groups: Vec<GroupReport>,
    /// Flows; absent if nobody wanted any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flows: Option<super::flows::FlowsReport>,
    /// The packet store; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet_store: Option<super::packet_store::PacketStoreReport>,
    /// The store; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<super::store::StoreReport>,
    /// Outputs for other programs; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<super::outputs::OutputReport>,
    /// Alerts, resources and the rest.
    pub records: Records,
    /// Asynchronous work; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<Jobs>,
    /// Pipelines of scripts; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pipelines: Vec<super::pipelines::PipelineReport>,
    /// One entry per plugin, in the order they were attached.
    pub plugins: Vec<PluginReport>,
    /// How the run ends.
    pub verdict: Verdict,
}

/// The version of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Version(u32);

impl Default for Version {
    fn default() -> Self {
        Self(1)
    }
}

/// Input and speed. The document has the rates as well: `packets_per_sec` of packet time, and of the run
/// `wall_packets_per_sec` and `wall_bytes_per_sec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(into = "RunDocument")]
pub struct Run {
    /// Packets handled.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Time of the first packet in seconds.
    pub first: Option<f64>,
    /// Time of the last packet.
    pub last: Option<f64>,
    /// Seconds between them.
    pub duration_secs: f64,
    /// Seconds the run took.
    pub wall_secs: f64,
    /// Seconds of the batch of packets that took longest.
    pub wall_longest_batch_secs: f64,
    /// Engine threads.
    pub engines: u32,
    /// Inputs read.
    pub inputs: Vec<String>,
}

impl Run {
    /// Packets per second of the packets' own time.
    #[must_use]
    pub fn packet_rate(&self) -> f64 {
        per_second(self.packets, self.duration_secs)
    }

    /// Packets handled per second of the run.
    #[must_use]
    pub fn wall_rate(&self) -> f64 {
        per_second(self.packets, self.wall_secs)
    }

    /// Bytes handled per second of the run.
    #[must_use]
    pub fn wall_bytes_rate(&self) -> f64 {
        per_second(self.bytes, self.wall_secs)
    }
}

/// A run with its rates, as the document has it.
#[derive(Serialize)]
struct RunDocument {
    packets: u64,
    bytes: u64,
    first: Option<f64>,
    last: Option<f64>,
    duration_secs: f64,
    packets_per_sec: f64,
    wall_secs: f64,
    wall_packets_per_sec: f64,
    wall_bytes_per_sec: f64,
    wall_longest_batch_secs: f64,
    engines: u32,
    inputs: Vec<String>,
}

impl From<Run> for RunDocument {
    fn from(run: Run) -> Self {
        Self {
            packets: run.packets,
            bytes: run.bytes,
            first: run.first,
            last: run.last,
            duration_secs: run.duration_secs,
            packets_per_sec: run.packet_rate(),
            wall_secs: run.wall_secs,
            wall_packets_per_sec: run.wall_rate(),
            wall_bytes_per_sec: run.wall_bytes_rate(),
            wall_longest_batch_secs: run.wall_longest_batch_secs,
            engines: run.engines,
            inputs: run.inputs,
        }
    }
}

fn per_second(count: u64, secs: f64) -> f64 {
    if secs > 0.0 { count as f64 / secs } else { 0.0 }
}

/// A counter that is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NamedCount {
    /// Its name.
    pub name: String,
    /// Its value.
    pub count: u64,
}

/// Damage of inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Each damaged input.
    pub inputs: Vec<DamagedInput>,
}

/// One damaged input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DamagedInput {
    /// File or interface.
    pub input: String,
    /// What is wrong with it.
    pub reason: String,
}

/// One counter group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GroupReport {
    /// GUID in normal form.
    pub guid: String,
    /// Title.
    pub name: String,
    /// Seconds per bucket.
    pub bucketsize: u32,
    /// Its keys.
    pub keys: KeyReport,
    /// Meters with a value, by id.
    pub meters: Vec<MeterReport>,
}

/// What happened to a group's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Created.
    pub seen: u64,
    /// Held at the end.
    pub kept: u64,
    /// Dropped at a high-water mark.
    pub pruned: u64,
    /// Updates of new keys refused.
    pub rejected: u64,
    /// Updates of new keys counted under the overflow key.
    pub overflowed: u64,
    /// Updates taken.
    pub updates: u64,
}

/// One meter of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MeterReport {
    /// Id.
    pub id: u8,
    /// Title.
    pub name: String,
    /// Vartype, by name.
    pub vartype: &'static str,
    /// Units.
    pub units: String,
    /// Value over all keys, pruned ones included.
    pub total: f64,
    /// Keys with the largest values: volume for counters and rates, last value for gauges, running and delta meters.
    pub top: Vec<TopKey>,
}

/// A key and its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TopKey {
    /// The key as scripts see it.
    pub key: String,
    /// The address or number it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readable: Option<String>,
    /// The label a script gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Value of the meter.
    pub value: f64,
    /// Part of the total, 0 to 1; only where values add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
}

/// Everything recorded besides counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Records {
    /// Alerts.
    pub alerts: Lines<AlertLine>,
    /// Resources.
    pub resources: Lines<ResourceLine>,
    /// Resources by name of their group.
    pub resource_groups: Vec<NamedCount>,
    /// Full-text documents.
    pub documents: u64,
    /// Documents by name of their group.
    pub document_groups: Vec<NamedCount>,
    /// Edges.
    pub edges: Edges,
    /// Keys with a label.
    pub labels: u64,
    /// Attributes of keys.
    pub attributes: u64,
    /// Messages posted.
    pub messages: u64,
    /// What scripts said about flows, by kind.
    pub flow_statements: Vec<NamedCount>,
}

/// Records of one kind: how many, and the first ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lines<T> {
    /// How many there were.
    pub count: u64,
    /// The first ones.
    pub first: Vec<T>,
}

/// One alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AlertLine {
    /// Seconds.
    pub time: f64,
    /// Name of the alert group, or its GUID.
    pub group: String,
    /// Signature id.
    pub sigid: String,
    /// Priority.
    pub priority: f64,
    /// Message.
    pub message: String,
    /// Status word.
    pub status: String,
    /// Flow id.
    pub flow: Option<String>,
}

/// One resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ResourceLine {
    /// Seconds.
    pub time: f64,
    /// Name of the resource group, or its GUID.
    pub group: String,
    /// Summary.
    pub uri: String,
    /// Flow id.
    pub flow: Option<String>,
}

/// Edges between vertices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Edges {
    /// Added.
    pub added: u64,
    /// Distinct ones per hour.
    pub distinct: u64,
    /// Dropped by a limit.
    pub limited: u64,
    /// The first distinct ones.
    pub first: Vec<EdgeLine>,
}

/// One edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EdgeLine {
    /// Name of the subject's group, or its GUID.
    pub from_group: String,
    /// Key of the subject.
    pub from_key: String,
    /// Name of the target's group, or its GUID.
    pub to_group: String,
    /// Key of the target.
    pub to_key: String,
}

/// Asynchronous work.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Jobs {
    /// Jobs scheduled.
    pub submitted: u64,
    /// Jobs by the state they ended in; the sum is `submitted`.
    pub ended: Vec<NamedCount>,
    /// Worker threads.
    pub workers: u32,
    /// Time from scheduling to completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<JobLatency>,
    /// Those of each plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginJobs>,
}

/// The jobs of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginJobs {
    /// Its file.
    pub name: String,
    /// Jobs scheduled.
    pub submitted: u64,
    /// Jobs by the state they ended in; the sum is `submitted`.
    pub ended: Vec<NamedCount>,
    /// How long jobs waited from scheduling to each start.
    pub wait: JobTimes,
    /// How long attempts ran.
    pub run: JobTimes,
    /// What went wrong, by reason.
    pub failures: Vec<NamedCount>,
    /// Attempts that failed and were followed by another.
    pub retries: u64,
    /// Jobs that waited on the disk.
    pub spilled: u64,
    /// Jobs taken up from an earlier run.
    pub adopted: u64,
}

/// Lengths of time, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct JobTimes {
    /// Half are shorter.
    pub p50_us: f64,
    /// 9 of 10 are shorter.
    pub p90_us: f64,
    /// 99 of 100 are shorter.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// Times from scheduling to completion, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct JobLatency {
    /// Half are faster.
    pub p50_us: f64,
    /// 99 of 100 are faster.
    pub p99_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// What one plugin did and cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginReport {
    /// File name.
    pub name: String,
    /// Callbacks made.
    pub calls: u64,
    /// Mean cost of one.
    pub ns_per_call: f64,
    /// Errors in callbacks.
    pub errors: u64,
    /// Callbacks that were interrupted.
    pub interrupted: u64,
    /// Part of the packet thread's time, 0 to 1.
    pub share: f64,
    /// Memory of its VMs in bytes.
    pub memory_bytes: u64,
    /// Why it is not running any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// How many versions of it have run, if it was loaded again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// How the run ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Exit code of the process.
    pub exit_code: i32,
    /// What led to it; empty for success.
    pub reasons: Vec<String>,
}

impl Report {
    /// Writes the JSON document, indented, with a newline at the end.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
