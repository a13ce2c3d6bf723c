//! Sessions that wait: what they cost, and how soon they hear.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use testkit::{imap::Imap, lmtp::Lmtp};

use super::{Outcome, mail};
use crate::{
    measure::{median, memory_kb},
    secured::Secured,
    servers::{Kind, Pair},
};

fn idling(pair: &Pair, kind: Kind, user: &str) -> anyhow::Result<Imap> {
    let mut imap = pair.login(kind, user)?;
    imap.ok("SELECT INBOX")?;
    imap.send(b"idle IDLE\r\n")?;
    let answer = imap.response()?;
    ensure!(answer.starts_with(b"+"), "IDLE: {}", String::from_utf8_lossy(&answer));
    Ok(imap)
}

/// What carries a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carrier {
    Plain,
    Tls,
    TlsAndCompress,
}

/// Kilobytes that a connection costs which has selected a mailbox and waits.
pub(super) fn idle_memory(pair: &Pair, kind: Kind, carrier: Carrier) -> anyhow::Result<Outcome> {
    const FIRST: usize = 20;
    const CONNECTIONS: usize = 500;
    let pid = pair.root_pid(kind)?;
    let one = || -> anyhow::Result<Box<dyn std::any::Any>> {
        Ok(match carrier {
            Carrier::Plain => Box::new(idling(pair, kind, "idle")?),
            Carrier::Tls => Box::new(Secured::idling(pair.imaps(kind)?, "idle", false)?),
            Carrier::TlsAndCompress => Box::new(Secured::idling(pair.imaps(kind)?, "idle", true)?),
        })
    };
    let open = |count| (0..count).map(|_| one()).collect::<anyhow::Result<Vec<_>>>();
    // What the first connections bring along (threads, caches, the mailbox itself) is not theirs.
    let first = open(FIRST)?;
    thread::sleep(Duration::from_secs(3));
    let before = memory_kb(pid)?;
    let connections = open(CONNECTIONS)?;
    thread::sleep(Duration::from_secs(3));
    let each = (memory_kb(pid)? - before) / CONNECTIONS as f64;
    drop((first, connections));
    thread::sleep(Duration::from_millis(300));
    Ok(Outcome { value: Some(each), answers: None, ..Outcome::default() })
}

/// Milliseconds from the 250 of a delivery to the EXISTS that an idling session is sent; 0 if that comes first.
pub(super) fn notice(pair: &Pair, kind: Kind, deliverer: Kind) -> anyhow::Result<Outcome> {
    let user = if kind == deliverer { "u15" } else { "shared" };
    let mut imap = idling(pair, kind, user)?;
    let mut lmtp = Lmtp::connect(pair.lmtp(deliverer))?;
    let mut delays = Vec::new();
    for number in 0..20 {
        thread::sleep(Duration::from_millis(30));
        let waiting = thread::spawn(move || -> anyhow::Result<(Imap, Instant)> {
            loop {
                let response = imap.response()?;
                if response.ends_with(b" EXISTS") {
                    return Ok((imap, Instant::now()));
                }
            }
        });
        let replies = lmtp.deliver(&[user], &mail(number))?;
        let delivered = Instant::now();
        ensure!(replies.iter().all(|(code, _)| *code == 250), "{replies:?}");
        let (back, noticed) =
            waiting.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))?.context("no notice")?;
        imap = back;
        delays.push(noticed.saturating_duration_since(delivered).as_secs_f64() * 1e3);
    }
    Ok(Outcome { value: Some(median(delays.into_iter())), answers: None, ..Outcome::default() })
}
