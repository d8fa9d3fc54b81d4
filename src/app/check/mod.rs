//! `millstream check`: loads plugins without traffic and points out mistakes.
//!
//! Nothing here stops at the first mistake: what can be looked at is looked at. The words of the source text tell
//! the lines of findings and what names say; [`inspect`] looks at compiled code and at values in a VM; the rest compares both
//! with what the plugin API has.

mod api_names;
mod assignments;
mod command;
mod expressions;
mod fields;
mod finding;
mod guids;
mod inspect;
mod loading;
mod locals;

pub use api_names::nearest;
pub use command::check;
