//! `millstream profile`: a run, and where its time went in the plugins.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

use super::Outcome;
use super::cli::{Cli, ProfileArgs};
use super::report;
use super::run;
use super::screen::{Paint, Screen, columns};
use super::staging::Staging;
use crate::lua::{CallbackProfile, Place, Profiler, StackSampling, VmProfile};

/// What is said of time in a VM that is no callback's.
const AROUND: &str = "(around callbacks)";

/// Runs plugins on an input, reports, and shows where the time went.
///
/// # Errors
/// When the run cannot begin, or the stacks cannot be written.
pub fn profile(args: &ProfileArgs, cli: &Cli) -> anyhow::Result<Outcome> {
    let sampling = if args.folded.is_some() { StackSampling::On } else { StackSampling::Off };
    let profiler = Profiler::new(sampling);
    let staging = Staging { profiler: Some(profiler.clone()), ..Staging::default() };
    let result = run::perform(&args.run, cli, &staging)?;
    let outcome = if args.run.plugins.json {
        if result.is_flawed() { Outcome::Flawed } else { Outcome::Good }
    } else {
        report::present(&result, &args.run, cli)?
    };
    let profiles = profiler.profiles();
    if let Some(file) = &args.folded {
        write_folded(file, &profiles)?;
    }
    let mut screen = Screen::stdout(cli.color);
    if args.run.plugins.json {
        screen.json(&document(&profiles))?;
    } else {
        show(&profiles, &mut screen)?;
    }
    screen.flush()?;
    Ok(outcome)
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Engine => "packets",
        Place::Worker => "worker",
    }
}

/// Time in all VMs of the packet threads, of which shares are told; workers have their own.
fn whole(profiles: &[VmProfile], at: Place) -> u64 {
    profiles.iter().filter(|vm| vm.place == at).map(|vm| vm.nanos).sum()
}

fn show(profiles: &[VmProfile], screen: &mut Screen<'_>) -> std::io::Result<()> {
    let head = ["plugin", "callback", "thread", "calls", "time", "share", "each", "errors"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for vm in profiles {
        let total = whole(profiles, vm.place);
        let mut callbacks: Vec<&CallbackProfile> = vm.callbacks.iter().collect();
        callbacks.sort_by(|a, b| b.nanos.cmp(&a.nanos).then_with(|| a.name.cmp(&b.name)));
        for callback in callbacks {
            rows.push(vec![
                vm.plugin.clone(),
                callback.name.clone(),
                place(vm.place).to_owned(),
                callback.calls.to_string(),
                time(callback.nanos),
                share(callback.nanos, total),
                format!("{} ns", callback.nanos / callback.calls.max(1)),
                callback.errors.to_string(),
            ]);
        }
        if vm.around() > 0 {
            let (around, nothing) = (vm.around(), String::new());
            let part = share(around, total);
            let place = place(vm.place).to_owned();
            rows.push(vec![vm.plugin.clone(), AROUND.to_owned(), place, nothing, time(around), part]);
        }
    }
    if rows.len() == 1 {
        return writeln!(screen, "\nNo plugin was called.");
    }
    let mut lines = columns(&rows).into_iter();
    let title = screen.paint(Paint::Strong, &lines.next().unwrap_or_default());
    writeln!(screen, "\n{title}")?;
    lines.try_for_each(|line| writeln!(screen, "{line}"))?;
    let memory: Vec<Vec<String>> = profiles
        .iter()
        .map(|vm| vec![vm.plugin.clone(), place(vm.place).to_owned(), size(vm.memory), size(vm.peak)])
        .collect();
    let head = ["memory", "thread", "at the end", "at most"].map(str::to_owned).to_vec();
    let mut lines = columns(&[vec![head], memory].concat()).into_iter();
    let title = screen.paint(Paint::Strong, &lines.next().unwrap_or_default());
    writeln!(screen, "\n{title}")?;
    lines.try_for_each(|line| writeln!(screen, "{line}"))
}

fn time(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{} us", nanos / 1_000),
        _ => format!("{} ms", nanos / 1_000_000),
    }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn size(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn document(profiles: &[VmProfile]) -> Value {
    let callback = |callback: &CallbackProfile| {
        json!({
            "callback": callback.name,
            "calls": callback.calls,
            "nanos": callback.nanos,
            "errors": callback.errors,
        })
    };
    let vm = |vm: &VmProfile| {
        json!({
            "plugin": vm.plugin,
            "thread": place(vm.place),
            "nanos": vm.nanos,
            "around_nanos": vm.around(),
            "memory": vm.memory,
            "peak_memory": vm.peak,
            "samples": vm.samples,
            "callbacks": vm.callbacks.iter().map(callback).collect::<Vec<_>>(),
        })
    };
    json!({ "plugins": profiles.iter().map(vm).collect::<Vec<_>>() })
}

/// Folded stacks, as tools that draw flame graphs take them: frames and nanoseconds.
fn folded(profiles: &[VmProfile]) -> String {
    let mut out = String::new();
    let mut line = |frames: &[&str], nanos: u64| {
        let frames: Vec<&str> = frames.iter().copied().filter(|frame| !frame.is_empty()).collect();
        if nanos > 0 {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{} {nanos}", frames.join(";"));
        }
    };
    for vm in profiles {
        let plugin = match vm.place {
            Place::Engine => vm.plugin.replace(';', ","),
            Place::Worker => format!("{} (worker)", vm.plugin.replace(';', ",")),
        };
        for callback in &vm.callbacks {
            let name = match vm.place {
                Place::Engine => callback.name.replace(';', ","),
                Place::Worker => format!("onexecute {}", callback.name.replace(';', ",")),
            };
            let told: u64 = callback.stacks.iter().map(|(_, nanos)| nanos).sum();
            callback.stacks.iter().for_each(|(stack, nanos)| line(&[&plugin, &name, stack], *nanos));
            line(&[&plugin, &name], callback.nanos.saturating_sub(told));
        }
        line(&[&plugin, AROUND], vm.around());
    }
    out
}

fn write_folded(file: &Path, profiles: &[VmProfile]) -> anyhow::Result<()> {
    fs::write(file, folded(profiles)).with_context(|| format!("--folded {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{CallbackProfile, Place, VmProfile, folded, time};

    #[test]
    fn folded_stacks_add_up_to_the_time_in_the_vm() {
        let stacks = vec![("a.lua:f;a.lua:g".to_owned(), 60), (String::new(), 30)];
        let callback = CallbackProfile { name: "x.y".to_owned(), calls: 1, nanos: 100, errors: 0, stacks };
        let (plugin, callbacks) = ("a.lua".to_owned(), vec![callback]);
        let vm = VmProfile { plugin, place: Place::Worker, callbacks, nanos: 120, memory: 0, peak: 0, samples: 3 };
        let expected = "a.lua (worker);onexecute x.y;a.lua:f;a.lua:g 60\na.lua (worker);onexecute x.y 30\n\
                        a.lua (worker);onexecute x.y 10\na.lua (worker);(around callbacks) 20\n";
        assert_eq!(folded(&[vm]), expected);
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        assert_eq!([time(900), time(12_345), time(45_678_901)], ["900 ns", "12 us", "45 ms"]);
    }
}
