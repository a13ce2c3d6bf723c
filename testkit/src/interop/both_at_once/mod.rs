//! Several Culver processes and several Dovecot processes on one store at the same time. Each worker keeps a ledger of
//! what it was promised; afterwards the store must hold exactly that.

mod compared;
mod foreign;
mod journal;
mod ledger;
mod upkeep;
mod worker;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

pub use self::compared::Compared;
use self::{
    foreign::Foreign,
    journal::Journal,
    ledger::{Ledger, check},
    upkeep::Upkeep,
    worker::Worker,
};
use super::{SharedStore, StoreFormat, USER, kind_of_line, third_party::ThirdParty};
use crate::{
    culver::Culver,
    dovecot::{Dovecot, PASSWORD},
    imap::Imap,
    observe::{Depth, Shown},
};

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
    /// Those of them that Dovecot answered.
    pub dovecot_commands: u64,
    /// Messages in the store at the end.
    pub messages: usize,
    /// Dovecot's warnings and errors by kind, with their number.
    pub complaints: BTreeMap<String, u32>,
    /// Culver's warnings and errors, likewise.
    pub own_complaints: BTreeMap<String, u32>,
    /// What a third party did to the files of a Maildir.
    pub foreign: u64,
    /// How often the storage was purged or messages moved to the alternate one and back, by what did it.
    pub upkeep: BTreeMap<&'static str, u32>,
    /// How often a Dovecot process died under a worker. What becomes of the message in hand is not looked at then.
    pub crashes: u64,
    /// How often Dovecot refused a command on an mbox, where its processes wait for each other's locks. Likewise.
    pub refusals: u64,
    /// SELECTs in which Dovecot told a lower HIGHESTMODSEQ than before: eight Dovecot processes do so too, rarely, while a
    /// mailbox gets its first mod-sequences. How often is compared. (From Culver it is `broken`.)
    pub went_back: Vec<String>,
    /// COPY and MOVE of a worker's own message that Dovecot did not find at the time. If it is lost, that is `broken`.
    pub unseen: u64,
    /// Messages that have another UID than whoever brought them was told: none but those of which Dovecot says that it gave
    /// them one.
    pub renumbered: BTreeSet<String>,
    /// What was lost, doubled or wrong; must be empty.
    pub broken: Vec<String>,
    /// The same of messages of those workers that Dovecot serves, on mbox: eight Dovecot processes lose keywords there and
    /// bring back what was expunged. How often is compared.
    pub dovecots_own: Vec<String>,
}

const MAILBOXES: [&str; 3] = ["INBOX", "Shared", "Archive"];
const WORKERS: u64 = 8;

/// Where a worker's server answers.
#[derive(Clone, Copy, Debug)]
struct Served {
    imap: SocketAddr,
    lmtp: SocketAddr,
    is_dovecot: bool,
    is_mbox: bool,
}

/// The servers of a run.
struct Servers {
    format: StoreFormat,
    dovecot: Dovecot,
    culvers: Vec<Culver>,
}

impl Servers {
    fn start(store: &SharedStore, program: &Path, mix: Mix) -> anyhow::Result<Self> {
        let count = match mix {
            Mix::Half => WORKERS / 2,
            Mix::AllDovecot => 0,
            Mix::AllCulver => WORKERS,
        };
        let dovecot = store.dovecot("peer")?;
        let culvers = (0..count).map(|_| store.culver(program)).collect::<anyhow::Result<_>>()?;
        Ok(Self { format: store.format(), dovecot, culvers })
    }

    fn of(&self, worker: u64) -> Served {
        let is_mbox = self.format == StoreFormat::Mbox;
        match self.culvers.get(worker as usize) {
            Some(culver) => Served { imap: culver.imap, lmtp: culver.lmtp, is_dovecot: false, is_mbox },
            None => Served { imap: self.dovecot.imap, lmtp: self.dovecot.lmtp, is_dovecot: true, is_mbox },
        }
    }
}

/// Runs the workers for a time and compares the store with their ledgers.
pub fn run(program: &Path, format: StoreFormat, seed: u64, time: Duration, mix: Mix) -> anyhow::Result<Report> {
    let store = SharedStore::new("both-at-once", format)?;
    let servers = Servers::start(&store, program, mix)?;
    let mut setup = Imap::login(servers.dovecot.imap, USER, PASSWORD)?;
    // That all make INBOX at the same time is no matter of this run.
    setup.ok("SELECT INBOX")?;
    let owned = (0..WORKERS).map(|worker| worker::own_mailbox(worker, 0));
    for name in MAILBOXES[1..].iter().map(|name| (*name).to_owned()).chain(owned) {
        setup.ok(&format!("CREATE {name}"))?;
    }
    let journal = Journal::create(&store.place.path().join("told.log"))?;
    let deadline = Instant::now() + time;
    let (ledgers, foreign, upkeep) = std::thread::scope(|scope| {
        let third = ThirdParty::on(&store).map(|third| {
            let touches_all = mix == Mix::AllCulver;
            scope.spawn(move || Foreign::run(third, seed, deadline, touches_all))
        });
        let upkeep = Upkeep::of(&store, &servers, program);
        let upkeep = upkeep.map(|upkeep| scope.spawn(move || upkeep.run(seed, deadline)));
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (served, journal) = (servers.of(number), &journal);
                (number, scope.spawn(move || Worker::run(number, seed, served, deadline, journal)))
            })
            .collect();
        let joined = workers.into_iter().map(|(number, worker)| match worker.join() {
            Ok(ledger) => ledger.with_context(|| format!("seed {seed}, worker {number}")),
            Err(_) => Err(anyhow::anyhow!("seed {seed}, worker {number} panicked")),
        });
        let ledgers = joined.collect::<anyhow::Result<Vec<Ledger>>>();
        (ledgers, joined_or_default(third, "the third party"), joined_or_default(upkeep, "the upkeep"))
    });
    let complaints = || format!("seed {seed}, Dovecot's complaints: {:#?}", servers.dovecot.complaints());
    let (foreign, upkeep) = (foreign.with_context(complaints)?, upkeep.with_context(complaints)?);
    let ledgers = ledgers.with_context(complaints)?;
    let mut report = Report { foreign: foreign.changes, upkeep, ..Report::default() };
    report.count(&ledgers);
    report.look(&servers, &ledgers, &foreign)?;
    Ok(report)
}

fn joined_or_default<T: Default>(
    thread: Option<std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>>,
    who: &str,
) -> anyhow::Result<T> {
    let Some(thread) = thread else { return Ok(T::default()) };
    thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("{who} panicked")))
}

impl Report {
    fn count(&mut self, ledgers: &[Ledger]) {
        self.commands = ledgers.iter().map(|ledger| ledger.commands).sum();
        self.dovecot_commands = ledgers.iter().filter(|ledger| ledger.is_dovecots).map(|ledger| ledger.commands).sum();
        self.unseen = ledgers.iter().map(|ledger| ledger.unseen).sum();
        self.crashes = ledgers.iter().map(|ledger| ledger.crashes).sum();
        self.refusals = ledgers.iter().map(|ledger| ledger.refusals).sum();
        self.went_back.extend(ledgers.iter().flat_map(|ledger| ledger.went_back.clone()));
        self.broken.extend(ledgers.iter().flat_map(|ledger| ledger.broken.clone()));
    }

    /// What the servers show in the end, and what they logged.
    fn look(&mut self, servers: &Servers, ledgers: &[Ledger], foreign: &Foreign) -> anyhow::Result<()> {
        let culver = servers.culvers.first().map(|culver| culver.imap);
        for (who, address) in [("dovecot", Some(servers.dovecot.imap)), ("culver", culver)] {
            let Some(address) = address else { continue };
            let shown = Shown::by(&mut Imap::login(address, USER, PASSWORD)?, Depth::Bodies)?;
            self.messages = shown.mailboxes.values().map(|mailbox| mailbox.messages.len()).sum();
            check(who, &shown, ledgers, foreign, &mut self.broken, &mut self.renumbered);
        }
        if servers.format == StoreFormat::Mbox {
            let is_dovecots = |line: &str| {
                let of = |number: usize| line.contains(&format!(" of worker {number}"));
                ledgers.iter().enumerate().any(|(number, ledger)| ledger.is_dovecots && of(number))
            };
            self.dovecots_own = self.broken.extract_if(.., |line| is_dovecots(line)).collect();
            self.dovecots_own.extend(self.renumbered.extract_if(.., |line| is_dovecots(line)));
        }
        let of_the_machine = |line: &String| OF_THE_MACHINE.iter().any(|text| line.contains(text));
        for line in servers.dovecot.complaints()?.iter().filter(|line| !of_the_machine(line)) {
            *self.complaints.entry(kind_of_line(line)).or_default() += 1;
        }
        // All of them write to the same log.
        let log = servers.culvers.first().map(Culver::log).transpose()?.unwrap_or_default();
        for line in log.lines() {
            let level = [" WARN ", " ERROR "].into_iter().find_map(|level| Some((level, line.split_once(level)?.1)));
            if let Some((level, text)) = level {
                *self.own_complaints.entry(kind_of_line(&format!(": {}: {text}", level.trim()))).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// What Dovecot says of the machine's clock, not of the mail: a machine with more work than processors, or one that stood still.
const OF_THE_MACHINE: [&str; 2] = ["Time moved forwards", "Time moved backwards"];

/// Both runs of a seed, the second of nothing but Dovecot, and what the first has that the second has not.
pub fn compare(program: &Path, format: StoreFormat, seed: u64, time: Duration) -> anyhow::Result<Compared> {
    let ours = run(program, format, seed, time, Mix::Half)?;
    let theirs = run(program, format, seed, time, Mix::AllDovecot)?;
    ensure!(theirs.dovecot_commands > 0, "eight Dovecot processes did nothing");
    Ok(Compared { ours, theirs })
}
