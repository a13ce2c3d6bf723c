//! The jobs. Each is run by both servers in the same words.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;
use testkit::{imap::Imap, lmtp::Lmtp, messages::message, observe::sha256, wire::tokens};

use crate::{
    measure::{median, memory_kb},
    servers::{Kind, Pair, USERS},
};

/// A row of the report.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    /// Of the wall column.
    pub(crate) unit: &'static str,
    /// Unlike the default.
    pub(crate) rounds: Option<usize>,
    pub(crate) prepare: fn(&Pair) -> anyhow::Result<()>,
    pub(crate) run: fn(&Pair, Kind) -> anyhow::Result<Outcome>,
}

/// What one run of a job came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// A figure other than the milliseconds that the run took.
    pub(crate) value: Option<f64>,
    /// A hash of what the server answered; must be the same for both.
    pub(crate) answers: Option<String>,
}

const NOTHING: fn(&Pair) -> anyhow::Result<()> = |_| Ok(());
/// Messages of the large mailbox.
const LARGE: usize = 100_000;
/// Messages of the mailbox whose cache is thrown away before each run.
const PLAIN: usize = 5_000;
const DELIVERIES: usize = 400;

pub(crate) fn all() -> Vec<Job> {
    let job = |name, unit, prepare, run| Job { name, unit, rounds: None, prepare, run };
    vec![
        // First, while nothing that other jobs leave behind can be given back in the middle of it.
        Job { rounds: Some(0), ..job("memory of an idle connection (IDLE, 500 of them)", "KB", NOTHING, idle_memory) },
        job("LMTP, 1 connection, 400 messages", "ms", NOTHING, |pair, kind| deliver(pair, kind, 1, &["u0"])),
        job("LMTP, 16 connections, 16 users, 1600 messages", "ms", NOTHING, |pair, kind| {
            deliver(pair, kind, 16, &USERS[..16])
        }),
        job("LMTP, 16 connections, 1 user, 1600 messages", "ms", NOTHING, |pair, kind| {
            deliver(pair, kind, 16, &["u1"])
        }),
        job("login, SELECT of 100000, LOGOUT", "ms", prepare_large, select),
        job("FETCH 1:* (UID FLAGS) of 100000", "ms", prepare_large, |pair, kind| {
            fetch(pair, kind, "large", "UID FLAGS")
        }),
        job("FETCH 1:* (ENVELOPE) of 100000, cached", "ms", prepare_large, |pair, kind| {
            fetch(pair, kind, "large", "ENVELOPE")
        }),
        job("FETCH 1:* (ENVELOPE) of 5000, not cached", "ms", prepare_plain, |pair, kind| {
            drop_cache(pair, kind)?;
            fetch(pair, kind, "plain", "ENVELOPE")
        }),
        job("notice of new mail to IDLE, own delivery", "ms", NOTHING, |pair, kind| notice(pair, kind, kind)),
        job("notice of new mail to IDLE, Dovecot delivers", "ms", NOTHING, |pair, kind| {
            notice(pair, kind, Kind::Dovecot)
        }),
    ]
}

fn mail(number: u64) -> Vec<u8> {
    message(&mut Rng::with_seed(number), number)
}

fn deliver(pair: &Pair, kind: Kind, connections: usize, users: &[&str]) -> anyhow::Result<Outcome> {
    let each = if connections == 1 { DELIVERIES } else { 4 * DELIVERIES / connections };
    let address = pair.lmtp(kind);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|connection| {
                let user = users[connection % users.len()];
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut lmtp = Lmtp::connect(address)?;
                    for number in 0..each {
                        let replies = lmtp.deliver(&[user], &mail((connection * each + number) as u64))?;
                        ensure!(replies.iter().all(|(code, _)| *code == 250), "{replies:?}");
                    }
                    Ok(())
                })
            })
            .collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(Outcome::default())
}

fn fill(pair: &Pair, user: &str, count: usize) -> anyhow::Result<()> {
    if pair.mail(Kind::Dovecot, user).exists() {
        return Ok(());
    }
    let mut imap = pair.login(Kind::Culver, user)?;
    for from in (0..count).step_by(500) {
        let texts: Vec<_> = (from..(from + 500).min(count)).map(|number| mail(number as u64 % 2000)).collect();
        let flags = ["", "\\Seen", "\\Seen \\Answered", "Junk"];
        let messages: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| (flags[i % 4], Some("11-Jan-2024 10:00:00 +0000"), text.as_slice()))
            .collect();
        let answer = imap.append_many("INBOX", &messages)?;
        ensure!(answer.is_ok(), "filling: {} {}", answer.status, answer.text);
    }
    imap.ok("LOGOUT")?;
    pair.copy_to_dovecot(user)
}

fn prepare_large(pair: &Pair) -> anyhow::Result<()> {
    fill(pair, "large", LARGE)
}

fn prepare_plain(pair: &Pair) -> anyhow::Result<()> {
    fill(pair, "plain", PLAIN)
}

fn drop_cache(pair: &Pair, kind: Kind) -> anyhow::Result<()> {
    let cache = pair.mail(kind, "plain").join("mailboxes/INBOX/dbox-Mails/dovecot.index.cache");
    match std::fs::remove_file(&cache) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn select(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, "large")?;
    let answer = imap.ok("SELECT INBOX")?;
    ensure!(answer.number("EXISTS") == Some(LARGE as u32), "EXISTS");
    imap.ok("LOGOUT")?;
    let codes = ["UIDVALIDITY", "UIDNEXT", "UNSEEN"].map(|code| format!("{:?}", answer.untagged_code(code)));
    Ok(Outcome { value: None, answers: Some(codes.join(" ")) })
}

fn fetch(pair: &Pair, kind: Kind, user: &str, items: &str) -> anyhow::Result<Outcome> {
    let mut imap = pair.login(kind, user)?;
    imap.ok("EXAMINE INBOX")?;
    let began = Instant::now();
    let answer = imap.ok(&format!("FETCH 1:* ({items})"))?;
    let value = began.elapsed().as_secs_f64() * 1e3;
    let mut normal = Vec::new();
    for line in &answer.untagged {
        // Quoted or literal, in either order of flags: the same answer.
        let text = format!("{:?}\n", tokens(line).map_err(anyhow::Error::msg)?);
        normal.extend_from_slice(text.replace("\\Recent, ", "").replace("\\Recent", "").as_bytes());
    }
    imap.ok("LOGOUT")?;
    Ok(Outcome { value: Some(value), answers: Some(sha256(&normal)) })
}

fn idling(pair: &Pair, kind: Kind, user: &str) -> anyhow::Result<Imap> {
    let mut imap = pair.login(kind, user)?;
    imap.ok("SELECT INBOX")?;
    imap.send(b"idle IDLE\r\n")?;
    let answer = imap.response()?;
    ensure!(answer.starts_with(b"+"), "IDLE: {}", String::from_utf8_lossy(&answer));
    Ok(imap)
}

fn idle_memory(pair: &Pair, kind: Kind) -> anyhow::Result<Outcome> {
    const FIRST: usize = 20;
    const CONNECTIONS: usize = 500;
    let pid = pair.root_pid(kind)?;
    let open = |count| (0..count).map(|_| idling(pair, kind, "idle")).collect::<anyhow::Result<Vec<_>>>();
    // What the first connections bring along (threads, caches, the mailbox itself) is not theirs.
    let first = open(FIRST)?;
    thread::sleep(Duration::from_secs(3));
    let before = memory_kb(pid)?;
    let connections = open(CONNECTIONS)?;
    thread::sleep(Duration::from_secs(3));
    let each = (memory_kb(pid)? - before) / CONNECTIONS as f64;
    drop((first, connections));
    thread::sleep(Duration::from_millis(300));
    Ok(Outcome { value: Some(each), answers: None })
}

/// Milliseconds from the 250 of a delivery to the EXISTS that an idling session is sent; 0 if that comes first.
fn notice(pair: &Pair, kind: Kind, deliverer: Kind) -> anyhow::Result<Outcome> {
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
    Ok(Outcome { value: Some(median(delays.into_iter())), answers: None })
}
