//! Arguments of `millstream run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::job_limits::JobLimitArgs;
use super::life::LifeArgs;
use super::outputs::OutputsArgs;
use super::reload::ReloadArgs;
use super::traffic_limits::TrafficLimitArgs;
use super::value::{any_path, duration, filter, interval, native_group, networks, positive, setting, size, whole};

/// Where packets come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Capture file or directory (pcap, pcapng, .gz, .zst; - is standard input); repeatable
    #[arg(short = 'r', long = "read", value_name = "FILE", num_args = 1.., conflicts_with = "interface")]
    pub read: Vec<PathBuf>,

    /// Interface to capture from; repeatable
    #[arg(short = 'i', long = "interface", value_name = "IFACE")]
    pub interface: Vec<String>,

    /// Only packets that match a capture filter, as tcpdump takes it
    #[arg(short = 'f', long, value_name = "BPF", value_parser = filter)]
    pub filter: Option<String>,

    /// Bytes kept of each packet
    #[arg(short = 's', long, value_name = "BYTES", value_parser = whole::<u32>)]
    pub snaplen: Option<u32>,

    /// Stop after this many packets
    #[arg(short = 'c', long, value_name = "N", value_parser = whole::<u64>)]
    pub count: Option<u64>,

    /// Replay files at this multiple of their recorded speed; without it as fast as possible
    #[arg(long, value_name = "X", value_parser = positive)]
    pub speed: Option<f64>,

    /// Replay files this many times
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,

    /// Stop after this long, in packet time for files (90, 90s, 5m, 2h)
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<std::time::Duration>,

    /// Do not put interfaces into promiscuous mode
    #[arg(long)]
    pub no_promisc: bool,

    /// Kernel buffer per interface, in MiB (1 to 2047)
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=2_047))]
    pub buffer: u32,

    /// Hand packets over one by one as they arrive, at the cost of throughput
    #[arg(long)]
    pub immediate: bool,
}

/// Where plugins come from and what they are told.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Plugins")]
pub struct PluginArgs {
    /// Plugin file or directory; repeatable
    #[arg(short = 'p', long = "plugin", value_name = "PATH", num_args = 1..)]
    pub plugin: Vec<PathBuf>,

    /// Text that plugins see as T.args
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub args: String,

    /// Answer of T.env.get_config, as 'App>DBRoot=/some/dir'; repeatable
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    pub set: Vec<String>,

    /// Home network (replaces the default list); repeatable
    #[arg(long, value_name = "CIDR", value_parser = networks)]
    pub homenet: Vec<String>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream run`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all well; 1 finished, but some input was damaged or ended early, a \
plugin or a new version of it failed or did not load, or an output was not written in full or its reader was given up; \
2 could not run; 70 our own fault, or a plugin stuck in code that cannot be interrupted.")]
pub struct RunArgs {
    /// Where packets come from.
    #[command(flatten)]
    pub input: InputArgs,

    /// Where plugins come from.
    #[command(flatten)]
    pub plugins: PluginArgs,

    /// Whether they are watched.
    #[command(flatten)]
    pub reload: ReloadArgs,

    /// What is counted without plugins.
    #[command(flatten)]
    pub metering: MeteringArgs,

    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,

    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,

    /// Settings, control socket, user.
    #[command(flatten)]
    pub life: LifeArgs,
}

/// What is counted without plugins.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Metering")]
pub struct MeteringArgs {
    /// Count a built-in group natively: its name or GUID, all, or default (all but HTTP and TLS); repeatable
    ///
    /// Without this option nothing is counted but what plugins count. Optional groups, such as Web Hosts, Subnets or
    /// Interfaces, are counted only when named.
    #[arg(long, value_name = "GROUP", value_parser = native_group)]
    pub builtin: Vec<String>,

    /// Leave out a built-in group that --builtin would count: its name or GUID, or all; repeatable
    #[arg(long, value_name = "GROUP", value_parser = native_group)]
    pub no_builtin: Vec<String>,
}

/// How the work is done.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// Packet threads; flows are shared out among them. Files: not with --count, --duration or --speed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub engines: u16,

    /// Threads for backend scripts; keys, flows and records are shared out among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub backends: u16,

    /// Results of jobs re-enter at fixed points, so that two runs are identical (default for files)
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Deterministic::Files)]
    pub deterministic: Deterministic,

    /// Wait at most this long for jobs at the end; without it until all are done
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub async_drain: Option<std::time::Duration>,

    /// Time for one frontend callback in milliseconds; 0 is no limit
    #[arg(long, help_heading = "Limits", value_name = "MS", default_value_t = 1_000)]
    pub callback_budget: u64,

    /// Time for one backend callback in seconds; 0 is no limit
    #[arg(long, help_heading = "Limits", value_name = "SECS", default_value_t = 30)]
    pub flush_budget: u64,

    /// Time for one job in seconds; 0 is no limit
    #[arg(long, help_heading = "Limits", value_name = "SECS", default_value_t = 60)]
    pub job_budget: u64,

    /// Memory for one plugin VM, in MiB
    #[arg(long, help_heading = "Limits", value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub plugin_memory: u32,

    /// How much jobs may take.
    #[command(flatten)]
    pub jobs: JobLimitArgs,

    /// How much traffic may take.
    #[command(flatten)]
    pub traffic: TrafficLimitArgs,
}

/// When results of jobs re-enter at fixed points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deterministic {
    /// With files as input.
    Files,
    /// Never: as they finish.
    Never,
}

/// What is written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the event stream, one JSON object a line (- is standard output)
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// Also report while running, this often
    #[arg(long, value_name = "TIME", value_parser = interval)]
    pub report_every: Option<std::time::Duration>,

    /// Keys shown per meter
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole::<usize>)]
    pub top: usize,

    /// Track flows and take their contents apart without any plugin that wants them: flow records, attributes, resources
    /// and documents, in the report and in the event stream
    #[arg(long)]
    pub flows: bool,

    /// No report at the end
    #[arg(short = 'q', long)]
    pub quiet: bool,

    /// Where packets are stored.
    #[command(flatten)]
    pub store: StoreArgs,

    /// Where results are stored.
    #[command(flatten)]
    pub results: ResultArgs,

    /// Where results go for other programs.
    #[command(flatten)]
    pub others: OutputsArgs,
}

/// Where results are stored, and for how long.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Store")]
pub struct ResultArgs {
    /// Store counters, flows, alerts, resources and documents in this file or directory; millstream query answers from it
    ///
    /// Without this option nothing is stored. Without a value a new directory is made for the run, below
    /// $XDG_DATA_HOME/millstream/runs, and query takes the latest of these. A store counts the built-in groups of --builtin
    /// default, unless others are named, and keeps flows and what is found in them, as --flows does.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "",
        value_parser = any_path)]
    pub store: Option<PathBuf>,

    /// No store, whatever --store says
    #[arg(long)]
    pub no_store: bool,

    /// Delete the oldest rows while the store is larger than this (500m, 10g)
    ///
    /// A flow is as old as its end.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "store")]
    pub store_size: Option<u64>,

    /// Delete rows that are older than this (12h, 30d)
    ///
    /// Older than the latest row, or than now where that one is of a time to come; a flow is as old as its end.
    #[arg(long, value_name = "TIME", value_parser = interval, requires = "store")]
    pub store_age: Option<std::time::Duration>,
}

/// Where packets are stored, and how many.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Packet store")]
pub struct StoreArgs {
    /// Store packets in this folder; millstream packets takes them out again
    #[arg(long, value_name = "DIR")]
    pub packets: Option<PathBuf>,

    /// How much of a flow is stored where no script says otherwise (default: the setting Ring>DefaultMode, which is full)
    #[arg(long, value_enum, value_name = "MODE", requires = "packets")]
    pub packets_mode: Option<StoreMode>,

    /// Delete the oldest files while all files together are larger (500m, 10g)
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "packets")]
    pub packets_size: Option<u64>,

    /// Delete files whose packets are older than this (12h, 7d)
    #[arg(long, value_name = "TIME", value_parser = interval, requires = "packets")]
    pub packets_age: Option<std::time::Duration>,

    /// Begin a new file when one is this large
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "packets")]
    pub packets_file_size: Option<u64>,
}

/// How much of a flow is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreMode {
    /// Everything.
    Full,
    /// Up to and including the TCP or UDP header.
    Headers,
    /// Until the flow has carried 10,000 bytes.
    #[value(name = "10k")]
    Kilobytes10,
    /// 100,000 bytes.
    #[value(name = "100k")]
    Kilobytes100,
    /// 1,000,000 bytes.
    #[value(name = "1m")]
    Megabyte,
    /// 10,000,000 bytes.
    #[value(name = "10m")]
    Megabytes10,
    /// Nothing.
    None,
}
