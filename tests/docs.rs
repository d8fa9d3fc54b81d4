//! The documentation is true: the reference has an entry for each name that exists, and no other.

#[path = "docs/program.rs"]
mod program;
#[path = "docs/reference.rs"]
mod reference;
