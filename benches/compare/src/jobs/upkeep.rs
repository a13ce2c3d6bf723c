//! What an administrator looks at: how much mail takes on disk, and how long looking it over takes.

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use anyhow::ensure;
use testkit::{culver, messages::varied};

use super::Outcome;
use crate::servers::{Kind, Pair};

/// Messages whose files are counted.
const COUNTED: u64 = 2_000;
/// The user who has them.
const USER: &str = "disk";

/// What is counted of files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counted {
    /// Bytes in all files for each byte of the messages with CRLF line ends.
    Bytes,
    /// Files and folders for each message.
    Inodes,
}

/// Has each server store the same messages itself, once.
pub(super) fn stored(pair: &Pair) -> anyhow::Result<()> {
    for kind in [Kind::Culver, Kind::Dovecot] {
        if pair.login(kind, USER)?.ok("STATUS INBOX (MESSAGES)")?.untagged != [b"STATUS INBOX (MESSAGES 0)"] {
            continue;
        }
        let mut imap = pair.login(kind, USER)?;
        for from in (0..COUNTED).step_by(500) {
            let texts: Vec<_> = (from..from + 500).map(text).collect();
            let messages: Vec<_> = texts.iter().map(|text| ("", None, text.as_slice())).collect();
            let answer = imap.append_many("INBOX", &messages)?;
            ensure!(answer.is_ok(), "filling: {} {}", answer.status, answer.text);
        }
        imap.ok("LOGOUT")?;
    }
    Ok(())
}

fn text(number: u64) -> Vec<u8> {
    varied(&mut fastrand::Rng::with_seed(number), number)
}

pub(super) fn on_disk(pair: &Pair, kind: Kind, counted: Counted) -> anyhow::Result<Outcome> {
    let (mut bytes, mut inodes) = (0, 0);
    count(&pair.mail(kind, USER), &mut bytes, &mut inodes)?;
    let value = match counted {
        Counted::Bytes => bytes as f64 / (0..COUNTED).map(|number| text(number).len() as f64).sum::<f64>(),
        Counted::Inodes => inodes as f64 / COUNTED as f64,
    };
    Ok(Outcome { value: Some(value), answers: None })
}

fn count(path: &Path, bytes: &mut u64, inodes: &mut u64) -> anyhow::Result<()> {
    let there = fs::symlink_metadata(path)?;
    // A file with several names is counted once a name: no job here copies.
    *inodes += 1;
    if !there.is_dir() {
        *bytes += there.size();
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        count(&entry?.path(), bytes, inodes)?;
    }
    Ok(())
}

/// `culver check`, which reads headers and sizes, and `doveadm force-resync` of all mailboxes, which is the nearest that
/// Dovecot has.
pub(super) fn check(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    match kind {
        Kind::Culver => {
            let mut command = Command::new(culver::program()?);
            command.arg("check").arg("--store").arg(pair.mail(kind, "plain"));
            pair.owner().run_as(&mut command);
            let output = command.output()?;
            let told = String::from_utf8_lossy(&output.stdout);
            ensure!(output.status.success(), "culver check: {}: {told}", output.status);
        }
        Kind::Dovecot => drop(pair.dovecot.doveadm(&["force-resync", "-u", "plain", "*"])?),
    }
    Ok(Outcome::default())
}
