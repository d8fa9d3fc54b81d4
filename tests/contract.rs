//! What plugins can observe, statement by statement of the contract, through the built program.

#[path = "contract/async_jobs.rs"]
mod async_jobs;
#[path = "contract/definitions.rs"]
mod definitions;
#[path = "contract/engine.rs"]
mod engine;
#[path = "contract/examples.rs"]
mod examples;
#[path = "contract/filex.rs"]
mod filex;
#[path = "contract/flow_effects.rs"]
mod flow_effects;
#[path = "contract/flows.rs"]
mod flows;
#[path = "contract/fragments.rs"]
mod fragments;
#[path = "contract/globals.rs"]
mod globals;
#[path = "contract/inputfilter.rs"]
mod inputfilter;
#[path = "contract/lifecycle.rs"]
mod lifecycle;
#[path = "contract/messages.rs"]
mod messages;
#[path = "contract/objects.rs"]
mod objects;
#[path = "contract/protocols.rs"]
mod protocols;
#[path = "contract/records.rs"]
mod records;
#[path = "contract/rules.rs"]
mod rules;
#[path = "contract/stale.rs"]
mod stale;
mod support;
