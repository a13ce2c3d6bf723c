//! See `culver_fuzz::maildir`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::maildir(data));
