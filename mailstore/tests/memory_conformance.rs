//! The backend in memory does what every backend must do, near by and far away.

mod conformance;

use std::{sync::Arc, time::Duration};

use mailstore::{
    MailStorage,
    memory::{MemoryOptions, MemoryStorage},
};

fn delayed(commit_delay: Duration) -> Arc<dyn MailStorage> {
    Arc::new(MemoryStorage::new(MemoryOptions { commit_delay, ..MemoryOptions::default() }))
}

#[test]
fn commits_at_once() {
    conformance::run(&|| delayed(Duration::ZERO), &[]);
}

#[test]
fn commits_from_far_away() {
    conformance::run(&|| delayed(Duration::from_millis(3)), &[]);
}

#[test]
fn behaves_like_the_model() {
    conformance::run_model(&|| delayed(Duration::ZERO), 256);
}

#[test]
fn behaves_like_the_model_from_far_away() {
    conformance::run_model(&|| delayed(Duration::from_micros(200)), 16);
}
