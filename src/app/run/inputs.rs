//! Where packets come from: files, interfaces, or an input filter.

use std::num::NonZeroU64;
use std::path::PathBuf;

use anyhow::bail;

use crate::app::cli::{InputArgs, RunArgs};
use crate::app::settings;
use crate::capture::{
    Delivery, FileOptions, FileSource, Filter, Limit, Limits, LiveOptions, LiveSource, Origin, Paced, Promiscuity,
    Source, TimeBase, open_split,
};
use crate::decode;
use crate::pipeline::{InputLimits, InputQueue, Pace, input_queue};
use crate::plugin::Catalog;

/// The sources of all engines and what drives their time.
pub struct Inputs {
    /// One per engine.
    pub sources: Vec<Box<dyn Source + Send>>,
    /// What drives time.
    pub pace: Pace,
    /// Where an input filter puts its packets.
    pub queue: Option<InputQueue>,
}

impl Inputs {
    /// What is read.
    #[must_use]
    pub fn origins(&self) -> Vec<Origin> {
        self.sources.first().map(|source| source.origins().to_vec()).unwrap_or_default()
    }
}

/// The input filter among the plugins, as the input.
///
/// # Errors
/// When there is none, or the arguments ask for what it cannot do.
pub fn from_filter(args: &RunArgs, catalog: &Catalog) -> anyhow::Result<Inputs> {
    let Some(filter) = catalog.input_filter() else {
        bail!(
            "no input: use -r FILE for a capture file, -i INTERFACE for live packets, or millstream demo to see it work"
        );
    };
    settings::check_scripted(args)?;
    let &InputArgs { snaplen, count, duration, .. } = &args.input;
    let filter_of_packets = args.input.filter.as_deref().map(Filter::new);
    let limits = InputLimits { filter: filter_of_packets, snaplen, count, duration };
    let (queue, source) = input_queue(&filter.name, limits);
    Ok(Inputs { sources: vec![Box::new(source)], pace: Pace::Packets, queue: Some(queue) })
}

/// Opens what the arguments name; `None` if they name nothing.
///
/// # Errors
/// When something cannot be opened.
pub fn open_named(args: &RunArgs) -> anyhow::Result<Option<Inputs>> {
    let (input, engines) = (&args.input, usize::from(args.work.engines));
    if !input.interface.is_empty() {
        return open_interfaces(input, engines).map(Some);
    }
    if input.read.is_empty() {
        return Ok(None);
    }
    let options = FileOptions {
        filter: input.filter.clone(),
        snaplen: input.snaplen,
        rounds: NonZeroU64::new(u64::from(input.repeat)).unwrap_or(NonZeroU64::MIN),
    };
    let files: Vec<PathBuf> = input.read.clone();
    if engines > 1 {
        if input.count.is_some() || input.duration.is_some() || input.speed.is_some() {
            bail!("--count, --duration and --speed need one packet thread; leave out --engines {engines}");
        }
        let sources = open_split(&files, &options, engines, decode::deal_by_flow)?;
        return Ok(Some(Inputs { sources, pace: Pace::Packets, queue: None }));
    }
    let mut source: Box<dyn Source + Send> = Box::new(FileSource::open(&files, &options)?);
    if input.count.is_some() || input.duration.is_some() {
        let limits = Limits { count: input.count, duration: input.duration, time_base: TimeBase::Packets };
        source = Box::new(Limit::new(source, limits));
    }
    if let Some(speed) = input.speed {
        source = Box::new(Paced::new(source, speed)?);
    }
    Ok(Some(Inputs { sources: vec![source], pace: Pace::Packets, queue: None }))
}

fn open_interfaces(input: &InputArgs, engines: usize) -> anyhow::Result<Inputs> {
    let mut options = LiveOptions::new(input.interface.clone());
    if input.no_promisc {
        options.promiscuity = Promiscuity::Off;
    }
    if input.immediate {
        options.delivery = Delivery::Immediate;
    }
    if let Some(snaplen) = input.snaplen {
        options.snaplen = snaplen;
    }
    options.buffer_bytes = input.buffer.saturating_mul(1 << 20);
    options.filter.clone_from(&input.filter);
    let limits = Limits { count: input.count, duration: input.duration, time_base: TimeBase::Elapsed };
    let sources = LiveSource::open_engines(&options, engines)?;
    let limited = limits.count.is_some() || limits.duration.is_some();
    if limited && engines > 1 && limits.count.is_some() {
        bail!("--count needs one packet thread; leave out --engines {engines}");
    }
    let boxed = |source: LiveSource| -> Box<dyn Source + Send> {
        if limited { Box::new(Limit::new(source, limits)) } else { Box::new(source) }
    };
    Ok(Inputs { sources: sources.into_iter().map(boxed).collect(), pace: Pace::Wall, queue: None })
}
