//! An engine that is stepped through a capture, and what is to be seen of it in between.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, bail};
use crossbeam_channel::Receiver;

use super::evaluate::{self, Evaluated, Evaluator};
use super::stepping::OneByOne;
use crate::api::{EngineContext, LogLevel, Peers, strings};
use crate::app::cli::PluginArgs;
use crate::app::settings;
use crate::backend::Share;
use crate::builtin::Selection;
use crate::capture::{FileOptions, FileSource, Fill, Filter};
use crate::flow::{DefragLimits, FlowsConfig};
use crate::job::{Delivery, JobIds, Pool};
use crate::metrics::{Buckets, GroupIndex, Rank, Records, RunTotals, ShardConfig};
use crate::packet::Layer;
use crate::pipeline::{
    BackendLink, BackendPlan, Control, Engine, EnginePlan, FlowOutput, Outlet, Pace, Stop, date_time,
};
use crate::plugin::{Catalog, HostSettings, JobPlan, discover};
use crate::sink::printed::PrintKinds;
use crate::sink::{ConsoleSender, Parcel};
use crate::time::Timestamp;

/// Packets that are remembered for `packets`.
const REMEMBERED: usize = 1_000;
/// Flows that are counted for `flows`.
const MAX_FLOWS: usize = 100_000;
/// Keys shown per meter.
const TOP: usize = 10;

/// What a session is made from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Capture files.
    pub files: Vec<PathBuf>,
    /// Packets that are not there at all.
    pub filter: Option<String>,
    /// The plugins.
    pub plugins: Arc<PluginArgs>,
}

/// What was counted of a flow.
#[derive(Clone, Copy, Debug)]
struct FlowTally {
    number: usize,
    first: Timestamp,
    last: Timestamp,
    packets: u64,
    bytes: u64,
}

/// A capture that is stepped through.
pub struct Session {
    engine: Engine,
    context: Rc<EngineContext>,
    catalog: Arc<Catalog>,
    evaluator: Evaluator,
    heard: Receiver<Parcel>,
    /// Records besides those that are shown one by one, as far as they were told of.
    told: BTreeMap<&'static str, u64>,
    control: Arc<Control>,
    pools: Arc<[Pool]>,
    filter: Option<Filter>,
    /// Number of the present packet, from 1; 0 before the first.
    pub number: u64,
    recent: VecDeque<String>,
    flows: HashMap<Vec<u8>, FlowTally>,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There is a packet.
    Packet,
    /// There is none any more.
    End,
}

impl Session {
    /// Opens the capture and loads the plugins. Must run on a thread with a stack for Lua.
    ///
    /// # Errors
    /// When the capture cannot be opened or a plugin does not exist.
    pub fn open(origin: &Origin) -> anyhow::Result<Self> {
        let mut host = settings::host_settings(&origin.plugins, None)?;
        host.files = settings::file_rules(&mut host.run.environment.config)?;
        let mut scripts = discover(&origin.plugins.plugin, &[])?.scripts;
        scripts.push(evaluate::script());
        let catalog = Arc::new(Catalog::probe(scripts, &host));
        let rounds = NonZeroU64::MIN;
        let options = FileOptions { filter: origin.filter.clone(), snaplen: None, rounds };
        let source = FileSource::open(&origin.files, &options)?;
        let (sender, heard) = ConsoleSender::kept();
        let control = Arc::new(Control::default());
        let jobs = JobPlan { pools: catalog.pools(&host), ids: JobIds::new(0), delivery: Delivery::AsFinished };
        let plan = plan(&catalog, &host, Box::new(OneByOne::new(source)), sender, &control, &jobs)?;
        let engine = Engine::new(plan);
        let context = Rc::clone(engine.context());
        let Some(entry) = catalog.entries.last() else { bail!("the prompt has no script") };
        let evaluator = Evaluator::new(entry, &context, &host, &jobs)?;
        Ok(Self {
            pools: jobs.pools,
            engine,
            context,
            evaluator,
            heard,
            told: BTreeMap::new(),
            control,
            filter: None,
            number: 0,
            recent: VecDeque::new(),
            flows: HashMap::new(),
            catalog,
        })
    }

    /// Goes on to the next packet, or to the next that the filter lets pass; the others are handled as well.
    ///
    /// # Errors
    /// When the capture cannot be read.
    pub fn step(&mut self) -> anyhow::Result<Stepped> {
        loop {
            let before = self.number;
            match self.engine.step()? {
                Fill::Packets => {
                    self.number = before + 1;
                    self.note();
                    if self.passes()? {
                        return Ok(Stepped::Packet);
                    }
                }
                Fill::Idle => {}
                Fill::End => return Ok(Stepped::End),
            }
        }
    }

    /// Sets or takes away the filter that packets must pass to be stopped at.
    ///
    /// # Errors
    /// When it does not compile for the present packet.
    pub fn set_filter(&mut self, expression: &str) -> anyhow::Result<()> {
        self.filter = (!expression.is_empty()).then(|| Filter::new(expression));
        if let Err(e) = self.passes() {
            self.filter = None;
            return Err(e);
        }
        Ok(())
    }

    fn passes(&mut self) -> anyhow::Result<bool> {
        let batch = self.context.batch.borrow();
        let (Some(filter), Some(packet)) = (&mut self.filter, batch.packets().first()) else { return Ok(true) };
        Ok(filter.passes(packet.linktype, batch.packet_bytes(packet), packet.wirelen)?)
    }

    /// Remembers the packet and counts its flow.
    fn note(&mut self) {
        let line = self.packet_line();
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
        let Some(id) = self.flow_id() else { return };
        let batch = self.context.batch.borrow();
        let Some(packet) = batch.packets().first() else { return };
        let number = self.flows.len();
        if number >= MAX_FLOWS && !self.flows.contains_key(&id) {
            return;
        }
        let new = FlowTally { number, first: packet.ts, last: packet.ts, packets: 0, bytes: 0 };
        let tally = self.flows.entry(id).or_insert(new);
        tally.last = packet.ts;
        tally.packets += 1;
        tally.bytes += u64::from(packet.wirelen);
    }

    /// The flow of the present packet.
    fn flow_id(&self) -> Option<Vec<u8>> {
        if self.context.batch.borrow().is_empty() {
            return None;
        }
        self.context.flow_tuple(0).map(|tuple| tuple.id().as_bytes().to_vec())
    }

    /// The present packet on one line.
    #[must_use]
    pub fn packet_line(&self) -> String {
        let batch = self.context.batch.borrow();
        let Some(packet) = batch.packets().first() else { return "no packet yet; type: next".to_owned() };
        let layers: Vec<&str> =
            batch.layers(packet).iter().map(|layer| self.context.protocols.name(layer.protocol)).collect();
        let mut line = format!("#{} {} {} bytes", self.number, date_time(packet.ts), packet.wirelen);
        if packet.caplen < packet.wirelen {
            // Writing to a string does not fail.
            let _ = write!(line, " ({} kept)", packet.caplen);
        }
        let _ = write!(line, "  {}", layers.join(" "));
        if let Some(id) = self.flow_id() {
            let _ = write!(line, "  {}", String::from_utf8_lossy(&id));
        }
        line
    }

    /// The last packets, the present one at the end.
    #[must_use]
    pub fn packets(&self, count: usize) -> Vec<String> {
        let skip = self.recent.len().saturating_sub(count);
        self.recent.iter().skip(skip).cloned().collect()
    }

    fn layer_list(&self) -> Vec<(Layer, String)> {
        let batch = self.context.batch.borrow();
        let Some(packet) = batch.packets().first() else { return Vec::new() };
        let name = |layer: &Layer| (*layer, self.context.protocols.name(layer.protocol).to_owned());
        batch.layers(packet).iter().map(name).collect()
    }

    /// The layers of the present packet, a line each.
    #[must_use]
    pub fn layers(&self) -> Vec<String> {
        let line = |(index, (layer, name)): (usize, (Layer, String))| {
            let guid = self.context.protocols.guid(layer.protocol);
            format!("{index}  {name}  {} bytes at {}  {guid}", layer.len, layer.offset)
        };
        self.layer_list().into_iter().enumerate().map(line).collect()
    }

    /// The bytes of the present packet, or of a layer by number or name to the end of what it holds.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn hex(&self, layer: &str) -> anyhow::Result<String> {
        let layers = self.layer_list();
        let batch = self.context.batch.borrow();
        let Some(packet) = batch.packets().first() else { return Ok(String::new()) };
        let bytes = batch.packet_bytes(packet);
        if layer.is_empty() {
            return Ok(strings::hexdump(bytes));
        }
        let by_number = layer.parse().ok().and_then(|index: usize| layers.get(index));
        let found = by_number.or_else(|| layers.iter().find(|(_, name)| name.eq_ignore_ascii_case(layer)));
        let Some((found, _)) = found else { bail!("the packet has no layer {layer}; type: layers") };
        let from = (found.offset as usize).min(bytes.len());
        let to = (from + found.len as usize).min(bytes.len());
        Ok(strings::hexdump(&bytes[from..to]))
    }

    /// The flow of the present packet, a line for each thing known of it.
    #[must_use]
    pub fn flow(&self) -> Vec<String> {
        let Some(id) = self.flow_id() else { return vec!["the packet belongs to no flow".to_owned()] };
        let mut lines = vec![String::from_utf8_lossy(&id).into_owned()];
        if let Some(tally) = self.flows.get(&id) {
            lines.push(format!("so far: {}", tally_text(tally)));
        }
        let flows = self.context.flows.borrow();
        let record = flows.as_ref().and_then(|flows| {
            let handle = flows.of_packet(0)?.flow;
            Some((flows.flow(handle)?, flows.tags(handle)))
        });
        if let Some((flow, tags)) = record {
            let ([az, za], [az_packets, za_packets]) = (flow.bytes, flow.packets);
            lines.push(format!("A to Z: {az_packets} packets, {az} bytes; Z to A: {za_packets} packets, {za} bytes"));
            let [az, za] = flow.payload;
            lines.push(format!(
                "payload: {az} and {za} bytes; state {:#06x}; set up in {} us; {} retransmissions",
                flow.state, flow.setup_rtt, flow.retransmissions
            ));
            if !tags.is_empty() {
                lines.push(format!("tags: {}", String::from_utf8_lossy(tags)));
            }
        }
        lines
    }

    /// The flows met so far, in the order met.
    #[must_use]
    pub fn flow_lines(&self) -> Vec<String> {
        let mut flows: Vec<_> = self.flows.iter().collect();
        flows.sort_by_key(|(_, tally)| tally.number);
        flows.into_iter().map(|(id, tally)| format!("{}  {}", String::from_utf8_lossy(id), tally_text(tally))).collect()
    }

    /// The groups that were counted in, or the largest keys of one.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn counters(&self, wanted: &str) -> anyhow::Result<Vec<String>> {
        let mut shard = self.context.shard.borrow().clone();
        shard.finish(|_| {});
        let totals = RunTotals::of(&shard);
        let groups = self.catalog.groups.counter_groups().enumerate();
        let mut lines = Vec::new();
        let mut known = false;
        for (index, group) in groups {
            let name = String::from_utf8_lossy(&group.name).into_owned();
            let is_wanted = wanted.eq_ignore_ascii_case(&name) || wanted.eq_ignore_ascii_case(&group.guid.to_string());
            known |= is_wanted;
            let Some(counted) = totals.group(GroupIndex(index as u16)).filter(|counted| !counted.is_empty()) else {
                continue;
            };
            if wanted.is_empty() {
                lines.push(format!("{name}  {} keys  {}", counted.len(), group.guid));
            } else if is_wanted {
                for meter in &group.meters {
                    lines.push(format!("{} ({})", String::from_utf8_lossy(&meter.name), meter.id));
                    for top in counted.ranked(u32::from(meter.id), TOP, Rank::Largest) {
                        lines.push(format!("  {}  {}", String::from_utf8_lossy(&top.key), top.value));
                    }
                }
            }
        }
        if !wanted.is_empty() && !known {
            bail!("there is no counter group '{wanted}'; type: counters");
        }
        Ok(lines)
    }

    /// Evaluates Lua for the present packet.
    pub fn evaluate(&mut self, text: &str) -> Evaluated {
        let evaluated = self.evaluator.evaluate(text);
        self.engine.settle_outside();
        evaluated
    }

    /// What scripts printed and logged since the last time, and what was recorded one by one.
    pub fn take_lines(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for parcel in self.heard.try_iter() {
            out.extend(parcel.out);
            err.extend(parcel.err);
        }
        (out, err)
    }

    /// What scripts printed and logged since the last time, and what was recorded: alerts, resources, documents and flows a line
    /// each, the rest by number.
    pub fn take_heard(&mut self) -> (Vec<u8>, Vec<u8>) {
        if self.evaluator.waits() {
            self.evaluator.take_completions();
        }
        self.engine.settle_outside();
        let (mut out, err) = self.take_lines();
        let now = recorded(self.engine.records());
        let new = |(name, count): (&&'static str, &u64)| {
            let more = count.saturating_sub(self.told.get(name).copied().unwrap_or(0));
            (more > 0).then(|| format!("{name} {more}"))
        };
        let new: Vec<String> = now.iter().filter_map(new).collect();
        if !new.is_empty() {
            out.extend(format!("recorded: {}\n", new.join(", ")).bytes());
        }
        self.told = now;
        (out, err)
    }

    /// Unloads the plugins.
    pub fn close(self) {
        self.control.request_stop(Stop::AtOnce);
        drop(self.evaluator);
        // Nobody asks for a report.
        drop(self.engine.conclude());
        // What still runs, runs for nobody.
        self.pools.iter().for_each(Pool::abort);
    }
}

/// Records that are not shown one by one, by name.
fn recorded(records: &Records) -> BTreeMap<&'static str, u64> {
    let others = [
        ("edge", records.edges.counts().added),
        ("label", records.notes.labels() as u64),
        ("key_attribute", records.notes.attributes() as u64),
        ("message", records.messages.count()),
    ];
    others.into_iter().chain(records.flow_statements()).collect()
}

fn tally_text(tally: &FlowTally) -> String {
    let secs = tally.last.as_secs_f64() - tally.first.as_secs_f64();
    format!("{} packets, {} bytes in {secs:.6} s", tally.packets, tally.bytes)
}

fn plan(
    catalog: &Arc<Catalog>,
    host: &HostSettings,
    source: Box<OneByOne<FileSource>>,
    sender: ConsoleSender,
    control: &Arc<Control>,
    jobs: &JobPlan,
) -> anyhow::Result<EnginePlan> {
    let names: Arc<[String]> = catalog.entries.iter().map(|entry| entry.name.clone()).collect();
    let outlet = || {
        let mut outlet = Outlet::new(Arc::clone(&names), LogLevel::Warn);
        outlet.console = Some(sender.clone());
        outlet.outputs.print = PrintKinds { alerts: true, resources: true, documents: true, flows: true };
        outlet.outputs.groups = Some(Arc::clone(&catalog.groups));
        outlet
    };
    let shard = ShardConfig { buckets: Buckets::Discard, ..ShardConfig::default() };
    let window = settings::window(&host.run.environment.config).context("settings")?;
    let backend = catalog.has_backend().then(|| {
        BackendLink::Inline(Box::new(BackendPlan {
            id: 1,
            catalog: Arc::clone(catalog),
            settings: host.clone(),
            builtin: Selection::default(),
            shard: shard.clone(),
            outlet: outlet(),
            sink: None,
            jobs: JobPlan { pools: Arc::clone(&jobs.pools), ids: JobIds::new(1), delivery: jobs.delivery },
            window,
            share: Share::whole(),
            orders: None,
            questions: None,
        }))
    });
    Ok(EnginePlan {
        id: 0,
        source,
        catalog: Arc::clone(catalog),
        settings: host.clone(),
        builtin: Selection::default(),
        shard: shard.clone(),
        flows: FlowsConfig::default(),
        fragments: DefragLimits::default(),
        flow_output: FlowOutput::All,
        store: None,
        top: TOP,
        outlet: outlet(),
        pace: Pace::Packets,
        peers: Peers::connect(1).into_iter().next().unwrap_or_default(),
        control: Arc::clone(control),
        jobs: jobs.clone(),
        backend,
        past_backend: None,
        drain: None,
        interim: None,
        orders: None,
        questions: None,
    })
}
