//! `millstream report`: a store as one page. It needs no script, and nothing on it is fetched from anywhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

use anyhow::{Context, bail};

use super::Outcome;
use super::answer;
use super::chart::{self, escape};
use super::cli::ReportArgs;
use super::moment;
use super::same_file::is_same;
use super::screen::Screen;
use crate::key::{End, FlowTuple};
use crate::metrics::{GroupKind, Vartype};
use crate::sink::database_files;
use crate::sink::store_query::{
    Answer, Cell, FlowOrder, GroupName, QueryError, Reader, RecordsQuery, SeriesQuery, TopQuery, alerts, flows,
    resources, runs, series, top,
};
use crate::time::Timestamp;

/// Bars of a group.
const BARS: usize = 10;
/// Rows of a table.
const ROWS: usize = 25;
/// Flows the graph is made from.
const LINKS: usize = 60;

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\"><title>millstream report</title><style>
body{font:15px/1.45 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin:2em 0 .4em;border-bottom:1px solid #ddd}
svg{width:100%;height:auto;display:block}text{font-size:12px;fill:#333}rect{fill:#4178a8}circle{fill:#a8413f}
.area{fill:#4178a855;stroke:#4178a8}.grid{stroke:#ddd}.link{fill:none;stroke:#4178a880}
table{border-collapse:collapse;width:100%;font-size:13px;table-layout:auto}td,th{text-align:left;padding:.15em .6em;
border-bottom:1px solid #eee;vertical-align:top;overflow-wrap:anywhere}.faint{color:#777}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}text{fill:#ccc}h2{border-color:#444}.grid{stroke:#444}
td,th{border-color:#333}}
</style></head><body>
";

/// Time range of the page.
#[derive(Clone, Copy)]
struct Range {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// Writes the page.
///
/// # Errors
/// When the store cannot be read or the page cannot be written.
pub fn report(args: &ReportArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let store = answer::reader(args.store.as_deref())?;
    if database_files(store.path()).iter().any(|file| is_same(file, &args.output)) {
        bail!("{}: this is the store itself; name another file for the page", args.output.display());
    }
    let (from, to) = answer::times(args.from.as_deref(), args.to.as_deref(), &store)?;
    let page = page(&store, Range { from, to }).map_err(|e| store.complaint(e))?;
    if args.output.as_os_str() == "-" {
        screen.write_all(page.as_bytes())?;
        return Ok(Outcome::Good);
    }
    let written = File::create(&args.output).and_then(|mut file| file.write_all(page.as_bytes()));
    written.with_context(|| format!("{}: cannot be written", args.output.display()))?;
    say(args, screen)?;
    Ok(Outcome::Good)
}

fn say(args: &ReportArgs, screen: &mut Screen<'_>) -> io::Result<()> {
    writeln!(screen, "written: {}", args.output.display())
}

fn page(store: &Reader, range: Range) -> Result<String, QueryError> {
    let stored = content(store, range)?;
    let span = store.span()?;
    let mut out = HEAD.to_owned();
    out.push_str("<h1>millstream report</h1>\n<p>");
    out.push_str(&match span {
        Some((first, last)) if stored.is_empty() => nothing(range, (first, last)),
        Some((first, last)) => {
            // A bucket may reach beyond the last packet.
            let (from, to) = (range.from.unwrap_or(first).clamp(first, last), range.to.unwrap_or(last).min(last));
            format!("{} to {}", moment::text(from), moment::text(to))
        }
        None => "Nothing is stored.".to_owned(),
    });
    out.push_str(&format!("<br><span class=\"faint\">{}</span></p>\n", escape(&store.path().display().to_string())));
    out.push_str(&stored);
    let query = RecordsQuery { from: range.from, to: range.to, limit: ROWS, ..RecordsQuery::default() };
    let columns = ["run", "state", "first", "last", "packets", "bytes", "rows", "lost", "inputs"];
    section(&mut out, "Runs", &table(&runs(store, &query)?, &columns));
    out.push_str("</body></html>\n");
    Ok(out)
}

/// What is said of a range that has nothing.
fn nothing(range: Range, (first, last): (Timestamp, Timestamp)) -> String {
    let asked = moment::range_text((range.from, range.to));
    format!("Nothing is stored{asked}; this store has {} to {}", moment::text(first), moment::text(last))
}

/// All but the runs.
fn content(store: &Reader, range: Range) -> Result<String, QueryError> {
    let mut out = String::new();
    let records = RecordsQuery { from: range.from, to: range.to, limit: ROWS, ..RecordsQuery::default() };
    for group in store.groups(GroupKind::Counter)? {
        counter_group(store, &group, range, &mut out)?;
    }
    let largest = flows(store, &RecordsQuery { limit: LINKS, ..records.clone() }, FlowOrder::Bytes)?;
    section(&mut out, "Who talks to whom", &chart::graph(&links(&largest)));
    let shown = Answer { rows: largest.rows.into_iter().take(ROWS).collect(), ..largest };
    let columns = ["start", "end", "flow", "bytes", "tags", "reason"];
    section(&mut out, "Largest flows", &table(&shown, &columns));
    section(
        &mut out,
        "Latest alerts",
        &table(&alerts(store, &records)?, &["time", "group", "priority", "message", "flow"]),
    );
    section(&mut out, "Latest resources", &table(&resources(store, &records)?, &["time", "group", "uri", "flow"]));
    Ok(out)
}

fn section(out: &mut String, title: &str, content: &str) {
    if !content.is_empty() {
        out.push_str(&format!("<h2>{}</h2>\n{content}\n", escape(title)));
    }
}

/// The first meter of a group over time, and its largest keys.
fn counter_group(store: &Reader, group: &GroupName, range: Range, out: &mut String) -> Result<(), QueryError> {
    let meter = store.meter(group, None)?;
    let query = TopQuery { group: group.guid.clone(), meter: None, from: range.from, to: range.to, limit: BARS };
    let largest = top(store, &query)?;
    if largest.rows.is_empty() {
        return Ok(());
    }
    let query = SeriesQuery {
        group: group.guid.clone(),
        from: range.from,
        to: range.to,
        limit: 5_000,
        ..SeriesQuery::default()
    };
    let over_time = series(store, &query)?;
    let points: Vec<(Timestamp, f64)> = over_time
        .rows
        .iter()
        .filter_map(|row| match (&row[0], row[2].number()) {
            (Cell::Time(time), Some(value)) => Some((*time, value)),
            _ => None,
        })
        .collect();
    // Of a rate the sum is a volume, which has another unit: the mean has that of the line.
    let seconds = match (points.first(), points.last(), over_time.rows.last()) {
        (Some(first), Some(last), Some(row)) if meter.vartype == Vartype::RateCounter => {
            (last.0.since(first.0).as_secs_f64() + row[1].number().unwrap_or(0.0)).max(1.0)
        }
        _ => 1.0,
    };
    let name = |row: &Vec<Cell>| {
        let readable = row[1].text().or(row[0].text()).unwrap_or_default();
        row[2].text().map_or_else(|| readable.to_owned(), |label| format!("{readable} {label}"))
    };
    let value = |row: &Vec<Cell>| row[3].number().unwrap_or(0.0) / seconds;
    let bars: Vec<(String, f64)> = largest.rows.iter().map(|row| (name(row), value(row))).collect();
    let what = format!(
        "<p class=\"faint\">{}</p>",
        escape(format!("{} {}", over_range(meter.vartype), meter.units).trim_end())
    );
    let title = format!("{}: {} {}", group.name, meter.name, meter.units);
    let chart = if points.len() > 1 { chart::line(&points) } else { String::new() };
    section(out, title.trim_end(), &(chart + &what + &chart::bars(&bars)));
    Ok(())
}

/// What a key's value over the whole range is.
fn over_range(vartype: Vartype) -> &'static str {
    match vartype {
        Vartype::RateCounter | Vartype::Average => "mean",
        Vartype::Counter => "sum",
        Vartype::Maximum => "largest",
        Vartype::Minimum => "smallest",
        Vartype::Gauge | Vartype::RunningCounter | Vartype::DeltaRateCounter => "last",
    }
}

/// Bytes between hosts, of the flows of an answer.
fn links(flows: &Answer) -> Vec<(String, String, f64)> {
    let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
    for row in 0..flows.rows.len() {
        let id = flows.cell(row, "flow").and_then(Cell::text).unwrap_or_default();
        let bytes = flows.cell(row, "bytes").and_then(Cell::number).unwrap_or(0.0);
        if let Some(tuple) = FlowTuple::from_id(id.as_bytes()) {
            let end = |end: End| String::from_utf8_lossy(tuple.host(end).readable().as_bytes()).into_owned();
            *sums.entry((end(End::A), end(End::Z))).or_default() += bytes;
        }
    }
    sums.into_iter().map(|((a, z), bytes)| (a, z, bytes)).collect()
}

fn table(answer: &Answer, columns: &[&str]) -> String {
    if answer.rows.is_empty() {
        return String::new();
    }
    let mut out = String::from("<table><tr>");
    for name in columns {
        out.push_str(&format!("<th>{}</th>", escape(name)));
    }
    out.push_str("</tr>\n");
    for row in 0..answer.rows.len() {
        out.push_str("<tr>");
        for name in columns {
            let text = answer.cell(row, name).map_or_else(String::new, |cell| answer::shown(name, cell));
            out.push_str(&format!("<td>{}</td>", escape(&text)));
        }
        out.push_str("</tr>\n");
    }
    out + "</table>"
}
