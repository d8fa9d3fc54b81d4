//! The `millstream` command.

use std::process::ExitCode;

/// Records are made on one thread and dropped on another all the time; the allocator of the C library takes locks for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millstream::app::main()
}
