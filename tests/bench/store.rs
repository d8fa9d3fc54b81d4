//! The store by itself: `bench-store [-f FILE] [CASE]...`, all cases without arguments.
//!
//! `counters`, `keys`, `flows` and `documents` write rows and print how many a second, by the wall and by the CPU of the
//! writer; the rows are ready before the clock starts. `questions` asks a store of ten million rows, which `-f` keeps, and
//! prints how long each question of `query` and `search` takes, the first time and after that.
//! Exit code 1 if a question is not answered within 100 ms.

#[path = "store/ask.rs"]
mod ask;
#[path = "store/fill.rs"]
mod fill;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use fill::{Amounts, Made};
use millstream::time::Stopwatch;

/// Seconds of CPU this process has had.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Writes what was made; the rows, the time by the wall and the CPU seconds.
fn write(file: &Path, made: Made) -> io::Result<(u64, Duration, f64)> {
    let store = fill::open(file).map_err(io::Error::other)?;
    let (watch, before) = (Stopwatch::start(), cpu());
    let tally = made.send(store);
    if tally.lost() > 0 {
        return Err(io::Error::other(format!("{} rows were not stored", tally.lost())));
    }
    Ok((tally.written, watch.elapsed(), cpu() - before))
}

fn rate(out: &mut impl Write, name: &str, amounts: &Amounts) -> io::Result<()> {
    let folder = tempfile::TempDir::new_in(std::env::var_os("TMPDIR").map_or("/tmp".into(), PathBuf::from))?;
    let file = folder.path().join("store.db");
    let (rows, wall, cpu) = write(&file, fill::make(amounts))?;
    let size = std::fs::metadata(&file)?.len();
    let (by_wall, by_cpu) = (rows as f64 / wall.as_secs_f64(), rows as f64 / cpu);
    writeln!(
        out,
        "{name}: rows={rows} seconds={:.2} rows_per_second={by_wall:.0} rows_per_cpu_second={by_cpu:.0} bytes_per_row={}",
        wall.as_secs_f64(),
        size / rows.max(1)
    )
}

fn main() -> io::Result<ExitCode> {
    let mut args = std::env::args().skip(1);
    let (mut kept, mut chosen) = (None, Vec::new());
    while let Some(arg) = args.next() {
        if arg == "-f" {
            kept = args.next().map(PathBuf::from);
        } else {
            chosen.push(arg);
        }
    }
    let mut out = io::stdout().lock();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|other| other == name);
    for (name, amounts) in [
        ("counters", Amounts { minutes: 500, keys: 2_000, ..Amounts::default() }),
        ("keys", Amounts { minutes: 20, keys: 50_000, ..Amounts::default() }),
        ("flows", Amounts { flows: 1_000_000, ..Amounts::default() }),
        ("documents", Amounts { documents: 200_000, ..Amounts::default() }),
    ] {
        if is_chosen(name) {
            rate(&mut out, name, &amounts)?;
        }
    }
    if !is_chosen("questions") {
        return Ok(ExitCode::SUCCESS);
    }
    let folder = tempfile::TempDir::new()?;
    let file = kept.unwrap_or_else(|| folder.path().join("store.db"));
    if !file.exists() {
        let (mut rows, mut wall, mut cpu) = (0, Duration::ZERO, 0.0);
        for part in fill::ten_million() {
            let (more, took, used) = write(&file, fill::make(&part))?;
            (rows, wall, cpu) = (rows + more, wall + took, cpu + used);
        }
        let by_cpu = rows as f64 / cpu;
        writeln!(out, "written: rows={rows} seconds={:.1} rows_per_cpu_second={by_cpu:.0}", wall.as_secs_f64())?;
    }
    let slow = ask::all(&mut out, &file)?;
    writeln!(out, "questions above 100 ms: {slow}")?;
    Ok(if slow == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
