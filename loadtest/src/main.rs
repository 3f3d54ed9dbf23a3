//! Load generator and kill driver of the platform; see `--help`.

#![forbid(unsafe_code)]

fn main() {}
