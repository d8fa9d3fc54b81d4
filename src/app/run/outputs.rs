//! Everything that results of a run go to: the console, the event stream, the packet store, the store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::life::Reopen;
use super::others::{OutputSet, takes_standard_output, told};
use crate::api::LogLevel;
use crate::app::cli::{Cli, RunArgs};
use crate::app::privileges::User;
use crate::app::report::{self, RunResult};
use crate::app::staging::Staging;
use crate::app::{logging, settings};
use crate::capture::Origin;
use crate::metrics::FlushSink;
use crate::pipeline::{Control, FlowOutput, Outlet, Pace, Prints};
use crate::plugin::Catalog;
use crate::sink::{
    Console, EventStream, Haste, PacketStore, Reserved, Save, Store, StoreFeed, StoreSender, WhenFull, database_files,
};
use crate::time;

/// Outputs that are open, before it is known what comes.
pub struct Opened {
    /// Begins when the run is asked to end.
    pub haste: Haste,
    console: Console,
    events: Option<EventStream>,
    packet_store: Option<PacketStore>,
    store: Option<Reserved>,
    pace: Pace,
}

/// Where results go.
pub struct Outputs {
    console: Console,
    events: Option<EventStream>,
    packet_store: Option<PacketStore>,
    store: Option<(Store, PathBuf)>,
    others: OutputSet,
    names: Arc<[String]>,
    prints: Prints,
    threshold: LogLevel,
    flows: bool,
}

impl Opened {
    /// Opens what the arguments name.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn open(args: &RunArgs, staging: &Staging, pace: Pace) -> anyhow::Result<Self> {
        let when_full = if pace == Pace::Packets { WhenFull::Block } else { WhenFull::DropNewest };
        let haste = Haste::default();
        let console = staging.console(when_full, &haste).context("starting the console")?;
        let events = match (&staging.events, &args.output.events) {
            (Some(kept), _) => Some(EventStream::start("events", Box::new(kept.clone()), when_full)?),
            (None, Some(path)) => {
                let opened = EventStream::open(path, when_full, haste.clone());
                Some(opened.map_err(|e| anyhow!("--events {e}"))?)
            }
            (None, None) => None,
        };
        let packet_store = match settings::store_config(&args.output.store, when_full) {
            Some(config) => Some(PacketStore::open(&config)?),
            None => None,
        };
        let store = match settings::store_options(&args.output.results, when_full)? {
            Some(options) => Some(Reserved::open(&options)?),
            None => None,
        };
        Ok(Self { haste, console, events, packet_store, store, pace })
    }

    /// The store's file, if there is one.
    #[must_use]
    pub fn store_file(&self) -> Option<&Path> {
        self.store.as_ref().map(Reserved::file)
    }

    /// Gives what was opened by name to the user that the run becomes, so that it can be written further, begun anew and
    /// trimmed.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hand_over(&self, args: &RunArgs, user: &User) -> anyhow::Result<()> {
        let own = |path: &Path| user.own(path).with_context(|| format!("giving {} to {}", path.display(), user.name()));
        if let Some(path) = &args.output.events {
            own(path)?;
        }
        if let Some(folder) = &args.output.store.packets {
            own(folder)?;
            for file in files_of(folder).with_context(|| format!("reading {}", folder.display()))? {
                own(&file)?;
            }
        }
        if let Some(store) = &self.store {
            let file = store.file();
            database_files(file).iter().try_for_each(|file| own(file))?;
            // Without a name the directory was made for this run alone.
            if let (true, Some(folder)) = (settings::is_unnamed(&args.output.results), file.parent()) {
                own(folder)?;
            }
        }
        Ok(())
    }

    /// Begins to write results of these plugins on these inputs.
    ///
    /// # Errors
    /// When the store's file or an output for other programs cannot be written.
    pub fn begin(
        self,
        args: &RunArgs,
        cli: &Cli,
        catalog: &Catalog,
        inputs: &[Origin],
        control: &Arc<Control>,
    ) -> anyhow::Result<Outputs> {
        let store = match self.store {
            Some(reserved) => {
                let file = reserved.file().to_owned();
                let started = (self.pace == Pace::Wall).then(time::wall);
                let names: Vec<_> = inputs.iter().map(ToString::to_string).collect();
                Some((reserved.begin(Arc::clone(&catalog.groups), &names, started)?, file))
            }
            None => None,
        };
        let is_taken = args.plugins.json || takes_standard_output(&args.output);
        Ok(Outputs {
            others: OutputSet::open(args, (self.pace, inputs), &catalog.groups, control)?,
            console: self.console,
            events: self.events,
            packet_store: self.packet_store,
            store,
            names: catalog.entries.iter().map(|entry| entry.name.clone()).collect(),
            prints: if is_taken { Prints::Error } else { Prints::Output },
            threshold: logging::threshold(cli.log),
            flows: args.output.flows,
        })
    }
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

impl Outputs {
    /// Where standard output and standard error go through.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Whether anything is written event by event.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.events.is_some()
    }

    /// Whether somebody takes what leaves the backend.
    #[must_use]
    pub fn want_backend(&self) -> bool {
        self.events.is_some() || self.store.is_some() || self.others.takes_flush()
    }

    /// Which flows are wanted without a plugin that wants them.
    #[must_use]
    pub fn flow_output(&self) -> FlowOutput {
        match &self.packet_store {
            _ if self.flows || self.store.is_some() || self.others.needs_all() => FlowOutput::All,
            Some(_) => FlowOutput::Store,
            None => FlowOutput::Plugins,
        }
    }

    /// What opens outputs anew, by name.
    #[must_use]
    pub fn reopeners(&self) -> Vec<(&'static str, Reopen)> {
        let events = self.events.as_ref().and_then(EventStream::handle);
        let events = events.map(|events| ("events", Box::new(move || told(events.reopen())) as Reopen));
        self.others.reopeners().into_iter().chain(events).collect()
    }

    /// What writes the lines that are made, in a process that ends without the threads that make them.
    #[must_use]
    pub fn savers(&self) -> Vec<Save> {
        self.events.iter().map(EventStream::saver).chain(self.others.savers()).collect()
    }

    /// The way of one thread's records to the console, the event stream and other programs.
    #[must_use]
    pub fn head(&self) -> Outlet {
        let mut outlet = Outlet::new(Arc::clone(&self.names), self.threshold);
        outlet.console = Some(self.console.sender());
        outlet.prints = self.prints;
        outlet.outputs = self.others.of_thread();
        outlet.events = self.events.as_ref().map(EventStream::sender);
        outlet
    }

    /// The same, and to the store.
    #[must_use]
    pub fn outlet(&self) -> Outlet {
        let mut outlet = self.head();
        outlet.store = self.store.as_ref().map(|(store, _)| store.sender().without_buckets());
        outlet
    }

    /// The way of what is flushed to the store and the tables.
    #[must_use]
    pub fn flush_sink(&self) -> Option<Box<dyn FlushSink + Send>> {
        let store = self.store.as_ref().map(|(store, _)| Box::new(store.sender()) as Box<dyn FlushSink + Send>);
        self.others.of_flush(store)
    }

    /// The way of what is flushed without a script that looks at it, if it leads to the store alone.
    #[must_use]
    pub fn past_backend(&self) -> Option<StoreSender> {
        let (store, _) = self.store.as_ref()?;
        let alone = self.events.is_none() && !self.others.takes_flush();
        alone.then(|| store.sender().without_buckets())
    }

    /// The way of one engine's packets to the packet store.
    #[must_use]
    pub fn packet_feed(&self) -> Option<StoreFeed> {
        self.packet_store.as_ref().map(PacketStore::feed)
    }

    /// Waits until all is written, and meanwhile does something else; every thread that writes must be gone.
    pub fn close(self, mut head: Outlet, result: &mut RunResult, meanwhile: impl FnOnce(&mut RunResult)) {
        if self.events.is_some() {
            report::close_events(result, &mut head);
        }
        self.others.close_events(result, &mut head);
        result.records.merge(std::mem::take(&mut head.records));
        drop(head);
        let ending = self.store.map(|(store, file)| (file, store.end(report::run_end(result))));
        meanwhile(result);
        result.outputs = self.others.close();
        result.packet_store = self.packet_store.map(PacketStore::close);
        result.store = ending.map(|(file, ending)| (file, ending.wait()));
        result.console = self.console.close();
        if let Some(events) = self.events {
            result.events = events.close();
        }
    }
}
