//! See `culver_fuzz::transaction`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::transaction(data));
