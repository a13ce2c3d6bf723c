//! A place of Dovecot's with another location of mail.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{fs, path::PathBuf};

use crate::dovecot::Shared;

/// With this `mail_location` and these further lines, in which `ROOT` is the store's folder; gives that too.
pub fn located(location: &str, more: &str) -> (Shared, PathBuf) {
    let shared = Shared::new();
    let config = shared.dir.path().join("dovecot.conf");
    let text = fs::read_to_string(&config).unwrap();
    let root = shared.dir.path().join("mail");
    let placed = |text: &str| text.replace("ROOT", &root.display().to_string());
    let ours = format!("mail_location = {}", placed(location));
    let text = text.replace(&format!("mail_location = sdbox:{}", root.display()), &ours);
    fs::write(&config, text + &placed(more)).unwrap();
    (shared, root)
}
