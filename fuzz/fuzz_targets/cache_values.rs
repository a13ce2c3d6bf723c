//! See `culver_fuzz::cache_values`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::cache_values(data));
