//! What an administrator runs: looking mail over, purging.

use std::{fs, path::PathBuf};

use anyhow::ensure;
use testkit::place::copy_tree;

use super::{Outcome, stores, timed};
use crate::servers::{Kind, Pair};

/// The user whose mail is purged.
const PURGED: &str = "purged";

/// `culver check`, which reads headers and sizes; with `deep`, which reads every body. `doveadm force-resync` of all
/// mailboxes is the nearest that Dovecot has.
pub(super) fn check(pair: &Pair, kind: Kind, deep: bool) -> anyhow::Result<Outcome> {
    timed(|| match kind {
        Kind::Culver => {
            let mail = pair.mail(kind, "plain").display().to_string();
            let store = ["check", "--store", &mail];
            let arguments: Vec<&str> = store.into_iter().chain(deep.then_some("--deep")).collect();
            pair.run_culver(&arguments)
        }
        Kind::Dovecot => pair.dovecot.doveadm(&["force-resync", "-u", "plain", "*"]).map(drop),
    })
}

/// Half of 5,000 messages expunged, every second one, and not purged. Each round begins with a copy of that.
pub(super) fn expunged(pair: &Pair) -> anyhow::Result<()> {
    if unpurged(pair)?.exists() {
        return Ok(());
    }
    stores::fill(pair, PURGED, stores::PLAIN)?;
    let mut imap = pair.login(Kind::Culver, PURGED)?;
    imap.ok("SELECT INBOX")?;
    let odd: Vec<String> = (1..=stores::PLAIN).step_by(2).map(|seq| seq.to_string()).collect();
    for some in odd.chunks(500) {
        imap.ok(&format!("STORE {} +FLAGS.SILENT (\\Deleted)", some.join(",")))?;
    }
    imap.ok("EXPUNGE")?;
    imap.ok("LOGOUT")?;
    copy_tree(&pair.mail(Kind::Culver, PURGED), &unpurged(pair)?, pair.owner())
}

fn unpurged(pair: &Pair) -> anyhow::Result<PathBuf> {
    pair.aside(Kind::Culver, "unpurged")
}

/// Only purging is timed.
pub(super) fn purge(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mail = pair.mail(kind, PURGED);
    fs::remove_dir_all(&mail)?;
    copy_tree(&unpurged(pair)?, &mail, pair.owner())?;
    let outcome = timed(|| match kind {
        Kind::Culver => pair.run_culver(&["purge", PURGED]),
        Kind::Dovecot => pair.dovecot.doveadm(&["purge", "-u", PURGED]).map(drop),
    })?;
    let left = fs::read_dir(mail.join("storage"))?.map(|entry| Ok(entry?.metadata()?.len()));
    let (left, expected) = (left.sum::<std::io::Result<u64>>()?, fs::read_dir(unpurged(pair)?.join("storage"))?);
    let before = expected.map(|entry| Ok(entry?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    ensure!(left < before * 2 / 3, "{left} bytes of {before} are left");
    Ok(outcome)
}
