//! Many clients at once, each on work of its own as a mail program does it.

use std::thread;

use fastrand::Rng;
use testkit::lmtp::Lmtp;

use super::{Outcome, mail};
use crate::servers::{Kind, Pair, USERS};

/// Clients at once.
const CLIENTS: usize = 20;
/// What each does.
const STEPS: usize = 60;

/// Twenty clients, of ten users, each with the same random work on both servers.
pub(super) fn clients(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || work(pair, kind, client))).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(Outcome::default())
}

fn work(pair: &Pair, kind: Kind, client: usize) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(client as u64);
    let user = USERS[client % 10];
    let mut imap = pair.login(kind, user)?;
    let mut lmtp = Lmtp::connect(pair.lmtp(kind))?;
    lmtp.deliver(&[user], &mail(client as u64))?;
    imap.ok("SELECT INBOX")?;
    for step in 0..STEPS {
        // What another client of the user has expunged meanwhile is answered with NO, by both servers.
        match rng.u8(..12) {
            0..=1 => drop(lmtp.deliver(&[user], &mail((client * STEPS + step) as u64))?),
            2 => drop(imap.append("INBOX", "\\Seen", None, &mail(step as u64))?),
            3..=4 => drop(imap.command("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")?),
            5..=6 => {
                drop(imap.command("UID FETCH 1:20 (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (REFERENCES)])")?)
            }
            7 => drop(imap.command("UID FETCH 1:5 (BODY.PEEK[])")?),
            8 => drop(imap.command("UID STORE 1:* +FLAGS.SILENT (\\Seen)")?),
            9 => drop(imap.command("UID SEARCH SINCE 1-Jan-2020 SUBJECT message")?),
            10 => drop(imap.command("STATUS INBOX (MESSAGES UNSEEN)")?),
            _ => drop(imap.command("NOOP")?),
        }
    }
    imap.ok("LOGOUT")?;
    Ok(())
}
