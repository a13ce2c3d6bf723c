//! See `culver_fuzz::sasl`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::sasl(data));
