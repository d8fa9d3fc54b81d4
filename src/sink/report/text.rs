//! The report as text for people: aligned, with bars, as wide as it is told.

use std::io::{self, Write};

use super::human;
use super::model::{
    DamagedInput, GroupReport, JobTimes, Jobs, MeterReport, NamedCount, PluginJobs, PluginReport, Records, Report, Run,
    TopKey,
};
use super::text_table::{Align, Table, chars, cut};
use crate::sink::steering::steers;

/// Whether escape sequences for colours are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColourMode {
    /// Plain text.
    #[default]
    Never,
    /// Colours.
    Always,
}

/// Which characters bars, rules and units are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// Block characters.
    Unicode,
    /// ASCII only: for pipes, logs and terminals that know no better.
    #[default]
    Ascii,
}

/// How the text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextStyle {
    /// Colours.
    pub colour: ColourMode,
    /// Characters.
    pub charset: Charset,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for TextStyle {
    /// For a pipe: no colours, ASCII, 100 columns.
    fn default() -> Self {
        Self { colour: ColourMode::Never, charset: Charset::Ascii, width: 100 }
    }
}

/// Characters of a full bar.
const BAR: usize = 12;

/// Narrower than this, tables stop shrinking.
const MIN_WIDTH: usize = 40;

#[derive(Clone, Copy)]
pub(super) enum Paint {
    Title,
    Group,
    Faint,
    Good,
    Bad,
}

impl Report {
    /// Writes the text form.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_text(&self, out: &mut impl Write, style: TextStyle) -> io::Result<()> {
        let style = TextStyle { width: style.width.max(MIN_WIDTH), ..style };
        let mut page = Page { style, text: String::new() };
        if self.interim {
            page.painted(Paint::Title, "Interim report");
        }
        page.run(&self.run);
        page.counts("Drops", &self.drops);
        page.counts("Noticed", &self.notes);
        page.damage(self);
        for group in &self.groups {
            page.group(group);
        }
        if let Some(flows) = &self.flows {
            page.flows(flows);
        }
        if let Some(store) = &self.packet_store {
            page.packet_store(store);
        }
        if let Some(store) = &self.store {
            page.store(store);
        }
        if !self.outputs.is_empty() {
            page.outputs(&self.outputs);
        }
        page.records(&self.records);
        if let Some(jobs) = &self.jobs {
            page.jobs(jobs);
        }
        if !self.pipelines.is_empty() {
            page.pipelines(&self.pipelines);
        }
        page.plugins(&self.plugins);
        // A run that goes on well has not ended well yet.
        if !self.interim || self.verdict.exit_code != 0 {
            page.verdict(self);
        }
        out.write_all(page.text.as_bytes())
    }
}

pub(super) struct Page {
    style: TextStyle,
    text: String,
}

impl Page {
    pub(super) fn line(&mut self, line: &str) {
        let ascii = self.style.charset == Charset::Ascii;
        let keep = |c: char| {
            if steers(c) {
                '?'
            } else if ascii && !c.is_ascii() {
                substitute(c)
            } else {
                c
            }
        };
        let line: String = line.chars().map(keep).collect();
        match self.style.colour {
            ColourMode::Never => self.text.push_str(&line),
            ColourMode::Always => push_with_bars(&mut self.text, &line),
        }
        self.text.push('\n');
    }

    fn painted(&mut self, paint: Paint, line: &str) {
        if self.style.colour == ColourMode::Never {
            return self.line(line);
        }
        self.text.push_str(match paint {
            Paint::Title => "\x1b[1m",
            Paint::Group => "\x1b[1;34m",
            Paint::Faint => "\x1b[2m",
            Paint::Good => "\x1b[32m",
            Paint::Bad => "\x1b[1;31m",
        });
        self.line(line);
        self.text.insert_str(self.text.len() - 1, "\x1b[0m");
    }

    pub(super) fn section(&mut self, paint: Paint, title: &str) {
        self.text.push('\n');
        let title = cut(title, self.style.width, self.ellipsis());
        self.painted(paint, &title);
    }

    fn ellipsis(&self) -> char {
        match self.style.charset {
            Charset::Unicode => '…',
            Charset::Ascii => '~',
        }
    }

    pub(super) fn table(&mut self, table: Table, indent: usize) {
        for line in table.lines(indent, self.style.width, self.ellipsis()) {
            self.line(&line);
        }
    }

    fn run(&mut self, run: &Run) {
        let packets = format!("{} packets, {}", human::count(run.packets as f64), human::bytes(run.bytes as f64));
        self.painted(Paint::Title, &packets);
        let mut table = Table::new(&[Align::Left, Align::Left]);
        if !run.inputs.is_empty() {
            table.row(vec!["input".into(), run.inputs.join(", ")]);
        }
        let packet_time =
            format!("{}, {} packets/s", human::duration(run.duration_secs), human::count(run.packet_rate()));
        table.row(vec!["packet time".into(), packet_time]);
        let wall = format!(
            "{}, {} packets/s, {}",
            human::duration(run.wall_secs),
            human::count(run.wall_rate()),
            human::bit_rate(run.wall_bytes_rate())
        );
        table.row(vec!["run time".into(), wall]);
        if run.engines > 1 {
            table.row(vec!["engines".into(), run.engines.to_string()]);
        }
        self.table(table, 2);
    }

    fn counts(&mut self, title: &str, counts: &[NamedCount]) {
        if counts.is_empty() {
            return;
        }
        self.section(Paint::Title, title);
        let mut table = Table::new(&[Align::Left, Align::Right]);
        for named in counts {
            table.row(vec![named.name.clone(), named.count.to_string()]);
        }
        self.table(table, 2);
    }

    fn damage(&mut self, report: &Report) {
        if report.damage.inputs.is_empty() {
            return;
        }
        self.section(Paint::Bad, "Damaged input");
        // A reason is never cut: it is what the section is for.
        let longest = |pick: fn(&DamagedInput) -> &String| {
            report.damage.inputs.iter().map(|damaged| chars(pick(damaged))).max().unwrap_or(0)
        };
        if longest(|damaged| &damaged.input) + longest(|damaged| &damaged.reason) + 4 > self.style.width {
            for damaged in &report.damage.inputs {
                self.line(&format!("  {}", damaged.input));
                self.line(&format!("      {}", damaged.reason));
            }
            return;
        }
        let mut table = Table::new(&[Align::Left, Align::Left]);
        for damaged in &report.damage.inputs {
            table.row(vec![damaged.input.clone(), damaged.reason.clone()]);
        }
        self.table(table, 2);
    }

    fn group(&mut self, group: &GroupReport) {
        let keys = group.keys;
        let mut title =
            format!("{}: {} {}", group.name, human::count(keys.seen as f64), plural(keys.seen, "key", "keys"));
        for (count, what) in [
            (keys.pruned, "pruned"),
            (keys.rejected, "updates rejected"),
            (keys.overflowed, "updates beyond the limit"),
        ] {
            if count > 0 {
                title.push_str(&format!(", {} {what}", human::count(count as f64)));
            }
        }
        self.section(Paint::Group, &title);
        for meter in &group.meters {
            self.meter(meter);
        }
    }

    fn meter(&mut self, meter: &MeterReport) {
        let name = if meter.name.is_empty() { format!("meter {}", meter.id) } else { meter.name.clone() };
        self.painted(
            Paint::Faint,
            &cut(&format!("  {name}: {}", value(meter, meter.total)), self.style.width, self.ellipsis()),
        );
        let largest = meter.top.iter().map(|key| key.value.abs()).fold(0.0, f64::max);
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Right, Align::Left, Align::Right]);
        for key in &meter.top {
            table.row(self.key_row(meter, key, largest));
        }
        self.table(table, 4);
    }

    fn key_row(&self, meter: &MeterReport, key: &TopKey, largest: f64) -> Vec<String> {
        let part = key.share.unwrap_or(if largest > 0.0 { key.value.max(0.0) / largest } else { 0.0 });
        let (first, second) = match &key.readable {
            Some(readable) => (readable.clone(), key.key.clone()),
            None => (key.key.clone(), String::new()),
        };
        vec![
            first,
            second,
            key.label.clone().unwrap_or_default(),
            value(meter, key.value),
            self.bar(part),
            key.share.map(human::percent).unwrap_or_default(),
        ]
    }

    /// A bar of a part from 0 to 1. Anything above zero shows.
    fn bar(&self, part: f64) -> String {
        let part = part.clamp(0.0, 1.0);
        match self.style.charset {
            Charset::Ascii => {
                let full = ((part * BAR as f64).round() as usize).max(usize::from(part > 0.0));
                "#".repeat(full)
            }
            Charset::Unicode => {
                let eighths = ((part * BAR as f64 * 8.0).round() as usize).max(usize::from(part > 0.0));
                let rest =
                    [None, Some('▏'), Some('▎'), Some('▍'), Some('▌'), Some('▋'), Some('▊'), Some('▉')][eighths % 8];
                "█".repeat(eighths / 8).chars().chain(rest).collect()
            }
        }
    }

    fn records(&mut self, records: &Records) {
        if records.alerts.count > 0 {
            self.section(Paint::Bad, &format!("Alerts: {}", records.alerts.count));
            let mut table = Table::new(&[Align::Right, Align::Left, Align::Left, Align::Left, Align::Left]);
            for alert in &records.alerts.first {
                let flow = alert.flow.clone().unwrap_or_default();
                table.row(vec![
                    human::count(alert.priority),
                    alert.sigid.clone(),
                    alert.message.clone(),
                    alert.group.clone(),
                    flow,
                ]);
            }
            self.table(table, 2);
            self.more(records.alerts.count, records.alerts.first.len());
        }
        if records.resources.count > 0 {
            self.section(Paint::Title, &format!("Resources: {}", records.resources.count));
            let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
            for resource in &records.resources.first {
                table.row(vec![
                    resource.group.clone(),
                    resource.uri.clone(),
                    resource.flow.clone().unwrap_or_default(),
                ]);
            }
            self.table(table, 2);
            self.more(records.resources.count, records.resources.first.len());
        }
        self.counts("Resources by group", &records.resource_groups);
        self.counts("Documents by group", &records.document_groups);
        self.edges(records);
        let mut others: Vec<NamedCount> = [
            ("documents", records.documents),
            ("labels", records.labels),
            ("key attributes", records.attributes),
            ("messages", records.messages),
        ]
        .into_iter()
        .filter(|&(_, count)| count > 0)
        .map(|(name, count)| NamedCount { name: name.to_owned(), count })
        .collect();
        others.extend(records.flow_statements.iter().cloned());
        self.counts("Other records", &others);
    }

    fn edges(&mut self, records: &Records) {
        let edges = &records.edges;
        if edges.added == 0 {
            return;
        }
        let limited = if edges.limited > 0 { format!(", {} beyond the limits", edges.limited) } else { String::new() };
        self.section(Paint::Title, &format!("Edges: {} distinct of {}{limited}", edges.distinct, edges.added));
        let mut table = Table::new(&[Align::Left; 5]);
        for e in &edges.first {
            table.row(vec![
                e.from_group.clone(),
                e.from_key.clone(),
                "->".into(),
                e.to_group.clone(),
                e.to_key.clone(),
            ]);
        }
        self.table(table, 2);
        self.more(edges.distinct, edges.first.len());
    }

    fn more(&mut self, count: u64, shown: usize) {
        let missing = count.saturating_sub(shown as u64);
        if missing > 0 {
            self.painted(Paint::Faint, &format!("  and {missing} more"));
        }
    }

    fn jobs(&mut self, jobs: &Jobs) {
        let workers = plural(jobs.workers.into(), "worker", "workers");
        self.section(
            Paint::Title,
            &format!("Jobs: {} on {} {workers}", human::count(jobs.submitted as f64), jobs.workers),
        );
        let mut table = Table::new(&[Align::Left, Align::Right]);
        for ended in &jobs.ended {
            table.row(vec![ended.name.clone(), ended.count.to_string()]);
        }
        self.table(table, 2);
        if let Some(latency) = jobs.latency {
            let [p50, p99, max] = [latency.p50_us, latency.p99_us, latency.max_us].map(|us| human::duration(us / 1e6));
            self.line(&format!("  half within {p50}, 99 % within {p99}, all within {max}"));
        }
        self.plugin_jobs(&jobs.plugins);
    }

    fn plugin_jobs(&mut self, plugins: &[PluginJobs]) {
        if plugins.is_empty() {
            return;
        }
        let mut aligns = [Align::Right; 9];
        aligns[0] = Align::Left;
        let mut table = Table::new(&aligns);
        let heads = ["", "jobs", "wait 50 %", "90 %", "99 %", "run 50 %", "90 %", "99 %", "most"];
        table.row(heads.map(str::to_owned).to_vec());
        for plugin in plugins {
            let times =
                |of: &JobTimes| [of.p50_us, of.p90_us, of.p99_us, of.max_us].map(|us| human::duration(us / 1e6));
            let ([w50, w90, w99, _], [r50, r90, r99, most]) = (times(&plugin.wait), times(&plugin.run));
            let count = plugin.submitted.to_string();
            table.row(vec![plugin.name.clone(), count, w50, w90, w99, r50, r90, r99, most]);
        }
        self.table(table, 2);
        for plugin in plugins {
            let reasons = plugin.failures.iter().map(|reason| (reason.count, reason.name.as_str()));
            let others = [(plugin.retries, "retries"), (plugin.spilled, "on disk"), (plugin.adopted, "taken up")];
            let told: Vec<String> = reasons
                .chain(others)
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            if !told.is_empty() {
                self.line(&format!("  {}: {}", plugin.name, told.join(", ")));
            }
        }
    }

    fn plugins(&mut self, plugins: &[PluginReport]) {
        if plugins.is_empty() {
            return;
        }
        self.section(Paint::Title, "Plugins");
        let mut table = Table::new(&[
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Left,
        ]);
        let heads = ["", "calls", "per call", "", "of packet thread", "memory", ""];
        table.row(heads.map(str::to_owned).to_vec());
        for plugin in plugins {
            let mut faults: Vec<String> = Vec::new();
            for (count, one, many) in
                [(plugin.errors, "error", "errors"), (plugin.interrupted, "interruption", "interruptions")]
            {
                if count > 0 {
                    faults.push(format!("{count} {}", plural(count, one, many)));
                }
            }
            faults.extend(plugin.stopped.clone());
            table.row(vec![
                plugin.name.clone(),
                human::count(plugin.calls as f64),
                human::duration(plugin.ns_per_call / 1e9),
                self.bar(plugin.share),
                human::percent(plugin.share),
                human::bytes(plugin.memory_bytes as f64),
                faults.join(", "),
            ]);
        }
        self.table(table, 2);
    }

    fn verdict(&mut self, report: &Report) {
        let verdict = &report.verdict;
        self.text.push('\n');
        if verdict.exit_code == 0 && verdict.reasons.is_empty() {
            return self.painted(Paint::Good, "ok");
        }
        let paint = if verdict.exit_code == 0 { Paint::Good } else { Paint::Bad };
        self.painted(paint, &format!("exit code {}", verdict.exit_code));
        for reason in &verdict.reasons {
            self.line(&format!("  {reason}"));
        }
    }
}

fn value(meter: &MeterReport, value: f64) -> String {
    human::measured(value, &meter.units, meter.vartype)
}

fn plural<'a>(count: u64, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// ASCII for the few other characters the report itself writes; a question mark for those of keys and labels.
fn substitute(c: char) -> char {
    match c {
        'µ' => 'u',
        _ => '?',
    }
}

/// Writes a line with its bars coloured. Bars are found by their characters, so that columns are aligned before colours
/// add bytes to them.
fn push_with_bars(text: &mut String, line: &str) {
    let mut inside = false;
    for c in line.chars() {
        let is_bar = ('▉'..='▏').contains(&c) || c == '█';
        if is_bar != inside {
            text.push_str(if is_bar { "\x1b[36m" } else { "\x1b[39m" });
            inside = is_bar;
        }
        text.push(c);
    }
    if inside {
        text.push_str("\x1b[39m");
    }
}
