//! Options of outputs for others: events, tables, alerts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::value::{duration, web_address};
use crate::sink::eve::EveTarget;
use crate::sink::syslog::SyslogTarget;
use crate::sink::webhook::AllowedHost;

/// Where results go for other programs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Outputs for other programs")]
pub struct OutputsArgs {
    /// Write events as JSON lines in the public EVE schema: a file, - for standard output, or unix:PATH for a socket
    ///
    /// Flows, alerts, DNS, HTTP, TLS, QUIC and SSH, files, what plugins record, and statistics. SIGHUP begins a new file
    /// after the old one was moved away. A reader that is slow or gone never holds packets up.
    #[arg(long, value_name = "FILE", value_parser = eve_target)]
    pub eve: Option<EveTarget>,

    /// Packet time between two events with statistics; 0 is none but the last
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", requires = "eve")]
    pub eve_stats: Duration,

    /// Write tables as CSV into this folder: counters, flows, alerts, resources, documents
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,

    /// Print a line on each of these as it happens
    #[arg(long, value_enum, value_name = "KINDS", value_delimiter = ',')]
    pub print: Vec<PrintKind>,

    /// Post each alert as a JSON object to this address, over http or https
    #[arg(long, value_name = "URL", value_parser = web_address, requires = "webhook_allow")]
    pub webhook: Option<String>,

    /// A host that the webhook may call: a name, an address or a network; repeatable
    #[arg(long, value_name = "HOST", requires = "webhook")]
    pub webhook_allow: Vec<AllowedHost>,

    /// Trust the certificates in this PEM file over https, instead of those of the system
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub webhook_ca: Option<PathBuf>,

    /// Send alerts to the log of this machine, or to udp:HOST:PORT
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_missing_value = "local")]
    pub syslog: Option<SyslogTarget>,
}

/// What can be printed as it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrintKind {
    /// Alerts.
    Alerts,
    /// Resources.
    Resources,
    /// Full-text documents.
    Documents,
    /// Flows at their end.
    Flows,
}

fn eve_target(text: &str) -> Result<EveTarget, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("unix: needs the path of a socket".to_owned()),
        Some(path) => Ok(EveTarget::Socket(path.into())),
        None if text == "-" => Ok(EveTarget::Output),
        None => Ok(EveTarget::File(text.into())),
    }
}
