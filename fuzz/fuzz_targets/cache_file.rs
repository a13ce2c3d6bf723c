//! See `culver_fuzz::cache_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::cache_file(data));
