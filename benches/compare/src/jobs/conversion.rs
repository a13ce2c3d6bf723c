//! From one format into another: `culver convert` and `doveadm backup`, which is a one-way dsync. Both keep UIDs, flags, dates
//! and GUIDs; each writes into a place where nothing is.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::ensure;

use super::{Outcome, stores, timed};
use crate::servers::{Format, Kind, Pair};

/// Conversions so far. What was converted stays: ext4 searches long among inodes that were free a moment ago.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Of the user with 5,000 messages; only the conversion is timed.
pub(super) fn convert(pair: &Pair, kind: Kind, to: Format) -> anyhow::Result<Outcome> {
    let mail = pair.aside(kind, &format!("converted-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))?;
    let destination = to.location(&mail.display().to_string());
    let source = pair.format().location(&pair.mail(kind, "plain").display().to_string());
    let outcome = timed(|| match kind {
        Kind::Culver => pair.run_culver(&["convert", &source, &destination]),
        Kind::Dovecot => pair.dovecot.doveadm(&["backup", "-u", "plain", &destination]).map(drop),
    })?;
    let told = pair.dovecot.doveadm(&[
        "-o",
        &format!("mail_location={destination}"),
        "mailbox",
        "status",
        "-u",
        "plain",
        "messages uidnext",
        "INBOX",
    ])?;
    let told = String::from_utf8_lossy(&told).into_owned();
    ensure!(told.contains(&format!("messages={}", stores::PLAIN)), "{told}");
    Ok(Outcome { answers: Some(told), ..outcome })
}
