//! See `culver_fuzz::dbox_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::dbox_file(data));
