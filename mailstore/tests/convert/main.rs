//! Conversions between stores of every kind.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic, reason = "a test fails by panicking")]

mod conversions;
mod converted;
mod crash;
mod meanwhile;
#[path = "../meddled_disk/mod.rs"]
mod meddled_disk;
mod stopped;
