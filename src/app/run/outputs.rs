//! Everything that results of a run go to: the console, the event stream, the packet store, the store.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::others::{OutputSet, takes_standard_output};
use crate::api::LogLevel;
use crate::app::cli::{Cli, RunArgs};
use crate::app::report::{self, RunResult};
use crate::app::{logging, settings};
use crate::metrics::FlushSink;
use crate::pipeline::{Control, FlowOutput, Outlet, Pace, Prints};
use crate::plugin::Catalog;
use crate::sink::eve::EveHandle;
use crate::sink::{Console, EventStream, PacketStore, Store, StoreFeed, WhenFull};
use crate::time;

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

impl Outputs {
    /// Opens what the arguments name, for results of what the inputs of these names bring.
    ///
    /// # Errors
    /// When one of them cannot be written.
    pub fn open(
        args: &RunArgs,
        cli: &Cli,
        catalog: &Catalog,
        (pace, control): (Pace, &Arc<Control>),
        inputs: &[String],
    ) -> anyhow::Result<Self> {
        let when_full = if pace == Pace::Packets { WhenFull::Block } else { WhenFull::DropNewest };
        let console = Console::start(when_full).context("starting the console")?;
        let events = match &args.output.events {
            Some(path) => {
                let opened = EventStream::open(path, when_full);
                Some(opened.with_context(|| format!("--events {}: cannot be written", path.display()))?)
            }
            None => None,
        };
        let packet_store = match settings::store_config(&args.output.store, when_full) {
            Some(config) => Some(PacketStore::open(&config)?),
            None => None,
        };
        let store = match settings::store_options(&args.output.results, when_full)? {
            Some(options) => {
                let started = (pace == Pace::Wall).then(time::wall);
                Some((Store::open(&options, Arc::clone(&catalog.groups), inputs, started)?, options.file))
            }
            None => None,
        };
        let is_taken = args.plugins.json || takes_standard_output(&args.output.others);
        Ok(Self {
            others: OutputSet::open(args, pace, &catalog.groups, control)?,
            console,
            events,
            packet_store,
            store,
            names: catalog.entries.iter().map(|entry| entry.name.clone()).collect(),
            prints: if is_taken { Prints::Error } else { Prints::Output },
            threshold: logging::threshold(cli.log),
            flows: args.output.flows,
        })
    }

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

    /// What begins a new file of events.
    #[must_use]
    pub fn eve_handle(&self) -> Option<EveHandle> {
        self.others.eve_handle()
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

    /// The way of one engine's packets to the packet store.
    #[must_use]
    pub fn packet_feed(&self) -> Option<StoreFeed> {
        self.packet_store.as_ref().map(PacketStore::feed)
    }

    /// Waits until all is written; every thread that writes must be gone.
    pub fn close(self, mut head: Outlet, result: &mut RunResult) {
        if self.events.is_some() {
            report::close_events(result, &mut head);
        }
        self.others.close_events(result, &mut head);
        result.records.merge(std::mem::take(&mut head.records));
        drop(head);
        result.outputs = self.others.close();
        result.packet_store = self.packet_store.map(PacketStore::close);
        if let Some((store, file)) = self.store {
            let tally = store.close(report::run_end(result));
            result.store = Some((file, tally));
        }
        result.console_dropped = self.console.close();
        if let Some(events) = self.events {
            result.events = events.close();
        }
    }
}
