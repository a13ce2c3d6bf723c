//! See `culver_fuzz::log_records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::log_records(data));
