//! The end of a packet thread's run.

use std::time::Duration;

use super::backend_thread::backend_end;
use super::control::Stop;
use super::engine::Engine;
use super::flow_stage::FlowStage;
use super::plan::EngineOutcome;
use crate::capture::SourceError;
use crate::flow::Want;
use crate::job::Wait;

/// How long jobs may take when a signal ended the run.
const STOPPED_DRAIN: Duration = Duration::from_secs(5);

impl Engine {
    /// The contract's order at the end of input: open flows end, outstanding messages, results of jobs, the last buckets,
    /// unloading.
    pub(super) fn finish(mut self, source_error: Option<SourceError>) -> EngineOutcome {
        if self.control.stop() != Stop::AtOnce {
            self.end_flows();
            self.frontend.deliver_last();
            self.hand_on();
            let stopped = self.control.stop() != Stop::No;
            let limit = if stopped { Some(self.drain.unwrap_or(STOPPED_DRAIN)) } else { self.drain };
            self.control.begin_drain();
            let wait = Wait { limit, cancel: Some(self.control.cut()) };
            self.frontend.drain_jobs(&wait);
            self.frontend.deliver_last();
            if let Some(backend) = &mut self.backend {
                // It sends nothing any more once all engines have said so.
                backend.packets_over();
            }
            if !stopped && source_error.is_none() {
                // All engines share the input, so none of those waited for depends on this one any more.
                self.frontend.hear_the_rest();
                self.frontend.drain_jobs(&wait);
            }
            // What results of jobs said about flows.
            self.end_flows();
        }
        self.hand_on();
        if let Some(flows) = &mut self.flows {
            flows.metering().finish(&mut self.context.shard.borrow_mut());
        }
        self.outlet.flush();
        let ended = match self.backend.take() {
            Some(mut backend) => {
                let limit = if self.control.stop() == Stop::No { self.drain } else { Some(STOPPED_DRAIN) };
                let wait = Wait { limit, cancel: Some(self.control.cut()) };
                let dropped = &self.context.oddities.backend_items_dropped;
                dropped.set(backend.dropped());
                backend.take_lines(&mut self.outlet);
                backend.finish(&self.context, self.control.stopping(), &wait)
            }
            None => {
                self.context.shard.borrow_mut().finish(|_| {});
                None
            }
        };
        self.frontend.unload();
        self.frontend.tell_silent(None);
        self.hand_on();
        self.outlet.flush();
        self.publish();
        let backend = ended.map(|ended| backend_end(ended, self.context.id, self.since));
        self.outcome(source_error, backend)
    }

    /// Ends the open flows, some at a time, each time like a batch without packets.
    fn end_flows(&mut self) {
        self.tell_the_rest();
        FlowStage::settle(&self.context);
        if self.flows.is_none() {
            return;
        }
        self.begin_without_packets();
        // What was said since the last batch comes first.
        self.frontend.begin_without_packets();
        loop {
            let more = match &mut self.flows {
                Some(flows) => flows.take_end(&self.context),
                None => Want::No,
            };
            self.frontend.begin_without_packets();
            self.handle(0, 0);
            self.close_batch();
            if let Some(backend) = &mut self.backend {
                backend.take_lines(&mut self.outlet);
                if backend.is_crowded(&self.context) {
                    self.relieve(0);
                }
            }
            if !more.is_yes() {
                return;
            }
        }
    }
}
