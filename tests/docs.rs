//! The documentation is true: every recipe finds what it is there for, and the reference has an entry for each name that
//! exists, and no other.

#[path = "docs/program.rs"]
mod program;
#[path = "docs/recipes.rs"]
mod recipes;
#[path = "docs/reference.rs"]
mod reference;
