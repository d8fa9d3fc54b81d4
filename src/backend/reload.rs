//! A changed script on the backend, between two seconds of stream time: never inside a flush.

use std::rc::Rc;

use super::crew::{Crew, seats};
use super::cycle::Backend;
use super::monitor::{Hook, Monitor};
use super::outlet::BackendOutlet;
use super::trackers::Tracker;
use crate::api::MonitoredGroup;
use crate::lua::{FaultKind, PluginError};
use crate::metrics::GroupIndex;
use crate::plugin::{
    BlockTable, Edition, Exchanged, HostSettings, Instance, InstanceReport, JobPlan, Member, Prepared, Seat, Swap,
    describe, exchange, no_callback, record_for, report_problem,
};

impl Member for Monitor {
    fn instance(&self) -> &Instance {
        &self.instance
    }

    fn instance_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }
}

impl<O: BackendOutlet> Backend<O> {
    /// Puts the new version of a script in the place of the one that runs. What waits for the end of the window is kept.
    pub fn reload(&mut self, edition: &Edition, settings: &HostSettings) -> Swap {
        self.jobs.pools = edition.pools.clone();
        self.crew.speaks |= edition.catalog.has_backend();
        self.crew.outlet.learn_names(&edition.catalog);
        let names = self.crew.trackers.iter().map(|(_, control)| control.clone());
        let mut trackers: Vec<_> = names.zip(std::mem::take(&mut self.trackers)).collect();
        let before: Vec<String> = trackers.iter().map(|(control, _)| control.name.clone()).collect();
        let swap = self.crew.reload(edition, settings, &self.jobs);
        self.crew.publish_wants();
        for (_, control) in &self.crew.trackers {
            // One that is as it was keeps what it has of the open interval.
            let known = trackers.iter().position(|(before, _)| before == control);
            let tracker = known.map(|at| trackers.swap_remove(at).1);
            self.trackers.push(tracker.unwrap_or_else(|| Tracker::new(control, self.window)));
        }
        let rankings = self.rankings.clone();
        self.crew
            .trackers
            .iter()
            .filter(|(_, now)| !before.contains(&now.name))
            .for_each(|(_, now)| rankings.join(&now.name));
        let has = |name: &String| self.crew.trackers.iter().any(|(_, now)| now.name == *name);
        before.iter().filter(|name| !has(name)).for_each(|name| rankings.leave(name));
        let crew = &self.crew;
        rankings.hear(crew.heard_toppers());
        self.counters.track(&crew.context.groups, |group| crew.takes_all || crew.hears_toppers(group));
        self.crew.after();
        swap
    }
}

impl<O: BackendOutlet> Crew<O> {
    /// Says what is wanted: everything that is flushed, if that is taken.
    pub(super) fn publish_wants(&mut self) {
        self.context.has_backend.set(self.wants.messages);
        if self.takes_all {
            let wants = &mut self.wants;
            wants.groups.iter_mut().for_each(|group| group.buckets = true);
            (wants.alerts, wants.resources, wants.documents, wants.flows) = (true, true, true, true);
        }
        super::attend_anew(&mut self.context.shard.borrow_mut(), &self.wants);
    }

    /// Whether a monitor of a group hears of its toppers.
    pub(super) fn hears_toppers(&self, group: GroupIndex) -> bool {
        let toppers = [Hook::BeginTopper, Hook::TopperFilter, Hook::Topper, Hook::EndTopper];
        let members = self.of_group(group);
        toppers.iter().any(|&hook| self.any(&members, hook))
    }

    /// The groups of whose toppers a monitor hears.
    pub(super) fn heard_toppers(&self) -> impl Iterator<Item = GroupIndex> {
        let groups = (0..self.counters.len()).map(|place| GroupIndex(place as u16));
        groups.filter(|group| self.hears_toppers(*group))
    }

    fn reload(&mut self, edition: &Edition, settings: &HostSettings, jobs: &JobPlan) -> Swap {
        let Some(file) = edition.file(settings).map(Rc::new) else { return Swap::Absent };
        // What they post while they load is heard by those that are loaded.
        self.context.has_backend.set(true);
        let mut fresh = Vec::new();
        for seat in seats(&file, &edition.catalog.groups) {
            match Prepared::new(&file, seat, &self.context, settings, jobs) {
                Ok(prepared) => fresh.push(prepared),
                Err(e) => return Swap::Kept(describe(&e)),
            }
        }
        let context = Rc::clone(&self.context);
        let attach = |instance: Instance, block: &BlockTable, before: Option<&mut Monitor>| {
            let (script, kind) = (instance.file.id, instance.kind);
            let mut monitor = Monitor::attach(instance, block)?;
            if monitor.is_idle() {
                record_for(&context, script, no_callback(kind));
                return Ok(None);
            }
            monitor.ticks = before.map_or(0, |before| before.ticks);
            Ok(Some(monitor))
        };
        let groups = std::sync::Arc::clone(&self.context.groups);
        let again = |old: &Instance| {
            let (kind, guid) = old.seat();
            let block = old.file.block(kind);
            let group: Option<MonitoredGroup> =
                block.and_then(|block| block.monitored(&groups).find(|group| Some(group.guid) == guid));
            let seat = Seat { group, ..Seat::new(kind, old.context().order.get()) };
            Prepared::new(&old.file, seat, &context, settings, jobs)
        };
        let script = file.id;
        let old: Vec<Monitor> = self.monitors.extract_if(.., |monitor| monitor.instance.file.id == script).collect();
        let Exchanged { members, retired, swap } = exchange(old, fresh, attach, again);
        self.monitors.extend(members);
        InstanceReport::add_up(&mut self.retired, retired);
        // Those of one file stand in the order in which they were made.
        self.monitors.sort_by_key(|monitor| edition.place(monitor.instance.file.id));
        for (at, monitor) in self.monitors.iter().enumerate() {
            monitor.instance.context().order.set(at as u32 + 1);
        }
        self.bind_all();
        if let Swap::Lost(message) = &swap {
            let (kind, message) = (FaultKind::Error, message.clone());
            let error = PluginError { kind, message, traceback: String::new() };
            self.problems.push(report_problem(&self.context, script, "reload", error));
        }
        swap
    }
}
