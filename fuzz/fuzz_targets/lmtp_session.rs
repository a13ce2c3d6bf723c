//! See `culver_fuzz::lmtp_session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::lmtp_session(data));
