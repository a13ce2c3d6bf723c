//! See `culver_fuzz::mbox_store`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::mbox_store(data));
