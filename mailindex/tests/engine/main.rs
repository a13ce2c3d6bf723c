//! The engine on the simulated and the real disk, alone and beside a real Dovecot.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "tests")]

mod basic;
mod cache;
mod common;
mod crash;
mod dovecot;
mod recovery;
mod threads;
