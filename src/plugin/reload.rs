//! A changed script on one packet thread, between two batches.

use std::rc::Rc;

use super::attach::{FrontendMember, is_called, rank, spoken};
use super::content::ContentDesk;
use super::edition::Edition;
use super::exchange::{Exchanged, Swap, describe, exchange};
use super::frontend::{FlowTap, StopOnMessage};
use super::host::{Frontend, no_callback, record_for};
use super::instance::{Instance, InstanceReport, Seat};
use super::loading::Prepared;
use super::settings::HostSettings;
use crate::api::{ScriptId, Topic};
use crate::lua::{FaultKind, PluginError};

impl Frontend {
    /// Puts the new version of a script in the place of the one that runs. Flows go on, and what the old version said about
    /// them holds.
    pub fn reload(&mut self, edition: &Edition, settings: &HostSettings) -> Swap {
        let Some(entry) = edition.entry() else { return Swap::Absent };
        let file = Rc::new(entry.plugin_file(settings));
        self.jobs.pools = edition.pools.clone();
        let place = edition.place(edition.script);
        let mut fresh = Vec::new();
        for block in file.blocks.iter().filter(|block| is_called(block, settings)) {
            if !self.has_place(file.id, block) {
                continue;
            }
            let seat = Seat::new(block.kind, rank(place, &file, block.kind));
            match Prepared::new(&file, seat, &self.engine, settings, &self.jobs) {
                Ok(prepared) => fresh.push(prepared),
                Err(e) => return Swap::Kept(describe(&e)),
            }
        }
        let (slots, places) = self.room();
        let (engine, jobs) = (Rc::clone(&self.engine), self.jobs.clone());
        let attach = |instance: Instance, block: &_, before: Option<&mut FrontendMember>| {
            let (script, kind) = (instance.file.id, instance.kind);
            let mut member = FrontendMember::attach(instance, block, &engine, settings)?;
            if member.is_none() {
                record_for(&engine, script, no_callback(kind));
            }
            if let Some(FrontendMember::Tap(tap)) = &mut member {
                let before = match before {
                    Some(FrontendMember::Tap(before)) => Some(&*before),
                    _ => None,
                };
                tap.inherit(before, slots, places);
            }
            Ok(member)
        };
        let again = |old: &Instance| {
            let seat = Seat::new(old.kind, old.context().order.get());
            Prepared::new(&old.file, seat, &engine, settings, &jobs)
        };
        let old = self.take_out(file.id);
        let Exchanged { members, retired, swap } = exchange(old, fresh, attach, again);
        members.into_iter().for_each(|member| self.place(member));
        InstanceReport::add_up(&mut self.retired, retired);
        self.put_in_order(edition);
        let took_files = self.topics & Topic::HttpFile.bit() != 0;
        self.set_courses(spoken(&edition.catalog));
        if !took_files && self.topics & Topic::HttpFile.bit() != 0 {
            self.contents = ContentDesk::new(settings.files.clone());
        }
        if let Swap::Lost(message) = &swap {
            let (kind, message) = (FaultKind::Error, message.clone());
            self.problem(file.id, "reload", PluginError { kind, message, traceback: String::new() });
        }
        swap
    }

    /// The scripts' callbacks are told of flows and exchanges by slot; how many there may be.
    fn room(&self) -> (usize, usize) {
        let flows = self.engine.flows.borrow().as_ref().map_or(0, |flows| flows.slots().next_power_of_two());
        let slots = self.taps.iter().map(FlowTap::slots).max().unwrap_or(0).max(flows);
        (slots, self.taps.iter().map(FlowTap::places).max().unwrap_or(0))
    }

    /// Takes the instances of a script out.
    fn take_out(&mut self, script: ScriptId) -> Vec<FrontendMember> {
        let mut taken: Vec<FrontendMember> = Vec::new();
        let is_old = |instance: &Instance| instance.file.id == script;
        let deaf = self.deaf.extract_if(.., |counter| is_old(&counter.instance));
        taken.extend(deaf.map(|counter| FrontendMember::Counter(counter, StopOnMessage::No)));
        let hearing = self.hearing.extract_if(.., |counter| is_old(&counter.instance));
        taken.extend(hearing.map(|counter| FrontendMember::Counter(counter, StopOnMessage::Yes)));
        taken.extend(self.handlers.extract_if(.., |handler| is_old(&handler.instance)).map(FrontendMember::Handler));
        taken.extend(self.taps.extract_if(.., |tap| is_old(&tap.instance)).map(FrontendMember::Tap));
        taken.extend(self.bystanders.extract_if(.., |instance| is_old(instance)).map(FrontendMember::Bystander));
        taken
    }

    fn put_in_order(&mut self, edition: &Edition) {
        for instance in self.instances_mut() {
            let order = rank(edition.place(instance.file.id), &instance.file, instance.kind);
            instance.context().order.set(order);
        }
        let order = |instance: &Instance| instance.context().order.get();
        self.handlers.sort_by_key(|handler| order(&handler.instance));
        self.deaf.sort_by_key(|counter| order(&counter.instance));
        self.hearing.sort_by_key(|counter| order(&counter.instance));
        self.taps.sort_by_key(|tap| order(&tap.instance));
        self.bystanders.sort_by_key(order);
    }
}
