//! Changed scripts on their way to the threads that run them. A thread takes an order where nothing is under way: a packet
//! thread between two batches, the backend between two seconds.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::backend_feed::BackendFeed;
use super::engine::{Engine, metering};
use super::flow_stage::FlowStage;
use super::wants::{Asked, FlowOutput, Wants};
use crate::backend::{Backend, BackendOutlet, BackendWants};
use crate::builtin::{Builtin, Selection};
use crate::flow::Want;
use crate::plugin::{Edition, HostSettings, Swap};
use crate::time::{Stopwatch, Timestamp};

/// Orders that may wait for a thread.
pub const ORDERS: usize = 4;

/// Who is to carry out an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Whatever the thread runs.
    Whole,
    /// Only its frontend scripts.
    Frontend,
    /// Only its backend scripts.
    Backend,
}

/// A change that a thread is to carry out.
#[derive(Clone, Debug)]
pub struct Order {
    /// The scripts after the change.
    pub edition: Edition,
    /// Which of them.
    pub reach: Reach,
    /// What the backend wants from now on, if it has a thread of its own.
    pub wants: Option<Arc<BackendWants>>,
    /// Where to say what became of it.
    pub answers: Sender<Answer>,
}

/// What became of an order.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `frontend` or `backend`.
    pub reach: Reach,
    /// Number of the thread.
    pub thread: usize,
    /// What became of the scripts.
    pub swap: Swap,
    /// Stream time there.
    pub time: Timestamp,
    /// How long nothing else was done, in nanoseconds.
    pub pause_nanos: u64,
    /// What a backend wants now.
    pub wants: Option<Arc<BackendWants>>,
}

/// A thread's end.
#[derive(Debug)]
pub struct Orders {
    queue: Receiver<Order>,
    settings: HostSettings,
    thread: usize,
}

impl Orders {
    /// The end of a thread. A version that comes while packets wait may take no longer than one of their callbacks.
    #[must_use]
    pub fn new(queue: Receiver<Order>, mut settings: HostSettings, thread: usize) -> Self {
        settings.load_budget = settings.frontend_budget;
        settings.load_budget.slow = None;
        Self { queue, settings, thread }
    }

    /// Carries out on a backend thread what has come.
    pub fn carry_out<O: BackendOutlet>(&self, backend: &mut Backend<O>) {
        while let Ok(order) = self.queue.try_recv() {
            let watch = Stopwatch::start();
            let swap = backend.reload(&order.edition, &self.settings);
            let (wants, time) = (Some(Arc::new(backend.wants().clone())), backend.context().now.get());
            self.answer(&order, Reach::Backend, swap, (watch, time), wants);
        }
    }

    fn answer(
        &self,
        order: &Order,
        reach: Reach,
        swap: Swap,
        (watch, time): (Stopwatch, Timestamp),
        wants: Option<Arc<BackendWants>>,
    ) {
        let pause_nanos = u64::try_from(watch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Whoever does not wait for the answer any more does not need it.
        let _ = order.answers.try_send(Answer { reach, thread: self.thread, swap, time, pause_nanos, wants });
    }
}

/// What a packet thread needs to know once more when its scripts change.
pub(super) struct Reloading {
    orders: Orders,
    builtin: Selection,
    output: FlowOutput,
    events: Want,
}

impl Reloading {
    pub(super) fn new(orders: Orders, builtin: &Selection, output: FlowOutput, events: Want) -> Self {
        Self { orders, builtin: builtin.clone(), output, events }
    }
}

impl Engine {
    /// Carries out what has come; one look at a queue if that is nothing.
    pub(super) fn reload(&mut self) {
        let Some(reloading) = self.reloading.take() else { return };
        while let Ok(order) = reloading.orders.queue.try_recv() {
            let watch = Stopwatch::start();
            self.outlet.learn_names(&order.edition.catalog);
            let goes_on = self.backend_order(&order, &reloading.orders);
            if goes_on && order.reach != Reach::Backend {
                let swap = self.frontend.reload(&order.edition, &reloading.orders.settings);
                self.widen(&order.edition, &reloading);
                self.hand_on();
                let now = self.context.now.get();
                reloading.orders.answer(&order, Reach::Frontend, swap, (watch, now), None);
            } else if order.wants.is_some() {
                self.widen(&order.edition, &reloading);
            }
        }
        self.reloading = Some(reloading);
    }

    /// The backend's part: its scripts if they are on this thread, else what it wants. False if they stay as they are.
    fn backend_order(&mut self, order: &Order, orders: &Orders) -> bool {
        let Some(backend) = &mut self.backend else { return true };
        if let Some(wants) = &order.wants {
            backend.take_wants(Arc::clone(wants), &self.context);
            return true;
        }
        if order.reach == Reach::Frontend {
            return true;
        }
        let watch = Stopwatch::start();
        let Some(swap) = backend.reload(&order.edition, &orders.settings, &self.context) else { return true };
        let goes_on = swap.failure().is_none();
        orders.answer(order, Reach::Backend, swap, (watch, self.context.now.get()), None);
        goes_on
    }

    /// Follows flows and looks into them as far as the scripts now want it.
    fn widen(&mut self, edition: &Edition, reloading: &Reloading) {
        let settings = &reloading.orders.settings;
        let config = &settings.run.environment.config;
        let asked = Asked {
            topics: self.frontend.topics(),
            attributes: self.frontend.attributes().kinds(),
            output: reloading.output,
            events: reloading.events,
            store: Want::from(self.outlet.store.is_some()),
            backend: self.backend.as_ref().map(BackendFeed::wants),
            is_past_backend: self.backend.as_ref().is_some_and(BackendFeed::is_past).into(),
            outputs: self.outlet.outputs.wants(),
        };
        let wants = |builtin: &Builtin| Wants::of(&asked, &edition.catalog, builtin, config);
        if let Some(flows) = &mut self.flows {
            let wants = wants(flows.metering().builtin());
            return flows.widen(&self.context, wants, settings.files.as_ref());
        }
        let metering = metering(&edition.catalog, &reloading.builtin, settings, self.origins());
        let wants = wants(metering.builtin());
        let (config, top) = self.late_flows;
        self.flows = FlowStage::start(&self.context, wants, metering, config, top);
        if let Some(flows) = &mut self.flows {
            flows.follow_contents(self.context.id, settings.files.as_ref());
        }
    }
}
