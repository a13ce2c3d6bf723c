//! `kill -9` in the middle of a load: whatever was acknowledged must be there exactly once after the restart, with every
//! acknowledged flag, and a Dovecot that opens the store then must have nothing to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{SharedStore, StoreFormat, USER, third_party::ThirdParty};
use crate::{
    dovecot::{Dovecot, PASSWORD},
    imap::Imap,
    lmtp::Lmtp,
    place::Place,
};

/// What the kills showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kills.
    pub kills: u32,
    /// Messages acknowledged before a kill, all rounds together.
    pub acknowledged: u64,
    /// Messages found that nobody had acknowledged: allowed.
    pub unacknowledged: u64,
    /// STORE commands on all messages of the big mailbox that were acknowledged.
    pub stores: u64,
    /// Whether Dovecot was there to open the store after each kill.
    pub dovecot: bool,
    /// What was lost, doubled or wrong; must be empty.
    pub broken: Vec<String>,
}

/// The mailbox whose flags are changed all at once.
const BIG: &str = "Big";
const APPENDED: &str = "Appended";
const BATCHES: &str = "Batches";
const KEYWORD: &str = "round";

/// Where the store lies. What a process wrote before it was killed is there whatever that is; on a disk that others use, a
/// run on a Maildir waits for it most of the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On {
    /// Where other files are.
    Disk,
    /// In memory, if there is enough.
    Memory,
}

/// Kills the server `kills` times under load. `big` is how many messages STORE 1:* touches.
pub fn run(program: &Path, format: StoreFormat, on: On, seed: u64, kills: u32, big: usize) -> anyhow::Result<Report> {
    let place = match on {
        On::Disk => Place::new("kill")?,
        On::Memory => Place::in_memory("kill")?,
    };
    let store = SharedStore::at(place, format)?;
    let mut rng = Rng::with_seed(seed);
    let dovecot = if crate::dovecot::is_installed() { Some(store.dovecot("peer")?) } else { None };
    let mut report = Report { dovecot: dovecot.is_some(), ..Report::default() };
    let mut culver = store.culver(program)?;
    fill(culver.imap, big)?;
    for round in 0..kills {
        let ledger = Ledger::default();
        let (imap, lmtp) = (culver.imap, culver.lmtp);
        let stores_before = flag_count(imap)?;
        std::thread::scope(|scope| {
            let ledger = &ledger;
            for worker in 0..5 {
                // A worker ends with an error when its connection dies: that is the kill.
                scope.spawn(move || {
                    let _ = work(worker, round, imap, lmtp, ledger);
                });
            }
            if let Some(third) = ThirdParty::on(&store) {
                let seed = rng.u64(..);
                scope.spawn(move || {
                    let _ = deliver(third, seed, round, ledger);
                });
            }
            std::thread::sleep(Duration::from_micros(rng.u64(2_000..300_000)));
            culver.kill()
        })?;
        culver = store.culver(program)?;
        let context = || format!("seed {seed}, round {round}");
        check(culver.imap, &ledger, stores_before, big, &mut report).with_context(context)?;
        if let Some(dovecot) = &dovecot {
            open_with_dovecot(dovecot).with_context(context)?;
        }
        report.kills += 1;
        if !report.broken.is_empty() {
            report.broken.push(context());
            break;
        }
        clear(culver.imap).with_context(context)?;
    }
    if let Some(dovecot) = &dovecot {
        report.broken.extend(dovecot.complaints()?);
    }
    Ok(report)
}

/// What the server said OK to in one round.
#[derive(Debug, Default)]
struct Ledger {
    acknowledged: Mutex<BTreeMap<&'static str, BTreeSet<String>>>,
    /// The keyword's state as last acknowledged, and as last asked for.
    flags: Mutex<Flags>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    acknowledged: Option<bool>,
    asked: Option<bool>,
    count: u64,
}

impl Ledger {
    fn acknowledge(&self, mailbox: &'static str, ids: impl IntoIterator<Item = String>) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).entry(mailbox).or_default().extend(ids);
    }
}

fn fill(address: SocketAddr, big: usize) -> anyhow::Result<()> {
    let mut imap = Imap::login(address, USER, PASSWORD)?;
    for name in [BIG, APPENDED, BATCHES] {
        imap.ok(&format!("CREATE {name}"))?;
    }
    let message = b"Subject: one of many\r\n\r\nshort\r\n";
    for _ in 0..big.div_ceil(500) {
        let answer = imap.append_many(BIG, &vec![("", None, &message[..]); 500.min(big)])?;
        ensure!(answer.is_ok(), "filling: {} {}", answer.status, answer.text);
    }
    Ok(())
}

fn text(id: &str) -> Vec<u8> {
    format!("Message-ID: <{id}>\r\nSubject: kept\r\n\r\n{}", "a line of the body\r\n".repeat(id.len() * 3)).into_bytes()
}

fn work(worker: u32, round: u32, imap: SocketAddr, lmtp: SocketAddr, ledger: &Ledger) -> anyhow::Result<()> {
    match worker {
        0 | 1 => {
            let mut lmtp = Lmtp::connect(lmtp)?;
            for number in 0.. {
                let id = format!("l{worker}.{number}.{round}@kill");
                let replies = lmtp.deliver(&[USER], &text(&id))?;
                ensure!(replies.iter().all(|(code, _)| *code == 250), "{replies:?}");
                ledger.acknowledge("INBOX", [id]);
            }
        }
        2 => {
            let mut imap = Imap::login(imap, USER, PASSWORD)?;
            for number in 0.. {
                let id = format!("a.{number}.{round}@kill");
                let answer = imap.append(APPENDED, "\\Seen", None, &text(&id))?;
                ensure!(answer.is_ok(), "{}", answer.text);
                ledger.acknowledge(APPENDED, [id]);
            }
        }
        3 => {
            let mut imap = Imap::login(imap, USER, PASSWORD)?;
            for number in 0.. {
                let ids: Vec<_> = (0..20).map(|i| format!("b.{number}.{i}.{round}@kill")).collect();
                let texts: Vec<_> = ids.iter().map(|id| text(id)).collect();
                let messages: Vec<_> = texts.iter().map(|text| ("", None, text.as_slice())).collect();
                let answer = imap.append_many(BATCHES, &messages)?;
                ensure!(answer.is_ok(), "{}", answer.text);
                ledger.acknowledge(BATCHES, ids);
            }
        }
        _ => {
            let mut imap = Imap::login(imap, USER, PASSWORD)?;
            imap.ok(&format!("SELECT {BIG}"))?;
            let flags = || ledger.flags.lock().unwrap_or_else(PoisonError::into_inner);
            for number in 0u32.. {
                let on = number % 2 == 0;
                flags().asked = Some(on);
                imap.ok(&format!("STORE 1:* {}FLAGS.SILENT ({KEYWORD} \\Answered)", if on { "+" } else { "-" }))?;
                let mut flags = flags();
                flags.acknowledged = Some(on);
                flags.count += 1;
            }
        }
    }
    Ok(())
}

/// What is delivered by a rename needs nobody's word; a few a round.
fn deliver(mut third: ThirdParty, seed: u64, round: u32, ledger: &Ledger) -> anyhow::Result<()> {
    let mut rng = Rng::with_seed(seed);
    for number in 0..10 {
        let id = format!("t.{number}.{round}@kill");
        third.deliver(&mut rng, "INBOX", &text(&id))?;
        ledger.acknowledge("INBOX", [id]);
    }
    Ok(())
}

fn flag_count(address: SocketAddr) -> anyhow::Result<usize> {
    let mut imap = Imap::login(address, USER, PASSWORD)?;
    imap.ok(&format!("SELECT {BIG}"))?;
    Ok(imap.ok(&format!("SEARCH KEYWORD {KEYWORD} ANSWERED"))?.search().len())
}

fn check(
    address: SocketAddr,
    ledger: &Ledger,
    stores_before: usize,
    big: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let acknowledged = ledger.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    let mut imap = Imap::login(address, USER, PASSWORD)?;
    for mailbox in ["INBOX", APPENDED, BATCHES] {
        let found = ids_in(&mut imap, mailbox)?;
        let mut seen = BTreeSet::new();
        for id in &found {
            if !seen.insert(id) {
                report.broken.push(format!("{mailbox}: {id} is there twice"));
            }
        }
        let promised = acknowledged.get(mailbox).cloned().unwrap_or_default();
        report.acknowledged += promised.len() as u64;
        report.unacknowledged += found.len().saturating_sub(promised.len()) as u64;
        report
            .broken
            .extend(promised.iter().filter(|id| !seen.contains(id)).map(|id| format!("{mailbox}: {id} is lost")));
    }
    let flags = *ledger.flags.lock().unwrap_or_else(PoisonError::into_inner);
    report.stores += flags.count;
    let now = flag_count(address)?;
    let settled = match (flags.acknowledged, flags.asked) {
        (Some(on), asked) if asked == Some(on) => Some(if on { big } else { 0 }),
        (None, None) => Some(stores_before),
        _ => None,
    };
    if settled.is_some_and(|settled| settled != now) {
        report.broken.push(format!("{BIG}: {now} messages have the keyword, {settled:?} were acknowledged"));
    }
    Ok(())
}

fn ids_in(imap: &mut Imap, mailbox: &str) -> anyhow::Result<Vec<String>> {
    if imap.ok(&format!("EXAMINE {mailbox}"))?.number("EXISTS") == Some(0) {
        return Ok(Vec::new());
    }
    // The body is fetched too: a message that is listed but cannot be read is lost.
    let fetches = imap.ok("FETCH 1:* (BODY.PEEK[])")?.fetches()?;
    let id = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        // What LMTP puts before a message.
        let text = text.find("Message-ID: ").and_then(|at| text.get(at..)).unwrap_or_default();
        let id = text.strip_prefix("Message-ID: <").and_then(|rest| rest.split('>').next()).unwrap_or("?").to_owned();
        if text.as_bytes() == self::text(&id) { id } else { format!("{id} (damaged)") }
    };
    Ok(fetches.iter().flat_map(|(_, attributes)| attributes).map(|(_, body)| id(body.bytes())).collect())
}

fn open_with_dovecot(dovecot: &Dovecot) -> anyhow::Result<()> {
    let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
    for mailbox in ["INBOX", APPENDED, BATCHES, BIG] {
        if imap.ok(&format!("SELECT {mailbox}"))?.number("EXISTS") > Some(0) {
            imap.ok("FETCH 1:* (FLAGS RFC822.SIZE)")?;
        }
    }
    imap.ok("LOGOUT").map(drop)
}

fn clear(address: SocketAddr) -> anyhow::Result<()> {
    let mut imap = Imap::login(address, USER, PASSWORD)?;
    for mailbox in ["INBOX", APPENDED, BATCHES] {
        if imap.ok(&format!("SELECT {mailbox}"))?.number("EXISTS") > Some(0) {
            imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
            imap.ok("EXPUNGE")?;
        }
    }
    Ok(())
}
