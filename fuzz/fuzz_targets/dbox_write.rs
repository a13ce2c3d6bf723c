//! See `culver_fuzz::dbox_write`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::dbox_write(data));
