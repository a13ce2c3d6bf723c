//! See `culver_fuzz::mbox`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::mbox(data));
