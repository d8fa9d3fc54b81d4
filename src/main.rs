//! The `millstream` command.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: millstream::memory::Allocator = millstream::memory::Allocator;

fn main() -> ExitCode {
    millstream::app::main()
}
