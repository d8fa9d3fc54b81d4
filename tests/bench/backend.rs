//! The flush of the backend by itself: `bench-backend [CASE]...`, all cases without arguments.
//!
//! `flush` closes a window of a million keys, half of which two engines counted, with nobody but a sink that looks at every
//! key. `monitors` runs ten `cg_monitor` scripts on a hundred thousand keys; `filters` the same with votes. Prints
//! the median of the windows: seconds by the wall, and of CPU of the thread (merging uses all processors).

mod clock;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream::api::RunIdentity;
use millstream::api::modules::Libraries;
use millstream::api::t_env::{ConfigPaths, Environment};
use millstream::backend::rehearsal::Counting;
use millstream::backend::{Backend, BackendParts, Inbox, Parcel, Patience, Phase, Share};
use millstream::guid::Guid;
use millstream::job::{Delivery, JobIds};
use millstream::key::HomeNets;
use millstream::lua::{Budget, spawn_lua_thread};
use millstream::metrics::{Registry, Shard, ShardConfig, Snapshot};
use millstream::plugin::{Catalog, HostSettings, JobPlan, NetflowTap, Script};
use millstream::time::{Stopwatch, Timestamp};

const WINDOWS: i64 = 7;
const GROUP: &str = "{0B7D0E2C-6A31-4C0C-9F0E-3B1B7A1C2D3E}";
const NO_BUDGET: Budget = Budget { limit: None, slow: None };

fn settings() -> HostSettings {
    let config = ConfigPaths::with_defaults(Path::new("/nonexistent"));
    HostSettings {
        memory_limit: 256 << 20,
        worker_memory_limit: 64 << 20,
        frontend_budget: NO_BUDGET,
        backend_budget: Budget { limit: Some(Duration::from_secs(30)), slow: Some(Duration::from_millis(100)) },
        load_budget: NO_BUDGET,
        job_budget: None,
        jobs: millstream::job::JobLimits::default(),
        run: RunIdentity {
            args: String::new(),
            context_name: String::new(),
            home_nets: HomeNets::default(),
            environment: Environment { config, ..Environment::default() },
            gears: Arc::default(),
        },
        search: Vec::new(),
        files: None,
        netflow_tap: NetflowTap::Off,
        context_ids: Arc::default(),
        leaves_memory: false,
        seed: 1,
        on_stuck: Arc::new(|_| {}),
        on_late: Arc::new(|_, _| {}),
        loads: millstream::plugin::Loads::default(),
        hanging: millstream::plugin::Hanging::default(),
        libraries: Libraries::default(),
        answers: None,
        profiler: None,
    }
}

/// Defines the counter group.
fn group() -> Script {
    let source = format!(
        "TrisulPlugin = {{ id = {{ name = 'group' }}, countergroup = {{ control = {{ guid = '{GROUP}', name = 'Bench', \
         description = 'd', bucketsize = 60 }}, meters = {{ {{ 0, T.K.vartype.COUNTER, 20, 0, 'Bytes', 'b', 'B' }}, \
         {{ 1, T.K.vartype.COUNTER, 20, 0, 'Packets', 'p', 'P' }}, \
         {{ 2, T.K.vartype.MAXIMUM, 0, 0, 'Most', 'm', 'B' }} }} }} }}\n"
    );
    Script { path: PathBuf::from("a-group.lua"), source: source.into_bytes() }
}

/// A script that adds up what it is shown, and votes if it is a filter.
fn monitor(number: usize, body: &str) -> Script {
    let source = format!(
        "local keys, sum = 0, 0\nTrisulPlugin = {{ id = {{ name = 'm{number}' }}, cg_monitor = {{\n\
         counter_guid = '{GROUP}', {body} }} }}\n"
    );
    Script { path: PathBuf::from(format!("m-{number}.lua")), source: source.into_bytes() }
}

const FLUSH: &str =
    "onflush = function(engine, time, key, metrics) keys = keys + 1 if #key > 4 then sum = sum + metrics[1] end end";
const FILTER: &str = "onflushfilter = function(engine, time, key, metrics) return metrics[1] > 1 end";

/// Buckets of one window, as two engines counted them: each has three quarters of the keys.
fn shards(registry: &Registry, guids: &[Guid], keys: usize, window: i64) -> Vec<Vec<Snapshot>> {
    let config = ShardConfig { high_water: 3_000_000, low_water: 2_500_000, ..ShardConfig::default() };
    let engine = |from: usize, to: usize| {
        let mut shard = Shard::new(registry, config.clone());
        shard.advance(Timestamp::new(window, 0), |_| {});
        for guid in guids {
            let Some(group) = registry.counter_index(*guid) else { continue };
            for number in from..to {
                // As addresses come: in no order.
                let mixed = (number as u32).wrapping_mul(2_654_435_761);
                let [a, b, c, d] = mixed.to_be_bytes();
                let key = format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}");
                for meter in 0..3 {
                    shard.update(group, key.as_bytes(), meter, (number % 1_500) as f64);
                }
            }
        }
        let mut closed = Vec::new();
        shard.finish(|bucket| closed.push(bucket));
        closed
    };
    vec![engine(0, keys * 3 / 4), engine(keys / 4, keys)]
}

/// Flushes some windows; the median of wall and CPU seconds, and the keys of one.
fn measure(scripts: Vec<Script>, guids: &[Guid], keys: usize) -> (f64, f64, u64) {
    let settings = settings();
    let catalog = Arc::new(Catalog::probe(scripts, &settings));
    let counting = Counting::default();
    let seen = Arc::clone(&counting.keys);
    let jobs = JobPlan { pools: catalog.pools(&settings), ids: JobIds::new(0), delivery: Delivery::AsFinished };
    let registry = Arc::clone(&catalog.groups);
    let shard = ShardConfig::default();
    let share = Share::whole();
    let parts =
        BackendParts { catalog, settings, shard, jobs, id: 1, outlet: counting, takes_all: true, window: 60, share };
    let mut backend = Backend::new(parts);
    let stopping = AtomicBool::new(false);
    let mut times = Vec::new();
    for window in 0..WINDOWS {
        let start = 1_700_000_040 + window * 60;
        let mut inbox = Inbox::new(2);
        for (engine, snapshots) in shards(&registry, guids, keys, start).into_iter().enumerate() {
            let (second, now) = (start + 59, start + 60);
            inbox.push(Parcel { engine, second, now, phase: Phase::Running, snapshots, ..Parcel::default() });
        }
        seen.store(0, Ordering::Relaxed);
        let (watch, before) = (Stopwatch::start(), clock::thread_cpu());
        while let Some(ready) = inbox.next(Patience::None) {
            backend.second(ready, &stopping);
        }
        times.push((watch.elapsed().as_secs_f64(), (clock::thread_cpu() - before).as_secs_f64()));
    }
    let median = |of: fn(&(f64, f64)) -> f64| clock::median(times.iter().map(of));
    (median(|time| time.0), median(|time| time.1), seen.load(Ordering::Relaxed))
}

fn run(name: &str) -> String {
    let own = Guid::literal(GROUP);
    let ten = |body: &str| std::iter::once(group()).chain((0..10).map(|n| monitor(n, body))).collect::<Vec<_>>();
    let (scripts, guids, keys) = match name {
        "flush" => (vec![group()], vec![own], 1_000_000),
        "monitors" => (ten(FLUSH), vec![own], 100_000),
        _ => (ten(FILTER), vec![own], 100_000),
    };
    let (wall, cpu, keys) = measure(scripts, &guids, keys);
    format!("{name}: keys={keys} seconds={wall:.3} cpu_seconds={cpu:.3}")
}

fn main() -> io::Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for name in ["flush", "monitors", "filters"] {
        if chosen.is_empty() || chosen.iter().any(|other| other == name) {
            let thread = spawn_lua_thread("bench-backend", move || run(name))?;
            let line = thread.join().map_err(|_| io::Error::other("the measuring thread died"))?;
            writeln!(io::stdout(), "{line}")?;
        }
    }
    Ok(())
}
