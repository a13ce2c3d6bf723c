//! See `culver_fuzz::pop3_session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::pop3_session(data));
