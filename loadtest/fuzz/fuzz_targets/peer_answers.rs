//! The target `peer_answers`, see `cellspace_fuzz::targets`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| cellspace_fuzz::targets::answers::answers(data));
