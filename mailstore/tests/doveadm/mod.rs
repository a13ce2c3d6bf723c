//! Dovecot's own tool on a store.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{path::Path, process::Command};

use crate::dovecot::{self, Shared};

const DOVEADM: &str = "/usr/bin/doveadm";

/// Whether it and Dovecot can be run; says so loudly if not.
pub fn is_installed() -> bool {
    dovecot::is_installed() && Path::new(DOVEADM).exists()
}

/// Runs it as whom Dovecot runs as; it must succeed. Gives what it said beside its output.
pub fn doveadm(shared: &Shared, arguments: &[&str]) -> String {
    shared.own();
    let mut command = Command::new(DOVEADM);
    command.arg("-c").arg(shared.dir.path().join("dovecot.conf")).args(arguments);
    command.env_clear().env("HOME", shared.dir.path()).env("USER", "nobody").env("TZ", "UTC");
    shared.as_dovecot(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "doveadm {arguments:?}: {said}");
    said
}
