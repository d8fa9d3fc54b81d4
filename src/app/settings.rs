//! From what was typed to what the modules are told; all validation is here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::cli::{InputArgs, MeteringArgs, PluginArgs, ResultArgs, RunArgs, StoreArgs, StoreMode, WorkArgs};
use crate::api::RunIdentity;
use crate::api::modules::Libraries;
use crate::api::t_env::{ConfigPaths, Environment};
use crate::builtin::{BuiltinSettings, Selection};
use crate::content::{AutoDelete, FileRules, RamFs, RamFsOptions};
use crate::job::JobLimits;
use crate::key::HomeNets;
use crate::lua::Budget;
use crate::metrics::Registry;
use crate::plugin::{
    Hanging, HostSettings, LATE_AFTER, Loads, NetflowTap, Opinion, Stage, Whereabouts, standard_directories,
};
use crate::sink::{StoreConfig, StoreOptions, WhenFull, default_store, store_file};

/// Time for running a file and for `onload`.
const LOAD_LIMIT: Duration = Duration::from_secs(30);
/// Callbacks above this are told of.
const SLOW: Duration = Duration::from_millis(50);
/// The same for callbacks of the backend.
const SLOW_FLUSH: Duration = Duration::from_secs(10);
/// Bytes a worker's VM may hold.
const WORKER_MEMORY: usize = 64 << 20;
const MIB: usize = 1 << 20;

/// Where packets are stored; `None` if they are not.
#[must_use]
pub fn store_config(store: &StoreArgs, when_full: WhenFull) -> Option<StoreConfig> {
    let mut config = StoreConfig::new(store.packets.clone()?, when_full);
    config.total_bytes = store.packets_size;
    config.age = store.packets_age;
    if let Some(bytes) = store.packets_file_size {
        config.segment_bytes = bytes;
    } else if let Some(total) = store.packets_size {
        // A limit that one file fills deletes everything at once.
        config.segment_bytes = config.segment_bytes.min(total / 4);
    }
    if let Some(age) = store.packets_age {
        // Packets are deleted by the file: what is too old must not wait for those that share one with it.
        config.segment_span = config.segment_span.min(age / 4);
    }
    Some(config)
}

/// Whether a run has a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// It has.
    Store,
    /// It has not.
    None,
}

/// Whether a run has a store, by its arguments.
#[must_use]
pub fn with_store(results: &ResultArgs) -> Recording {
    if results.store.is_some() && !results.no_store { Recording::Store } else { Recording::None }
}

/// Whether a run has a store to which nobody gave a name.
#[must_use]
pub fn is_unnamed(results: &ResultArgs) -> bool {
    results.store.as_ref().is_some_and(|path| path.as_os_str().is_empty())
}

/// The path of a run's store, if it was given one.
#[must_use]
pub fn named_store(results: &ResultArgs) -> Option<&Path> {
    let is_wanted = with_store(results) == Recording::Store && !is_unnamed(results);
    results.store.as_deref().filter(|_| is_wanted)
}

/// Where results are stored; `None` if they are not.
///
/// # Errors
/// When the directory that a store goes to by default cannot be made.
pub fn store_options(results: &ResultArgs, when_full: WhenFull) -> anyhow::Result<Option<StoreOptions>> {
    let Some(path) = results.store.as_ref().filter(|_| with_store(results) == Recording::Store) else {
        return Ok(None);
    };
    let file = if path.as_os_str().is_empty() {
        let data = data_directory();
        let below = || format!("--store: no directory can be made below {}; name a file instead", data.display());
        default_store(&data).with_context(below)?
    } else {
        store_file(path)
    };
    let (total_bytes, age) = (results.store_size, results.store_age);
    Ok(Some(StoreOptions { total_bytes, age, ..StoreOptions::new(file, when_full) }))
}

/// How much of a flow is stored where no script says otherwise: the argument, else the setting scripts see.
///
/// # Errors
/// When the setting is no mode.
pub fn store_mode(store: &StoreArgs, config: &ConfigPaths) -> anyhow::Result<Opinion> {
    let of = |mode: StoreMode| match mode {
        StoreMode::Full => Opinion::Full,
        StoreMode::Headers => Opinion::Headers,
        StoreMode::Kilobytes10 => Opinion::Kilobytes10,
        StoreMode::Kilobytes100 => Opinion::Kilobytes100,
        StoreMode::Megabyte => Opinion::Megabyte,
        StoreMode::Megabytes10 => Opinion::Megabytes10,
        StoreMode::None => Opinion::Ignore,
    };
    if let Some(mode) = store.packets_mode {
        return Ok(of(mode));
    }
    let text = config.get("Ring>DefaultMode");
    match StoreMode::from_str(&text, true) {
        Ok(mode) => Ok(of(mode)),
        Err(_) => bail!("Ring>DefaultMode={text}: not a mode; use full, headers, 10k, 100k, 1m, 10m or none"),
    }
}

/// Settings of the plugin host from arguments and environment.
///
/// # Errors
/// When a value cannot be understood; the message says which and what to type.
pub fn host_settings(plugins: &PluginArgs, work: Option<&WorkArgs>) -> anyhow::Result<HostSettings> {
    let data = data_directory();
    let mut config = ConfigPaths::with_defaults(&data);
    for text in &plugins.set {
        config.apply(text).with_context(|| format!("--set '{text}'"))?;
    }
    let home_nets = if plugins.homenet.is_empty() {
        HomeNets::default()
    } else {
        plugins.homenet.join(",").parse().context("--homenet")?
    };
    let netflow = config.get("App>TrisulMode").eq_ignore_ascii_case("NETFLOW_TAP");
    let environment: Vec<String> =
        ["TRISUL_LUA_PATHS", "MILLSTREAM_LUA_PATHS"].iter().filter_map(|name| std::env::var(name).ok()).collect();
    let standard =
        standard_directories(&config.get("App>DBRoot"), &config.get("App>PluginsLibDirectory"), &environment);
    let mut search: Vec<PathBuf> = plugins.plugin.iter().filter(|path| path.is_dir()).cloned().collect();
    search.extend(standard);
    let limit = |millis: u64| (millis > 0).then(|| Duration::from_millis(millis));
    let callback = work.map_or(1_000, |work| work.callback_budget);
    let job = work.map_or(60, |work| work.job_budget);
    Ok(HostSettings {
        memory_limit: work.map_or(256, |work| work.plugin_memory as usize) * MIB,
        worker_memory_limit: WORKER_MEMORY,
        frontend_budget: Budget { limit: limit(callback), slow: Some(SLOW) },
        backend_budget: Budget {
            limit: limit(work.map_or(30, |work| work.flush_budget).saturating_mul(1_000)),
            slow: Some(SLOW_FLUSH),
        },
        load_budget: Budget { limit: Some(LOAD_LIMIT), slow: None },
        job_budget: limit(job.saturating_mul(1_000)),
        jobs: work.map_or_else(JobLimits::default, |work| work.jobs.limits()),
        run: RunIdentity {
            args: plugins.args.clone(),
            context_name: String::new(),
            home_nets,
            environment: Environment { config, ..Environment::default() },
            gears: Arc::default(),
        },
        search,
        files: None,
        answers: None,
        profiler: None,
        netflow_tap: if netflow { NetflowTap::On } else { NetflowTap::Off },
        context_ids: Arc::default(),
        libraries: Libraries::default(),
        leaves_memory: false,
        seed: 0x6D69_6C6C_7374_7265,
        on_stuck: Arc::new(|_| {}),
        on_late: Arc::new(|at, limit| log::warn!("{}{}", late_text(at, limit), at.stack())),
        loads: Loads::default(),
        hanging: Hanging::default(),
    })
}

/// Says which file holds everything up.
fn late_text(at: &Whereabouts<'_>, limit: Option<Duration>) -> String {
    if at.stage == Stage::Callback {
        let (plugin, callback, limit) = (at.plugin(), at.callback(), limit.unwrap_or_default().as_secs_f64());
        return format!(
            "{plugin}: {callback} was interrupted after {limit} s and has not returned from a C function so far"
        );
    }
    let limit = match limit {
        None => String::new(),
        Some(limit) if limit > LATE_AFTER => format!("; it may take {} s", limit.as_secs_f64()),
        Some(limit) => {
            format!("; it was interrupted after {} s and has not returned from a C function", limit.as_secs_f64())
        }
    };
    format!("still loading {} after {} s{limit}", at.file.display(), LATE_AFTER.as_secs())
}

/// Seconds of a streaming window.
///
/// # Errors
/// When the setting is no whole number of seconds.
pub fn window(config: &ConfigPaths) -> anyhow::Result<i64> {
    let text = config.get("Tuning>StreamingWindowMSecs");
    match text.trim().parse::<i64>() {
        Ok(millis) if millis >= 1_000 && millis % 1_000 == 0 && millis <= 86_400_000 => Ok(millis / 1_000),
        _ => bail!("Tuning>StreamingWindowMSecs={text}: a multiple of 1000 up to 86400000 is needed"),
    }
}

/// Makes the directory of extracted files ready, if files are to be extracted, and says where it is in the configuration.
///
/// # Errors
/// When a setting cannot be understood or the directory cannot be made.
pub fn file_rules(config: &mut ConfigPaths) -> anyhow::Result<Option<FileRules>> {
    let path = |name: &str| format!("Reassembly>FileExtraction>{name}");
    if !config.get(&path("Enabled")).eq_ignore_ascii_case("true") {
        return Ok(None);
    }
    let number = |name: &str, unit: f64| {
        let text = config.get(&path(name));
        let bytes = text.parse::<f64>().ok().map(|number| number * unit).filter(|bytes| (1.0..1e15).contains(bytes));
        bytes.map(|bytes| bytes as u64).with_context(|| format!("{}: '{text}' is no size above 0", path(name)))
    };
    let chunk = number("ChunkSizeMB", 1e6)?;
    let limit = number("MaxMiB", (1 << 20) as f64)?;
    let keep = config.get(&path("AutoDelete")).eq_ignore_ascii_case("false");
    let options = RamFsOptions {
        directory: config.is_set(&path("RamFsDir")).then(|| config.get(&path("RamFsDir"))),
        limit,
        auto_delete: if keep { AutoDelete::Off } else { AutoDelete::On },
    };
    let ram = RamFs::open(&options).with_context(|| path("RamFsDir"))?;
    config.set(&path("RamFsDir"), ram.directory());
    Ok(Some(FileRules { ram, chunk }))
}

/// The built-in groups to count; with a store those of `default` unless others are named.
///
/// # Errors
/// When a name is none of a group that is counted natively; the message lists those there are.
pub fn builtin_groups(args: &MeteringArgs, recording: Recording, registry: &Registry) -> anyhow::Result<Selection> {
    let settings = |on: &[String], off: &[String]| BuiltinSettings { on: on.to_vec(), off: off.to_vec() };
    settings(&args.builtin, &[]).resolve(registry).context("--builtin")?;
    // A store is for questions nobody has thought of yet.
    let by_default = args.builtin.is_empty() && recording == Recording::Store;
    let on = if by_default { vec!["default".to_owned()] } else { args.builtin.clone() };
    settings(&on, &args.no_builtin).resolve(registry).context("--no-builtin")
}

/// Where scripts' data directories and the stores of runs lie by default: below the user's data directory, or `/var/lib` for root.
pub fn data_directory() -> PathBuf {
    if let Some(path) = std::env::var_os("MILLSTREAM_DATA") {
        return PathBuf::from(path);
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")));
    home.map_or_else(|| PathBuf::from("/var/lib/millstream"), |home| home.join("millstream"))
}

/// Checks what the argument parser cannot.
///
/// # Errors
/// When arguments contradict each other.
pub fn check_input(input: &InputArgs) -> anyhow::Result<()> {
    if !input.interface.is_empty() && input.speed.is_some() {
        bail!("--speed is for files; interfaces have their own speed");
    }
    if !input.interface.is_empty() && input.repeat > 1 {
        bail!("--loop is for files; an interface cannot be read again");
    }
    Ok(())
}

/// The same for a run whose packets come from an input filter.
///
/// # Errors
/// When an argument asks for what an input filter cannot do.
pub fn check_scripted(args: &RunArgs) -> anyhow::Result<()> {
    if args.input.speed.is_some() {
        bail!("--speed is for files; an input filter has its own speed");
    }
    if args.input.repeat > 1 {
        bail!("--loop is for files; an input filter cannot be read again");
    }
    let engines = args.work.engines;
    if engines > 1 {
        bail!("an input filter needs one packet thread; leave out --engines {engines}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Whereabouts, late_text};

    #[test]
    fn what_takes_longer_than_it_may_is_not_told_of_as_what_may() {
        let at = Whereabouts::loading(Path::new("a.lua"));
        let text = |millis| late_text(&at, Some(Duration::from_millis(millis)));
        assert_eq!(text(2_500), "still loading a.lua after 2 s; it may take 2.5 s");
        assert_eq!(
            text(1_000),
            "still loading a.lua after 2 s; it was interrupted after 1 s and has not returned from a C function"
        );
        assert_eq!(late_text(&at, None), "still loading a.lua after 2 s");
    }
}
