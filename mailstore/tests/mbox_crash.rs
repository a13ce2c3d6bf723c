//! mbox keeps its promises through power cuts and failing calls; see [`steps::scenario`].

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod steps;

use steps::{Format, scenario};

#[test]
fn every_power_cut() {
    scenario::every_power_cut(Format::Mbox);
}

#[test]
fn every_failing_call() {
    scenario::every_failing_call(Format::Mbox);
}
