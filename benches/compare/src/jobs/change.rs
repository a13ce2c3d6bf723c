//! Changing: STORE, COPY, EXPUNGE. Each job leaves the mailbox as it found it.

use std::time::Instant;

use super::{
    Outcome,
    read::hash,
    stores::{LARGE, PLAIN},
};
use crate::servers::{Kind, Pair};

/// Sets a flag on all messages and takes it off again; only setting is timed.
pub(super) fn store(pair: &Pair, kind: Kind, user: &str, silent: bool) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, user)?;
    imap.ok("SELECT INBOX")?;
    let suffix = if silent { ".SILENT" } else { "" };
    let began = Instant::now();
    let answer = imap.ok(&format!("STORE 1:* +FLAGS{suffix} (\\Draft)"))?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    let answers = if silent { flags_of_some(&mut imap)? } else { hash(&answer)? };
    imap.ok("STORE 1:* -FLAGS.SILENT (\\Draft)")?;
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(answers), ..Outcome::default() })
}

fn flags_of_some(imap: &mut testkit::imap::Imap) -> anyhow::Result<String> {
    let from = LARGE - 100;
    hash(&imap.ok(&format!("FETCH {from}:* FLAGS"))?)
}

/// Copies all messages to a mailbox that is deleted afterwards; only COPY is timed.
pub(super) fn copy(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, "changed")?;
    imap.ok("SELECT INBOX")?;
    // A round that failed may have left it.
    imap.command("DELETE copies")?;
    imap.ok("CREATE copies")?;
    let began = Instant::now();
    imap.ok("COPY 1:* copies")?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    imap.ok("EXAMINE copies")?;
    let answers = hash(&imap.ok("FETCH 1:* (UID FLAGS RFC822.SIZE)")?)?;
    imap.ok("UNSELECT")?;
    imap.ok("DELETE copies")?;
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(answers), ..Outcome::default() })
}

/// Expunges the copies of all messages; only EXPUNGE is timed.
pub(super) fn expunge(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, "changed")?;
    imap.ok("SELECT INBOX")?;
    imap.command("DELETE expunged")?;
    imap.ok("CREATE expunged")?;
    imap.ok("COPY 1:* expunged")?;
    imap.ok("SELECT expunged")?;
    imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
    let began = Instant::now();
    let answer = imap.ok("EXPUNGE")?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    let told = answer.untagged.iter().filter(|line| line.ends_with(b" EXPUNGE")).count();
    anyhow::ensure!(told == PLAIN, "{told} told");
    let answers = format!("{told} {:?}", imap.ok("STATUS expunged (MESSAGES UIDNEXT)")?.untagged);
    imap.ok("UNSELECT")?;
    imap.ok("DELETE expunged")?;
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(answers), ..Outcome::default() })
}
