//! The documentation is true: its commands run and print what it says, every recipe finds what it is there for, and the
//! reference has an entry for each name that exists, and no other.

#[path = "docs/attributes.rs"]
mod attributes;
#[path = "docs/fences.rs"]
mod fences;
#[path = "docs/program.rs"]
mod program;
#[path = "docs/recipes.rs"]
mod recipes;
#[path = "docs/reference.rs"]
mod reference;
