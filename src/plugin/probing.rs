//! Executing plugin files to see what they contain, each in a VM of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use memchr::memmem;
use mlua::{Table, Value};

use super::binding;
use super::discover::{self, Script};
use super::kind::PluginKind;
use super::manifest::{self, Manifest};
use super::perseverance::{Attempt, Known};
use super::settings::{GIVEN_UP_AFTER, HostSettings};
use super::underway::tell_when_late;
use crate::api::{ProbeSpeech, ScriptId, functions, global_t, modules, t_gears};
use crate::job::install_execute;
use crate::lua::{FaultKind, PluginError, Vm, VmOptions, spawn_scoped_lua_thread};
use crate::metrics;

/// Bytes of a library that is looked through for names of methods.
const MAX_LIBRARY: u64 = 1 << 20;
/// Files for which another thread is worth its start.
const FILES_PER_THREAD: usize = 4;
/// Most threads.
const MAX_THREADS: usize = 8;

/// A file that was executed: its VM, the plugin's table and `T`.
pub(super) struct Probed {
    pub(super) plugin: Table,
    pub(super) t: Table,
    pub(super) vm: Vm,
    pub(super) speech: ProbeSpeech,
}

/// Executes a file in a VM of its own and reads what it leaves behind. `None` without a plugin table.
pub(super) fn probe_one(
    script: &Script,
    id: ScriptId,
    settings: &HostSettings,
    groups: &metrics::Registry,
    attempt: &Attempt,
) -> Result<Option<(Manifest, Probed)>, PluginError> {
    // What an attempt finds that is over is not looked at.
    if attempt.leaves_out(&script.path) || attempt.is_over() {
        return Err(given_up(settings));
    }
    if let Some(message) = settings.hanging.refusal(&script.path, &script.source) {
        return Err(interrupted(message.to_owned()));
    }
    let here = Arc::new(());
    let name = script.name();
    let vm = Vm::new(&VmOptions {
        name: name.clone(),
        memory_limit: settings.memory_limit,
        package_path: discover::package_path(&script.directory(), &settings.search),
    })?;
    let (path, its) = (script.path.clone(), attempt.clone());
    let (hanging, goes_on, source) = (settings.hanging.clone(), Arc::downgrade(&here), script.source.as_slice().into());
    vm.guard().on_stuck(GIVEN_UP_AFTER, move |guard| {
        if its.gives_up(&path) {
            hanging.add(&path, &source, goes_on.clone());
            guard.run_idle();
        }
    });
    tell_when_late(vm.guard(), &script.path, settings);
    let speech = ProbeSpeech::default();
    let t = vm.furnish(|lua| {
        modules::install_searcher(lua)?;
        install_execute(lua, vm.guard())?;
        settings.libraries.watch(lua, id)?;
        global_t::install_for_probe(lua, &settings.run, groups, &speech)
    })?;
    let chunk = vm.load(&script.source, &script.chunk_name())?;
    vm.call::<()>(&chunk, (), settings.load_budget)?;
    // Metatables of the script's answer for its tables from here on.
    let plugin: Value = vm.watched(settings.load_budget, |lua| lua.globals().get("TrisulPlugin"))?;
    if let Some((settle, what)) = t_gears::settle(vm.lua(), &plugin, None, None)? {
        vm.call::<()>(&settle, what, settings.load_budget)?;
    }
    match plugin {
        Value::Table(plugin) => {
            let mut manifest = vm.watched(settings.load_budget, |lua| {
                let mut manifest = manifest::read(&plugin, &name)?;
                manifest.add_functions(functions::functions_of(lua, &plugin)?);
                Ok(manifest)
            })?;
            manifest.required_text = required_text(settings, id);
            Ok(Some((manifest, Probed { plugin, t, vm, speech })))
        }
        _ => Ok(None),
    }
}

/// A file that was interrupted and did not come back.
fn given_up(settings: &HostSettings) -> PluginError {
    let limit = settings.load_budget.limit.unwrap_or_default();
    interrupted(format!(
        "does not return from a C function and was given up after {} s; its thread is left behind, with the lowest priority",
        (limit + GIVEN_UP_AFTER).as_secs()
    ))
}

fn interrupted(message: String) -> PluginError {
    PluginError { kind: FaultKind::Interrupted, message, traceback: String::new() }
}

/// Texts of the libraries that a file has loaded so far. Large ones hold data.
fn required_text(settings: &HostSettings, id: ScriptId) -> Arc<[u8]> {
    let is_small = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() <= MAX_LIBRARY);
    let paths = settings.libraries.of(id).into_iter().map(|(path, _)| path).filter(is_small);
    paths.filter_map(|path| fs::read(path).ok()).collect::<Vec<_>>().join(&b'\n').into()
}

/// What a file contains; `None` without a plugin table.
pub(super) type Contents = Result<Option<Manifest>, PluginError>;

/// Executes files at the same time, as far as it makes no difference whether those before them were executed: not those
/// that may look at the groups which others define, and none whose monitors are evaluated once all groups are known.
pub(super) fn probe_ahead(
    scripts: &[Script],
    settings: &HostSettings,
    groups: &metrics::Registry,
    attempt: &Attempt,
    known: &Known<Contents>,
) -> Vec<Option<Contents>> {
    let is_known = |script: &Script| known.of(&script.path).is_some();
    let alone = (0..scripts.len()).filter(|&at| stands_alone(&scripts[at].source) && !is_known(&scripts[at]));
    let alone: Vec<usize> = alone.collect();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(MAX_THREADS).min(alone.len() / FILES_PER_THREAD);
    let found: Mutex<Vec<Option<Contents>>> = Mutex::new(scripts.iter().map(|_| None).collect());
    if threads < 2 {
        return found.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&at) = alone.get(next.fetch_add(1, Ordering::Relaxed)) {
            let contents = probe_one(&scripts[at], ScriptId(at as u16), settings, groups, attempt)
                .map(|probed| probed.map(|(manifest, _)| manifest));
            // What it loaded is known now, also where it failed.
            if stands_alone(&required_text(settings, ScriptId(at as u16))) {
                known.keep(attempt, &scripts[at].path, &contents);
                found.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(contents);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Without the thread the others have more to do.
            let _ = spawn_scoped_lua_thread(scope, "probe", work);
        }
        work();
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a text neither asks for groups (`T.countergroups` and the like) nor has a block that is bound to some.
fn stands_alone(text: &[u8]) -> bool {
    let mentions = |word: &str| memmem::find(text, word.as_bytes()).is_some();
    let monitors = PluginKind::all().filter(|kind| binding::group_kind(*kind).is_some());
    !mentions("groups") && !monitors.into_iter().any(|kind| mentions(kind.name()) || mentions(kind.other_spelling()))
}
