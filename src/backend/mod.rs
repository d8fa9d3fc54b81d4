//! The backend: seconds and windows of stream time, the plugins that look at what was counted and recorded, and the flush.
//!
//! Takes [`Parcel`]s of what left the engines in a second, puts those of several engines together, and runs the cycle:
//! news, the flush of a window that is over, updates, ticks. Knows nothing of packets. Has VMs and counters of its own and
//! shares nothing: it runs on the packet thread (files, one engine) or on a thread of its own, fed through a bounded queue.
//! Several share the keys, flows and records out among them; each sees the same seconds and windows, and what scripts of one
//! say of what another one has is handed over where they meet ([`Mates`]).
//! What it flushes leaves through a [`BackendOutlet`].
//!
//! Invariants: time never goes back; everything is flushed once; an item is announced before it is flushed, and never
//! flushed in the pass in which a script made it; on files, two runs make the same calls in the same order.

mod counters;
mod crew;
mod cycle;
mod given_tags;
mod inbox;
mod items;
mod mates;
mod meeting;
mod monitor;
mod new_keys;
mod outlet;
mod parcel;
mod queue;
pub mod rehearsal;
mod reload;
mod rows;
mod sessions;
mod toppers;
mod trackers;
mod wants;

pub use cycle::{Backend, BackendEnd, BackendParts, Outgoing, Share, attend, attend_anew};
pub use inbox::{Inbox, Patience, Ready};
pub use mates::{Mates, Waits};
pub use monitor::Hook;
pub use outlet::BackendOutlet;
pub use parcel::{Item, NO_TIME, Parcel, Phase, alert_of, edges_of, into_item, is_wanted, item_of};
pub use queue::{ParcelSender, QUEUE, QueueCounts, WhenSilent, WhenSlow, run};
pub use trackers::Rankings;
pub use wants::BackendWants;
