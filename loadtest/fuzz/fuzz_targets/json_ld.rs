//! The target `json_ld`, see `cellspace_fuzz::targets`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cellspace_fuzz::targets::messages::json_ld(data));
