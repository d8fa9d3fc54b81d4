//! Tells others of alerts over HTTP: one POST with a JSON object for each.
//!
//! A thread of its own behind a bounded queue. Knows alerts as the output of events shows them. Invariants: nothing is
//! connected to that the rules do not allow, checked after names are resolved; redirects are not followed; every try has
//! bounds in time and bytes, every alert a bounded number of tries; alerts taken in = delivered + lost.

mod deliver;
mod rules;
mod worker;

pub use deliver::{HookLimits, HookUrlError, host_of};
pub use rules::{AllowedHost, AllowedHostError};
pub use worker::{Webhook, WebhookOptions};
