//! One version of a script takes the place of another on one thread.
//!
//! The files of the new version have been executed before anything here happens. Then, block by block: the old instance is
//! unloaded if it has an `onunload`, and the new one gets what that left behind. The first failure turns everything back:
//! old instances that were not unloaded go on as if nothing had happened, the others are made anew from the old text with
//! the state they left.

use super::handover::State;
use super::instance::{BlockTable, Instance, InstanceReport, LoadFailure};
use super::loading::Prepared;
use crate::api::LogLevel;
use crate::lua::PluginError;

/// An instance with what a side needs to call it.
pub trait Member: Sized {
    /// The instance.
    fn instance(&self) -> &Instance;
    /// The same, to call it.
    fn instance_mut(&mut self) -> &mut Instance;
}

/// What became of a change on one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The script has nothing to do here, neither before nor after.
    Absent,
    /// The new version runs.
    Loaded,
    /// The old version is gone, and nothing takes its place.
    Unloaded,
    /// The new one failed; the old one went on without noticing.
    Kept(String),
    /// The new one failed after `onunload` of the old one, which was loaded again.
    Restored(String),
    /// The new one failed, and the old one could not be loaded again.
    Lost(String),
}

impl Swap {
    /// Why the new version does not run, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Kept(reason) | Self::Restored(reason) | Self::Lost(reason) => Some(reason),
            Self::Absent | Self::Loaded | Self::Unloaded => None,
        }
    }
}

/// The outcome of an exchange.
#[derive(Debug)]
pub struct Exchanged<M> {
    /// Those that run now.
    pub members: Vec<M>,
    /// How those did that do not run any more.
    pub retired: Vec<InstanceReport>,
    /// What became of the change.
    pub swap: Swap,
}

/// An old instance on its way out.
struct Leaving<M> {
    member: M,
    has_left: bool,
    state: Option<State>,
}

impl<M> Leaving<M> {
    const fn new(member: M) -> Self {
        Self { member, has_left: false, state: None }
    }
}

/// Puts the fresh ones in the place of the old ones. `attach` makes a member of an instance that has been loaded, `None` if
/// it has no callback; it is shown the one that had the place before. `again` executes the file of an old one once more.
pub fn exchange<M: Member>(
    old: Vec<M>,
    fresh: Vec<Prepared>,
    mut attach: impl FnMut(Instance, &BlockTable, Option<&mut M>) -> Result<Option<M>, PluginError>,
    again: impl Fn(&Instance) -> Result<Prepared, LoadFailure>,
) -> Exchanged<M> {
    let (was_there, is_there) = (!old.is_empty(), !fresh.is_empty());
    let mut old: Vec<Leaving<M>> = old.into_iter().map(Leaving::new).collect();
    let mut members = Vec::new();
    let mut failure = None;
    for prepared in fresh {
        let seat = prepared.seat();
        let mut before = old.iter_mut().find(|leaving| leaving.member.instance().seat() == seat);
        if let Some(leaving) = &mut before
            && leaving.member.instance().has_onunload()
        {
            leaving.state = leaving.member.instance_mut().unload_for_next();
            leaving.has_left = true;
        }
        let state = before.as_ref().and_then(|leaving| leaving.state.as_ref());
        let loaded = prepared.load(state).map_err(|e| describe(&e)).and_then(|(instance, block)| {
            attach(instance, &block, before.map(|leaving| &mut leaving.member))
                .map_err(|e| format!("attach: {}", e.message))
        });
        match loaded {
            Ok(member) => members.extend(member),
            Err(reason) => {
                failure = Some(reason);
                break;
            }
        }
    }
    let Some(reason) = failure else {
        let retired = old.into_iter().map(retire).collect();
        let swap = match (was_there, is_there) {
            (_, true) => Swap::Loaded,
            (true, false) => Swap::Unloaded,
            (false, false) => Swap::Absent,
        };
        return Exchanged { members, retired, swap };
    };
    let mut retired: Vec<InstanceReport> = members.into_iter().map(|member| retire(Leaving::new(member))).collect();
    let mut swap = Swap::Kept(reason.clone());
    let mut members = Vec::new();
    for mut leaving in old {
        if !leaving.has_left {
            members.push(leaving.member);
            continue;
        }
        let restored = again(leaving.member.instance())
            .and_then(|prepared| prepared.load(leaving.state.as_ref()))
            .map_err(|e| describe(&e))
            .and_then(|(instance, block)| {
                attach(instance, &block, Some(&mut leaving.member)).map_err(|e| format!("attach: {}", e.message))
            });
        retired.push(retire(leaving));
        match restored {
            Ok(member) => members.extend(member),
            Err(e) => swap = Swap::Lost(format!("{reason}; the version before cannot be loaded again: {e}")),
        }
        if let Swap::Kept(reason) = swap {
            swap = Swap::Restored(reason);
        }
    }
    Exchanged { members, retired, swap }
}

/// Why a version does not load, in words.
#[must_use]
pub fn describe(failure: &LoadFailure) -> String {
    match failure {
        LoadFailure::Declined => "onload returned false".to_owned(),
        LoadFailure::Fault(stage, error) => format!("{stage}: {}", error.message),
    }
}

fn retire<M: Member>(mut leaving: Leaving<M>) -> InstanceReport {
    let instance = leaving.member.instance_mut();
    if !leaving.has_left {
        instance.unload();
    }
    instance.tell_silent(None);
    let jobs = instance.outstanding_jobs();
    if jobs > 0 {
        let text = format!("{}: {jobs} jobs of the version that was unloaded end as orphaned", instance.kind.name());
        instance.context().log(LogLevel::Notice, text);
    }
    InstanceReport { memory: 0, disabled: None, ..instance.outcome() }
}

impl Instance {
    /// Whether a function is called when it is unloaded.
    #[must_use]
    pub fn has_onunload(&self) -> bool {
        self.on_unload.is_some()
    }
}

impl InstanceReport {
    /// Adds up how instances did that have gone: one entry for each script and block.
    pub fn add_up(list: &mut Vec<Self>, more: Vec<Self>) {
        for report in more {
            let Some(sum) = list.iter_mut().find(|sum| (sum.script, sum.kind) == (report.script, report.kind)) else {
                list.push(report);
                continue;
            };
            sum.stats.calls += report.stats.calls;
            sum.stats.nanos += report.stats.nanos;
            sum.stats.slow += report.stats.slow;
            sum.faults += report.faults;
            sum.interrupted += report.interrupted;
            sum.skipped += report.skipped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InstanceReport;
    use crate::api::ScriptId;
    use crate::plugin::instance::CallStats;
    use crate::plugin::kind::PluginKind;

    fn report(script: ScriptId, kind: PluginKind, n: u64) -> InstanceReport {
        let stats = CallStats { calls: n, nanos: 10 * n, slow: 20 * n };
        let (faults, interrupted, skipped) = (30 * n, 40 * n, 50 * n);
        InstanceReport { script, kind, stats, faults, interrupted, skipped, disabled: None, memory: 0 }
    }

    #[test]
    fn all_figures_of_versions_that_have_gone_are_added_up_for_each_script_and_block() {
        let (tap, counter) = (PluginKind::FlowMonitor, PluginKind::SimpleCounter);
        let mut list = Vec::new();
        InstanceReport::add_up(&mut list, vec![report(ScriptId(1), tap, 1), report(ScriptId(1), counter, 2)]);
        InstanceReport::add_up(&mut list, vec![report(ScriptId(1), tap, 3), report(ScriptId(2), tap, 5)]);
        let sums = [(1, tap, 4), (1, counter, 2), (2, tap, 5)];
        assert_eq!(list, sums.map(|(script, kind, n)| report(ScriptId(script), kind, n)));
    }
}
