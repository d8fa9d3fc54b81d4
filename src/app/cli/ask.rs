//! Arguments of the commands that ask a store.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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

    /// Which flows come first: those with most bytes unless told otherwise
    #[arg(long, value_enum, value_name = "ORDER")]
    pub by: Option<QueryOrder>,

    /// The snapshots of a flow tracker instead of all flows
    #[arg(long, value_name = "NAME", conflicts_with = "by")]
    pub tracked: Option<String>,

    /// Which store is asked.
    #[command(flatten)]
    pub answer: AnswerArgs,
}

/// What a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// The keys of a counter group with the largest values of a meter.
    Top,
    /// The keys with the largest values in each interval, the latest first; with the smallest ones where a meter keeps them.
    Toppers,
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
    /// How jobs ended, the latest first.
    Jobs,
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

/// `millstream recover`.
#[derive(Debug, Args)]
#[command(
    after_help = "The damaged store stays as it is. What helps to find rows is made anew; rows in pages that are damaged \
are lost, and told of.\n\n\
  millstream recover s.db.damaged-20260131T081530Z recovered.db"
)]
pub struct RecoverArgs {
    /// The damaged store
    #[arg(value_name = "DAMAGED")]
    pub damaged: PathBuf,

    /// The new store, a file that is not there yet
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
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
