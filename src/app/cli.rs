//! Arguments exactly as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Run Lua plugins on network packets, live or from capture files, with slow work in the background.
#[derive(Debug, Parser)]
#[command(name = "millstream", version, about, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "First steps:\n  millstream demo                          plugins on a sample capture\n  \
millstream run -r capture.pcap -p my.lua  a plugin on a capture\n  \
millstream new simplecounter my.lua      a plugin to start from\n  \
millstream doctor                        what this machine can do")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Least important log lines to show.
    #[arg(long, global = true, value_enum, default_value_t = LogChoice::Notice, env = "MILLSTREAM_LOG")]
    pub log: LogChoice,

    /// Colours in text output; `NO_COLOR` is respected.
    #[arg(long, global = true, value_enum, default_value_t = ColourChoice::Auto)]
    pub color: ColourChoice,
}

/// Log levels that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogChoice {
    /// Errors only.
    Error,
    /// Warnings and errors.
    Warn,
    /// Also what is worth knowing.
    Notice,
    /// Also what happens.
    Info,
    /// Everything.
    Debug,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColourChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run plugins on a capture or an interface and report what they found
    Run(Box<RunArgs>),
    /// Show plugins at work on a sample capture
    Demo(DemoArgs),
    /// List plugins: what is found where, what it does, why it is not loaded
    List(PluginArgs),
    /// Load plugins without traffic and point out mistakes
    Check(CheckArgs),
    /// Write a plugin to start from
    New(NewArgs),
    /// Print new GUIDs
    Guid(GuidArgs),
    /// Take packets out of a packet store: by flow, host, port, time
    Packets(PacketsArgs),
    /// Ask a store: largest keys, time series, flows, alerts, resources, edges, runs
    Query(QueryArgs),
    /// Write a page with charts of what a store holds
    Report(ReportArgs),
    /// Search the documents of a store for words
    Search(SearchArgs),
    /// Say what this machine can do: LuaJIT, libpcap, rights, interfaces
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

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
    #[arg(short = 'f', long, value_name = "BPF")]
    pub filter: Option<String>,

    /// Bytes kept of each packet
    #[arg(short = 's', long, value_name = "BYTES")]
    pub snaplen: Option<u32>,

    /// Stop after this many packets
    #[arg(short = 'c', long, value_name = "N", value_parser = whole)]
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

    /// Kernel buffer per interface, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    pub buffer: u32,

    /// Hand packets over one by one as they arrive, at the cost of throughput
    #[arg(long)]
    pub immediate: bool,
}

/// Where plugins come from and what they are told.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Plugins")]
pub struct PluginArgs {
    /// Plugin file or directory; repeatable
    #[arg(short = 'p', long = "plugin", value_name = "PATH", num_args = 1..)]
    pub plugin: Vec<PathBuf>,

    /// Text that plugins see as T.args
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub args: String,

    /// Answer of T.env.get_config, as 'App>DBRoot=/some/dir'; repeatable
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<String>,

    /// Home network (replaces the default list); repeatable
    #[arg(long, value_name = "CIDR")]
    pub homenet: Vec<String>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream run`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all well; 1 finished, but some input was damaged or a plugin failed; \
2 could not run; 70 our own fault.")]
pub struct RunArgs {
    /// Where packets come from.
    #[command(flatten)]
    pub input: InputArgs,

    /// Where plugins come from.
    #[command(flatten)]
    pub plugins: PluginArgs,

    /// What is counted without plugins.
    #[command(flatten)]
    pub metering: MeteringArgs,

    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,

    /// What is written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is counted without plugins.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Metering")]
pub struct MeteringArgs {
    /// Count a built-in group natively: its name or GUID, all, or default (all but HTTP and TLS); repeatable
    ///
    /// Without this option nothing is counted but what plugins count. Optional groups, such as Web Hosts, Subnets or
    /// Interfaces, are counted only when named.
    #[arg(long, value_name = "GROUP")]
    pub builtin: Vec<String>,

    /// Leave out a built-in group that --builtin would count: its name or GUID, or all; repeatable
    #[arg(long, value_name = "GROUP")]
    pub no_builtin: Vec<String>,
}

/// How the work is done.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// Packet threads; flows are shared out among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub engines: u16,

    /// Results of jobs re-enter at fixed points, so that two runs are identical (default for files)
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Deterministic::Files)]
    pub deterministic: Deterministic,

    /// Wait at most this long for jobs at the end; without it until all are done
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub async_drain: Option<std::time::Duration>,

    /// Time for one frontend callback in milliseconds; 0 is no limit
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    pub callback_budget: u64,

    /// Time for one backend callback in seconds; 0 is no limit
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    pub flush_budget: u64,

    /// Time for one job in seconds; 0 is no limit
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    pub job_budget: u64,

    /// Memory for one plugin VM, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub plugin_memory: u32,
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
    #[arg(long, value_name = "N", default_value_t = 10)]
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
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "store")]
    pub store_size: Option<u64>,

    /// Delete rows that are older than this (12h, 30d)
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

/// `millstream packets`.
#[derive(Debug, Args)]
#[command(after_help = "All conditions must hold. Times are those of the packets: 2026-01-31T08:15:30Z, 2026-01-31, \
seconds since 1970, or -10m before the last packet of the store.\n\n\
  millstream packets store --host 10.0.0.7 --from -1h -w suspect.pcap")]
pub struct PacketsArgs {
    /// Folder of the store, as given to run --packets
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Packets of this flow, given by its id
    #[arg(long, value_name = "ID")]
    pub flow: Option<String>,

    /// Packets from or to this address; repeatable
    #[arg(long, value_name = "IP")]
    pub host: Vec<String>,

    /// Packets from or to this port; repeatable
    #[arg(long, value_name = "N")]
    pub port: Vec<u16>,

    /// Not before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,

    /// Not after this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,

    /// Packets that match a capture filter, as tcpdump takes it
    #[arg(short = 'f', long, value_name = "BPF")]
    pub filter: Option<String>,

    /// Write the packets to a capture file (- is standard output; a name ending in .pcapng holds several link types);
    /// without it they are listed by flow
    #[arg(short = 'w', long, value_name = "FILE")]
    pub write: Option<PathBuf>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// Which store is asked, and how it answers.
#[derive(Debug, Default, Args)]
pub struct AnswerArgs {
    /// The store, as given to run --store; without it that of the latest run whose store was given no name
    #[arg(long, value_name = "PATH")]
    pub store: Option<PathBuf>,

    /// Not before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,

    /// Not after this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,

    /// Rows shown, 20 unless told otherwise; of a series points, about 10,000: above, they are hours or days
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,

    /// Print a JSON document instead of text
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,

    /// Print comma-separated values instead of text
    #[arg(long)]
    pub csv: bool,
}

/// `millstream query`.
#[derive(Debug, Args)]
#[command(
    after_help = "Times are those of the packets: 2026-01-31T08:15:30Z, 2026-01-31, seconds since 1970, or -10m before \
the last packet of the store.\n\n\
  millstream query top Hosts --meter 'Total Packets' --from -1h\n  \
  millstream query series Hosts 10.0.0.7 --csv\n  \
  millstream query flows --by bytes --limit 50 --json"
)]
pub struct QueryArgs {
    /// What is asked
    #[arg(value_enum, value_name = "WHAT")]
    pub question: Question,

    /// Name (of either case) or GUID of a group
    #[arg(value_name = "GROUP")]
    pub group: Option<String>,

    /// A key: as it is, as a readable address or port, or by its label; of keys, a part of it
    #[arg(value_name = "KEY")]
    pub key: Option<String>,

    /// Name or number of a meter; the first one without
    #[arg(short = 'm', long, value_name = "METER")]
    pub meter: Option<String>,

    /// Which flows come first
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = QueryOrder::Bytes)]
    pub by: QueryOrder,

    /// Which store is asked.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// What a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// The keys of a counter group with the largest values of a meter.
    Top,
    /// The keys of a counter group.
    Keys,
    /// A meter of a key, or of the whole group, over time.
    Series,
    /// Flows that began in the time range.
    Flows,
    /// Alerts, the latest first.
    Alerts,
    /// Resources, the latest first.
    Resources,
    /// Full-text documents, the latest first.
    Docs,
    /// Links between keys; of a group or of one of its keys, if named.
    Edges,
    /// The runs that wrote the store.
    Runs,
}

/// Which flows come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryOrder {
    /// Those with most bytes.
    Bytes,
    /// Those that began last.
    Time,
}

/// `millstream report`.
#[derive(Debug, Args)]
#[command(after_help = "The page needs no network and no script.\n\n\
  millstream report -o report.html --store s.db --from -1h")]
pub struct ReportArgs {
    /// Where the page goes (- is standard output)
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: PathBuf,

    /// The store, as given to run --store; without it that of the latest run whose store was given no name
    #[arg(long, value_name = "PATH")]
    pub store: Option<PathBuf>,

    /// Not before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,

    /// Not after this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
}

/// `millstream search`.
#[derive(Debug, Args)]
#[command(after_help = "Several words must all be there. AND, OR, NOT, \"a phrase\" and begin* are understood.\n\n\
  millstream search 'example.com'\n  \
  millstream search '\"let us encrypt\" NOT expired' --from -1d")]
pub struct SearchArgs {
    /// What to look for
    #[arg(value_name = "WORDS", required = true)]
    pub words: Vec<String>,

    /// Which store is asked.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// `millstream demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Plugin files or directories
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `millstream new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Script type, such as simplecounter; without one, the types there are
    #[arg(value_name = "TYPE")]
    pub kind: Option<String>,

    /// Name of the plugin, or the file to write
    pub name: Option<String>,
}

/// `millstream guid`.
#[derive(Debug, Args)]
pub struct GuidArgs {
    /// How many
    #[arg(value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub count: u32,
}

/// `millstream doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above zero is needed, such as 1 or 2.5".to_owned()),
    }
}

/// A whole number above zero.
fn whole(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a whole number above zero is needed, such as 1000".to_owned()),
    }
}

/// A time above zero.
fn interval(text: &str) -> Result<std::time::Duration, String> {
    match duration(text) {
        Ok(time) if time.is_zero() => Err("a time above zero is needed, such as 10s".to_owned()),
        other => other,
    }
}

/// A size such as `500k`, `64m`, `10g`; a number alone is bytes. At least 64 KiB, or a file would hold hardly a packet.
fn size(text: &str) -> Result<u64, String> {
    const NEEDED: &str = "a size of at least 64k such as 500m or 10g is needed";
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let shift = match text[split..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(NEEDED.to_owned()),
    };
    let bytes = text[..split].parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= 64 << 10).ok_or_else(|| NEEDED.to_owned())
}

/// A time such as `90`, `90s`, `500ms`, `5m`, `2h`, `7d`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number * scale < 1e12 => Ok(std::time::Duration::from_secs_f64(number * scale)),
        _ => Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    }
}

/// Any text as a path, an empty one too.
fn any_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod tests {
    use super::{Cli, duration};
    use clap::CommandFactory;
    use std::time::Duration;

    #[test]
    fn the_argument_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("-1").is_err());
        assert!(duration("5 parsecs").is_err());
    }
}
