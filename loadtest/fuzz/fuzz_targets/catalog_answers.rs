//! The target `catalog_answers`, see `cellspace_fuzz::targets`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cellspace_fuzz::targets::messages::catalog_answers(data));
