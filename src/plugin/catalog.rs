//! All plugin files of a run, probed once: what they contain and what they define.

use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use memchr::memmem;

use super::binding;
use super::discover::Script;
use super::instance::PluginFile;
use super::kind::PluginKind;
use super::manifest::{self, Definition, Manifest, Remark};
use super::perseverance::{Attempt, Known, persevere};
use super::probing::{Contents, Probed, probe_ahead, probe_one};
use super::settings::HostSettings;
use crate::api::t_async::{self, WorkerVmOptions};
use crate::api::{LogLevel, ScriptId, global_t};
use crate::decode;
use crate::job::{Board, Pool, PoolOptions};
use crate::lua::{FaultKind, PluginError, Tokens};
use crate::metrics;

/// Stands for no deadline of jobs.
const NO_DEADLINE: Duration = Duration::from_secs(10 * 365 * 86_400);

/// One plugin file of a run.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// Index in the run's list.
    pub id: ScriptId,
    /// The file.
    pub script: Script,
    /// File name.
    pub name: String,
    /// What it contains; `None` if it did not load.
    pub manifest: Option<Manifest>,
    /// Why it did not load.
    pub error: Option<PluginError>,
}

impl CatalogEntry {
    /// The file as instances need it.
    #[must_use]
    pub fn plugin_file(&self, settings: &HostSettings) -> PluginFile {
        let manifest = self.manifest.as_ref();
        PluginFile {
            id: self.id,
            script: self.script.clone(),
            name: self.name.clone(),
            title: manifest.map(|m| m.id.name.clone()).unwrap_or_default(),
            subscriptions: manifest.map_or(manifest::Subscriptions::All, |m| m.subscriptions.clone()),
            clsid: manifest.and_then(|m| m.id.clsid),
            workers: manifest.map_or(1, |m| m.workers),
            package_path: super::discover::package_path(&self.script.directory(), &settings.search),
            blocks: manifest.map(|m| m.blocks.clone()).unwrap_or_default(),
        }
    }
}

impl CatalogEntry {
    /// Whether the source text, or that of a library, has a word in it, such as the name of a method. A script that puts
    /// the name together, or loads the library later, is found out when it makes the call.
    #[must_use]
    pub fn mentions(&self, word: &str) -> bool {
        let holds = |text: &[u8]| memmem::find(text, word.as_bytes()).is_some();
        self.manifest.as_ref().is_some_and(|manifest| holds(&self.script.source) || holds(&manifest.required_text))
    }

    /// Whether it may end flows while packets are handled: then none of their packets may be ahead of what it says.
    #[must_use]
    pub fn ends_flows(&self) -> bool {
        // Every VM there can get an engine, be it by a message or a job.
        let runs = |manifest: &Manifest| manifest.blocks.iter().any(|block| block.kind.side().is_with_packets());
        self.manifest.as_ref().is_some_and(runs) && self.mentions("terminate_flow")
    }

    /// The workers of the script; their threads start with the first job. What is completed elsewhere goes through `board`.
    #[must_use]
    pub fn pool(&self, settings: &HostSettings, board: &Board) -> Pool {
        let file = self.plugin_file(settings);
        let mut options = PoolOptions::within(&self.name, file.workers as i64, &settings.jobs);
        options.deadline = settings.job_budget.unwrap_or(NO_DEADLINE);
        options.answers.clone_from(&settings.answers);
        options.profiler.clone_from(&settings.profiler);
        options.board = board.clone();
        let vm = WorkerVmOptions {
            name: self.name.clone(),
            memory_limit: settings.worker_memory_limit,
            package_path: file.package_path,
            run: settings.run.clone(),
            script: self.id,
            libraries: settings.libraries.clone(),
        };
        let ids = Arc::clone(&settings.context_ids);
        let next_id = move || ids.fetch_add(1, Ordering::Relaxed) + 1;
        Pool::new(options, t_async::worker_factory(vm, Arc::new(next_id)))
    }
}

/// A line about a file, said before the first packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogNote {
    /// Which script.
    pub script: ScriptId,
    /// How important.
    pub level: LogLevel,
    /// What.
    pub text: String,
}

/// Everything that was found, with the definitions of all files merged.
#[derive(Debug)]
pub struct Catalog {
    /// The files, in the order in which they are attached.
    pub entries: Vec<CatalogEntry>,
    /// Groups: built in and defined.
    pub groups: Arc<metrics::Registry>,
    /// Protocols: built in and defined.
    pub protocols: Arc<decode::Registry>,
    /// What was noticed.
    pub notes: Vec<CatalogNote>,
}

impl Catalog {
    /// Probes every script, and leaves those out that do not come back from a C function. Must run on a thread with a stack
    /// for Lua.
    #[must_use]
    pub fn probe(scripts: Vec<Script>, settings: &HostSettings) -> Self {
        let scripts: Arc<[Script]> = scripts.into();
        Self::probe_apart(&scripts, settings, || ())
            .map(|probed| probed.unwrap_or_else(|panic| resume_unwind(panic)))
            .unwrap_or_else(|_| Self::probe_all(&scripts, settings, &Attempt::only(), &Known::default()))
    }

    /// The same on a thread of its own alone, which `begin` is called on first; gives the panic it ended with, if it did.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn probe_apart(
        scripts: &Arc<[Script]>,
        settings: &HostSettings,
        begin: fn(),
    ) -> io::Result<thread::Result<Self>> {
        let (all, its) = (Arc::clone(scripts), settings.clone());
        let known = Known::default();
        persevere("probing", move |attempt| {
            begin();
            Self::probe_all(&all, &its, attempt, &known)
        })
    }

    fn probe_all(scripts: &[Script], settings: &HostSettings, attempt: &Attempt, known: &Known<Contents>) -> Self {
        let mut groups = metrics::Registry::new();
        let mut protocols = decode::Registry::new();
        let (mut entries, mut notes) = (Vec::<CatalogEntry>::new(), Vec::new());
        let mut bound_later = Vec::new();
        let ahead = probe_ahead(scripts, settings, &groups, attempt, known);
        for (script, ahead) in scripts.iter().zip(ahead) {
            let script = script.clone();
            let id = ScriptId(entries.len() as u16);
            let name = script.name();
            let mut note = |level, text: String| notes.push(CatalogNote { script: id, level, text });
            let contents = ahead.or_else(|| known.of(&script.path)).unwrap_or_else(|| {
                let contents = probe_one(&script, id, settings, &groups, attempt);
                let probed = contents.as_ref().ok().and_then(Option::as_ref).map(|(manifest, _)| manifest);
                let is_bound = probed.is_some_and(|manifest| {
                    manifest.blocks.iter().any(|block| binding::group_kind(block.kind).is_some())
                });
                let contents = contents.map(|found| {
                    found.map(|(manifest, probed)| {
                        if is_bound {
                            bound_later.push((id, probed));
                        }
                        manifest
                    })
                });
                // Of one that is bound later the VM is needed as well.
                if !is_bound {
                    known.keep(attempt, &script.path, &contents);
                }
                contents
            });
            let (manifest, error) = match contents {
                Ok(Some(manifest)) => (Some(manifest), None),
                Ok(None) => {
                    note(LogLevel::Info, "leaves no TrisulPlugin table behind; skipped".to_owned());
                    (None, None)
                }
                Err(e) => {
                    note(LogLevel::Error, format!("load: {}", e.message));
                    (None, Some(e))
                }
            };
            if let Some(manifest) = &manifest {
                remarks_on(&script, manifest, |text| note(LogLevel::Warn, text));
                for definition in &manifest.definitions {
                    define(definition, &mut groups, &mut protocols, &mut note);
                }
            }
            entries.push(CatalogEntry { id, script, name, manifest, error });
        }
        for (id, probed) in bound_later {
            if let Some(manifest) = &mut entries[usize::from(id.0)].manifest {
                bind(manifest, &probed, settings, &groups, |text| {
                    notes.push(CatalogNote { script: id, level: LogLevel::Warn, text });
                });
            }
        }
        settle_trackers(&mut entries, &mut notes);
        Self { entries, groups: Arc::new(groups), protocols: Arc::new(protocols), notes }
    }

    /// Probes one script while a run goes on: what groups and protocols there are was settled at its start. Must run on a
    /// thread with a stack for Lua.
    #[must_use]
    pub fn probe_again(
        self: &Arc<Self>,
        script: Script,
        id: ScriptId,
        settings: &HostSettings,
    ) -> (CatalogEntry, Vec<CatalogNote>) {
        let (catalog, its, version) = (Arc::clone(self), settings.clone(), script.clone());
        persevere("probing", move |attempt| catalog.probe_alone(version.clone(), id, &its, attempt))
            .map(|probed| probed.unwrap_or_else(|panic| resume_unwind(panic)))
            .unwrap_or_else(|_| self.probe_alone(script, id, settings, &Attempt::only()))
    }

    fn probe_alone(
        &self,
        script: Script,
        id: ScriptId,
        settings: &HostSettings,
        attempt: &Attempt,
    ) -> (CatalogEntry, Vec<CatalogNote>) {
        let name = script.name();
        let mut notes = Vec::new();
        let mut note = |level, text: String| notes.push(CatalogNote { script: id, level, text });
        let (manifest, error) = match probe_one(&script, id, settings, &self.groups, attempt) {
            Ok(Some((mut manifest, probed))) => {
                remarks_on(&script, &manifest, |text| note(LogLevel::Warn, text));
                let warn = |text| note(LogLevel::Warn, text);
                if manifest.blocks.iter().any(|block| binding::group_kind(block.kind).is_some()) {
                    bind(&mut manifest, &probed, settings, &self.groups, warn);
                }
                let others = self.entries.iter().filter(|entry| entry.id != id).filter_map(|e| e.manifest.as_ref());
                let taken: Vec<&str> =
                    others.flat_map(|m| &m.blocks).filter_map(|b| b.tracker.as_ref()).map(|t| &*t.name).collect();
                manifest.blocks.retain(|block| {
                    let Some(tracker) = block.tracker.as_ref().filter(|t| taken.contains(&&*t.name)) else {
                        return true;
                    };
                    note(LogLevel::Warn, taken_tracker(&tracker.name));
                    false
                });
                (Some(manifest), None)
            }
            Ok(None) => {
                let message = "leaves no TrisulPlugin table behind".to_owned();
                (None, Some(PluginError { kind: FaultKind::Error, message, traceback: String::new() }))
            }
            Err(e) => (None, Some(e)),
        };
        (CatalogEntry { id, script, name, manifest, error }, notes)
    }

    /// The same with a script that is new or has changed.
    #[must_use]
    pub fn with(&self, entry: CatalogEntry) -> Self {
        let mut entries = self.entries.clone();
        match entries.get_mut(usize::from(entry.id.0)) {
            Some(place) => *place = entry,
            None => entries.push(entry),
        }
        let (groups, protocols) = (Arc::clone(&self.groups), Arc::clone(&self.protocols));
        Self { entries, groups, protocols, notes: self.notes.clone() }
    }

    /// A pool of workers per script; their threads start with the first job.
    #[must_use]
    pub fn pools(&self, settings: &HostSettings) -> Arc<[Pool]> {
        let board = Board::default();
        self.entries.iter().map(|entry| entry.pool(settings, &board)).collect()
    }

    /// Name of a script; scripts that are none are native modules.
    #[must_use]
    pub fn name(&self, script: ScriptId) -> &str {
        self.entries.get(usize::from(script.0)).map_or(script.native_name(), |entry| &entry.name)
    }

    /// Whether any file has a block that runs on the backend.
    #[must_use]
    pub fn has_backend(&self) -> bool {
        let manifests = self.entries.iter().filter_map(|entry| entry.manifest.as_ref());
        manifests.flat_map(|manifest| &manifest.blocks).any(manifest::Block::runs_on_backend)
    }

    /// The entry with an input filter, if any.
    #[must_use]
    pub fn input_filter(&self) -> Option<&CatalogEntry> {
        self.entries.iter().find(|entry| {
            entry.manifest.as_ref().is_some_and(|m| m.blocks.iter().any(|b| b.kind == PluginKind::InputFilter))
        })
    }
}

/// What is said of a remark. One on a limit names file and line: nobody meant to meet it.
#[must_use]
pub fn note_of(script: &Script, tokens: &Tokens, remark: &Remark) -> String {
    if !remark.is_limit() {
        return remark.to_string();
    }
    format!("{}:{}: {remark}", script.name(), remark.line(tokens))
}

/// Tells what the author of a file should know. Slips of the keyboard are for `check` alone.
fn remarks_on(script: &Script, manifest: &Manifest, mut note: impl FnMut(String)) {
    let remarks = || manifest.remarks.iter().filter(|remark| !matches!(remark, Remark::UnknownBlock(..)));
    let has_limits = remarks().any(Remark::is_limit);
    let tokens = Tokens::of(if has_limits { &script.source } else { &[] });
    remarks().for_each(|remark| note(note_of(script, &tokens, remark)));
}

fn define(
    definition: &Definition,
    groups: &mut metrics::Registry,
    protocols: &mut decode::Registry,
    note: &mut impl FnMut(LogLevel, String),
) {
    let notices = match definition {
        Definition::Counter(group) => groups.define_counter_group(group.clone()),
        Definition::Group { kind, guid, name, description } => groups.define_group(*kind, *guid, name, description),
        Definition::Protocol(protocol) => return define_protocol(protocol, protocols, note),
    };
    for notice in notices {
        let level = if notice.is_warning() { LogLevel::Warn } else { LogLevel::Info };
        note(level, notice.to_string());
    }
}

/// Finds the groups that the monitors of a file are for.
fn bind(
    manifest: &mut Manifest,
    probed: &Probed,
    settings: &HostSettings,
    groups: &metrics::Registry,
    mut note: impl FnMut(String),
) {
    // Groups of files that came later. A script that replaced the tables goes without.
    if let Err(e) = global_t::set_groups(probed.vm.lua(), &probed.t, groups) {
        note(format!("the tables of groups cannot be completed: {e}"));
    }
    probed.speech.listen();
    for block in &mut manifest.blocks {
        let table = probed
            .vm
            .watched(settings.load_budget, |_| manifest::block_table(&probed.plugin, block.kind, &mut Vec::new()));
        let Ok(Some((table, _))) = table else { continue };
        let (bound, told) = binding::evaluate(block.kind, &table, &probed.vm, groups, settings.load_budget);
        block.bound = bound;
        told.into_iter().for_each(&mut note);
    }
    manifest.said = probed.speech.take();
}

fn taken_tracker(name: &str) -> String {
    format!("flowtracker: '{name}' is taken by a file loaded before; not used")
}

/// Of several trackers with one name the first is used.
fn settle_trackers(entries: &mut [CatalogEntry], notes: &mut Vec<CatalogNote>) {
    let mut known: Vec<String> = Vec::new();
    for entry in entries {
        let Some(manifest) = &mut entry.manifest else { continue };
        manifest.blocks.retain(|block| {
            let Some(tracker) = &block.tracker else { return true };
            let is_new = !known.contains(&tracker.name);
            if is_new {
                known.push(tracker.name.clone());
            } else {
                let text = taken_tracker(&tracker.name);
                notes.push(CatalogNote { script: entry.id, level: LogLevel::Warn, text });
            }
            is_new
        });
    }
}

/// Directories that are searched without being named, in the contract's order.
#[must_use]
pub fn standard_directories(db_root: &str, plugins_lib: &str, environment: &[String]) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for path in [format!("{db_root}/config/local-lua"), format!("{db_root}/config/lua"), format!("{plugins_lib}/lua")] {
        directories.push(PathBuf::from(path));
    }
    for list in environment {
        directories.extend(list.split(':').filter(|path| !path.is_empty()).map(PathBuf::from));
    }
    directories
}

fn define_protocol(
    protocol: &manifest::ProtocolDefinition,
    protocols: &mut decode::Registry,
    note: &mut impl FnMut(LogLevel, String),
) {
    let (name, guid) = (&protocol.name, protocol.guid);
    let added = match protocols.add(guid, name, protocol.host, &protocol.numbers) {
        Ok(added) => added,
        Err(e @ decode::RegisterError::Defined(_)) => {
            return note(LogLevel::Info, format!("{name}: {e}; the first one is used"));
        }
        Err(e) => return note(LogLevel::Error, format!("{name}: {e}; the protocol is ignored")),
    };
    for (number, owner) in added.taken {
        let owner = protocols.name(owner);
        note(LogLevel::Info, format!("{name}: {number} is taken by {owner}, which was loaded first"));
    }
    for number in added.out_of_range {
        note(LogLevel::Warn, format!("{name}: host_protocol_ports: {number} is out of range"));
    }
    if !added.attachable {
        note(
            LogLevel::Warn,
            format!("{name}: nothing can attach to its host protocol; it is reached by its GUID only"),
        );
    }
}
