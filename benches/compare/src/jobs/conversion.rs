//! From one format into another: `culver convert` and `doveadm backup`, which is a one-way dsync. Both keep UIDs, flags, dates
//! and GUIDs; each writes into a place where nothing is.

use std::{fs, path::Path};

use anyhow::ensure;

use super::{Outcome, stores, timed};
use crate::servers::{Format, Kind, Pair};

/// Of the user with 5,000 messages; only the conversion is timed.
pub(super) fn convert(pair: &Pair, kind: Kind, to: Format) -> anyhow::Result<Outcome> {
    let mail = pair.aside(kind, "converted")?;
    clear(&mail)?;
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
    clear(&mail)?;
    Ok(Outcome { answers: Some(told), ..outcome })
}

fn clear(mail: &Path) -> anyhow::Result<()> {
    if mail.exists() {
        fs::remove_dir_all(mail)?;
    }
    Ok(())
}
