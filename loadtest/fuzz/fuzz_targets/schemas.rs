//! The target `schemas`, see `cellspace_fuzz::targets`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cellspace_fuzz::targets::schemas::schemas(data));
