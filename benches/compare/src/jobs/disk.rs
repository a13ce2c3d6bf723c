//! How much mail takes on disk.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::ensure;
use testkit::messages::varied;

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
    /// The same in the blocks that the file system has given them.
    Blocks,
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
    let mut files = Files::default();
    files.add(&pair.mail(kind, USER))?;
    let mail = || (0..COUNTED).map(|number| text(number).len() as f64).sum::<f64>();
    let value = match counted {
        Counted::Bytes => files.bytes as f64 / mail(),
        Counted::Blocks => files.blocks as f64 * BLOCK_LEN / mail(),
        Counted::Inodes => files.inodes.len() as f64 / COUNTED as f64,
    };
    Ok(Outcome { value: Some(value), ..Outcome::default() })
}

/// What `st_blocks` counts.
const BLOCK_LEN: f64 = 512.0;

/// What files and folders come to. One with several names is counted once.
#[derive(Default)]
struct Files {
    bytes: u64,
    blocks: u64,
    inodes: BTreeSet<u64>,
}

impl Files {
    fn add(&mut self, path: &Path) -> anyhow::Result<()> {
        let there = fs::symlink_metadata(path)?;
        if !self.inodes.insert(there.ino()) {
            return Ok(());
        }
        self.blocks += there.blocks();
        if !there.is_dir() {
            self.bytes += there.size();
            return Ok(());
        }
        fs::read_dir(path)?.try_for_each(|entry| self.add(&entry?.path()))
    }
}
