//! See `culver_fuzz::convert_journal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::convert_journal(data));
