//! Clients of random work on one mailbox of a running Culver, each of which checks everything that it is told against its
//! own model of the session; in the end all must see what the store has.

mod belief;
mod client;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use self::{client::Client, work::Worker};
use super::{SharedStore, StoreFormat, USER};
use crate::{culver::Culver, dovecot::PASSWORD, imap::Imap};

/// How long the clients work.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So long.
    Time(Duration),
    /// So many commands each.
    Commands(u32),
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Commands, all clients together.
    pub commands: u64,
    /// Untagged responses checked.
    pub responses: u64,
    /// Texts of messages checked.
    pub texts: u64,
    /// Resynchronizations checked.
    pub resynchronized: u64,
    /// Messages in the mailbox at the end.
    pub messages: usize,
    /// Messages moved to the other mailbox.
    pub moved: usize,
}

/// What the clients know together: promises that hold for all of them.
#[derive(Debug, Default)]
struct Ledger {
    /// UIDs that an APPEND or COPY gave.
    given: BTreeSet<u32>,
    /// UIDs that somebody wanted to delete.
    unwanted: BTreeSet<u32>,
    /// UIDs that somebody moved away.
    moved: BTreeSet<u32>,
    /// Subjects given out.
    subjects: u32,
    /// The subject of the message that has a UID, by APPENDUID or as somebody fetched it first.
    subject_of: BTreeMap<u32, u32>,
}

impl Ledger {
    /// Takes note that a UID's message is the one of a subject; says whether it may be.
    fn is(&mut self, uid: u32, subject: u32) -> bool {
        *self.subject_of.entry(uid).or_insert(subject) == subject
    }
}

/// Lines in a message's body, at most.
const BODY_LINES_MAX: u32 = 40;

/// The message of a subject.
fn text(subject: u32) -> String {
    let line = format!("body of {subject}\r\n");
    format!("Subject: {subject}\r\n\r\n{}", line.repeat((subject % BODY_LINES_MAX + 1) as usize))
}

/// Where the work is, and where messages are moved.
const MAILBOX: &str = "INBOX";
const OTHER: &str = "Other";

/// Runs the clients; an error is a rule that a response breaks, with what led to it.
pub fn run(program: &Path, format: StoreFormat, clients: u32, until: Until, seed: u64) -> anyhow::Result<Report> {
    let store = SharedStore::new("model", format)?;
    let culver = store.culver(program)?;
    let mut setup = Imap::login(culver.imap, USER, PASSWORD)?;
    setup.ok(&format!("CREATE {OTHER}"))?;
    let ledger = Mutex::new(Ledger::default());
    let deadline = match until {
        Until::Time(time) => Some(Instant::now() + time),
        Until::Commands(_) => None,
    };
    let ran: anyhow::Result<Vec<Worker<'_>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|number| {
                let (ledger, culver) = (&ledger, &culver);
                scope.spawn(move || work(culver, ledger, number, until, deadline, seed))
            })
            .collect();
        let joined = workers.into_iter().enumerate().map(|(number, worker)| match worker.join() {
            Ok(done) => done.with_context(|| format!("seed {seed}, client {number}")),
            Err(_) => Err(anyhow::anyhow!("seed {seed}, client {number} panicked")),
        });
        joined.collect()
    });
    let mut workers = ran.with_context(|| complaints(&culver))?;
    let report = compare(&mut workers, &ledger, &mut setup).with_context(|| format!("seed {seed}"))?;
    Ok(report)
}

fn complaints(culver: &Culver) -> String {
    let log = culver.log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    format!("Culver's warnings: {:#?}", lines.get(lines.len().saturating_sub(20)..).unwrap_or_default())
}

fn work<'l>(
    culver: &Culver,
    ledger: &'l Mutex<Ledger>,
    number: u32,
    until: Until,
    deadline: Option<Instant>,
    seed: u64,
) -> anyhow::Result<Worker<'l>> {
    let rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(u64::from(number)));
    let mut worker = Worker::new(Client::login(culver.imap)?, ledger, rng);
    worker.begin()?;
    for step in 0.. {
        let is_over = match (until, deadline) {
            (Until::Commands(commands), _) => step >= commands,
            (_, Some(deadline)) => Instant::now() >= deadline,
            _ => true,
        };
        if is_over {
            break;
        }
        worker.step().with_context(|| worker.client.history())?;
    }
    Ok(worker)
}

/// All is quiet: every client must come to see the same, without asking for it.
fn compare(workers: &mut [Worker<'_>], ledger: &Mutex<Ledger>, setup: &mut Imap) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut first: Option<Vec<(u32, belief::Flags)>> = None;
    for _ in 0..2 {
        for worker in workers.iter_mut() {
            worker.client.command("NOOP").with_context(|| worker.client.history())?;
            worker.learn()?;
        }
    }
    for (number, worker) in workers.iter_mut().enumerate() {
        let believed = worker.client.seen()?;
        let mod_seqs: Vec<Option<u64>> = worker.client.belief.messages.iter().map(|known| known.mod_seq).collect();
        if !believed.is_empty() {
            worker.client.command("FETCH 1:* (UID FLAGS MODSEQ)").with_context(|| worker.client.history())?;
        }
        let really = worker.client.seen()?;
        ensure!(
            believed == really,
            "client {number} believes {:?}\nbut there is {:?}\n{}",
            differing(&believed, &really),
            differing(&really, &believed),
            worker.client.history()
        );
        for (message, believed) in worker.client.belief.messages.iter().zip(mod_seqs) {
            ensure!(
                believed.is_none() || believed == message.mod_seq,
                "client {number} believes in MODSEQ {believed:?} of {message:?}\n{}",
                worker.client.history()
            );
        }
        match &first {
            Some(first) => ensure!(*first == really, "client {number} sees {really:?}\nthe first {first:?}"),
            None => first = Some(really),
        }
        report.commands += worker.client.commands;
        report.responses += worker.client.responses;
        report.texts += worker.client.texts;
        report.resynchronized += worker.resynchronized;
    }
    let there = first.unwrap_or_default();
    report.messages = there.len();
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    report.moved = ledger.moved.len();
    let there: BTreeSet<u32> = there.into_iter().map(|(uid, _)| uid).collect();
    for uid in &ledger.given {
        let is_accounted_for = there.contains(uid) || ledger.unwanted.contains(uid) || ledger.moved.contains(uid);
        ensure!(is_accounted_for, "UID {uid} was given, nobody deleted or moved it, and it is gone");
    }
    ensure!(ledger.moved.is_disjoint(&there), "moved away and still there: {:?}", ledger.moved.intersection(&there));
    each_once(setup)?;
    Ok(report)
}

fn differing<T: PartialEq + Clone>(one: &[T], other: &[T]) -> Vec<T> {
    one.iter().filter(|item| !other.contains(item)).cloned().collect()
}

/// The subject that a message has, if its text is that of the subject.
fn subject_of(message: &str) -> Option<u32> {
    let subject = message.strip_prefix("Subject: ")?.split('\r').next()?.parse().ok()?;
    (message == text(subject)).then_some(subject)
}

/// No message is in both mailboxes, or twice in one: copies are made by MOVE only.
fn each_once(imap: &mut Imap) -> anyhow::Result<()> {
    let mut subjects = Vec::new();
    for mailbox in [MAILBOX, OTHER] {
        let there = imap.ok(&format!("EXAMINE {mailbox}"))?;
        if there.number(" EXISTS").unwrap_or(0) == 0 {
            continue;
        }
        for (_, items) in imap.ok("FETCH 1:* BODY.PEEK[]")?.fetches()? {
            for (_, value) in items {
                subjects.push(subject_of(&value.text()).with_context(|| format!("{mailbox} has {value:?}"))?);
            }
        }
    }
    let distinct: BTreeSet<&u32> = subjects.iter().collect();
    ensure!(distinct.len() == subjects.len(), "{} messages, of which {} differ", subjects.len(), distinct.len());
    Ok(())
}
