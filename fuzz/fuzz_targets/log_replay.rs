//! See `culver_fuzz::log_replay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::log_replay(data));
