//! See `culver_fuzz::index_dump`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::index_dump(data));
