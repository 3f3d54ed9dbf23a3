//! The `cellspace` binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Many small, short-lived allocations on all cores: faster than the system's allocator, and it gives memory back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cellspace::cli::main()
}
