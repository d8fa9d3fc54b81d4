//! The commands for those who write plugins: their tests, the prompt, the profile.

#[path = "authors/cases.rs"]
mod cases;
#[path = "authors/jobs.rs"]
mod jobs;
#[path = "authors/profile.rs"]
mod profile;
#[path = "authors/prompt.rs"]
mod prompt;
#[path = "authors/run.rs"]
mod run;
