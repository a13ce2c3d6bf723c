//! See `culver_fuzz::mdbox_files`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::mdbox_files(data));
