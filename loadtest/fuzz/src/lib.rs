//! What the fuzz targets do: one function for each family of parsers, of any bytes. The binaries in `fuzz_targets` hand them to the fuzzer; a test
//! of the platform runs them over `seeds`, so that what was found once stays found.

#![forbid(unsafe_code)]

pub mod targets;
