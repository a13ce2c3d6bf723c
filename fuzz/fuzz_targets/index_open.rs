//! See `culver_fuzz::index_open`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::index_open(data));
