//! See `culver_fuzz::list_index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::list_index(data));
