//! The target `data_planes`, see `cellspace_fuzz::targets`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cellspace_fuzz::targets::bodies::data_planes(data));
