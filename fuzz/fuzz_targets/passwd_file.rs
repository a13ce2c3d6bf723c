//! See `culver_fuzz::passwd_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::passwd_file(data));
