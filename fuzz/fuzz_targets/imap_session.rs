//! See `culver_fuzz::imap_session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::imap_session(data));
