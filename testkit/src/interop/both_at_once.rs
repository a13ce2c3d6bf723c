//! Several Culver processes and several Dovecot processes on one store at the same time. Each worker keeps a ledger of
//! what it was promised; afterwards the store must hold exactly that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use fastrand::Rng;

use super::{SharedStore, StoreFormat, USER, kind_of_line, third_party::ThirdParty, turn_about::COMING_BACK};
use crate::{
    dovecot::PASSWORD,
    imap::{Answer, Imap},
    messages::message,
    observe::{Depth, Shown, sha256},
};

/// What Dovecot's master says when one of its processes dies, which happens on a Maildir that a third party changes with
/// nobody but Dovecot on it too: not in every run of 20 seconds, so a run beside it proves nothing.
const CRASH: &str = "Fatal: master: service(imap): child";

/// Which servers the eight workers talk to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mix {
    /// Four Culver processes, four Dovecot processes.
    Half,
    /// Eight Dovecot processes: what the other mix is measured against.
    AllDovecot,
    /// Eight Culver processes. On a Maildir the third party then renames everybody's files: one reading of a folder may miss
    /// a file that is renamed meanwhile, and a Dovecot takes it for gone and gives it a new UID when it sees it again.
    AllCulver,
}

/// What a run saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Commands answered OK, all workers together.
    pub commands: u64,
    /// Messages in the store at the end.
    pub messages: usize,
    /// Dovecot's warnings and errors by kind, with their number.
    pub complaints: BTreeMap<String, u32>,
    /// What a third party did to the files of a Maildir.
    pub foreign: u64,
    /// How often a Dovecot process died under a worker. What becomes of the message in hand is not looked at then.
    pub crashes: u64,
    /// COPY and MOVE of a worker's own message that Dovecot did not find at the time. If it is lost, that is `broken`.
    pub unseen: u64,
    /// What was lost, doubled or wrong; must be empty.
    pub broken: Vec<String>,
}

const MAILBOXES: [&str; 3] = ["INBOX", "Shared", "Archive"];
const WORKERS: u64 = 8;

/// Runs the workers for a time and compares the store with their ledgers.
pub fn run(program: &Path, format: StoreFormat, seed: u64, time: Duration, mix: Mix) -> anyhow::Result<Report> {
    let store = SharedStore::new("both-at-once", format)?;
    let dovecot = store.dovecot("peer")?;
    let culver_count = match mix {
        Mix::Half => WORKERS / 2,
        Mix::AllDovecot => 0,
        Mix::AllCulver => WORKERS,
    };
    let culvers = (0..culver_count).map(|_| store.culver(program)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut setup = Imap::login(dovecot.imap, USER, PASSWORD)?;
    for name in &MAILBOXES[1..] {
        setup.ok(&format!("CREATE {name}"))?;
    }
    let deadline = Instant::now() + time;
    let address = |worker: u64| culvers.get(worker as usize).map_or(dovecot.imap, |culver| culver.imap);
    let (ledgers, foreign) = std::thread::scope(|scope| {
        let third = ThirdParty::on(&store).map(|third| {
            let touches_all = mix == Mix::AllCulver;
            scope.spawn(move || Foreign::run(third, seed, deadline, touches_all))
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let may_crash = number >= culver_count;
                (number, scope.spawn(move || Worker::run(number, seed, address(number), deadline, may_crash)))
            })
            .collect();
        let joined = workers.into_iter().map(|(number, worker)| match worker.join() {
            Ok(ledger) => ledger.with_context(|| format!("seed {seed}, worker {number}")),
            Err(_) => Err(anyhow::anyhow!("seed {seed}, worker {number} panicked")),
        });
        let ledgers = joined.collect::<anyhow::Result<Vec<Ledger>>>();
        let foreign = third.map_or_else(|| Ok(Ok(Foreign::default())), std::thread::ScopedJoinHandle::join);
        (ledgers, foreign.unwrap_or_else(|_| Err(anyhow::anyhow!("seed {seed}, the third party panicked"))))
    });
    let foreign = foreign?;
    let ledgers = ledgers.with_context(|| format!("Dovecot's complaints: {:#?}", dovecot.complaints()))?;
    let mut report = Report { commands: ledgers.iter().map(|ledger| ledger.commands).sum(), ..Report::default() };
    report.foreign = foreign.changes;
    report.unseen = ledgers.iter().map(|ledger| ledger.unseen).sum();
    report.crashes = ledgers.iter().map(|ledger| ledger.crashes).sum();
    for (who, address) in [("dovecot", Some(dovecot.imap)), ("culver", culvers.first().map(|culver| culver.imap))] {
        let Some(address) = address else { continue };
        let shown = Shown::by(&mut Imap::login(address, USER, PASSWORD)?, Depth::Bodies)?;
        report.messages = shown.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
        check(who, &shown, &ledgers, &foreign, &mut report.broken);
    }
    let own = COMING_BACK.iter().chain([&CRASH]);
    let is_own = |line: &String| format.is_maildir() && own.clone().any(|own| line.contains(own));
    for line in dovecot.complaints()?.into_iter().filter(|line| !is_own(line)) {
        *report.complaints.entry(kind_of_line(&line)).or_default() += 1;
    }
    Ok(report)
}

/// What a worker was promised: where its messages are, and which of its keywords they have.
#[derive(Debug, Default)]
struct Ledger {
    messages: BTreeMap<(&'static str, u32), Mine>,
    commands: u64,
    crashes: u64,
    /// COPY and MOVE of a message that the server did not find; whether it is lost, the end shows.
    unseen: u64,
    /// Bodies of messages that were in hand when a server died.
    uncertain: BTreeSet<String>,
    broken: Vec<String>,
}

#[derive(Clone, Debug)]
struct Mine {
    body: String,
    marked: bool,
}

struct Worker {
    number: u64,
    rng: Rng,
    imap: Imap,
    selected: Option<&'static str>,
    ledger: Ledger,
    /// At Dovecot, which may not see a message yet, or die.
    is_dovecot: bool,
    count: u64,
    /// The body of the message in hand.
    in_hand: String,
}

impl Worker {
    fn run(number: u64, seed: u64, address: SocketAddr, deadline: Instant, may_crash: bool) -> anyhow::Result<Ledger> {
        let mut worker = Self {
            number,
            rng: Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(number)),
            imap: Imap::login(address, USER, PASSWORD)?,
            selected: None,
            ledger: Ledger::default(),
            is_dovecot: may_crash,
            count: 0,
            in_hand: String::new(),
        };
        while Instant::now() < deadline {
            match worker.step() {
                // Dovecot 2.3.19 dies of signal 11 now and then, with nobody but itself on the store too.
                Err(error) if may_crash && error.root_cause().is::<std::io::Error>() => {
                    worker.imap = Imap::login(address, USER, PASSWORD)?;
                    worker.after_crash();
                }
                outcome => outcome?,
            }
        }
        worker.imap.ok("LOGOUT")?;
        Ok(worker.ledger)
    }

    fn ok(&mut self, command: &str) -> anyhow::Result<Answer> {
        self.ledger.commands += 1;
        self.imap.ok(command)
    }

    fn select(&mut self, mailbox: &'static str) -> anyhow::Result<()> {
        if self.selected != Some(mailbox) || self.rng.u8(..20) == 0 {
            self.selected = None;
            let answer = self.ok(&format!("SELECT {mailbox}"))?;
            ensure!(answer.number("EXISTS").is_some(), "SELECT without EXISTS");
            self.selected = Some(mailbox);
        }
        Ok(())
    }

    fn after_crash(&mut self) {
        self.selected = None;
        self.ledger.crashes += 1;
        let body = std::mem::take(&mut self.in_hand);
        self.ledger.messages.retain(|_, mine| mine.body != body);
        self.ledger.uncertain.insert(body);
    }

    /// A message of mine; only its owner moves, marks or expunges a message, so that a loss is nobody else's doing.
    fn mine(&mut self) -> Option<(&'static str, u32)> {
        let count = self.ledger.messages.len();
        let (key, mine) = (count > 0).then(|| self.ledger.messages.iter().nth(self.rng.usize(..count))).flatten()?;
        self.in_hand.clone_from(&mine.body);
        Some(*key)
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let dice = if self.ledger.messages.len() < 5 { 0 } else { self.rng.u8(..100) };
        match dice {
            0..30 if self.ledger.messages.len() < 60 => self.append(),
            30..50 => self.mark(),
            50..60 => self.relocate(false),
            60..72 => self.relocate(true),
            72..90 => self.expunge(),
            _ => self.noise(),
        }
    }

    fn append(&mut self) -> anyhow::Result<()> {
        let mailbox = MAILBOXES[self.rng.usize(..MAILBOXES.len())];
        self.count += 1;
        let body = message(&mut self.rng, self.number << 32 | self.count);
        self.in_hand = sha256(&body);
        let answer = self.imap.append(mailbox, "", None, &body)?;
        ensure!(answer.is_ok(), "APPEND: {} {}", answer.status, answer.text);
        self.ledger.commands += 1;
        let uid = answer.code("APPENDUID").and_then(|code| code.get(1)?.parse().ok()).context("no APPENDUID")?;
        self.promise(mailbox, uid, Mine { body: sha256(&body), marked: false });
        Ok(())
    }

    fn promise(&mut self, mailbox: &'static str, uid: u32, mine: Mine) {
        if self.ledger.messages.insert((mailbox, uid), mine).is_some() {
            self.ledger.broken.push(format!("{mailbox}: UID {uid} was given twice"));
        }
    }

    fn keyword(&self) -> String {
        format!("mark{}", self.number)
    }

    fn mark(&mut self) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        self.select(mailbox)?;
        let on = self.rng.bool();
        self.ok(&format!("UID STORE {uid} {}FLAGS.SILENT ({})", if on { "+" } else { "-" }, self.keyword()))?;
        if let Some(mine) = self.ledger.messages.get_mut(&(mailbox, uid)) {
            mine.marked = on;
        }
        Ok(())
    }

    fn relocate(&mut self, moving: bool) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        let to = MAILBOXES[self.rng.usize(..MAILBOXES.len())];
        self.select(mailbox)?;
        let answer = self.ok(&format!("UID {} {uid} {to}", if moving { "MOVE" } else { "COPY" }))?;
        let code = answer.code("COPYUID").or_else(|| answer.untagged_code("COPYUID"));
        let Some(copy) = code.and_then(|code| code.get(2)?.parse().ok()) else {
            ensure!(self.is_dovecot, "no COPYUID for UID {uid} of {mailbox}: {answer:?}");
            self.ledger.unseen += 1;
            return Ok(());
        };
        let Some(mine) = self.ledger.messages.get(&(mailbox, uid)).cloned() else { return Ok(()) };
        if moving {
            self.ledger.messages.remove(&(mailbox, uid));
        }
        self.promise(to, copy, mine);
        Ok(())
    }

    fn expunge(&mut self) -> anyhow::Result<()> {
        let Some((mailbox, uid)) = self.mine() else { return Ok(()) };
        self.select(mailbox)?;
        self.ok(&format!("UID STORE {uid} +FLAGS.SILENT (\\Deleted)"))?;
        self.ok(&format!("UID EXPUNGE {uid}"))?;
        self.ledger.messages.remove(&(mailbox, uid));
        Ok(())
    }

    /// What others do to everybody's messages: reading, and flags that no ledger keeps.
    fn noise(&mut self) -> anyhow::Result<()> {
        let mailbox = MAILBOXES[self.rng.usize(..MAILBOXES.len())];
        self.select(mailbox)?;
        match self.rng.u8(..4) {
            0 => drop(self.ok("UID FETCH 1:* (FLAGS)")?),
            1 => drop(self.ok("NOOP")?),
            2 => {
                let sign = if self.rng.bool() { "+" } else { "-" };
                drop(self.ok(&format!("UID STORE 1:* {sign}FLAGS.SILENT (\\Flagged)"))?);
            }
            // Somebody may expunge a message while it is fetched: NO is an honest answer.
            _ => drop(self.imap.command("UID FETCH 1:* (ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")?),
        }
        Ok(())
    }
}

/// What the third party has done: messages that it delivered and let be, by the hash of their bodies.
#[derive(Debug, Default)]
struct Foreign {
    delivered: BTreeMap<(&'static str, String), String>,
    changes: u64,
}

impl Foreign {
    fn run(mut third: ThirdParty, seed: u64, deadline: Instant, touches_all: bool) -> anyhow::Result<Self> {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1000).wrapping_add(999));
        let mut foreign = Self::default();
        while Instant::now() < deadline {
            foreign.changes += 1;
            let mailbox = MAILBOXES[rng.usize(..MAILBOXES.len())];
            let own: Vec<_> = foreign.delivered.iter().filter(|((at, _), _)| *at == mailbox).collect();
            match rng.u8(..10) {
                0..3 if foreign.delivered.len() < 60 => {
                    let body = message(&mut rng, WORKERS << 32 | foreign.changes);
                    let base = third.deliver(&mut rng, mailbox, &body)?;
                    foreign.delivered.insert((mailbox, sha256(&body)), base);
                }
                0..6 if !own.is_empty() => {
                    let ((_, body), base) = own[rng.usize(..own.len())];
                    let (body, base) = (body.clone(), base.clone());
                    match rng.u8(..3) {
                        0 if third.remove(mailbox, &base)? => {
                            foreign.delivered.remove(&(mailbox, body));
                        }
                        1 => {
                            let to = MAILBOXES[rng.usize(..MAILBOXES.len())];
                            if to != mailbox && third.relocate(mailbox, &base, to)? {
                                foreign.delivered.remove(&(mailbox, body.clone()));
                                foreign.delivered.insert((to, body), base);
                            }
                        }
                        _ => {}
                    }
                }
                _ if touches_all => third.flag_any(&mut rng, mailbox, "")?,
                _ => third.flag_any(&mut rng, mailbox, ".third")?,
            }
        }
        Ok(foreign)
    }
}

fn check(who: &str, shown: &Shown, ledgers: &[Ledger], foreign: &Foreign, broken: &mut Vec<String>) {
    broken.extend(ledgers.iter().flat_map(|ledger| ledger.broken.clone()));
    let mut promised: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        for (&(mailbox, uid), mine) in &ledger.messages {
            if !promised.entry(mailbox).or_default().insert(uid) {
                broken.push(format!("{mailbox}: UID {uid} was given to two workers"));
            }
            match shown.mailboxes.get(mailbox).and_then(|mailbox| mailbox.messages.get(&uid)) {
                None => broken.push(format!("{who}: {mailbox}: UID {uid} of worker {number} is lost")),
                Some(found) if found.body != mine.body => {
                    broken.push(format!("{who}: {mailbox}: UID {uid} of worker {number} is another message"));
                }
                Some(found) if found.flags.contains(&format!("mark{number}")) != mine.marked => {
                    broken.push(format!(
                        "{who}: {mailbox}: UID {uid} of worker {number}: keyword should be {}",
                        mine.marked
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for (name, mailbox) in &shown.mailboxes {
        let foreign = foreign.delivered.keys().filter(|(at, _)| at == name).map(|(_, body)| body.as_str());
        let mut delivered: BTreeSet<&str> = foreign.collect();
        for (uid, message) in &mailbox.messages {
            let is_promised = promised.get(name.as_str()).is_some_and(|uids| uids.contains(uid));
            let is_uncertain = ledgers.iter().any(|ledger| ledger.uncertain.contains(&message.body));
            if !is_promised && !is_uncertain && !delivered.remove(message.body.as_str()) {
                broken.push(format!("{who}: {name}: UID {uid} is nobody's"));
            }
        }
        broken.extend(delivered.iter().map(|body| format!("{who}: {name}: a delivery is lost: {body}")));
    }
}
