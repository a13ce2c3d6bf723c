//! Reading: SELECT, FETCH, SEARCH, SORT, THREAD, STATUS, and what POP3 has of it.

use std::time::Instant;

use anyhow::ensure;
use testkit::{imap::Answer, observe::sha256, wire::tokens};

use super::{Outcome, stores};
use crate::servers::{Kind, Pair};

/// Logins in a row of the job that is about them.
const LOGINS: usize = 100;
/// Messages that POP3 fetches.
const RETRIEVED: u32 = 1000;

/// A user logs in, looks at a mailbox of some size and leaves.
pub(super) fn select(pair: &Pair, kind: Kind, user: &str, count: usize) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, user)?;
    let answer = imap.ok("SELECT INBOX")?;
    ensure!(answer.number("EXISTS") == Some(count as u32), "EXISTS");
    imap.ok("LOGOUT")?;
    let codes = ["UIDVALIDITY", "UIDNEXT", "UNSEEN"].map(|code| format!("{:?}", answer.untagged_code(code)));
    Ok(Outcome { answers: Some(codes.join(" ")), ..Outcome::default() })
}

pub(super) fn logins(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    for _ in 0..LOGINS {
        outcome = select(pair, kind, "plain", stores::PLAIN)?;
    }
    Ok(outcome)
}

/// One command in INBOX, opened read-only; the time is that of the command alone.
pub(super) fn command(pair: &Pair, kind: Kind, user: &str, command: &str) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, user)?;
    imap.ok("EXAMINE INBOX")?;
    let began = Instant::now();
    let answer = imap.ok(command)?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(hash(&answer)?), ..Outcome::default() })
}

/// A hash of the untagged responses. Quoted or literal, in either order of flags: the same answer.
pub(super) fn hash(answer: &Answer) -> anyhow::Result<String> {
    let mut normal = Vec::new();
    for line in &answer.untagged {
        // Numbers of changes differ between stores, whose histories do.
        let text = format!("{:?}\n", tokens(line).map_err(anyhow::Error::msg)?);
        if !text.contains("HIGHESTMODSEQ") {
            normal.extend_from_slice(text.replace("\\Recent, ", "").replace("\\Recent", "").as_bytes());
        }
    }
    ensure!(!normal.is_empty(), "no answer");
    Ok(sha256(&normal))
}

/// STATUS of many mailboxes in one LIST (RFC 5819).
pub(super) fn list_status(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, "many")?;
    let began = Instant::now();
    let mut answer = imap.ok("LIST \"\" list/* RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))")?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    // Which line comes when is the server's choice, and so is what it says of children.
    answer.untagged.retain(|line| line.starts_with(b"STATUS"));
    answer.untagged.sort();
    ensure!(answer.untagged.len() >= stores::MAILBOXES, "{} lines", answer.untagged.len());
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(hash(&answer)?), ..Outcome::default() })
}

/// Coming back to a mailbox in which little has happened (RFC 7162).
pub(super) fn qresync(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, "changed")?;
    imap.ok("ENABLE QRESYNC")?;
    let answer = imap.ok("SELECT INBOX")?;
    let code = |name: &str| answer.untagged_code(name).and_then(|words| words.first().cloned());
    let (validity, modseq) = (code("UIDVALIDITY"), code("HIGHESTMODSEQ"));
    let (Some(validity), Some(modseq)) = (validity, modseq) else { anyhow::bail!("SELECT without CONDSTORE") };
    for (step, action) in ["+FLAGS.SILENT (\\Flagged)", "-FLAGS.SILENT (\\Flagged)"].into_iter().enumerate() {
        imap.ok(&format!("STORE 1:{} {action}", 100 * (step + 1)))?;
    }
    imap.ok("UNSELECT")?;
    let began = Instant::now();
    let answer = imap.ok(&format!("SELECT INBOX (QRESYNC ({validity} {modseq}))"))?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    let changed = answer.fetches()?.into_iter().map(|(seq, _)| seq.to_string());
    let answers = changed.collect::<Vec<_>>().join(",");
    ensure!(!answers.is_empty(), "nothing changed");
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(answers), ..Outcome::default() })
}

/// A POP3 session that lists all and fetches many.
pub(super) fn pop3(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut pop3 = pair.pop3(kind, "plain")?;
    let mut all = Vec::new();
    let commands = std::iter::once("LIST".to_owned()).chain((1..=RETRIEVED).map(|number| format!("RETR {number}")));
    for command in commands {
        let answer = pop3.command(&command)?;
        ensure!(answer.is_ok(), "{command}: {}", answer.first);
        answer.lines.iter().flatten().for_each(|line| all.extend_from_slice(line));
    }
    let answer = pop3.command("QUIT")?;
    ensure!(answer.is_ok(), "QUIT: {}", answer.first);
    Ok(Outcome { answers: Some(sha256(&all)), ..Outcome::default() })
}
