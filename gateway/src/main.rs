//! The `cellspace` binary.

#![forbid(unsafe_code)]

fn main() {}
